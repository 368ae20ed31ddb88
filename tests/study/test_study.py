"""Studies that are built from journals: statuses, scores, ranking and winner."""

import math
from datetime import timedelta
from pathlib import Path

import pytest
from journals import (
    PLAN,
    SPEC,
    START,
    VALUES,
    JournalBuilder,
    make_epoch,
    make_evaluated,
    make_rescored,
    make_retrained,
    make_session,
    make_session_end,
    make_started,
    make_study,
    make_trial_events,
    write_journal,
    write_search,
)

from vaetune.config.spec import Budget
from vaetune.errors import JournalError, ResultsError
from vaetune.study.builder import build_study, load_study
from vaetune.study.events import (
    FileSetAside,
    PlanCorrected,
    SearchExtended,
    TrialResumed,
    TrialRetried,
    WorkerLost,
)
from vaetune.study.ranking import pick
from vaetune.study.records import Rung
from vaetune.study.trial import TRIAL_COLUMNS


def make_promotion_events():
    """Three configurations train one epoch; the second one is promoted to three."""
    return [
        *make_trial_events("0000", [210.0]),
        *make_trial_events("0001", [200.0], configuration=1),
        *make_trial_events("0002", [220.0], configuration=2),
        *make_trial_events(
            "0003", [190.0, 195.0], configuration=1, parent="0001", rung=1, epoch_from=1
        ),
    ]


def completed(trial_id, *losses):
    return make_trial_events(trial_id, list(losses))


# Statuses


def test_an_unfinished_trial_is_running_while_its_session_runs():
    study = make_study(*make_trial_events("0000", [200.0], status=None))
    assert [trial.status for trial in study.trials] == ["running"]
    assert study.last_end is None
    assert not study.is_complete


def test_an_unfinished_trial_is_stopped_after_its_session_ends():
    for reason in ("interrupted", "error"):
        events = make_trial_events("0000", [200.0], status=None)
        study = make_study(*events, make_session_end(reason))
        assert [trial.status for trial in study.trials] == ["stopped"]
        assert not study.is_complete


def test_a_stopped_trial_runs_again_in_the_next_session():
    events = make_trial_events("0000", [200.0], status=None)
    study = make_study(*events, make_session_end("interrupted"), make_session(device="GPU"))
    assert study.trials[0].status == "running"
    assert len(study.sessions) == 2
    assert study.environment.device == "GPU"


def test_an_ended_trial_keeps_its_status_after_its_session_ends():
    study = make_study(
        *completed("0000", 200.0),
        *make_trial_events("0001", [math.nan], status="failed", error="A loss became NaN."),
        make_session_end("interrupted"),
    )
    assert [trial.status for trial in study.trials] == ["completed", "failed"]
    assert [trial.error for trial in study.trials] == [None, "A loss became NaN."]
    assert [trial.trial_id for trial in study.failures] == ["0001"]


def test_a_study_is_complete_if_its_last_session_completed():
    assert make_study(make_session_end("completed")).is_complete
    assert not make_study(make_session_end("completed"), make_session()).is_complete


# Epochs and scores


def test_an_epoch_that_is_trained_twice_counts_once_with_its_last_loss():
    study = make_study(
        *make_trial_events("0000", [200.0, 150.0], status=None),
        make_epoch("0000", 2, 190.0),
        make_epoch("0000", 3, 195.0),
    )
    assert [(e.epoch, e.val_loss) for e in study.trials[0].epochs] == [
        (1, 200.0),
        (2, 190.0),
        (3, 195.0),
    ]
    assert study.trials[0].score == 190.0
    assert study.epochs_trained == 3


def test_the_best_epoch_is_the_earliest_with_the_lowest_loss():
    trial = make_study(*completed("0000", 200.0, 190.0, 190.0, 191.0)).trials[0]
    assert (trial.best.epoch, trial.score) == (2, 190.0)


def test_an_epoch_with_a_loss_that_is_not_finite_is_never_the_best():
    trial = make_study(*completed("0000", math.nan, -math.inf, 200.0, math.inf)).trials[0]
    assert (trial.best.epoch, trial.score) == (3, 200.0)
    never_finite = make_study(*make_trial_events("0000", [math.nan], status="failed")).trials[0]
    assert (never_finite.best, never_finite.score) == (None, None)


# Ranking


def test_trials_are_ranked_by_score_and_then_by_id():
    study = make_study(
        *completed("0002", 200.0),
        *completed("0000", 210.0, 200.0),
        *completed("0003", 190.0),
        *completed("0001", 200.0),
    )
    assert [trial.trial_id for trial in study.ranking] == ["0003", "0000", "0001", "0002"]
    assert study.winner.trial_id == "0003"


