"""Workers give the same results as one process, even if some are killed."""

import os
import signal
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import scripted_workers
import tensorflow as tf
from comparisons import assert_same_trials, checkpoint_of, events_of, trials_with_checkpoints
from long_forms import long
from scripted_workers import (
    END,
    ORDERS_FOLDER,
    AnnouncedWorker,
    CallbackWatcher,
    CountingWorker,
    MemoryWorker,
    Orders,
    ScriptedWorker,
    loss_of,
    ray_workers,
    run_on,
    wait_until,
)
from tiny_searches import DEVICE, IMAGES, TINY, TINY_REFERENCE, StopAfter, changed, run, stop

import vaetune
from vaetune.config.space import Choice, Pinned, Space
from vaetune.config.spec import Budget, DataSpec, Limits
from vaetune.data.images import ImageSet, Split
from vaetune.device import available_cores
from vaetune.errors import ExecutorError
from vaetune.search.executors.local import LocalExecutor
from vaetune.search.executors.ray_cluster import local_cluster
from vaetune.search.executors.ray_executor import RayExecutor
from vaetune.search.executors.ray_worker import Worker
from vaetune.search.executors.resources import WorkerResources
from vaetune.search.tuner import VAETuner
from vaetune.study.builder import load_study
from vaetune.study.catalog import find_baseline
from vaetune.study.checkpoint import CHECKPOINT_NAME
from vaetune.study.events import (
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
)
from vaetune.training.context import TrainingContext
from vaetune.training.tasks import TrainedModel

pytestmark = pytest.mark.slow

# As many as this process has: the last bits of a gradient depend on the number of threads.
THREADS = tf.config.threading.get_intra_op_parallelism_threads() or available_cores()
TRAINERS = 2
MAX_COUNTING = 12
"""Maximum number of counting workers at one time: idle ones, and those of the running test."""

WITH_RETRAINING = changed(TINY, baseline=True, limits=Limits(final_seeds=1))
"""`TINY` with the Keras example, and with a training of each finalist from another seed.

In `TINY`, configurations 0 to 2 train one epoch, and the best of them is promoted to three epochs.
Configurations 3 and 4 train three epochs.
"""


def random_search(trials, epochs, **values):
    return changed(
        TINY, algorithm="random", budget=Budget(max_epochs=epochs, max_trials=trials), **values
    )


@pytest.fixture(scope="module")
def orders_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("orders")


@pytest.fixture(autouse=True)
def orders(orders_folder):
    fresh = Orders(orders_folder)
    fresh.clear()
    return fresh


@pytest.fixture(scope="module")
def ray(orders_folder):
    """A local Ray cluster that counts two GPUs, even on a machine without a GPU."""
    import_paths = [Path(scripted_workers.__file__).parent, Path(vaetune.__file__).parents[1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ORDERS_FOLDER, str(orders_folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, import_paths)))
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 2}')
        with local_cluster(TRAINERS * THREADS + MAX_COUNTING, with_gpus=True) as ray:
            assert ray.cluster_resources()["GPU"] == 2
            yield ray


@pytest.fixture(scope="module")
def trainers(ray):
    """Executor with two workers that train models."""
    with ray_workers(
        ray, TRAINERS, IMAGES, WorkerResources(THREADS, 0.0), ScriptedWorker
    ) as executor:
        yield executor


@pytest.fixture(scope="module")
def counting(ray):
    """Function that runs a search on workers that only count epochs, and returns its study.

    Searches with the same number of workers share them. After a search that did not complete, new
    workers are started.
    """
    idle = {}

    def run_counting(results, spec, workers=2, watcher=None, deadline_s=None):
        executor = idle.pop(workers, None) or counting_executor(ray, workers)
        try:
            study = run_on(executor, results, spec, IMAGES, watcher, deadline_s)
            if study.is_complete:  # Workers of an incomplete search may still be training.
                idle[workers] = executor
        finally:
            if workers not in idle:
                executor.shut_down()
        return study

    yield run_counting
    for executor in idle.values():
        executor.shut_down()


