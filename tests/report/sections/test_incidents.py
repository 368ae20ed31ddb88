"""The page lists what happened to a search: changes, retries, extensions and lost workers."""

import pytest
from journals import SPEC, JournalBuilder, make_session, make_study, make_trial_events
from stories import NOW, report_text_of, words_of

from vaetune.report.page import render_report
from vaetune.study.events import FileSetAside, PlanCorrected, SearchExtended, TrialRetried
from vaetune.study.records import Rung

pytestmark = pytest.mark.usefixtures("without_charts")


def test_incidents_of_a_search_are_shown():
    begin, *rest = make_trial_events("0000", [212.5])
    moment = {"time": begin.time}
    fewer = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=1),)
    study = make_study(
        begin,
        TrialRetried(**moment, trial_id="0000", attempt=1, error="OOM <b>", traceback="x"),
        *rest,
        make_session(device="GPU (a card)"),
        FileSetAside(**moment, file="trials/0000/a.npz", aside=None, remedy="It is made again."),
        SearchExtended(**moment, search=SPEC, plan=fewer * 3),
        PlanCorrected(**moment, plan=fewer),
    )
    words = words_of(render_report([study], {}, NOW))
    assert "Trial 0000 was retried after this error: OOM <b>" in words
    assert "trials/0000/a.npz was missing. It is made again." in words
    assert "differs from the one before: device: CPU -> GPU (a card)." in words
    assert "Extended to 6 trials of 6 configurations, 6 epochs." in words
    announced = (
        "The plan was 6 trials of 6 configurations, 6 epochs. Because of failures it is now "
        "2 trials"
    )
    assert announced in words


def test_a_search_without_incidents_has_no_section():
    study = make_study(*make_trial_events("0000", [212.5]))
    assert "Incidents" not in words_of(render_report([study], {}, NOW))


def test_a_worker_on_another_kind_of_machine_is_shown():
    builder = (
        JournalBuilder(4).join(5, 2, "node8", cpu="another").join(5, 3, "node8", cpu="another")
    )
    assert (
        "Workers 2-3 of the session of 4 March 2026, 05:06 UTC differ from the process of the "
        "search: processor: a processor -> another."
    ) in report_text_of(builder)


def test_each_lost_worker_is_shown_with_the_outcome_of_its_trial():
    builder = (
        JournalBuilder(3)
        .begin(10, "0000", 1, epoch_to=3)
        .epoch(40, "0000")
        .lose(60, 1, "0000", "OOM.")
    )
    builder.begin(61, "0001", 2).lose(70, 2, "0001").resume(71, "0001", 3).lose(80, 3, "0001")
    builder.lose(90, 2, error="").resume(95, "0000", 2, epoch=1)
    words = report_text_of(builder)
    for shown in (
        "Worker 1 was lost on 4 March 2026, 05:07 UTC while it was training trial 0000: OOM. "
        "The trial continued after epoch 1 on worker 2.",
        "Worker 2 was lost on 4 March 2026, 05:07 UTC while it was training trial 0001: "
        "killed by signal 9. The trial started again on worker 3.",
        "Worker 3 was lost on 4 March 2026, 05:07 UTC while it was training trial 0001: "
        "killed by signal 9. The trial has not continued yet.",
        "Worker 2 was lost on 4 March 2026, 05:07 UTC while it was idle: no message was recorded.",
    ):
        assert shown in words


def test_a_lost_worker_is_shown_with_the_failure_of_its_trial():
    builder = (
        JournalBuilder(1).begin(10, "0000", 1).lose(20, 1, "0000").finish(21, "0000", "failed")
    )
    assert "killed by signal 9. The trial failed." in report_text_of(builder)


def test_a_trial_that_continues_in_the_driver_is_described_as_such():
    builder = JournalBuilder(1).begin(10, "0000", 1).lose(20, 1, "0000").session(100, 1)
    builder.resume(101, "0000", None)
    assert "The trial started again in the process of the search." in report_text_of(builder)


def lose_many(builder, times, error="killed"):
    """Each loss interrupts another trial. All trials except the last one continue."""
    for n in range(times):
        builder.begin(60 * n, f"{n:04}", 1 + n % 2).lose(60 * n + 30, 1 + n % 2, f"{n:04}", error)
        if n < times - 1:
            builder.resume(60 * n + 40, f"{n:04}", 2 - n % 2).finish(60 * n + 50, f"{n:04}")
    return builder


def test_more_than_ten_lost_workers_are_summarised():
    assert report_text_of(lose_many(JournalBuilder(2), 10)).count("was lost on") == 10
    words = report_text_of(lose_many(JournalBuilder(2), 11))
    assert words.count("was lost on") == 0
    assert (
        "Workers were lost 11 times from 4 March 2026, 05:06 UTC to 4 March 2026, 05:16 UTC; "
        "most often worker 1, 6 times. Reason for 11 lost workers: killed. "
        "They were training 11 trials. All of them continued except 0010 (queued)."
    ) in words


def test_only_the_most_frequent_reasons_are_shown():
    builder = lose_many(JournalBuilder(2), 5)
    for n in range(7):
        builder.lose(1000 + n, 2, error=f"reason {n}")
    builder.resume(1100, "0004", 1)
    words = report_text_of(builder)
    assert "Reason for 5 lost workers: killed." in words
    assert "Reason for 1 lost worker: reason 3." in words
    assert "reason 4" not in words
    assert "There were 3 other reasons for lost workers." in words
    assert "They were training 5 trials. All of them continued." in words


def test_workers_that_were_lost_while_idle_are_described_as_such():
    builder = JournalBuilder(2)
    for n in range(11):
        builder.lose(n, 1)
    assert "None of them was training a trial of this search." in report_text_of(builder)
