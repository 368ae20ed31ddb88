"""A lead that may be noise is called a close decision."""

import pytest
from journals import (
    make_rescored,
    make_retrained,
    make_session_end,
    make_study,
    make_trial_events,
)
from pasted_lines import HYPERBAND, paste

from vaetune.report.verdicts.lead import judge_lead
from vaetune.study.collapse import LatentUse


def search(*events, winner=(150.0, 120.0, 112.0, 111.0), use=None):
    """A complete search with two finalists of four epochs."""
    second = [loss + 3 for loss in winner]
    trials = [
        *make_trial_events("0000", winner, configuration=0, latent_use=use),
        *make_trial_events("0001", second, configuration=1),
    ]
    return make_study(*trials, *events, make_session_end(), search=HYPERBAND)


def rescored(lead, error=0.25):
    return make_rescored({("0000", 4): 110.0, ("0001", 4): 110.0 + lead}, behind=error)


def test_a_lead_below_two_epochs_of_progress_may_depend_on_the_seed(tmp_path):
    verdict = judge_lead(search(rescored(2.0)))
    assert verdict.seen == (
        "The winner is 2.00 ± 0.25 nats ahead of trial 0001, less than its own loss fell in the "
        "last two epochs (9.00); the noise of seeds was not measured."
    )
    assert verdict.advice.endswith("`vaetune search tiny --final-seeds 3` continues this search.")
    assert paste(tmp_path, verdict.lines) == {"limits.final_seeds": 3}
    assert judge_lead(search(rescored(9.5))) is None
    level = (150.0, 110.0, 110.5, 110.25)
    assert (
        judge_lead(search(make_rescored({("0000", 2): 110.0, ("0001", 2): 112.0}), winner=level))
        is None
    )


def test_a_lead_inside_the_noise_of_samples_is_a_close_decision():
    verdict = judge_lead(search(rescored(2.0, error=1.5)))
    assert verdict.seen == (
        "The winner is 2.00 ± 1.50 nats ahead of trial 0001, which is inside the noise of "
        "posterior samples."
    )


@pytest.mark.parametrize(
    ("losses", "words", "seeds"),
    [
        ({"0000": (110.0, 116.0), "0001": (117.0, 125.0)}, "inside the noise of seeds", 4),
        ({"0000": (110.0,), "0001": (117.0,)}, "one seed does not show the noise", 3),
    ],
)
def test_other_seeds_take_precedence_over_rescoring(tmp_path, losses, words, seeds):
    verdict = judge_lead(search(rescored(20.0), make_retrained(losses)))
    assert words in verdict.seen
    assert paste(tmp_path, verdict.lines) == {"limits.final_seeds": seeds}


def test_a_clear_lead_over_seeds_has_no_verdict():
    losses = {"0000": (110.0, 111.0), "0001": (117.0, 118.0)}
    assert judge_lead(search(rescored(0.25), make_retrained(losses))) is None


def test_a_lead_without_rescoring_or_of_a_collapsed_winner_has_no_verdict():
    assert judge_lead(search()) is None
    assert judge_lead(search(rescored(2.0), use=LatentUse(0, 0.0))) is None, (
        "the winner has collapsed"
    )
