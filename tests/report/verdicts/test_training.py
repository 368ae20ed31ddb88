"""Verdicts about losses that still fall when training ends."""

import pytest
from journals import make_session_end, make_study, make_trial_events
from pasted_lines import HYPERBAND, paste

from vaetune.config.search_file import load_search
from vaetune.config.spec import SearchSpec, single_configuration
from vaetune.report.verdicts.training import average_fall, judge_epochs

FALLING = [160.0, 130.0, 120.0, 114.0, 110.0, 107.5, 106.0, 105.0, 104.25]
LEVEL = [160.0, 130.0, 120.0, 112.0, 110.0, 110.2, 109.9, 110.1, 110.0]


def search(*curves, spec=HYPERBAND, **data):
    """A complete search with a configuration for each curve."""
    events = [
        event
        for number, losses in enumerate(curves)
        for event in make_trial_events(f"{number:04d}", losses, configuration=number)
    ]
    return make_study(*events, make_session_end(), search=spec, **data)


@pytest.mark.parametrize(
    ("losses", "fall"),
    [
        (FALLING, (107.5 - 104.25) / 3),
        (LEVEL, None),
        ([130.0, 120.0], 10.0),
        ([130.0], None),
        ([130.0, 110.0, 112.0], None),
        # Each of the last epochs lowers the loss by only a two-thousandth of the whole fall.
        ([150.0, 100.0, 99.97, 99.95, 99.93], None),
        # The loss falls faster, but it rises by 3 nats in between.
        ([150.0, 120.0, 111.0, 114.0, 110.0, 109.0, 112.0, 108.0], None),
        ([150.0, float("nan"), 100.0], None),
        # Losses of densities may be negative.
        ([-1000.0, -1500.0, -1700.0, -1800.0], 800.0 / 3),
    ],
)
def test_a_fall_counts_if_it_is_larger_than_the_noise_of_epochs(losses, fall):
    assert average_fall(losses) == (None if fall is None else pytest.approx(fall))


def test_a_winner_with_a_falling_loss_needs_more_epochs(tmp_path):
    verdict = judge_epochs(search(FALLING, LEVEL))
    assert verdict.seen == (
        "The winner's loss was still falling when training ended, by 0.75 nats in the last of 9 "
        "epochs; 1 of the 2 trials with 9 epochs ended so."
    )
    assert verdict.advice == (
        "Train the winner alone for longer with `vaetune train --best tiny --epochs 18`, or search "
        "with longer trials: 196 epochs in all, not 75."
    )
    assert paste(tmp_path, verdict.lines) == {"budget.max_epochs": 18}


def test_the_curve_of_a_winner_includes_the_trials_that_it_continues():
    """Compared with the fall of the parent trial, the fall of the last epochs is negligible."""
    first = make_trial_events("0000", [160.0, 110.0], configuration=0)
    rest = make_trial_events(
        *("0001", [109.9, 109.85, 109.8, 109.75, 109.7, 109.65, 109.6]),
        **{"configuration": 0, "parent": "0000", "rung": 1, "epoch_from": 2},
    )
    study = make_study(*first, *rest, make_session_end(), search=HYPERBAND)
    assert study.winner.trial_id == "0001"
    assert judge_epochs(study) is None


def test_a_majority_of_falling_trials_needs_more_epochs():
    higher = [loss + 20 for loss in FALLING]
    assert judge_epochs(search(LEVEL, higher, higher)).seen == (
        "2 of the 3 trials with 9 epochs ended while their loss was still falling, so another "
        "configuration may win after more."
    )
    assert judge_epochs(search(LEVEL, LEVEL, higher)) is None
    assert judge_epochs(search(LEVEL, higher)) is None, "two trials are too few"


def test_only_trials_with_all_epochs_count():
    assert judge_epochs(search(LEVEL, *[FALLING[:3]] * 5)) is None
    assert judge_epochs(search(FALLING[:3])) is None


def test_freeze_thaw_also_needs_more_total_epochs(tmp_path):
    spec = load_search("freeze-thaw").spec
    verdict = judge_epochs(search(FALLING, spec=spec))
    found = paste(tmp_path, verdict.lines, "freeze_thaw")
    assert found == {"budget.max_epochs": 18, "budget.total_epochs": 150}


def test_a_single_training_has_advice_without_lines_of_a_search_file():
    spec = single_configuration({"latent_dim": 2}, 9, like=SearchSpec())
    verdict = judge_epochs(search(FALLING, spec=spec))
    assert verdict.seen == (
        "The loss was still falling when training ended, by 0.75 nats in the last of 9 epochs."
    )
    assert verdict.advice == "Train for longer, for example with --epochs 18."
    assert verdict.lines == ""


def test_images_from_a_script_have_no_training_command_in_the_advice():
    verdict = judge_epochs(search(FALLING, source="arrays of a script"))
    assert verdict.advice == "Search again with longer trials: 196 epochs in all, not 75."