def test_the_winner_may_have_any_number_of_epochs():
    study = make_study(
        *completed("0000", 180.0), *make_trial_events("0001", [185.0, 181.0], rung=1, epoch_from=1)
    )
    assert study.winner.trial_id == "0000"


def test_only_completed_trials_can_win():
    study = make_study(
        *make_trial_events("0000", [100.0, math.nan], status="failed"),
        *make_trial_events("0001", [110.0], status=None),
        *completed("0002", 200.0),
    )
    assert [trial.trial_id for trial in study.ranking] == ["0002"]


def test_without_a_completed_trial_there_is_no_winner():
    study = make_study(*make_trial_events("0000", [100.0], status=None))
    assert study.ranking == ()
    assert study.winner is None


# Promotions


def test_the_lineage_of_a_promotion_begins_with_its_oldest_trial():
    study = make_study(*make_promotion_events())
    lineage = study.lineage(study.trial("0003"))
    assert [trial.trial_id for trial in lineage] == ["0001", "0003"]
    assert study.lineage(study.trial("0000")) == (study.trial("0000"),)


def test_the_curve_of_a_promotion_includes_the_epochs_of_its_parent():
    study = make_study(*make_promotion_events())
    curve = study.curve(study.trial("0003"))
    assert [(e.epoch, e.val_loss) for e in curve] == [(1, 200.0), (2, 190.0), (3, 195.0)]


def test_a_missing_trial_is_reported():
    with pytest.raises(ResultsError, match='"tiny" has no trial 0009'):
        make_study(*make_promotion_events()).trial("0009")


def test_a_trial_is_found_by_its_id_without_leading_zeros():
    study = make_study(*completed("0004", 210.0), *completed("0040", 200.0))
    assert study.trial("4").trial_id == "0004"
    assert study.trial("40").trial_id == "0040"
    with pytest.raises(ResultsError, match="no trial 44"):
        study.trial("44")


def test_planned_and_trained_epochs_are_counted():
    study = make_study(*make_promotion_events())
    assert study.epochs_planned == 5
    assert study.epochs_trained == 5
    assert make_study(*make_trial_events("0000", [210.0], status=None)).epochs_trained == 1


# Training intervals


def intervals_of(study, trial_id="0000"):
    """Worker, first second, last second and starting epoch of each training interval."""
    return [
        (
            one.worker,
            (one.started - START).total_seconds(),
            (one.ended - START).total_seconds(),
            one.epoch,
        )
        for one in study.trial(trial_id).intervals
    ]


def test_a_trial_has_one_interval_from_its_start_to_its_end():
    builder = JournalBuilder(2).begin(10, "0000", 2).epoch(30, "0000").finish(31, "0000").end(90)
    assert intervals_of(builder.study()) == [(2, 10, 31, 0)]


def test_a_trial_of_a_lost_worker_continues_on_another_worker():
    builder = (
        JournalBuilder(2).begin(10, "0000", 1, epoch_to=3).epoch(30, "0000").lose(45, 1, "0000")
    )
    builder.resume(50, "0000", 2, epoch=1).epoch(70, "0000", 2).finish(90, "0000")
    assert intervals_of(builder.study()) == [(1, 10, 45, 0), (2, 50, 90, 1)]


def test_a_lost_worker_does_not_end_the_intervals_of_other_workers():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2)
    study = builder.lose(45, 1, "0000").finish(60, "0001").study()
    assert intervals_of(study, "0001") == [(2, 10, 60, 0)]


def test_the_end_of_a_session_ends_all_running_intervals():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(20, "0001", 2).epoch(30, "0000")
    builder.end(40, "interrupted").session(900, 1).resume(910, "0001", 1).finish(950, "0001")
    study = builder.study()
    assert intervals_of(study) == [(1, 10, 40, 0)]
    assert intervals_of(study, "0001") == [(2, 20, 40, 0), (1, 910, 950, 0)]


def test_the_intervals_of_a_killed_session_end_with_its_last_event():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(20, "0001", 2).epoch(30, "0000")
    builder.epoch(44, "0001").session(900, 2).resume(910, "0000", 2, epoch=1)
    study = builder.epoch(930, "0000", 2).study()
    assert intervals_of(study) == [(1, 10, 44, 0), (2, 910, 930, 1)]
    assert intervals_of(study, "0001") == [(2, 20, 44, 0)]


