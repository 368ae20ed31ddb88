"""Configurations are compared at the longest budget that enough of them have reached."""

import math

import pytest
from journals import VALUES, make_study, make_trial_events

from vaetune.report.analysis.budgets import compare_at_equal_budget


def search(*counts):
    """A search in which the first `counts[n]` configurations train up to epoch 3 ** n."""
    events = []
    for rung, count in enumerate(counts):
        before, end = 3**rung // 3, 3**rung
        for number in range(count):
            events += make_trial_events(
                f"{rung}{number:03d}",
                [200.0 - number - epoch for epoch in range(before, end)],
                configuration=number,
                parent=f"{rung - 1}{number:03d}" if rung else None,
                rung=rung,
                epoch_from=before,
                hyperparameters=VALUES | {"dense_units": 16 + number},
            )
    return make_study(*events)


@pytest.mark.parametrize(
    ("counts", "epoch", "configurations"),
    [
        ((17, 11, 6), 3, 11),  # the default search
        ((34, 22, 12), 9, 12),
        ((17, 9, 6), 1, 17),
        ((6, 6, 3), 3, 6),
        ((200, 30, 12), 3, 30),  # twelve of two hundred were selected too strictly
    ],
)
def test_the_longest_budget_with_enough_configurations_is_compared(counts, epoch, configurations):
    found = compare_at_equal_budget(search(*counts))
    assert (found.epoch, len(found.losses)) == (epoch, configurations)
    assert found.losses[2] == 200.0 - 2 - (epoch - 1)
    assert found.hyperparameters[2]["dense_units"] == 18


def test_the_lowest_finite_loss_up_to_the_epoch_counts():
    events = [
        *make_trial_events("0000", [100.0, 90.0, 95.0], configuration=0),
        *make_trial_events("0001", [100.0, math.nan, 96.0], configuration=1),
        *make_trial_events("0002", [100.0, 90.0, math.nan], configuration=2),
    ]
    assert compare_at_equal_budget(make_study(*events)).losses == {0: 90.0, 1: 96.0}


def test_a_search_without_trials_has_no_budget():
    found = compare_at_equal_budget(make_study())
    assert (found.epoch, found.losses) == (0, {})