def counting_executor(ray, workers):
    return RayExecutor(ray, workers, WorkerResources(1, 0.0), IMAGES, "cpu", CountingWorker)


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory):
    """Function that runs a search in one process, once per specification, and returns its study."""
    tf.config.experimental.enable_op_determinism()
    known = {}

    def run_once(spec):
        key = spec.model_dump_json()
        if key not in known:
            known[key] = run(tmp_path_factory.mktemp("one"), spec)
        return known[key]

    return run_once


@pytest.fixture(scope="module")
def retrained_by_one_process(by_one_process):
    """Study of `WITH_RETRAINING`, which continues `TINY` in one process."""
    return run(by_one_process(TINY).folder.parent, WITH_RETRAINING)


@pytest.fixture(scope="module")
def counted_by_one_worker(counting, tmp_path_factory):
    """Function that runs a search on one undisturbed counting worker and checks its losses."""
    known = {}

    def run_once(spec):
        key = spec.model_dump_json()
        if key not in known:
            known[key] = counting(tmp_path_factory.mktemp("counted"), spec, workers=1)
            assert_each_epoch_trained_once(known[key])
        return known[key]

    return run_once


def assert_each_epoch_trained_once(study):
    """Checks that each configuration trained each epoch once, across all its promotions."""
    for trial in study.trials:
        epochs = range(trial.epoch_from + 1, trial.epoch_to + 1)
        histories = [np.array([trial.configuration, *range(1, epoch + 1)]) for epoch in epochs]
        expected = [*zip(epochs, map(loss_of, histories), strict=True)]
        assert [(epoch.epoch, epoch.val_loss) for epoch in trial.epochs] == expected


def trial_of(study, configuration, rung=0):
    (trial,) = (t for t in study.trials if (t.configuration, t.rung) == (configuration, rung))
    return trial


# The same results


def test_two_workers_give_the_same_results_as_one_process(
    trainers, retrained_by_one_process, orders, tmp_path
):
    ours, theirs = run_on(trainers, tmp_path, WITH_RETRAINING, IMAGES), retrained_by_one_process
    assert_same_trials(ours, theirs)
    results = tmp_path, theirs.folder.parent
    assert_same_trials(find_baseline(ours, results[0]), find_baseline(theirs, results[1]))
    training_names = [name for one in ours.retrained.retraining.finalists for name in one.trainings]
    assert len(training_names) == 5
    for name in training_names:
        assert_same_trials(*(load_study(folder / "baselines" / name) for folder in results))
    assert ours.sessions[-1].workers == TRAINERS
    assert {trial.worker for trial in events_of(ours, TrialStarted)} == {1, 2}
    epochs = 11 + 3 + 5 * 3
    assert orders.trained.total() == epochs, (
        "epochs of the search, the Keras example and five retrained finalists"
    )


LADDERS = changed(
    TINY,
    algorithm="random",
    data=DataSpec(likelihood="gaussian"),
    budget=Budget(max_epochs=2, max_trials=3),
    space=TINY.space.model_copy(
        update={
            "levels": Choice(values=(1, 2)),
            "normalization": Pinned(value="batch"),
            "weight_average": Pinned(value=0.9),
            "output_bias": Pinned(value="mean"),
            "learning_rate_warmup": Pinned(value=1.0),
        }
    ),
)
"""Models with one or two levels and a Gaussian likelihood, trained with averaged weights."""


@pytest.mark.long  # In test_objectives.py, a worker in the test process trains such models.
def test_workers_train_other_structures_and_likelihoods_like_one_process(
    trainers, by_one_process, tmp_path
):
    ours, theirs = run_on(trainers, tmp_path, LADDERS, IMAGES), by_one_process(LADDERS)
    assert_same_trials(ours, theirs)
    assert ours.likelihood == "gaussian"
    assert {trial.hyperparameters["levels"] for trial in ours.trials} == {1, 2}