def test_a_later_evaluation_does_not_extend_an_interval():
    builder = JournalBuilder(1).begin(10, "0000", 1).epoch(30, "0000")
    builder.events.append(make_evaluated("0000", 1))
    assert intervals_of(builder.study()) == [(1, 10, 30, 0)]


def test_a_search_without_workers_has_intervals_without_a_worker():
    builder = JournalBuilder(1, joined=None).begin(10, "0000", None).epoch(30, "0000")
    builder.session(900, 1).resume(905, "0000", None, epoch=1).finish(950, "0000")
    assert intervals_of(builder.study()) == [(None, 10, 30, 0), (None, 905, 950, 1)]


def test_a_trial_that_no_worker_has_resumed_is_queued():
    builder = JournalBuilder(2).begin(10, "0000", 1).begin(10, "0001", 2).lose(20, 1, "0000")
    assert [trial.status for trial in builder.study().trials] == ["queued", "running"]
    builder.resume(30, "0000", 1)
    assert [trial.status for trial in builder.study().trials] == ["running", "running"]
    builder.session(900, 2).resume(910, "0001", 1)
    assert [trial.status for trial in builder.study().trials] == ["queued", "running"]
    builder.end(950, "interrupted")
    assert [trial.status for trial in builder.study().trials] == ["stopped", "stopped"]


def test_only_the_trial_of_a_lost_worker_counts_a_crash():
    builder = (
        JournalBuilder(3).begin(10, "0000", 1).begin(10, "0001", 2).lose(20, 1, "0000").lose(21, 3)
    )
    study = builder.study()
    assert [trial.crashes for trial in study.trials] == [1, 0]
    assert [(lost.worker, lost.trial_id) for lost in study.workers_lost] == [(1, "0000"), (3, None)]
    assert [joined.worker for joined in study.workers_joined] == [1, 2, 3]


def test_a_lost_worker_with_an_unknown_trial_is_reported_as_damage():
    with pytest.raises(JournalError, match="events of trial 0007, which never started"):
        make_study(WorkerLost(time=START, worker=1, trial_id="0007", error="killed"))


# Durations


def test_the_duration_of_an_ended_trial_is_read_from_the_journal():
    trial = make_study(*make_trial_events("0000", [200.0], duration_s=7.5)).trials[0]
    assert trial.duration_s == 7.5
    assert trial.ended - trial.started == timedelta(minutes=1)


def test_the_duration_of_an_unfinished_trial_is_that_of_its_epochs():
    trial = make_study(*make_trial_events("0000", [200.0, 190.0], status=None)).trials[0]
    assert trial.duration_s == 2 * (2.0 + 0.5)
    assert trial.ended is None
    assert trial.parameters is None


# Tables


def test_the_table_has_one_row_per_trial_in_the_order_of_their_start():
    failed = make_trial_events("0004", [], status="failed", parameters=None, error="No memory.")
    table = make_study(*make_promotion_events(), *failed).trials_table()
    assert tuple(table.columns) == TRIAL_COLUMNS
    assert list(table.trial_id) == ["0000", "0001", "0002", "0003", "0004"]
    promoted = table.iloc[3]
    assert (promoted.configuration, promoted.parent, promoted.rung) == (1, "0001", 1)
    assert (promoted.epoch_from, promoted.epoch_to, promoted.best_epoch) == (1, 3, 2)
    assert (promoted.val_loss, promoted.reconstruction_loss, promoted.kl_loss) == (190, 142.5, 47.5)
    assert promoted.hyperparameters == VALUES
    broken = table.iloc[4]
    assert (broken.status, broken.error) == ("failed", "No memory.")
    assert math.isnan(broken.val_loss)


def test_integer_columns_stay_integers_with_missing_values():
    failed = make_trial_events("0001", [], status="failed", parameters=None)
    table = make_study(*completed("0000", 200.0), *failed).trials_table()
    assert [str(value) for value in table.parameters] == ["69076", "<NA>"]
    assert [str(value) for value in table.best_epoch] == ["1", "<NA>"]


def test_a_study_without_trials_has_an_empty_table():
    table = make_study().trials_table()
    assert tuple(table.columns) == TRIAL_COLUMNS
    assert table.empty


# Reading from a journal


def test_a_journal_without_events_is_reported(tmp_path):
    with pytest.raises(ResultsError, match="stopped before it began"):
        build_study([], tmp_path)


