"""Verdicts about a collapse and about inactive latent dimensions, with advice."""

import pytest
from journals import VALUES, make_evaluated, make_session_end, make_study, make_trial_events
from pasted_lines import HYPERBAND, paste

from vaetune.config.space import Choice, Pinned, Range
from vaetune.config.spec import SearchSpec
from vaetune.report.verdicts.latents import judge_collapse, judge_inactive
from vaetune.study.collapse import LatentUse

SOUND, DEAD = LatentUse(8, 12.5), LatentUse(0, 0.125)


def search(*uses, spec=HYPERBAND, epochs=9, also=(), **values):
    """A complete search of trials with these latent uses, the best first."""
    events = [
        event
        for number, use in enumerate(uses)
        for event in make_trial_events(
            *(f"{number:04d}", [200.0 + number] * epochs),
            configuration=number,
            hyperparameters=VALUES | values,
            latent_use=use,
        )
    ]
    return make_study(*events, *also, make_session_end(), search=spec)


def test_a_collapsed_winner_suggests_kl_warmup(tmp_path):
    verdict = judge_collapse(search(DEAD, SOUND))
    assert verdict.seen.startswith("The winner has collapsed: 0 active units, KL 50.00 nats after")
    assert paste(tmp_path, verdict.lines) == {"space.kl_warmup": {"value": 3}}


def test_a_collapse_despite_kl_warmup_suggests_free_bits(tmp_path):
    verdict = judge_collapse(search(DEAD, kl_warmup=2))
    assert paste(tmp_path, verdict.lines) == {"space.free_bits": {"value": 0.1}}
    verdict = judge_collapse(search(DEAD, kl_warmup=2, free_bits=0.1))
    assert (verdict.advice[:26], verdict.lines) == ("Try smaller learning rates", "")


@pytest.mark.parametrize(
    ("beta", "line"),
    [
        (Range(min=0.5, max=4), "beta = { min = 0.5, max = 1 }"),
        (Choice(values=(0.5, 2)), "beta = { values = [0.5] }"),
        (Choice(values=(2, 4)), "beta = { values = [1] }"),
        (Pinned(value=4), "beta = { value = 1 }"),
    ],
)
def test_a_large_beta_is_reduced_first(beta, line):
    space = HYPERBAND.space.model_copy(update={"beta": beta})
    verdict = judge_collapse(search(DEAD, spec=SearchSpec(space=space), beta=4))
    assert verdict.lines == f"[space]\n{line}"


def test_many_collapsed_trials_are_mentioned_if_they_had_all_epochs(tmp_path):
    verdict = judge_collapse(search(SOUND, SOUND, DEAD, SOUND, DEAD))
    assert verdict.kind == "collapsed_trials"
    assert verdict.seen.startswith("2 of the 5 trials with 9 epochs have collapsed (40\xa0%):")
    assert paste(tmp_path, verdict.lines) == {"space.kl_warmup": {"value": 3}}
    assert judge_collapse(search(SOUND, DEAD)) is None
    assert judge_collapse(search(*[SOUND] * 9, DEAD, DEAD)) is None
    assert judge_collapse(search(SOUND, DEAD, DEAD, epochs=1)) is None
    assert judge_collapse(search(None, None)) is None, "the latent uses are unknown"


def test_inactive_dimensions_of_the_winner_suggest_a_smaller_latent_dim(tmp_path):
    verdict = judge_inactive(search(LatentUse(9, 20.0), latent_dim=16))
    assert verdict.seen == (
        "7 of the winner's 16 latent dimensions are inactive: they are the same for all images."
    )
    assert "A latent_dim of 9 should do as well" in verdict.advice
    assert paste(tmp_path, verdict.lines) == {"space.latent_dim": {"values": (8, 9)}}


@pytest.mark.parametrize(("active", "latent_dim"), [(13, 16), (1, 2), (0, 8), (16, 16)])
def test_a_few_inactive_dimensions_or_no_active_ones_have_no_verdict(active, latent_dim):
    assert judge_inactive(search(LatentUse(active, 20.0), latent_dim=latent_dim)) is None


def test_several_levels_need_an_evaluation_to_count_inactive_dimensions():
    many = LatentUse(9, 20.0)
    assert judge_inactive(search(many, latent_dim=16, levels=2)) is None
    evaluated = make_evaluated(epoch=1, variance_per_dimension=(0.5,) * 4 + (0.0,) * 12)
    verdict = judge_inactive(search(many, also=[evaluated], latent_dim=16, levels=2))
    assert verdict.seen.startswith("12 of the winner's 16 latent dimensions are inactive")
