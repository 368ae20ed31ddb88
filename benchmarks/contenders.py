"""The compared tools. Each searches the same space on the same images.

Every function runs one search in this process and fills in a `Run`. The clock starts when all
modules are imported and the data are loaded, so only the search is timed. Ray workers, of Ray Tune
or of vaetune, are separate processes, which import TensorFlow while the clock runs.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from workloads import (
    BATCH_SIZE,
    FACTOR,
    LEARNING_RATES,
    SPACE,
    Run,
    Workload,
    load_arrays,
)


def run_vaetune(run: Run, workload: Workload, folder: Path) -> None:
    """Runs `vaetune search hyperband --no-baseline`."""
    _run_vaetune(run, workload, folder, _hyperband(run, workload))
    _check(run, workload)


def run_vaetune_workers(run: Run, workload: Workload, folder: Path) -> None:
    """Runs `vaetune search hyperband --no-baseline --workers 2`.

    The time includes the start of Ray and of the workers.
    """
    from vaetune.search.executors.ray_cluster import import_ray

    import_ray()
    _run_vaetune(run, workload, folder, _hyperband(run, workload), workers=2)
    _check(run, workload)


def _hyperband(run: Run, workload: Workload) -> Any:
    from vaetune.config.spec import Budget, SearchSpec

    budget = Budget(max_epochs=workload.max_epochs, factor=FACTOR)
    return SearchSpec(seed=run.seed, baseline=False, budget=budget)


def run_vaetune_random(run: Run, workload: Workload, folder: Path) -> None:
    """Runs `vaetune search random` with about as many epochs as Hyperband trains."""
    from vaetune.config.spec import Budget, SearchSpec

    epochs = workload.max_epochs
    budget = Budget(max_epochs=epochs, max_trials=workload.epochs // epochs)
    spec = SearchSpec(algorithm="random", seed=run.seed, baseline=False, budget=budget)
    _run_vaetune(run, workload, folder, spec)


def _run_vaetune(run: Run, workload: Workload, folder: Path, spec: Any, workers: int = 1) -> None:
    from vaetune import run_search
    from vaetune.data import ImageSet, Split, load_images
    from vaetune.device import choose_device
    from vaetune.search import ExecutorOptions, NoWatcher
    from vaetune.study import EpochEnded

    digits = load_images("digits")
    sizes = {"train": workload.train, "validation": workload.validation, "test": 16}
    splits = {n: Split(getattr(digits, n).images[:size], None) for n, size in sizes.items()}
    images = ImageSet("digits", "digits", **splits, class_names=None, fingerprint="0" * 64)
    choose_device("auto" if workers == 1 else "cpu")  # Imports TensorFlow before the clock starts.

    class Watcher(NoWatcher):
        def on_event(self, kind: str, event: Any) -> None:
            if isinstance(event, EpochEnded):
                run.add_epoch(time.perf_counter() - began_s, event.val_loss)

    @contextmanager
    def watch(session: Any, executor: Any) -> Iterator[Watcher]:
        executor.wait_until_ready(lambda: None)
        yield Watcher()

    began_s = time.perf_counter()
    study = run_search(
        spec, images, folder, name="bench", executor=ExecutorOptions(workers), watch=watch
    )
    # The clock stops with the last trial, because no other tool rescores finalists after it.
    rescored_s = study.rescored.duration_s if study.rescored else 0.0
    run.wall_s = time.perf_counter() - began_s - rescored_s
    run.trials = len(study.trials)
    run.trained = [(dict(t.hyperparameters), t.epoch_to - t.epoch_from) for t in study.trials]
    if workers == 1:
        _record_times(run, study.trials)


def _record_times(run: Run, trials: Sequence[Any]) -> None:
    """Records the training time of trials that ran one after the other."""
    run.training_s = sum(epoch.train_s for trial in trials for epoch in trial.epochs)
    # A trial counts until the next one starts, because the work after its end is part of its cost.
    promoted = [
        (after.started - trial.started).total_seconds() - sum(e.train_s for e in trial.epochs)
        for trial, after in itertools.pairwise(trials)
        if trial.parent is not None
    ]
    run.promoted_s = median(promoted) if promoted else None


def run_keras_tuner(run: Run, workload: Workload, folder: Path) -> None:
    """Runs Keras Tuner's Hyperband as in its guide."""
    import example
    import keras
    import keras_tuner

    train, validation = load_arrays(workload)

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            run.add_epoch(time.perf_counter() - began_s, logs["val_loss"])

        def __deepcopy__(self, memo: Any) -> Any:
            return self  # Keras Tuner copies the callbacks for every trial.

    def build(hp: keras_tuner.HyperParameters) -> Any:
        values: dict[str, Any] = {name: hp.Choice(name, v) for name, v in SPACE.items()}
        low, high = LEARNING_RATES
        values["learning_rate"] = hp.Float("learning_rate", low, high, sampling="log")
        return example.build(values)

    began_s = time.perf_counter()
    tuner = keras_tuner.Hyperband(
        build,
        objective=keras_tuner.Objective("val_loss", "min"),
        max_epochs=workload.max_epochs,
        factor=FACTOR,
        seed=run.seed,
        directory=folder,
        project_name="bench",
    )
    tuner.search(
        train,
        validation_data=(validation,),
        batch_size=BATCH_SIZE,
        callbacks=[Recorder()],
        verbose=0,
    )
    run.wall_s = time.perf_counter() - began_s
    for trial in tuner.oracle.trials.values():
        values = {n: v for n, v in trial.hyperparameters.values.items() if "/" not in n}
        before = trial.hyperparameters.values["tuner/initial_epoch"]
        run.trained.append((values, trial.hyperparameters.values["tuner/epochs"] - before))
    run.trials = len(run.trained)
    _check(run, workload)


