"""Failed trials, time budgets, promotions and lost files of a search."""

import math
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from comparisons import assert_same_search, checkpoint_of, events_of, trials_with_checkpoints
from long_forms import long
from tiny_searches import (
    DEVICE,
    IMAGES,
    TINY,
    TINY_REFERENCE,
    TINY_SPACE,
    changed,
    run,
    stop,
)

from vaetune.config.search_file import ResolvedSearch
from vaetune.config.space import Pinned, Space
from vaetune.config.spec import Budget, Limits
from vaetune.search import tuner as tuner_module
from vaetune.search.oracles.control import assignment, make_oracle
from vaetune.search.session import open_search
from vaetune.search.tuner import VAETuner
from vaetune.study.artifacts import Artifacts
from vaetune.study.builder import load_study
from vaetune.study.checkpoint import CHECKPOINT_NAME
from vaetune.study.events import (
    EpochEnded,
    FileSetAside,
    PlanCorrected,
    SessionStarted,
    TrialResumed,
    TrialRetried,
    TrialStarted,
)
from vaetune.study.journal import Journal
from vaetune.training import context as context_module
from vaetune.training.runner import EpochRunner
from vaetune.training.tasks import MAX_CRASHES, Completed

TWELVE_TRIALS = changed(
    TINY,
    algorithm="random",
    budget=Budget(max_epochs=1, max_trials=12),
    limits=Limits(max_failure_rate=0.5),
)
TWO_TRIALS = changed(TINY, algorithm="random", budget=Budget(max_epochs=3, max_trials=2))


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def two_trials(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("two"), TWO_TRIALS)


@pytest.fixture
def break_training(monkeypatch):
    """Makes training raise an error after a number of epochs, up to a number of times."""

    def install(error, after, times=math.inf):
        train, seen = EpochRunner.train_in_parts, {"epochs": 0, "raised": 0}

        def train_or_raise(self, epoch):
            seen["epochs"] += 1
            if seen["epochs"] > after and seen["raised"] < times:
                seen["raised"] += 1
                raise error
            return train(self, epoch)

        monkeypatch.setattr(EpochRunner, "train_in_parts", train_or_raise)
        return seen

    return install


@pytest.fixture
def break_building(monkeypatch):
    """Makes the models of all trials after the first ones fail when they are built."""

    def install(after):
        draw, seen = context_module.draw_variables, []

        def draw_or_raise(image_shape, hyperparameters, *others):
            seen.append(hyperparameters)
            if len(seen) > after:
                raise ValueError("no such model")
            return draw(image_shape, hyperparameters, *others)

        monkeypatch.setattr(context_module, "draw_variables", draw_or_raise)

    return install


# Failures


def test_a_transient_error_is_retried_from_the_last_epoch(two_trials, tmp_path, break_training):
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    seen = break_training(error, 2, times=1)
    study = run(tmp_path, TWO_TRIALS)
    (retried,) = events_of(study, TrialRetried)
    assert (retried.trial_id, retried.attempt) == ("0000", 1)
    assert "OOM when allocating" in retried.error
    assert "train_or_raise" in retried.traceback
    assert [len(trial.retries) for trial in study.trials] == [1, 0]
    assert seen["epochs"] == 7, "six epochs and the failed attempt; no epoch is trained twice"
    assert_same_search(study, two_trials)


def test_a_repeated_lack_of_memory_fails_only_its_trial(tmp_path, break_training):
    break_training(tf.errors.ResourceExhaustedError(None, None, "OOM"), after=1, times=2)
    study = run(tmp_path, TWO_TRIALS)
    first, second = study.trials
    assert (first.status, first.failed_in) == ("failed", 2)
    assert "OOM" in first.error
    assert second.status == "completed"
    assert study.is_complete


def test_a_model_too_large_for_the_memory_fails_its_trial(tmp_path):
    too_large = Space.pinned_at(TINY_REFERENCE | {"dense_units": 10**12})
    spec = changed(TINY, space=too_large, limits=Limits(max_retries=0))
    study = run(tmp_path, spec)
    assert study.is_complete
    assert [(t.status, t.failed_in, t.epochs) for t in study.trials] == [("failed", None, ())]
    assert study.trials[0].traceback


@pytest.mark.parametrize("error", [ValueError("wrong"), ZeroDivisionError("wrong")])
def test_a_permanent_error_is_not_retried(tmp_path, break_training, error):
    break_training(error, after=0, times=1)
    study = run(tmp_path, TWO_TRIALS)
    assert events_of(study, TrialRetried) == []
    assert [trial.status for trial in study.trials] == ["failed", "completed"]
    assert study.trials[0].error == f"{type(error).__name__}: wrong"