@pytest.mark.parametrize("algorithm", ["grid", *long("random")])
def test_other_algorithms_give_the_same_results_and_nan_losses_fail_trials(
    trainers, by_one_process, tmp_path, algorithm
):
    choices = {
        "latent_dim": Choice(values=(2, 3)),
        "learning_rate": Choice(values=(1e-3, 1e30)),
    }
    space = Space.pinned_at(TINY_REFERENCE).model_copy(update=choices)
    budget = Budget(max_epochs=2, max_trials=4)
    spec = changed(TINY, algorithm=algorithm, space=space, budget=budget)
    ours = run_on(trainers, tmp_path, spec, IMAGES)
    assert_same_trials(ours, by_one_process(spec))
    assert {trial.status for trial in ours.trials} == {"completed", "failed"}
    for trial in ours.failures:
        assert trial.hyperparameters["learning_rate"] == 1e30
        assert trial.failed_in == 1
        assert "became nan in epoch 1" in trial.error
        assert "NotFiniteError" in trial.traceback


def test_workers_measure_the_same_losses_as_one_process(trainers, by_one_process):
    study = by_one_process(TINY)
    models = [
        TrainedModel(trial.hyperparameters, checkpoint_of(study, trial.trial_id).best_weights)
        for trial in study.finalists
    ]
    assert len(models) == 5
    shares = []
    trainers.wait_until_ready(lambda: None)
    ours = trainers.measure(models, 4, 7, shares.append)
    theirs = LocalExecutor(TrainingContext(IMAGES), DEVICE).measure(models, 4, 7)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.reconstruction, other.reconstruction)
        np.testing.assert_array_equal(one.kl, other.kl)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert trainers.measure([], 4, 7) == []


def test_a_trial_is_retried_after_a_temporary_error(trainers, by_one_process, orders, tmp_path):
    spec = random_search(2, 3)
    orders.give("run-out-1")
    study = run_on(trainers, tmp_path, spec, IMAGES)
    (retried,) = events_of(study, TrialRetried)
    assert (retried.trial_id, retried.attempt) == (trial_of(study, 1).trial_id, 1)
    assert "OOM when allocating" in retried.error
    assert "ResourceExhaustedError" in retried.traceback
    assert_same_trials(study, by_one_process(spec))


# Changes between workers and one process


def test_workers_continue_a_search_that_one_process_started(trainers, by_one_process, tmp_path):
    unfinished = stop(tmp_path, 12, TINY)
    assert unfinished.last_end.reason == "interrupted"
    ours = run_on(trainers, tmp_path, TINY, IMAGES)
    assert [session.workers for session in ours.sessions] == [1, TRAINERS]
    assert_same_trials(ours, by_one_process(TINY))


def test_one_process_continues_a_search_that_workers_started(
    trainers, by_one_process, orders, tmp_path
):
    deadline_s = time.monotonic() + 2
    orders.hold(3, 2)  # Work remains even if the workers are fast.

    def release_after_the_deadline():
        if time.monotonic() > deadline_s and orders.waiting_process(3, 2):
            orders.release(3, 2)

    watcher = CallbackWatcher(on_wait=release_after_the_deadline)
    unfinished = run_on(trainers, tmp_path, TINY, IMAGES, watcher, deadline_s)
    assert unfinished.last_end.reason == "time_budget"
    ours = run(tmp_path, TINY)
    assert [session.workers for session in ours.sessions] == [TRAINERS, 1]
    assert_same_trials(ours, by_one_process(TINY))


# A killed worker


def test_the_trial_of_a_killed_worker_continues_on_another_worker(
    trainers, by_one_process, orders, tmp_path
):
    joined = []
    orders.hold(3, 3)
    orders.hold(4, 1)  # The search lasts until a replacement has joined.

    def watch(event):
        if isinstance(event, WorkerJoined):
            joined.append(event.worker)
            if len(joined) == TRAINERS + 1:
                orders.release(4, 1)

    def kill():
        if orders.waiting_process(3, 3):
            orders.kill(3, 3)

    study = run_on(trainers, tmp_path, TINY, IMAGES, CallbackWatcher(watch, kill))
    trial = trial_of(study, 3)
    (lost,) = events_of(study, WorkerLost)
    assert lost.trial_id == trial.trial_id
    assert lost.error == "Its process was killed, perhaps for lack of memory."
    assert sorted(joined) == sorted([1, 2, lost.worker])
    assert joined[-1] == lost.worker
    (resumed,) = events_of(study, TrialResumed)
    assert (resumed.trial_id, resumed.epoch) == (trial.trial_id, 2)
    assert [interval.epoch for interval in trial.intervals] == [0, 2]
    repeated = {key for key, times in orders.trained.items() if times > 1}
    assert repeated == {(3, 3)}, "epochs that the driver received are not trained again"
    assert_same_trials(study, by_one_process(TINY))


