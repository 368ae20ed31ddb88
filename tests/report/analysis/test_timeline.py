"""Timelines exclude breaks; overlapping trials and workers have separate lanes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from journals import JournalBuilder, make_joined
from stories import START, SearchBuilder

from vaetune.report.analysis.timeline import (
    WorkingTime,
    compute_timeline,
    list_worker_kinds,
    study_moments,
)
from vaetune.report.analysis.utilisation import compute_utilisation, describe_utilisation


def timeline_of(study, baseline=None):
    return compute_timeline(study, WorkingTime(study), baseline)


def spans_of(study):
    return timeline_of(study).spans


def test_trials_follow_each_other_in_one_lane(tmp_path):
    study = SearchBuilder(tmp_path).trial("0000", [3.0, 2.0]).trial("0001", [1.0]).end().study()
    assert [(s.trial_id, s.lane, s.start_s, s.end_s) for s in spans_of(study)] == [
        ("0000", 0, 0.0, 120.0),
        ("0001", 0, 120.0, 180.0),
    ]


def test_the_break_between_sessions_takes_no_time(tmp_path):
    story = SearchBuilder(tmp_path).trial("0000", [3.0]).end("interrupted").session(after_s=7200.0)
    study = story.trial("0001", [1.0]).session(after_s=500.0).trial("0002", [1.0]).study()
    assert [(s.start_s, s.end_s) for s in spans_of(study)] == [
        (0.0, 60.0),
        (60.0, 120.0),
        (120.0, 180.0),
    ]
    assert WorkingTime(study).until_s == 180.0


def test_working_time_does_not_advance_in_a_break(tmp_path):
    story = SearchBuilder(tmp_path).trial("0000", [3.0]).end("interrupted").session(after_s=7200.0)
    clock = WorkingTime(story.trial("0001", [1.0]).study())
    moments = [START + timedelta(seconds=second) for second in (60, 61, 7000, 7260, 7261)]
    assert [clock.at(moment) for moment in moments] == [60.0, 60.0, 60.0, 60.0, 61.0]


def test_the_length_of_an_interrupted_trial_excludes_the_break(tmp_path):
    story = SearchBuilder(tmp_path).trial("0000", [3.0], unfinished=True).session(after_s=7200.0)
    moment = story.time + timedelta(minutes=1)
    later = story.study().trials[0].epochs[0].model_copy(update={"time": moment, "epoch": 2})
    story.events.append(later)
    assert [(s.start_s, s.end_s) for s in spans_of(story.study())] == [(0.0, 120.0)]


def test_overlapping_trials_have_separate_lanes(tmp_path):
    study = (
        SearchBuilder(tmp_path)
        .trial("0000", [3.0])
        .trial("0001", [2.0])
        .trial("0002", [1.0])
        .study()
    )
    first, second, third = study.trials
    moved = replace(second, started=START + timedelta(seconds=30))
    spans = spans_of(replace(study, trials=(first, moved, third)))
    assert [(s.trial_id, s.lane) for s in spans] == [("0000", 0), ("0001", 1), ("0002", 0)]


@pytest.mark.parametrize("losses", [[], [2.0]])
def test_a_running_trial_lasts_until_its_last_event(tmp_path, losses):
    study = SearchBuilder(tmp_path).trial("0000", losses, unfinished=True).study()
    assert [s.end_s for s in spans_of(study)] == [60.0 * len(losses)]


# Workers


def bars_of(study):
    return [(s.trial_id, s.lane, s.worker, s.start_s, s.end_s) for s in spans_of(study)]


def test_every_worker_has_a_lane_even_if_it_trained_nothing():
    builder = JournalBuilder(3).begin(10, "0000", 3).begin(10, "0001", 1).finish(30, "0001")
    study = builder.begin(30, "0002", 1).finish(40, "0002").finish(50, "0000").study()
    assert timeline_of(study).lanes == (1, 2, 3)
    assert bars_of(study) == [
        ("0000", 2, 3, 10.0, 50.0),
        ("0001", 0, 1, 10.0, 30.0),
        ("0002", 0, 1, 30.0, 40.0),
    ]


def test_a_trial_of_a_lost_worker_has_a_span_on_both_workers():
    builder = (
        JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).lose(30, 1, "0000", "gone")
    )
    builder.finish(40, "0001").resume(41, "0000", 2).join(50, 1, "node8")
    study = builder.begin(51, "0002", 1).finish(60, "0000").finish(61, "0002").study()
    assert bars_of(study) == [
        ("0000", 0, 1, 10.0, 30.0),
        ("0000", 1, 2, 41.0, 60.0),
        ("0001", 1, 2, 10.0, 40.0),
        ("0002", 0, 1, 51.0, 61.0),
    ]
    (loss,) = timeline_of(study).lost_workers
    assert (loss.worker, loss.lane, loss.at_s, loss.trial_id) == (1, 0, 30.0, "0000")
    assert [span.place for span in spans_of(study)] == [
        "CPU on node7, 2 threads",
        "CPU on node7, 2 threads",
        "CPU on node7, 2 threads",
        "CPU on node8, 2 threads",
    ]


def test_a_trial_on_a_worker_has_a_span_before_and_after_a_break():
    builder = JournalBuilder(1).begin(10, "0000", 1).epoch(30, "0000").end(40, "interrupted")
    study = builder.session(1000, 1).resume(1005, "0000", 1, 1).finish(1025, "0000").study()
    assert bars_of(study) == [("0000", 0, 1, 10.0, 40.0), ("0000", 0, 1, 45.0, 65.0)]


def test_trials_without_a_worker_are_below_the_lanes_of_workers():
    builder = (
        JournalBuilder(1, joined=None).begin(10, "0000", None).epoch(30, "0000").session(1000, 2)
    )
    builder.resume(1010, "0000", 2, 1).begin(1010, "0001", 1).finish(1030, "0000")
    study = builder.finish(1040, "0001").study()
    assert timeline_of(study).lanes == (1, 2, None)
    assert bars_of(study) == [
        ("0000", 2, None, 10.0, 30.0),
        ("0000", 1, 2, 40.0, 60.0),
        ("0001", 0, 1, 40.0, 70.0),
    ]


def test_a_trial_without_workers_has_one_span_across_breaks():
    builder = JournalBuilder(1, joined=None).begin(10, "0000", None).epoch(30, "0000")
    study = builder.session(1000, 1).resume(1005, "0000", None, 1).finish(1025, "0000").study()
    assert timeline_of(study).lanes == (None,)
    assert bars_of(study) == [("0000", 0, None, 10.0, 55.0)]


def test_joined_and_lost_workers_extend_the_working_time():
    study = JournalBuilder(2, joined=20).lose(25, 2).session(100, 2).begin(110, "0000", 1).study()
    moments = [(moment - study.started.time).total_seconds() for moment in study_moments(study)]
    assert sorted(set(moments)) == [0, 20, 25, 100, 110]
    assert bars_of(study) == [("0000", 0, 1, 35.0, 35.0)]


def test_the_keras_example_is_in_the_lane_of_its_worker():
    study = JournalBuilder(2).begin(10, "0000", 2).finish(90, "0000").end(90).study()
    example = (
        JournalBuilder(2, kind="baseline").begin(5, "0000", 1).finish(70, "0000").end(70).study()
    )
    assert [(s.lane, s.start_s, s.end_s) for s in timeline_of(study, example).reference_spans] == [
        (0, 5.0, 70.0)
    ]


def test_a_keras_example_trained_at_another_time_is_not_in_the_timeline():
    later = JournalBuilder(2).session(5000, 2).begin(5010, "0000", 2).finish(5090, "0000").study()
    example = JournalBuilder(2, kind="baseline").begin(1000, "0000", 1).finish(2000, "0000").study()
    assert timeline_of(later, example).reference_spans == ()


# Kinds of workers


def kinds_of(*joined):
    return [(kind.numbers, kind.place) for kind in list_worker_kinds(joined)]


def test_workers_with_equal_devices_form_a_kind():
    assert kinds_of(
        make_joined(2, "node7", threads=1),
        make_joined(1, "node8", device="GPU (NVIDIA H100)", threads=4),
        make_joined(3, "node9", threads=1),
    ) == [
        ((1,), "GPU (NVIDIA H100) on node8, 4 threads"),
        ((2, 3), "CPU on node7 and node9, 1 thread each"),
    ]


def test_many_machines_are_counted():
    joined = [make_joined(n, f"node{n}") for n in (1, 2, 3, 4)]
    assert kinds_of(*joined[:3]) == [
        ((1, 2, 3), "CPU on node1, node2 and node3, 2 threads each"),
    ]
    assert kinds_of(*joined) == [((1, 2, 3, 4), "CPU on 4 machines, 2 threads each")]


def test_a_worker_on_two_devices_in_turn_has_both():
    first, second = make_joined(1, "node7"), make_joined(1, "node8", device="GPU (a card)")
    shown = "CPU on node7, 2 threads, then GPU (a card) on node8, 2 threads"
    assert kinds_of(first, second) == [((1,), shown)]


# Utilisation


def test_utilisation_covers_the_first_start_to_the_last_event_of_trials():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).finish(30, "0001")
    builder.finish(40, "0000").begin(40, "0002", 1, parent="0000", rung=1).finish(70, "0002")
    found = compute_utilisation(builder.end(500).study())
    assert (found.fewest, found.most) == (2, 2)
    assert (found.trained_s, found.available_s, found.idle_s) == (80.0, 120.0, 40.0)
    assert found.share == pytest.approx(80 / 120)
    assert found.by_worker == pytest.approx({1: 1.0, 2: 20 / 60})
    assert found.until_last_rung == pytest.approx(50 / 60)
    assert describe_utilisation(found).replace("\N{NO-BREAK SPACE}", " ") == (
        "2 workers trained for 67 % of the time (83 % until the last rung began) "
        "and were idle for 40.0 s of worker time."
    )


def test_each_session_counts_with_its_own_number_of_workers():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(20, "0001", 2).finish(50, "0000")
    builder.end(60, "interrupted").session(1000, 3)
    builder.resume(1010, "0001", 3).begin(1010, "0002", 1).finish(1020, "0002")
    found = compute_utilisation(builder.finish(1030, "0001").end(1100).study())
    assert (found.fewest, found.most) == (2, 3)
    assert (found.trained_s, found.available_s) == (80.0 + 30.0, 2 * 50.0 + 3 * 20.0)
    assert found.by_worker == pytest.approx({1: 50 / 70, 2: 40 / 70, 3: 20 / 20})
    assert found.until_last_rung is None
    assert describe_utilisation(found).replace("\N{NO-BREAK SPACE}", " ") == (
        "2 to 3 workers trained for 69 % of the time and were idle for 50.0 s of worker time."
    )


def test_utilisation_until_the_last_rung_includes_earlier_sessions():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).finish(30, "0000")
    builder.end(50, "interrupted").session(1000, 2).resume(1010, "0001", 1).finish(1030, "0001")
    builder.begin(1020, "0002", 2, rung=1).finish(1050, "0002")
    found = compute_utilisation(builder.study())
    assert found.until_last_rung == pytest.approx((20 + 40 + 10) / (2 * 40 + 2 * 10))
    assert found.share == pytest.approx((20 + 40 + 20 + 30) / (2 * 40 + 2 * 40))


def test_a_lost_worker_counts_as_idle():
    builder = JournalBuilder(2).begin(0, "0000", 1).begin(0, "0001", 2).lose(30, 1, "0000")
    builder.finish(40, "0001").resume(40, "0000", 2).finish(60, "0000")
    found = compute_utilisation(builder.study())
    assert (found.trained_s, found.available_s) == (30.0 + 40.0 + 20.0, 120.0)
    assert found.by_worker == {1: 0.5, 2: 1.0}


def test_a_killed_session_lasts_until_its_last_event():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).epoch(40, "0000")
    builder.epoch(50, "0001").session(500, 2).resume(510, "0000", 1, 1).finish(520, "0000")
    found = compute_utilisation(builder.study())
    assert (found.trained_s, found.available_s) == (80.0 + 10.0, 2 * 40.0 + 2 * 10.0)


def test_a_search_of_one_rung_has_no_share_until_the_last_rung():
    (only, *_) = JournalBuilder().study().plan
    found = compute_utilisation(
        JournalBuilder(1, plan=(only,)).begin(0, "0000", 1).finish(10, "0000").study()
    )
    assert (found.share, found.until_last_rung) == (1.0, None)


def test_a_worker_that_trains_the_keras_example_is_not_idle():
    study = JournalBuilder(2).begin(10, "0000", 2).begin(70, "0001", 1).finish(90, "0000").study()
    example = (
        JournalBuilder(2, kind="baseline").begin(5, "0000", 1).finish(60, "0000").end(60).study()
    )
    assert compute_utilisation(study).trained_s == 80.0 + 20.0
    found = compute_utilisation(study, example)
    assert (found.trained_s, found.available_s) == (80.0 + 20.0 + 50.0, 160.0)
    assert found.by_worker == {1: 70 / 80, 2: 1.0}


def test_overlapping_spans_of_two_journals_count_once():
    study = JournalBuilder(1).begin(10, "0000", 1).finish(90, "0000").study()
    example = (
        JournalBuilder(1, kind="baseline").begin(20, "0000", 1).finish(60, "0000").end(60).study()
    )
    assert compute_utilisation(study, example).trained_s == 80.0


def test_a_search_without_workers_or_training_has_no_utilisation(tmp_path):
    assert compute_utilisation(SearchBuilder(tmp_path).trial("0000", [3.0]).end().study()) is None
    assert compute_utilisation(JournalBuilder(2).study()) is None
    assert compute_utilisation(JournalBuilder(2).begin(10, "0000", 1).study()) is None