def run_optuna(run: Run, workload: Workload, folder: Path) -> None:
    """Runs Optuna's TPE and HyperbandPruner with Keras for the same number of epochs."""
    import example
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, validation = load_arrays(workload)

    class Pruning(keras.callbacks.Callback):
        def __init__(self, trial: optuna.Trial) -> None:
            super().__init__()
            self._trial = trial

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            run.add_epoch(time.perf_counter() - began_s, logs["val_loss"])
            self._trial.report(logs["val_loss"], epoch + 1)
            if self._trial.should_prune():
                self.model.stop_training = True
            if run.epochs >= workload.epochs:
                self._trial.study.stop()
                self.model.stop_training = True

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        values: dict[str, Any] = {
            name: trial.suggest_categorical(name, v) for name, v in SPACE.items()
        }
        low, high = LEARNING_RATES
        values["learning_rate"] = trial.suggest_float("learning_rate", low, high, log=True)
        history = example.build(values).fit(
            train,
            validation_data=(validation,),
            epochs=workload.max_epochs,
            batch_size=BATCH_SIZE,
            callbacks=[Pruning(trial)],
            verbose=0,
        )
        losses = history.history["val_loss"]
        run.trained.append((values, len(losses)))
        if len(losses) < workload.max_epochs:
            raise optuna.TrialPruned
        return min(losses)

    keras.utils.set_random_seed(run.seed)
    began_s = time.perf_counter()
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=run.seed),
        pruner=optuna.pruners.HyperbandPruner(1, workload.max_epochs, FACTOR),
        storage=f"sqlite:///{folder}/optuna.db",
        study_name=f"bench {run.seed}",  # The pruner chooses brackets by this name.
    )
    study.optimize(objective)
    run.wall_s = time.perf_counter() - began_s
    run.trials = len(run.trained)


