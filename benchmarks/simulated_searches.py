"""Search algorithms on a simulated clock.

Searches of vaetune use vaetune's oracles, and searches of Optuna use Optuna's samplers and pruners.
Random search, the stopping rule of ASHA and the control are written here.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from workloads import FACTOR
from worlds import Array, World

IMAGES, IMAGE_SHAPE = 5000, (28, 28, 1)
"""Training images of a world, and their height, width and channels."""

EPOCHS = 9

WITHIN = (5.0, 2.0, 1.0)
"""Distances from the lowest loss of a world, in nats."""

BUDGET_S = 130.0
"""Simulated seconds after which the best loss is read."""

GIVE_UP_S = 1000.0
"""Simulated seconds after which a search is stopped."""

ENDLESS = 10**6
"""Epochs of a freeze-thaw search: more than the time allows."""

CONTROL_BEGUN, CONTROL_KEPT, CONTROL_POOL = 27, 3, 270
"""Numbers of configurations that the control begins, completes and draws from in a round."""


@dataclass(frozen=True, eq=False)
class Training:
    """A configuration that trains on a clock.

    Attributes:
        losses: Validation loss after each epoch, in nats per image.
        epoch_s: Seconds of an epoch.
    """

    losses: Array
    epoch_s: float


class Clock:
    """Simulated time of a search, and the losses that it has reached.

    Args:
        world: World in which configurations train.
        per_trial_s: Fixed cost of a trial, in seconds.

    Attributes:
        reached_s: Simulated seconds to each distance from the lowest loss, by distance in nats.
        above: Distance of the best loss after `BUDGET_S` from the lowest one, in nats.
    """

    def __init__(self, world: World, per_trial_s: float) -> None:
        self.world = world
        self._per_trial_s = per_trial_s
        self._now_s, self._begun = 0.0, 0
        self.reached_s: dict[float, float] = {}
        self.above = math.inf

    def begin(self, values: Mapping[str, Any]) -> Training:
        """Returns the training of a new configuration. No time passes."""
        self._begun += 1
        return Training(self.world.train(values, self._begun), self.world.epoch_s(values))

    def start_trial(self) -> None:
        """Adds the fixed cost of a trial to the time."""
        self._now_s += self._per_trial_s

    def train(self, training: Training, epoch: int) -> float:
        """Trains an epoch, counted from 1, and returns its validation loss."""
        self._now_s += training.epoch_s
        loss = float(training.losses[epoch - 1])
        above = loss - self.world.lowest
        if self._now_s <= BUDGET_S:
            self.above = min(self.above, above)
        for nats in WITHIN:
            if above <= nats:
                self.reached_s.setdefault(nats, self._now_s)
        return loss

    @property
    def is_over(self) -> bool:
        """Whether everything is measured, or `GIVE_UP_S` has passed."""
        is_done = len(self.reached_s) == len(WITHIN) and self._now_s > BUDGET_S
        return is_done or self._now_s > GIVE_UP_S


def draw(clock: Clock, rng: np.random.Generator) -> dict[str, Any]:
    """Returns a random configuration."""
    encoder = clock.world.encoder
    return encoder.draw(rng.random(encoder.dimensions).tolist())


def random_search(clock: Clock, seed: int) -> None:
    """Trains random configurations to the last epoch."""
    rng = np.random.default_rng(seed)
    while not clock.is_over:
        training = clock.begin(draw(clock, rng))
        clock.start_trial()
        for epoch in range(1, EPOCHS + 1):
            clock.train(training, epoch)


def counted_cost(values: Mapping[str, Any]) -> float:
    """Returns the seconds of an epoch as freeze-thaw counts them, without measuring."""
    from vaetune.models import Architecture
    from vaetune.search.oracles.cost import batch_size_of, epoch_cost

    return epoch_cost(Architecture.of(IMAGE_SHAPE, values), IMAGES, batch_size_of(values, None))


def control(clock: Clock, seed: int) -> None:
    """Trains cheap random configurations for one epoch, and the best ones to the last epoch.

    The probability to draw a configuration is inversely proportional to its counted cost.
    """
    rng = np.random.default_rng(seed)
    while not clock.is_over:
        pool = [draw(clock, rng) for _ in range(CONTROL_POOL)]
        rates = np.array([1 / counted_cost(values) for values in pool])
        chosen = rng.choice(CONTROL_POOL, CONTROL_BEGUN, replace=False, p=rates / rates.sum())
        begun = []
        for place in chosen:
            training = clock.begin(pool[place])
            clock.start_trial()
            begun.append((clock.train(training, 1), training))
        for _, training in sorted(begun, key=lambda pair: pair[0])[:CONTROL_KEPT]:
            clock.start_trial()
            for epoch in range(2, EPOCHS + 1):
                clock.train(training, epoch)


def vaetune_search(
    clock: Clock,
    seed: int,
    algorithm: str,
    continues: bool = True,
    start_with: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Runs an algorithm of vaetune through its oracle, and again with another seed if it ends.

    Args:
        clock: Simulated time.
        seed: Random seed of the search.
        algorithm: Name of the algorithm.
        continues: True if a trial continues its parent, False if it restarts.
        start_with: Configurations with which the first search begins.
    """
    from vaetune.config import SearchSpec

    budget: dict[str, Any] = {"max_epochs": EPOCHS}
    budget |= {"factor": FACTOR} if algorithm == "hyperband" else {"total_epochs": ENDLESS}
    for again in itertools.count():
        keys = {"algorithm": algorithm, "seed": seed + 1_000_003 * again, "budget": budget}
        spec = SearchSpec.model_validate(keys | {"space": clock.world.space})
        if start_with and again == 0:
            spec = spec.model_copy(update={"start_with": tuple(start_with)})
        if _run_oracle(clock, spec, continues):
            return


