"""A sentence about the active latent dimensions and the loss by latent size."""

import pytest
from journals import VALUES, make_session_end, make_study, make_trial_events

from vaetune.report.analysis.budgets import compare_at_equal_budget
from vaetune.report.text.latents import active_units, describe_latents
from vaetune.study.collapse import LatentUse


def describe(losses, active=8, **values):
    """The sentence about a search with these losses, by latent size."""
    events = [
        event
        for number, (size, loss) in enumerate(losses)
        for event in make_trial_events(
            *(f"{number:04d}", [loss + 5, loss]),
            configuration=number,
            hyperparameters=VALUES | {"latent_dim": size} | values,
            latent_use=None if active is None else LatentUse(active, 9.0),
        )
    ]
    study = make_study(*events, make_session_end())
    known = active_units(study, study.winner)
    return describe_latents(study.winner, known, compare_at_equal_budget(study))


def test_the_sentence_names_active_units_and_the_lowest_loss_of_each_size():
    losses = [(8, 104.0), (16, 100.0), (16, 109.0), (32, 101.5), (4, 100.02)]
    assert describe(losses) == (
        "8 of 16 latent dimensions of the winner are active; after 2 epochs, the lowest loss is "
        "100.0 nats with latent_dim 16, the same with 4, 4.0 higher with 8 and 1.5 higher with 32 "
        "(5 configurations)."
    )


def test_only_the_neighbours_of_the_best_of_many_sizes_are_named():
    losses = [(size, 100.0 + abs(size - 5)) for size in range(2, 9)]
    words = describe(losses)
    assert "with latent_dim 5, 1.0 higher with 4 and 1.0 higher with 6 (7 configurations)" in words


@pytest.mark.parametrize(
    ("active", "values", "words"),
    [
        (16, {}, "All 16 latent dimensions of the winner are active."),
        (None, {}, ""),
        (100, {"levels": 2}, ""),
    ],
)
def test_unknown_numbers_are_left_out_of_the_sentence(active, values, words):
    assert describe([(16, 100.0)], active, **values) == words