# Workers that count epochs instead of training


WIDE = changed(TINY, baseline=True, budget=Budget(max_epochs=9))
"""23 trials of up to nine epochs, and the Keras example."""


def test_four_workers_run_the_same_schedule_as_one(counting, counted_by_one_worker, tmp_path):
    ours = counting(tmp_path, WIDE, workers=4)
    assert_same_trials(ours, counted_by_one_worker(WIDE))
    assert ours.trials_planned == len(ours.trials) == 23
    assert find_baseline(ours, tmp_path).is_complete


def test_more_workers_than_trials_give_the_same_results(counting, counted_by_one_worker, tmp_path):
    spec = random_search(2, 3)
    assert_same_trials(counting(tmp_path, spec, workers=4), counted_by_one_worker(spec))


@pytest.mark.parametrize("events", [75, *long(3, 12, 30, 130)])
def test_an_interrupted_search_continues_with_another_number_of_workers(
    counting, counted_by_one_worker, tmp_path, events
):
    with pytest.raises(KeyboardInterrupt):
        counting(tmp_path, WIDE, workers=3, watcher=StopAfter(events))
    unfinished = load_study(tmp_path / "tiny")
    assert unfinished.last_end.reason == "interrupted"
    ours = counting(tmp_path, WIDE, workers=2)
    assert [session.workers for session in ours.sessions] == [3, 2]
    assert_same_trials(ours, counted_by_one_worker(WIDE))


def test_a_configuration_that_kills_workers_fails_and_the_others_complete(
    counting, orders, tmp_path
):
    orders.give_always("die-1")
    study = counting(tmp_path, TINY)
    (failed,) = study.failures
    assert (failed.configuration, failed.failed_in) == (1, 1)
    assert failed.error == (
        "The process died 5 times in epoch 1 of this trial, perhaps for lack of memory."
    )
    assert [lost.trial_id for lost in events_of(study, WorkerLost)] == [failed.trial_id] * 5
    assert [resumed.epoch for resumed in events_of(study, TrialResumed)] == [0] * 4
    assert orders.trained[1, 1] == 5
    others = [trial for trial in study.trials if trial is not failed]
    assert {trial.status for trial in others} == {"completed"}
    assert study.is_complete


def test_killed_idle_workers_are_replaced(ray, counted_by_one_worker, orders, tmp_path):
    with ray_workers(ray, 2, IMAGES, WorkerResources(1, 0.0), AnnouncedWorker) as executor:
        run_on(executor, tmp_path / "before", TINY, IMAGES)
        wait_until(lambda: len(orders.ready) == 2, "two workers")
        for process in orders.ready:
            os.kill(process, signal.SIGKILL)
        study = run_on(executor, tmp_path / "after", TINY, IMAGES)
    assert sorted(lost.worker for lost in events_of(study, WorkerLost)) == [1, 2]
    assert_same_trials(study, counted_by_one_worker(TINY))


def test_a_worker_killed_after_its_last_epoch_loses_no_results(
    counting, counted_by_one_worker, orders, tmp_path
):
    orders.hold(0, END)

    def kill():
        if orders.waiting_process(0, END):
            orders.kill(0, END)

    study = counting(tmp_path, TINY, watcher=CallbackWatcher(on_wait=kill))
    (lost,) = events_of(study, WorkerLost)
    assert lost.trial_id == trial_of(study, 0).trial_id
    assert set(orders.trained.values()) == {1}
    assert_same_trials(study, counted_by_one_worker(TINY))


def test_a_worker_killed_during_rescoring_is_replaced(
    counting, counted_by_one_worker, orders, tmp_path
):
    orders.give("die-measuring")
    study = counting(tmp_path, TINY)
    assert len(study.finalists) == 5
    assert len(orders.read("measured")) >= 5
    assert_same_trials(study, counted_by_one_worker(TINY))