def _run_oracle(clock: Clock, spec: Any, continues: bool) -> bool:
    """Runs a search until it ends or the clock is over, and returns whether the clock is over."""
    from vaetune.device import import_tensorflow

    import_tensorflow()
    from keras_tuner.engine.trial import TrialStatus

    from vaetune.search.oracles.control import assignment, end_trial, make_oracle, request_trial

    oracle = make_oracle(spec, _data_of(clock.world))
    trainings: dict[int, Training] = {}
    while not clock.is_over:
        trial = request_trial(oracle)
        if trial.status != TrialStatus.RUNNING:
            return False
        assigned = assignment(oracle, trial)
        if assigned.configuration not in trainings:
            trainings[assigned.configuration] = clock.begin(assigned.hyperparameters)
        training = trainings[assigned.configuration]
        clock.start_trial()
        for epoch in range(1, 1 if continues else assigned.epoch_from + 1):
            clock.train(training, epoch)
        losses = [
            clock.train(training, epoch)
            for epoch in range(assigned.epoch_from + 1, assigned.epoch_to + 1)
        ]
        end_trial(oracle, trial.trial_id, min(losses))
    return True


def _data_of(world: World) -> Any:
    """Returns the description of the image set that a world simulates."""
    from vaetune.study import DataSummary

    return DataSummary(
        name="simulated",
        source="simulated",
        fingerprint="0" * 64,
        image_shape=IMAGE_SHAPE,
        train_images=IMAGES,
        validation_images=1000,
        test_images=1000,
        class_names=None,
        entropy_floor=world.floor,
    )


def asha(clock: Clock, seed: int) -> None:
    """Follows the stopping rule of Ray's ASHA: after 1 and 3 epochs the best third continues."""
    rng = np.random.default_rng(seed)
    rungs: dict[int, list[float]] = {1: [], FACTOR: []}
    while not clock.is_over:
        training = clock.begin(draw(clock, rng))
        clock.start_trial()
        for epoch in range(1, EPOCHS + 1):
            loss = clock.train(training, epoch)
            if epoch in rungs:
                # Compared with earlier trials at this rung; the first trial always continues.
                others = rungs[epoch]
                is_stopped = bool(others) and loss > np.percentile(others, 100 / FACTOR)
                others.append(loss)
                if is_stopped:
                    break


def optuna_search(clock: Clock, seed: int, is_multivariate: bool) -> None:
    """Runs Optuna's TPE.

    Args:
        clock: Simulated time.
        seed: Random seed of the sampler.
        is_multivariate: True for the multivariate TPE with the median pruner, False for the plain
            one with the Hyperband pruner.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with_median = optuna.pruners.MedianPruner()
    with_brackets = optuna.pruners.HyperbandPruner(1, EPOCHS, FACTOR)
    study = optuna.create_study(
        sampler=sampler(seed, is_multivariate),
        pruner=with_median if is_multivariate else with_brackets,
        study_name=str(seed),  # The pruner chooses brackets by this name.
    )
    while not clock.is_over:
        trial = study.ask()
        training = clock.begin(suggest(trial, clock.world.space))
        clock.start_trial()
        for epoch in range(1, EPOCHS + 1):
            trial.report(clock.train(training, epoch), epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(training.losses.min()))


def sampler(seed: int, is_multivariate: bool) -> Any:
    """Returns Optuna's TPE sampler."""
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(seed=seed, multivariate=is_multivariate)


def suggest(trial: Any, space: Any) -> dict[str, Any]:
    """Returns a configuration from Optuna, for which the space is declared as its users do."""
    from vaetune.config import Range, holds

    dimensions, conditions = dict(space.dimensions()), space.conditions()
    values: dict[str, Any] = {}
    for name in space.evaluation_order():
        one = dimensions[name]
        if not holds(conditions.get(name, ()), values):
            continue
        if isinstance(one, Range):
            is_whole = isinstance(one.min, int)
            suggest = trial.suggest_int if is_whole else trial.suggest_float
            values[name] = suggest(name, one.min, one.max, log=one.scale == "log")
        else:
            listed = one.listed()
            values[name] = trial.suggest_categorical(name, listed) if listed[1:] else listed[0]
    return values


ALGORITHMS: Mapping[str, tuple[Callable[[Clock, int], None], str]] = {
    "Freeze-thaw (vaetune)": (partial(vaetune_search, algorithm="freeze_thaw"), "vaetune"),
    "Hyperband, promoted trials continue (vaetune)": (
        partial(vaetune_search, algorithm="hyperband"),
        "vaetune",
    ),
    "Hyperband, promoted trials continue (Keras Tuner's fixed cost)": (
        partial(vaetune_search, algorithm="hyperband"),
        "keras-tuner",
    ),
    "Hyperband, promoted trials restart (vaetune's fixed cost)": (
        partial(vaetune_search, algorithm="hyperband", continues=False),
        "vaetune",
    ),
    "Control: cheap ones, one epoch, three to the end (vaetune's fixed cost)": (control, "vaetune"),
    "Random search (vaetune's fixed cost)": (random_search, "vaetune"),
    "Multivariate TPE with MedianPruner (Optuna)": (
        partial(optuna_search, is_multivariate=True),
        "optuna",
    ),
    "TPE with HyperbandPruner (Optuna)": (partial(optuna_search, is_multivariate=False), "optuna"),
    "ASHA's stopping rule (Ray Tune's fixed cost)": (asha, "ray"),
}
"""The algorithms by title, each with the tool that provides the fixed cost of a trial."""