@pytest.mark.parametrize("lost", [1, 2])
def test_events_of_a_trial_that_never_started_are_reported_as_damage(tmp_path, lost):
    events = make_trial_events("0007", [200.0])[lost:]
    write_search(tmp_path, "tiny", *events)
    with pytest.raises(JournalError, match=r"tiny.* trial 0007, which never started"):
        load_study(tmp_path / "tiny")


def test_a_study_is_read_from_its_folder(tmp_path):
    write_search(tmp_path, "tiny", *make_promotion_events())
    study = load_study(tmp_path / "tiny")
    assert (study.name, study.folder) == ("tiny", tmp_path / "tiny")
    assert study.trial_folder("0003") == tmp_path / "tiny" / "trials" / "0003"
    assert study.winner.trial_id == "0003"
    assert study.started.time == START
    assert study.space == SPEC.space


def test_a_plan_is_read_from_the_journal(tmp_path):
    write_journal(tmp_path / "tiny", [make_started()])
    assert load_study(tmp_path / "tiny").started.plan == PLAN


# Crashes, retries and extensions


def resumed(trial_id="0000", epoch=0):
    return TrialResumed(time=START, trial_id=trial_id, epoch=epoch)


def crashes_of(*events):
    return (
        build_study([make_started(), make_session(), *events], Path("results/tiny"))
        .trials[0]
        .crashes
    )


def test_a_session_without_an_end_counts_as_a_crash_of_its_running_trial():
    begun = make_trial_events("0000", status=None)
    assert crashes_of(*begun) == 0, "the session may be running"
    assert crashes_of(*begun, make_session()) == 1
    assert crashes_of(*begun, make_session(), resumed(), make_session()) == 2
    assert crashes_of(*begun, make_session(), make_session(), make_session()) == 1
    assert crashes_of(*begun, make_session_end("interrupted"), make_session()) == 0


def test_a_finished_epoch_resets_the_number_of_crashes():
    begun = make_trial_events("0000", status=None)
    epoch = make_epoch("0000", 1, 200.0)
    assert crashes_of(*begun, make_session(), resumed(), epoch, make_session()) == 1


def test_a_retry_is_listed_with_its_trial():
    retry = TrialRetried(time=START, trial_id="0000", attempt=1, error="OOM", traceback="where")
    begin, *rest = make_trial_events("0000", [200.0])
    assert make_study(begin, retry, *rest).trials[0].retries == (retry,)


def test_the_plan_is_the_latest_correction():
    corrected = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=1),)
    study = make_study(PlanCorrected(time=START, plan=corrected))
    assert (study.plan, study.started.plan) == (corrected, PLAN)
    assert (study.trials_planned, study.epochs_planned) == (2, 2)


def test_an_extension_makes_a_complete_search_incomplete():
    larger = SPEC.model_copy(update={"budget": Budget(max_epochs=3, hyperband_iterations=2)})
    extension = SearchExtended(time=START, search=larger, plan=PLAN * 2)
    study = make_study(*make_promotion_events(), make_session_end(), extension)
    assert not study.is_complete
    assert study.search == larger
    assert study.trials_planned == 8
    assert make_study().search == SPEC


def test_files_that_were_set_aside_are_listed():
    lost = FileSetAside(time=START, file="trials/0000/checkpoint.npz", aside=None, remedy="again")
    assert make_study(lost).set_aside == (lost,)


def test_a_trial_is_picked_by_id_or_latent_size_or_as_the_winner():
    small = VALUES | {"latent_dim": 2}
    study = make_study(
        *make_trial_events("0000", [210.0]),
        *make_trial_events("0001", [220.0], configuration=1, hyperparameters=small),
        *make_trial_events("0002", [230.0], configuration=2, hyperparameters=small),
    )
    assert pick(study) == study.winner
    assert pick(study, trial_id="0002").trial_id == "0002"
    assert pick(study, latent_dim=2).trial_id == "0001"
    with pytest.raises(ResultsError, match=r"of latent_dim 3\. There are: 2, 8\."):
        pick(study, latent_dim=3)
    with pytest.raises(ResultsError, match="no trial 0009"):
        pick(study, trial_id="0009")


def test_a_trial_without_an_epoch_cannot_be_picked():
    study = make_study(*make_trial_events("0000", status="failed"))
    with pytest.raises(ResultsError, match="no finished epoch: it is failed"):
        pick(study, trial_id="0000")
    with pytest.raises(ResultsError, match="no completed trial yet"):
        pick(study)


# Evaluations