@pytest.mark.long
def test_rescoring_that_kills_every_worker_stops_and_can_be_repeated(
    counting, counted_by_one_worker, orders, tmp_path
):
    orders.give_always("die-measuring")
    killed = r"5 workers in a row were lost while they measured a finalist\. Its process was killed"
    with pytest.raises(ExecutorError, match=killed):
        counting(tmp_path, TINY)
    orders.clear()
    study = counting(tmp_path, TINY)
    assert study.rescored
    assert_same_trials(study, counted_by_one_worker(TINY))


def test_workers_recreate_lost_files_of_a_complete_search(
    counting, counted_by_one_worker, orders, tmp_path
):
    study = counting(tmp_path, TINY)
    winner, before = study.winner, orders.trained
    (study.trial_folder(winner.trial_id) / CHECKPOINT_NAME).unlink()
    orders.give(f"die-{winner.configuration}")
    repaired = counting(tmp_path, TINY)
    assert len(events_of(repaired, WorkerLost)) == 1
    assert (orders.trained - before).keys() == {(winner.configuration, e) for e in (1, 2, 3)}
    assert trials_with_checkpoints(repaired) == trials_with_checkpoints(study)
    assert_same_trials(repaired, counted_by_one_worker(TINY))


@pytest.mark.long
def test_recreating_lost_files_stops_if_every_worker_is_killed(counting, orders, tmp_path):
    winner = counting(tmp_path, TINY).winner
    lost = load_study(tmp_path / "tiny").trial_folder(winner.trial_id) / CHECKPOINT_NAME
    lost.unlink()
    orders.give_always(f"die-{winner.configuration}")
    files = rf"lost files of trial {winner.trial_id}\."
    killed = rf"5 workers in a row were lost while they recreated {files}"
    with pytest.raises(ExecutorError, match=killed):
        counting(tmp_path, TINY)
    orders.clear()
    assert counting(tmp_path, TINY).is_complete
    assert lost.exists()


def test_a_worker_that_dies_during_its_start_is_started_again(
    ray, counted_by_one_worker, orders, tmp_path
):
    orders.give("die-early")
    with ray_workers(ray, 2, IMAGES, WorkerResources(1, 0.0)) as executor:
        assert_same_trials(run_on(executor, tmp_path, TINY, IMAGES), counted_by_one_worker(TINY))
    orders.give_always("die-early")
    cannot_start = pytest.raises(
        ExecutorError, match=r"Worker 1 cannot start\. Its process was killed"
    )
    with ray_workers(ray, 1, IMAGES, WorkerResources(1, 0.0)) as executor, cannot_start:
        executor.wait_until_ready(lambda: None)


def test_a_module_that_a_worker_lacks_is_named(ray, monkeypatch):
    only_here = types.ModuleType("only_here")
    only_here.Stranger = type("Stranger", (Worker,), {"__module__": "only_here"})
    monkeypatch.setitem(sys.modules, "only_here", only_here)
    expected = (
        r"Worker 1 cannot start\. Its machine has no Python module 'only_here': install the same "
        r"version of vaetune\[distributed\] on every machine of the cluster\."
    )
    workers = ray_workers(ray, 1, IMAGES, WorkerResources(1, 0.0), only_here.Stranger)
    with workers as executor, pytest.raises(ExecutorError, match=expected):
        executor.wait_until_ready(lambda: None)


def test_too_many_failures_stop_a_search(counting, orders, tmp_path):
    spec = random_search(14, 1)
    for configuration in range(14):
        orders.give_always(f"fail-{configuration}")
    study = counting(tmp_path, spec, workers=3)
    assert study.last_end.reason == "failures"
    assert {trial.error for trial in study.failures} == {"It was ordered to."}
    assert 10 <= len(study.failures) < 14
    orders.clear()
    raised = changed(spec, limits=Limits(max_failure_rate=1.0))
    assert counting(tmp_path, raised).is_complete


