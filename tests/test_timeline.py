"""Working time leaves breaks out; trials that overlap run in lanes of their own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from test_report import START, Story
from vaetune.report.timeline import WorkingTime, compute_timeline


def spans_of(study):
    return compute_timeline(study, WorkingTime(study))


def test_trials_follow_each_other_in_one_lane(tmp_path):
    study = Story(tmp_path).trial("0000", [3.0, 2.0]).trial("0001", [1.0]).end().study()
    assert [(s.trial_id, s.lane, s.start_s, s.end_s) for s in spans_of(study)] == [
        ("0000", 0, 0.0, 120.0),
        ("0001", 0, 120.0, 180.0),
    ]


def test_the_break_between_sessions_takes_no_time(tmp_path):
    story = Story(tmp_path).trial("0000", [3.0]).end("interrupted").session(after_s=7200.0)
    study = story.trial("0001", [1.0]).session(after_s=500.0).trial("0002", [1.0]).study()
    assert [(s.start_s, s.end_s) for s in spans_of(study)] == [
        (0.0, 60.0),
        (60.0, 120.0),
        (120.0, 180.0),
    ]
    assert WorkingTime(study).until_s == 180.0


def test_a_trial_that_a_break_cut_in_two_is_as_long_as_it_worked(tmp_path):
    story = Story(tmp_path).trial("0000", [3.0], unfinished=True).session(after_s=7200.0)
    moment = story.time + timedelta(minutes=1)
    later = story.study().trials[0].epochs[0].model_copy(update={"time": moment, "epoch": 2})
    story.events.append(later)
    assert [(s.start_s, s.end_s) for s in spans_of(story.study())] == [(0.0, 120.0)]


def test_trials_at_the_same_time_are_in_lanes_of_their_own(tmp_path):
    study = Story(tmp_path).trial("0000", [3.0]).trial("0001", [2.0]).trial("0002", [1.0]).study()
    first, second, third = study.trials
    moved = replace(second, started=START + timedelta(seconds=30))
    spans = spans_of(replace(study, trials=(first, moved, third)))
    assert [(s.trial_id, s.lane) for s in spans] == [("0000", 0), ("0001", 1), ("0002", 0)]


@pytest.mark.parametrize("losses", [[], [2.0]])
def test_a_trial_under_way_lasts_until_the_last_sign_of_it(tmp_path, losses):
    study = Story(tmp_path).trial("0000", losses, unfinished=True).study()
    assert [s.end_s for s in spans_of(study)] == [60.0 * len(losses)]