def test_a_trial_that_was_never_evaluated_has_no_evaluation():
    study = make_study(*completed("0000", 210.0))
    assert study.evaluations == ()
    assert study.evaluation(study.winner) is None


def test_an_evaluation_counts_only_for_the_best_epoch_of_its_trial():
    events = [*completed("0000", 210.0, 205.0), *completed("0001", 220.0, 230.0)]
    evaluated = [make_evaluated("0000", 2), make_evaluated("0001", 2)]
    study = make_study(*events, *evaluated)
    first, second = study.trials
    assert study.evaluations == tuple(evaluated)
    assert study.evaluation(first) == evaluated[0]
    assert study.evaluation(second) is None, "its best epoch is epoch 1, but epoch 2 was evaluated"


def test_a_complete_search_stays_complete_after_an_evaluation():
    study = make_study(*completed("0000", 210.0), make_session_end(), make_evaluated(epoch=1))
    assert study.is_complete


def test_an_evaluation_of_a_trial_that_never_started_is_damage():
    with pytest.raises(JournalError, match="events of trial 0007, which never started"):
        make_study(*completed("0000", 210.0), make_evaluated("0007"))


# Rescored finalists


def study_of_finalists(*events):
    """A study of three configurations. The first one has a promotion, its better trial."""
    trials = [
        *make_trial_events("0000", [150.0]),
        *make_trial_events("0001", [140.0], configuration=1),
        *make_trial_events("0002", [145.0], configuration=2),
        *make_trial_events("0003", [139.0, 139.5], parent="0000", epoch_from=1, rung=1),
    ]
    return make_study(*trials, *events)


RESCORED = {("0001", 1): 140.5, ("0003", 2): 141.0, ("0002", 1): 146.0}


def ids(trials):
    return [trial.trial_id for trial in trials]


def test_the_finalists_are_the_best_trials_of_the_best_configurations():
    assert ids(study_of_finalists().finalists) == ["0003", "0001", "0002"]
    many = [
        event
        for number in range(8)
        for event in make_trial_events(f"{number:04d}", [150.0 - number], configuration=number)
    ]
    assert ids(make_study(*many).finalists) == ["0007", "0006", "0005", "0004", "0003"]


def test_rescoring_changes_the_winner_and_not_the_ranking():
    assert study_of_finalists().winner.trial_id == "0003"
    study = study_of_finalists(make_rescored(RESCORED))
    assert study.winner.trial_id == "0001"
    assert ids(study.preference) == ["0001", "0003", "0002", "0000"]
    assert ids(study.ranking) == ["0003", "0001", "0002", "0000"]
    assert pick(study) == study.winner
    assert pick(study, latent_dim=8) == study.winner, "the winner must have this latent size"


def test_a_rescoring_of_other_finalists_is_ignored():
    newcomer = make_trial_events("0004", [120.0], configuration=3)
    study = study_of_finalists(make_rescored(RESCORED), *newcomer)
    assert study.rescored is None
    assert study.winner.trial_id == "0004"
    other_epoch = study_of_finalists(make_rescored({**RESCORED, ("0003", 3): 141.0}))
    assert other_epoch.rescored is None
    second = make_rescored({("0004", 1): 121.0, **RESCORED})
    assert study_of_finalists(make_rescored(RESCORED), *newcomer, second).rescored == second


def test_a_finalist_that_was_left_out_follows_the_rescored_ones():
    without_one = {key: loss for key, loss in RESCORED.items() if key[0] != "0003"}
    study = study_of_finalists(make_rescored(without_one, left_out=("0003",)))
    assert study.rescored
    assert ids(study.preference) == ["0001", "0002", "0003", "0000"]


def test_the_training_from_other_seeds_decides_the_winner():
    seeds = make_retrained({"0003": (142.0, 144.0), "0001": (141.0, 151.0), "0002": (140.0, 141.0)})
    study = study_of_finalists(make_rescored(RESCORED), seeds)
    assert ids(study.preference) == ["0002", "0003", "0001", "0000"]
    newcomer = make_trial_events("0004", [120.0], configuration=3)
    assert study_of_finalists(make_rescored(RESCORED), seeds, *newcomer).retrained is None


def test_a_rescored_or_retrained_trial_that_never_started_is_damage():
    with pytest.raises(JournalError, match="events of trial 0009, which never started"):
        study_of_finalists(make_rescored({("0009", 1): 100.0}))
    with pytest.raises(JournalError, match="events of trial 0009, which never started"):
        study_of_finalists(make_retrained({"0009": (100.0,)}))