def test_a_nonfinite_loss_is_not_retried_and_its_epoch_is_recorded(tmp_path):
    space = TINY_SPACE.model_copy(update={"learning_rate": Pinned(value=1e30)})
    study = run(tmp_path, changed(TWO_TRIALS, space=space, limits=Limits(max_retries=5)))
    assert events_of(study, TrialRetried) == []
    assert [t.failed_in for t in study.trials] == [t.epochs[-1].epoch for t in study.trials]
    assert trials_with_checkpoints(study) == set()


def test_a_search_stops_when_too_many_trials_fail(tmp_path, break_building):
    break_building(after=4)
    study = run(tmp_path, TWELVE_TRIALS)
    assert len(study.trials) == 10
    assert study.last_end.reason == "failures"
    assert study.last_end.message.startswith(
        "6 of 10 trials failed, more than the allowed share of 0.5"
    )
    again = run(tmp_path, TWELVE_TRIALS)
    assert len(again.trials) == 10, "the next session stops at once"
    assert again.last_end.reason == "failures"
    continued = run(tmp_path, changed(TWELVE_TRIALS, limits=Limits(max_failure_rate=1)))
    assert len(continued.trials) == 12
    assert continued.is_complete


def test_a_search_continues_at_the_allowed_failure_rate(tmp_path, break_building):
    break_building(after=6)
    study = run(tmp_path, TWELVE_TRIALS)
    assert (len(study.trials), len(study.failures)) == (12, 6)
    assert study.is_complete


def test_the_plan_is_corrected_after_failed_trials(tmp_path, break_building):
    break_building(after=1)
    any_failures = Limits(max_failure_rate=1)
    study = run(tmp_path, changed(TINY, budget=Budget(max_epochs=9), limits=any_failures))
    assert study.is_complete
    assert sum(rung.trials for rung in study.started.plan) == 23
    assert study.trials_planned == len(study.trials) == 9 + 1 + 1 + 5 + 3
    assert events_of(study, PlanCorrected)[-1].plan == study.plan


def test_a_trial_that_repeatedly_kills_the_process_fails(tmp_path):
    study = stop(tmp_path, 3, TWO_TRIALS)
    session = events_of(study, SessionStarted)[0]
    journal_path = study.folder / "journal.jsonl"
    lines = journal_path.read_bytes().splitlines(keepends=True)
    journal_path.write_bytes(b"".join(lines[:-1]))  # A killed process writes no end.
    with Journal(journal_path) as journal:
        for _ in range(MAX_CRASHES - 1):
            journal.append(session)
            journal.append(TrialResumed(trial_id="0000", epoch=1))
    study = run(tmp_path, TWO_TRIALS)
    assert study.trials[0].error == (
        "The process died 5 times in epoch 2 of this trial, perhaps for lack of memory."
    )
    assert study.trials[0].failed_in == 2
    assert study.trials[1].status == "completed"


# Time


class Clock:
    """A watcher that uses up the time budget after a number of events of one kind."""

    def __init__(self, monkeypatch, kind, count):
        self.kind, self.left = kind, count
        monotonic = time.monotonic
        monkeypatch.setattr(
            tuner_module.time, "monotonic", lambda: monotonic() + (1e6 if self.left <= 0 else 0)
        )

    def on_event(self, kind, event):
        self.left -= isinstance(event, self.kind)

    def on_progress(self, run, trial_id, share):
        pass

    def on_wait(self):
        pass


def test_a_time_budget_stops_the_search_after_the_epoch_in_progress(
    two_trials, tmp_path, monkeypatch
):
    clock = Clock(monkeypatch, EpochEnded, 2)
    spec = changed(TWO_TRIALS, limits=Limits(time_budget="90m"))
    study = run(tmp_path, spec, watcher=clock)
    assert study.last_end.reason == "time_budget"
    assert study.last_end.message == "The time budget of 90m is used up."
    assert len(events_of(study, EpochEnded)) == 2
    assert checkpoint_of(study, "0000").epoch == 2
    assert not study.is_complete
    monkeypatch.undo()
    assert_same_search(run(tmp_path, TWO_TRIALS), two_trials)


def test_no_trial_starts_after_the_time_budget(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, SessionStarted, 1)
    study = run(tmp_path, changed(TINY, limits=Limits(time_budget="1s")), watcher=clock)
    assert study.trials == ()
    assert events_of(study, TrialStarted) == []
    assert study.last_end.reason == "time_budget"


# Concurrent trials