def run_ray(run: Run, workload: Workload, folder: Path) -> None:
    """Runs Ray Tune's ASHA with Keras, one trial at a time, for the same number of epochs."""
    import os

    import ray
    from ray import tune
    from ray_trainable import train_reporting

    ray.init(
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    train, validation = load_arrays(workload)

    class Stopper(tune.Stopper):
        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            run.add_epoch(result["at"] - began_at, result["val_loss"])
            return False

        def stop_all(self) -> bool:
            return run.epochs >= workload.epochs

    space: dict[str, Any] = {name: tune.choice(v) for name, v in SPACE.items()}
    space["learning_rate"] = tune.loguniform(*LEARNING_RATES)
    with_data = tune.with_parameters(
        train_reporting, train=train, validation=validation, epochs=workload.max_epochs
    )
    tuner = tune.Tuner(
        tune.with_resources(with_data, {"cpu": os.cpu_count()}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=workload.epochs,
            search_alg=tune.search.basic_variant.BasicVariantGenerator(
                max_concurrent=1, random_state=run.seed
            ),
            scheduler=tune.schedulers.ASHAScheduler(
                max_t=workload.max_epochs, grace_period=1, reduction_factor=FACTOR
            ),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), stop=Stopper(), verbose=0),
    )
    began_s, began_at = time.perf_counter(), time.time()
    results = tuner.fit()
    run.wall_s = time.perf_counter() - began_s
    if results.errors:
        raise SystemExit(f"{len(results.errors)} trials failed, the first with {results.errors[0]}")
    for result in results:
        if result.metrics and "training_iteration" in result.metrics:
            run.trained.append((dict(result.config), result.metrics["training_iteration"]))
    run.trials = len(run.trained)
    ray.shutdown()


CONTENDERS: dict[str, Callable[[Run, Workload, Path], None]] = {
    "vaetune": run_vaetune,
    "vaetune-workers": run_vaetune_workers,
    "keras-tuner": run_keras_tuner,
    "optuna": run_optuna,
    "ray": run_ray,
    "vaetune-random": run_vaetune_random,
}

TITLES = {
    "vaetune": "vaetune, Hyperband",
    "vaetune-workers": "vaetune, Hyperband, 2 workers",
    "keras-tuner": "Keras Tuner, Hyperband",
    "optuna": "Optuna, TPE + HyperbandPruner",
    "ray": "Ray Tune, ASHA",
    "vaetune-random": "vaetune, random search",
}


def time_steps(trained: list[tuple[dict[str, Any], int]], workload: Workload) -> float:
    """Returns the seconds of a search's training steps, without building and compiling models.

    Args:
        trained: Configuration and number of epochs of each trial.
        workload: Images to train on.
    """
    import example
    import tensorflow as tf

    train, _ = load_arrays(workload)
    batches = [tf.constant(train[i : i + BATCH_SIZE]) for i in range(0, len(train), BATCH_SIZE)]
    by_configuration: dict[tuple[tuple[str, Any], ...], int] = {}
    for values, epochs in trained:
        key = tuple(sorted(values.items()))
        by_configuration[key] = by_configuration.get(key, 0) + epochs
    total_s = 0.0
    for key, epochs in by_configuration.items():
        vae = example.build(dict(key))
        vae.optimizer.build(vae.trainable_variables)
        step = tf.function(vae.train_step)
        for batch in {int(batch.shape[0]): batch for batch in batches}.values():
            step(batch)  # Traces the step for each batch size.
        began_s = time.perf_counter()
        for _ in range(epochs):
            for batch in batches:
                step(batch)
        total_s += time.perf_counter() - began_s
    return total_s


def _check(run: Run, workload: Workload) -> None:
    """Checks that a search has the expected length, so that times are comparable.

    Raises:
        SystemExit: It has another number of trials or epochs.
    """
    expected = (workload.trials, workload.epochs)
    if (run.trials, run.epochs) != expected:
        raise SystemExit(
            f"{run.contender} ran {run.trials} trials and {run.epochs} epochs, "
            f"expected {expected[0]} and {expected[1]}"
        )
