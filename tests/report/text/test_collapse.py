"""Descriptions of collapsed trials and of trials without a measurement."""

import pytest
from journals import make_session_end, make_study, make_trial_events

from vaetune.report.text.collapse import (
    count_collapsed,
    describe_end,
    describe_status,
    warn_of_winner,
)
from vaetune.report.text.search import describe_winner
from vaetune.study.collapse import LatentUse
from vaetune.study.notebook import describe_trial

SOUND, DEAD = LatentUse(2, 12.5), LatentUse(0, 0.125)


def study_of(*uses):
    """A search of trials with these latent uses, best first. None: not measured."""
    events = [
        event
        for n, use in enumerate(uses)
        for event in make_trial_events(f"{n:04d}", [200.0 + n], configuration=n, latent_use=use)
    ]
    return make_study(*events, make_session_end())


@pytest.mark.parametrize(
    ("units", "kl", "collapsed"),
    [(0, 9.0, True), (1, 0.5, False), (1, 0.49, True), (0, 0.1, True), (3, 20.0, False)],
)
def test_no_active_unit_or_a_tiny_kl_divergence_is_a_collapse(units, kl, collapsed):
    assert LatentUse(units, kl).is_collapsed is collapsed


@pytest.mark.parametrize(
    ("uses", "words"),
    [
        ((None, None), ""),
        ((SOUND, SOUND), "No trial has collapsed, of 2 completed trials."),
        (
            (SOUND, DEAD, DEAD),
            "2 of 3 completed trials collapsed: at the last epoch no latent dimension has a z_mean "
            "with a variance above 0.01 over validation images, or the KL divergence is below "
            "0.5 nats.",
        ),
    ],
)
def test_a_sentence_counts_the_collapsed_trials(uses, words):
    assert count_collapsed(study_of(*uses)) == words


def test_trials_without_a_measurement_are_counted_separately():
    words = count_collapsed(study_of(SOUND, None, DEAD))
    assert words.startswith("1 of 2 completed trials collapsed:")
    assert words.endswith("0.5 nats. It was not measured for 1 earlier trial.")


def test_only_a_collapsed_winner_has_a_warning():
    dead, sound = study_of(DEAD, SOUND), study_of(SOUND, DEAD)
    assert warn_of_winner(dead).startswith("The winner has collapsed: 0 active units, KL ")
    assert warn_of_winner(sound) == warn_of_winner(study_of(None)) == ""
    assert "\n  collapsed " in describe_winner(dead, dead.winner, None)
    assert "collapsed" not in describe_winner(sound, sound.winner, None)
    assert describe_trial(dead.winner).endswith(", collapsed")
    assert "collapsed" not in describe_trial(sound.winner)


def test_the_status_and_the_last_line_of_a_trial_name_a_collapse():
    study = study_of(DEAD, SOUND, None)
    assert [describe_status(t) for t in study.trials] == [
        "completed, collapsed",
        "completed",
        "completed",
    ]
    ends = [make_trial_events("0000", [1.0], latent_use=use)[-1] for use in (DEAD, SOUND, None)]
    assert [describe_end(end) for end in ends] == ["collapsed (KL 0.12, 0 active units)", "", ""]