def test_promotions_wait_for_the_recorded_ends_of_their_rung(tmp_path):
    """Messages of workers interleave: results of other trials arrive before a trial's end."""
    spec = changed(TINY, budget=Budget(max_epochs=3))
    with open_search(ResolvedSearch("tiny", spec, {}), IMAGES, DEVICE, tmp_path) as opened:
        oracle = make_oracle(opened.spec)
        study = load_study(opened.folder)
        tuner = VAETuner(oracle, opened.folder, opened.spec, opened.journal, study)
        trials = [tuner.next_trial() for _ in range(3)]  # A first rung, which promotes one.
        for trial in trials:
            tuner.on_trial_begin(trial, worker=1)
        blank = np.zeros((1, *IMAGES.image_shape), np.uint8)
        artifacts = Artifacts(blank, blank, np.zeros((1, 2), np.float32), None)
        for number, trial in enumerate(trials):
            tuner.record(trial, Completed(100.0 + number, artifacts))
            assert tuner.has_ended(trial)
        other = tuner.next_trial()
        assert assignment(oracle, other).parent is None, "nothing is promoted yet"
        for trial in trials:
            tuner.on_trial_end(trial)
        assert assignment(oracle, tuner.next_trial()).parent == trials[0].trial_id


# Promotions


def test_promote_from_selects_the_epoch_that_a_promotion_continues(tmp_path):
    space = Space.pinned_at(TINY_REFERENCE | {"learning_rate": 3.0})  # So high that losses rise.
    from_best = changed(TINY, space=space, budget=Budget(max_epochs=9, promote_from="best"))
    from_last = changed(TINY, space=space, budget=Budget(max_epochs=9))
    best, last = run(tmp_path / "best", from_best), run(tmp_path / "last", from_last)
    parent = next(trial for trial in best.trials if trial.best.epoch < trial.epoch_to)
    child = next(trial for trial in best.trials if trial.parent == parent.trial_id)
    same = last.trial(child.trial_id)
    assert last.trial(parent.trial_id).epochs[-1].val_loss == parent.epochs[-1].val_loss
    assert child.epochs[0].val_loss != same.epochs[0].val_loss


# Files that are lost


def copy_of(study, results):
    """Copies a search to another results folder and returns its study."""
    shutil.copytree(study.folder.parent, results, dirs_exist_ok=True)
    return load_study(results / study.name)


def damage(study, trial_id, share):
    """Cuts the checkpoint of a trial to a share of its bytes."""
    path = study.trial_folder(trial_id) / CHECKPOINT_NAME
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.fixture(scope="module")
def pinned(tmp_path_factory):
    """A Hyperband search of one configuration with promotions from 1 to 3 to 9 epochs."""
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("pinned"), PINNED)


PINNED = changed(
    TINY,
    space=Space.pinned_at(TINY_REFERENCE | {"learning_rate": 0.01}),
    budget=Budget(max_epochs=9),
)


@pytest.mark.parametrize("share", [0.99, None, *long(0, 0.4)])
def test_a_promotion_retrains_a_parent_with_a_lost_or_damaged_checkpoint(pinned, tmp_path, share):
    # Events: the session, then start, epoch, end of 0000; start, two epochs, end of 0001.
    study = stop(tmp_path, 8, PINNED)
    parent = study.trial_folder("0001") / CHECKPOINT_NAME
    if share is None:
        parent.unlink()
    else:
        damage(study, "0001", share)
    again = run(tmp_path, PINNED)
    assert_same_search(again, pinned)
    first = events_of(again, FileSetAside)[0]
    assert first.file == f"trials/0001/{CHECKPOINT_NAME}"
    assert (first.aside is None) == (share is None)


def test_a_lost_checkpoint_of_the_winner_is_recreated(pinned, tmp_path):
    study = copy_of(pinned, tmp_path)
    (study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME).unlink()
    again = run(tmp_path, PINNED)
    assert again.is_complete
    assert_same_search(again, pinned)


def test_damaged_pictures_are_recreated(tmp_path):
    study = stop(tmp_path, 6, TWO_TRIALS)
    pictures = study.trial_folder("0000") / "pictures.npz"
    before = pictures.read_bytes()
    pictures.write_bytes(before[:100])
    run(tmp_path, TWO_TRIALS)
    assert len(pictures.read_bytes()) == len(before)


@pytest.mark.parametrize("events", [5, *long(2, 3, 4, 6, 9)])
def test_a_search_continues_from_a_journal_without_its_last_events(two_trials, tmp_path, events):
    study = copy_of(two_trials, tmp_path)
    journal = study.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:events]))
    assert_same_search(run(tmp_path, TWO_TRIALS), two_trials)


def test_trials_without_a_journal_do_not_affect_a_new_search(two_trials, tmp_path):
    run(tmp_path, changed(TWO_TRIALS, seed=9))
    (tmp_path / "tiny" / "journal.jsonl").unlink()
    assert_same_search(run(tmp_path, TWO_TRIALS), two_trials)