def test_running_epochs_are_completed_and_saved_when_the_time_budget_ends(
    ray, counting, counted_by_one_worker, orders, tmp_path
):
    spec = random_search(4, 3)
    for configuration in (0, 1):
        orders.hold(configuration, 1)
    with ray_workers(ray, 2, IMAGES, WorkerResources(1, 0.0), AnnouncedWorker) as executor:
        wait_until(lambda: len(orders.ready) == 2, "two workers")
        deadline_s = time.monotonic() + 3

        def release_one_after_the_deadline():
            held = [number for number in (0, 1) if orders.waiting_process(number, 1)]
            if time.monotonic() > deadline_s and held:
                orders.release(held[0], 1)

        watcher = CallbackWatcher(on_wait=release_one_after_the_deadline)
        unfinished = run_on(executor, tmp_path, spec, IMAGES, watcher, deadline_s)
    assert [len(trial.epochs) for trial in unfinished.trials] == [1, 1]
    assert trials_with_checkpoints(unfinished) == {trial.trial_id for trial in unfinished.trials}
    assert unfinished.last_end.reason == "time_budget"
    ours = counting(tmp_path, spec, workers=3)
    assert set(orders.trained.values()) == {1}
    assert_same_trials(ours, counted_by_one_worker(spec))


class OnceJoined:
    """A callback for `CallbackWatcher` that runs once, when enough workers have joined."""

    def __init__(self, workers, call):
        self._left, self._call = workers, call

    def __call__(self, event):
        if isinstance(event, WorkerJoined):
            self._left -= 1
            if self._left == 0:
                self._call()


def test_no_trials_are_requested_while_nothing_changes(
    ray, counting, orders, tmp_path, monkeypatch
):
    requests, waits, joined, seen = [], [], [], []
    next_trial, wait = VAETuner.next_trial, ray.wait
    monkeypatch.setattr(VAETuner, "next_trial", lambda self: requests.append(1) or next_trial(self))
    monkeypatch.setattr(ray, "wait", lambda *a, **k: waits.append(k["timeout"]) or wait(*a, **k))

    def observe_three_waits():
        if joined:
            seen.append((len(requests), len(waits)))
            if len(seen) == 3:
                orders.release(0, 1)

    orders.hold(0, 1)
    watcher = CallbackWatcher(OnceJoined(3, lambda: joined.append(True)), observe_three_waits)
    study = counting(tmp_path, random_search(1, 1), workers=3, watcher=watcher)
    changes = [
        e for kind in (TrialStarted, TrialEnded, WorkerJoined) for e in events_of(study, kind)
    ]
    assert len(changes) == 5
    assert len(requests) <= len(changes)
    times, waited = seen[0]
    assert seen == [(times, waited), (times, waited + 1), (times, waited + 2)]
    assert min(waits) >= 0.1


@pytest.mark.parametrize(("share", "gpus"), [(1.0, ["0", "1"]), *long((0.5, ["0", "0", "1", "1"]))])
def test_each_worker_sees_the_gpu_of_its_share(ray, orders, tmp_path, share, gpus):
    orders.hold(0, 1)
    watcher = CallbackWatcher(OnceJoined(len(gpus), lambda: orders.release(0, 1)))
    with ray_workers(ray, len(gpus), IMAGES, WorkerResources(1, share)) as executor:
        study = run_on(executor, tmp_path, random_search(1, 1), IMAGES, watcher)
    seen = [joined.environment.device for joined in events_of(study, WorkerJoined)]
    assert sorted(seen) == [f"GPU {number}" for number in gpus]


# Images


def test_workers_map_the_images_and_get_no_test_images(ray, orders, tmp_path):
    shape = (64, 64, 1)
    labels = np.zeros(50_000, np.int64)
    splits = [Split(np.zeros((n, *shape), np.uint8), labels[:n]) for n in (48_000, 800, 1_200)]
    images = ImageSet("large", "large.npz", *splits, ("zero",), "f" * 64)
    with ray_workers(ray, 1, images, WorkerResources(1, 0.0), MemoryWorker) as executor:
        run_on(executor, tmp_path, random_search(1, 1), images)
    bytes_of_all = 48_800 * 64 * 64
    (line,) = orders.read("memory")
    *counts, growth = map(int, line.split())
    assert counts == [48_000, 800, 0]
    assert growth < bytes_of_all / 3
