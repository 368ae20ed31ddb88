"""The contenders of a race. Each searches until the clock ends the process.

Every function imports its tool, starts the clock and searches. Three contenders are searches of
vaetune, which use vaetune's own training. The other tools train either vaetune's hypermodel or the
Keras example's network, with Keras's `fit` as in their guides, and nothing else differs. The expert
trains three guesses and stops.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import race_networks as networks
from race_clock import SCHEDULE_EPOCHS, Clock
from race_networks import EXAMPLE, HYPERMODEL
from simulated_searches import sampler, suggest
from workloads import FACTOR

MAX_EPOCHS = 9
ENDLESS, ROUNDS = 10_000, 20
"""Trials or epochs, and runs of Hyperband's schedule, of a search that only the clock ends."""

GUESS = {"filters_1": 32, "filters_2": 64, "dense_units": 256, "latent_dim": 16}
GUESSED_RATES = (0.001, 0.003, 0.005)
"""Configurations of the expert: one network with three learning rates."""

GUESSED_BATCH_SIZE = 64


@dataclass(frozen=True)
class Race:
    """The input of a contender.

    Attributes:
        clock: Clock of the run.
        images: The image set.
        seed: Random seed.
        folder: An empty folder.
    """

    clock: Clock
    images: Any
    seed: int
    folder: Path

    def arrays(self) -> tuple[Any, Any]:
        """Returns training and validation images, of shape (n, height, width, channels)."""
        from vaetune.data.images import to_unit_interval

        splits = (self.images.train, self.images.validation)
        train, validation = (to_unit_interval(split.images) for split in splits)
        return train, validation

    def recorder(self) -> Any:
        """Returns a Keras callback that records each epoch."""
        import keras

        clock = self.clock

        class Recorder(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                clock.add_epoch(logs["val_loss"])

            def __deepcopy__(self, memo: Any) -> Any:
                return self  # Keras Tuner copies the callbacks for every trial.

        return Recorder()


def run_vaetune(race: Race, algorithm: str, as_control: bool = False) -> None:
    """Runs a search of vaetune.

    Args:
        race: Clock, images, seed and folder of the run.
        algorithm: Name of the algorithm.
        as_control: True if the control replaces `freeze_thaw`.
    """
    from race_control import in_place_of_freeze_thaw

    from vaetune.config import DEFAULT_SPACE, Budget

    budgets = {
        "hyperband": {"factor": FACTOR, "hyperband_iterations": ROUNDS},
        "freeze_thaw": {"total_epochs": ENDLESS},
    }
    budget = Budget(max_epochs=MAX_EPOCHS, **budgets[algorithm])
    with in_place_of_freeze_thaw() if as_control else nullcontext():
        _search(race, algorithm=algorithm, budget=budget, space=DEFAULT_SPACE)


def run_expert(race: Race) -> None:
    """Trains the expert's guesses, with the fixed values of the default space, then stops."""
    from vaetune.config import DEFAULT_SPACE, Budget, Pinned, Space

    fixed = {name: one.value for name, one in DEFAULT_SPACE.dimensions() if isinstance(one, Pinned)}
    fixed.pop("level_channels")  # One level has none.
    fixed |= GUESS | {"batch_size": GUESSED_BATCH_SIZE}
    space: dict[str, Any] = {name: {"value": value} for name, value in fixed.items()}
    space["learning_rate"] = {"values": GUESSED_RATES}
    budget = Budget(max_epochs=MAX_EPOCHS)
    _search(race, algorithm="grid", budget=budget, space=Space.model_validate(space))
    race.clock.end()


def _search(race: Race, **keys: Any) -> None:
    from vaetune import run_search
    from vaetune.config import SearchSpec
    from vaetune.device import choose_device
    from vaetune.search import NoWatcher
    from vaetune.study import EpochEnded

    clock = race.clock
    spec = SearchSpec(seed=race.seed, baseline=False, **keys)
    choose_device("auto")  # Imports TensorFlow before the clock starts.

    class Watcher(NoWatcher):
        def on_event(self, kind: str, event: Any) -> None:
            if isinstance(event, EpochEnded):
                clock.add_epoch(event.val_loss)

    @contextmanager
    def watch(session: Any, executor: Any) -> Iterator[Watcher]:
        yield Watcher()

    clock.start()
    run_search(spec, race.images, race.folder, name="race", watch=watch)


def run_example_expert(race: Race) -> None:
    """Trains the expert's guesses with the Keras example's network, then stops."""
    images, recorder = race.arrays(), race.recorder()
    _import(EXAMPLE)
    import keras

    keras.utils.set_random_seed(race.seed)
    race.clock.start()
    for rate in GUESSED_RATES:
        keras.backend.clear_session()
        values = GUESS | {"learning_rate": rate}
        networks.train(EXAMPLE, values, images, MAX_EPOCHS, [recorder])
    race.clock.end()


def run_keras_tuner(race: Race, network: str) -> None:
    """Runs Keras Tuner's Hyperband as in its guide."""
    train, validation = race.arrays()
    recorder = race.recorder()
    _import(network)
    import keras_tuner

    from vaetune.models import VAEHyperModel

    hypermodel = VAEHyperModel(race.images.train.images.shape[1:])
    race.clock.start()
    tuner = keras_tuner.Hyperband(
        _build_example if network == EXAMPLE else hypermodel,
        objective=keras_tuner.Objective("val_loss", "min"),
        max_epochs=MAX_EPOCHS,
        factor=FACTOR,
        hyperband_iterations=ROUNDS,
        seed=race.seed,
        directory=race.folder,
        project_name="race",
    )
    batches = {"batch_size": _batch_size()} if network == EXAMPLE else {}
    options = {"validation_data": (validation,), "callbacks": [recorder], "verbose": 0}
    tuner.search(train, **options, **batches)


def _build_example(hp: Any) -> Any:
    import example
    from workloads import LEARNING_RATES, SPACE

    values: dict[str, Any] = {name: hp.Choice(name, v) for name, v in SPACE.items()}
    low, high = LEARNING_RATES
    values["learning_rate"] = hp.Float("learning_rate", low, high, sampling="log")
    return example.build(values)


def run_optuna(race: Race, network: str, is_multivariate: bool) -> None:
    """Runs Optuna's TPE.

    Args:
        race: Clock, images, seed and folder of the run.
        network: The network that it trains.
        is_multivariate: True for the multivariate TPE with the median pruner, False for the plain
            one with the Hyperband pruner.
    """
    images, recorder = race.arrays(), race.recorder()
    _import(network)
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = networks.space_of(network)

    class Pruning(keras.callbacks.Callback):
        def __init__(self, trial: optuna.Trial) -> None:
            super().__init__()
            self._trial = trial

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._trial.report(logs["val_loss"], epoch + 1)
            if self._trial.should_prune():
                self.model.stop_training = True

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        callbacks = [recorder, Pruning(trial)]
        losses = networks.train(network, suggest(trial, space), images, MAX_EPOCHS, callbacks)
        if len(losses) < MAX_EPOCHS:
            raise optuna.TrialPruned
        return min(losses)

    median = optuna.pruners.MedianPruner()
    brackets = optuna.pruners.HyperbandPruner(1, MAX_EPOCHS, FACTOR)
    keras.utils.set_random_seed(race.seed)
    race.clock.start()
    study = optuna.create_study(
        sampler=sampler(race.seed, is_multivariate),
        pruner=median if is_multivariate else brackets,
        storage=f"sqlite:///{race.folder}/optuna.db",
        study_name=f"race {race.seed}",  # The Hyperband pruner chooses brackets by this name.
    )
    study.optimize(objective)


def run_ray(race: Race, network: str) -> None:
    """Runs Ray Tune's ASHA, one trial at a time."""
    images = race.arrays()
    import ray
    from ray import tune

    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}},
    )
    clock = race.clock

    class Recorder(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            clock.add_epoch(result["val_loss"], result["at"])

    search = tune.search.basic_variant.BasicVariantGenerator(
        max_concurrent=1, random_state=race.seed
    )
    scheduler = tune.schedulers.ASHAScheduler(
        max_t=MAX_EPOCHS, grace_period=1, reduction_factor=FACTOR
    )
    with_data = tune.with_parameters(
        networks.train_on_ray, network=network, images=images, epochs=MAX_EPOCHS
    )
    tuner = tune.Tuner(
        tune.with_resources(with_data, {"cpu": 1}),
        param_space=_ray_space(networks.space_of(network)),
        tune_config=tune.TuneConfig(
            metric="val_loss",
            mode="min",
            num_samples=ENDLESS,
            search_alg=search,
            scheduler=scheduler,
        ),
        run_config=tune.RunConfig(storage_path=str(race.folder), callbacks=[Recorder()], verbose=0),
    )
    race.clock.start()
    tuner.fit()


def _ray_space(space: Any) -> dict[str, Any]:
    """Returns a space as a user of Ray Tune would declare it."""
    from ray import tune

    from vaetune.config import Range

    return {
        name: tune.loguniform(one.min, one.max)
        if isinstance(one, Range)
        else tune.choice(list(one.listed()))
        for name, one in space.dimensions()
    }


def _import(network: str) -> None:
    """Imports the modules that train a network, before the clock starts."""
    if network == EXAMPLE:
        import example  # noqa: F401
    else:
        import vaetune.models.hypermodel  # noqa: F401


def _batch_size() -> int:
    from workloads import BATCH_SIZE

    return BATCH_SIZE


CONTENDERS: dict[str, Callable[[Race], None]] = {
    "freeze-thaw": partial(run_vaetune, algorithm="freeze_thaw"),
    "hyperband": partial(run_vaetune, algorithm="hyperband"),
    "control": partial(run_vaetune, algorithm="freeze_thaw", as_control=True),
    "keras-tuner": partial(run_keras_tuner, network=HYPERMODEL),
    "optuna-median": partial(run_optuna, network=HYPERMODEL, is_multivariate=True),
    "optuna-hyperband": partial(run_optuna, network=HYPERMODEL, is_multivariate=False),
    "ray": partial(run_ray, network=HYPERMODEL),
    "keras-tuner-example": partial(run_keras_tuner, network=EXAMPLE),
    "optuna-median-example": partial(run_optuna, network=EXAMPLE, is_multivariate=True),
    "optuna-hyperband-example": partial(run_optuna, network=EXAMPLE, is_multivariate=False),
    "ray-example": partial(run_ray, network=EXAMPLE),
    "expert": run_expert,
    "expert-example": run_example_expert,
}

ON_RAY = ("ray", "ray-example")
"""Contenders that run on Ray, with several processes."""

LEAST_EPOCHS = {"freeze-thaw": SCHEDULE_EPOCHS, "hyperband": SCHEDULE_EPOCHS}
"""Minimum numbers of epochs, for which a contender may exceed the time limit."""
