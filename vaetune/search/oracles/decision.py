"""Decides what a freeze-thaw search trains next: a paused configuration, or a new one.

Nothing here depends on Keras Tuner or on time. A decision is a function of the configurations that
have begun, of the seed, and of the number of trials.

References:
    Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization", 2014.
    Lee et al., "Cost-Sensitive Freeze-thaw Bayesian Optimization", 2025.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr
from scipy.stats import qmc

from vaetune.config import Value
from vaetune.search.oracles.cost import PER_TRIAL_S
from vaetune.search.oracles.encoding import Configuration, Encoder
from vaetune.search.oracles.gaussian_process import Array, CurveProcess, Points
from vaetune.search.oracles.observations import Run, observe
from vaetune.search.oracles.scale import Scale

STARTING = 2
"""Number of configurations that begin before a Gaussian process is asked."""

UNIFORM = 400
"""Number of new configurations that are drawn from the whole space for a decision."""

NEIGHBOURS, PARENTS = 30, 4
"""Number of variations of each of the best configurations, and of these."""

CHANGED = 0.6
"""Probability with which a variation changes a hyperparameter."""

COST_POWER = 0.5
"""Power of the cost by which the expected improvement is divided."""

WITHOUT_COST_EVERY: int | None = None
"""Every which new configuration is chosen whatever it costs; None: none is."""

_SOBOL_POINTS = 64

_DIGITS = 9
"""Decimals of the logarithm of a score. Closer ones are ties, which the first one wins."""


@dataclass(frozen=True)
class Forecast:
    """What a decision expects.

    Attributes:
        loss: Expected loss after `epoch`, nats per image.
        low: Loss one standard deviation below it.
        high: Loss one standard deviation above it.
        epoch: Last epoch that the configuration can reach within the budget, absolute.
        cost_s: Counted cost of the epochs up to there, in seconds of a certain machine.
    """

    loss: float
    low: float
    high: float
    epoch: int
    cost_s: float


@dataclass(frozen=True)
class Proposal:
    """A trial to run next.

    Attributes:
        values: Values of the hyperparameters that the model uses.
        run: Index of the configuration that continues; None for a new one.
        epoch_from: Last epoch before the trial, absolute.
        epoch_to: Last epoch of the trial, absolute.
        forecast: Expectation of the Gaussian process; None before it is used.
    """

    values: Configuration
    run: int | None
    epoch_from: int
    epoch_to: int
    forecast: Forecast | None = None


def rungs_of(max_epochs: int) -> tuple[int, ...]:
    """Returns the epochs after which a configuration pauses, ending with the last epoch."""
    shares = (-(-max_epochs // 9), -(-max_epochs // 3), -(-2 * max_epochs // 3), max_epochs)
    return tuple(sorted(set(shares)))


@dataclass(frozen=True, eq=False)
class _Options:
    """The trials that a decision chooses from.

    Attributes:
        values: Their configurations.
        runs: Indices of the runs that they continue; negative numbers are new configurations.
        epochs: Epochs that their configurations have trained.
        targets: Last epochs that they can reach within the budget.
    """

    values: Sequence[Configuration]
    runs: Array
    epochs: Array
    targets: Array


@dataclass(frozen=True, eq=False)
class Chooser:
    """Chooses the trials of a search.

    Attributes:
        encoder: Search space.
        rungs: Epochs after which a configuration pauses.
        seed: Random seed of the search.
        cost: Counted seconds of an epoch of a configuration.
        floor: Lower bound of all losses, nats per image; None if there is none.
        given: Configurations that begin first, in order.
    """

    encoder: Encoder
    rungs: Sequence[int]
    seed: int
    cost: Callable[[Configuration], float]
    floor: float | None = None
    given: Sequence[Configuration] = ()

    def choose(self, runs: Sequence[Run], number: int, epochs_left: int) -> Proposal | None:
        """Returns the next trial; None if there is nothing to train now.

        Args:
            runs: The configurations that have begun, in order.
            number: Number of trials so far.
            epochs_left: Epochs that the budget has left.
        """
        is_informed = any(run.losses for run in runs)
        can_begin = self.rungs[0] <= epochs_left
        if can_begin and (len(runs) < max(STARTING, len(self.given)) or not is_informed):
            values = self.starting_configuration(runs)
            if values is not None:
                return Proposal(values, None, 0, self.rungs[0])
        if not is_informed:
            return None
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, number]))
        new = self._draw_new(runs, rng) if can_begin else []
        options = self._options(runs, new, epochs_left)
        return self._best(runs, options) if options.values else None

    def starting_configuration(self, runs: Sequence[Run]) -> Configuration | None:
        """Returns the next configuration that no model chooses; None if all have begun.

        Args:
            runs: The configurations that have begun, in order.
        """
        known = {self.encoder.key(run.values) for run in runs}
        everything = self.encoder.everything or []
        drawn = (self.encoder.draw(point.tolist()) for point in self._sobol)
        ordered = (*self.given, *drawn, *everything)
        fresh = (one for one in ordered if self.encoder.key(one) not in known)
        return next(fresh, None)

    @cached_property
    def _sobol(self) -> Array:
        """Scrambled Sobol points, which fill a space more evenly than random ones."""
        if not self.encoder.dimensions:
            return np.zeros((1, 0))
        generator = np.random.default_rng(self.seed)
        sampler = qmc.Sobol(self.encoder.dimensions, scramble=True, seed=generator)
        points: Array = sampler.random(_SOBOL_POINTS)
        return points

    def _draw_new(self, runs: Sequence[Run], rng: np.random.Generator) -> list[Configuration]:
        """Returns new configurations, each once: from the whole space, and near the best ones."""
        encoder, everything = self.encoder, self.encoder.everything
        drawn = everything if everything is not None else self._sample(runs, rng)
        known = {encoder.key(run.values) for run in runs}
        distinct = {key: one for one in drawn if (key := encoder.key(one)) not in known}
        found: list[Configuration] = list(distinct.values())
        if everything is None or len(found) <= UNIFORM:
            return found
        return [found[i] for i in sorted(rng.permutation(len(found))[:UNIFORM])]

    def _sample(self, runs: Sequence[Run], rng: np.random.Generator) -> list[dict[str, Value]]:
        """Draws configurations of the whole space, and variations of the best ones."""
        numbers = rng.random((UNIFORM, self.encoder.dimensions))
        scored = [run for run in runs if run.losses and not run.has_failed]
        best = sorted(scored, key=lambda run: min(run.losses))[:PARENTS]
        parents = [one.values for one in best for _ in range(NEIGHBOURS)]
        return [
            *(self.encoder.draw(row) for row in numbers.tolist()),
            *(self.encoder.vary(values, rng, CHANGED) for values in parents),
        ]

    def _options(
        self, runs: Sequence[Run], new: Sequence[Configuration], epochs_left: int
    ) -> _Options:
        """Returns the new configurations and the paused ones that the budget still allows.

        From the second rung on, a collapsed configuration continues only if nothing else is left.
        """
        able = [
            index
            for index, run in enumerate(runs)
            if run.is_paused(self.rungs[-1]) and self._next(run.epoch) - run.epoch <= epochs_left
        ]
        sound = [i for i in able if not (runs[i].collapsed and runs[i].epoch > self.rungs[0])]
        paused = sound if sound or new else able
        epochs = [0] * len(new) + [runs[index].epoch for index in paused]
        return _Options(
            [*new, *(runs[index].values for index in paused)],
            np.array([*range(-1, -1 - len(new), -1), *paused], dtype=float),
            np.array(epochs, dtype=float),
            np.array([self._last(one, epochs_left) for one in epochs], dtype=float),
        )

    def _best(self, runs: Sequence[Run], options: _Options) -> Proposal:
        """Returns the option with the largest expected improvement per root of its cost."""
        scale = Scale.of([loss for run in runs for loss in run.losses], self.floor)
        process = self._fit(runs, scale)
        mean, deviation = process.predict(
            Points(
                self.encoder.points(options.values),
                np.log(options.targets),
                options.runs.astype(np.int64),
            )
        )
        (best,) = scale.onto([min(loss for run in runs for loss in run.losses)]).tolist()
        each = np.array([self.cost(values) for values in options.values])
        costs = each * (options.targets - options.epochs) + PER_TRIAL_S
        begun = len(runs)
        is_free = bool(WITHOUT_COST_EVERY) and begun % (WITHOUT_COST_EVERY or 1) == 0
        power = np.where((options.runs < 0) & is_free, 0.0, COST_POWER)
        scores = log_improvement(mean, deviation, best) - power * np.log(costs)
        chosen = int(np.argmax(np.round(scores, _DIGITS)))
        middle, width = float(mean[chosen]), float(deviation[chosen])
        run, epoch = int(options.runs[chosen]), int(options.epochs[chosen])
        return Proposal(
            options.values[chosen],
            run if run >= 0 else None,
            epoch,
            self._next(epoch),
            Forecast(
                scale.loss(middle),
                scale.loss(middle - width),
                scale.loss(middle + width),
                int(options.targets[chosen]),
                float(costs[chosen]),
            ),
        )

    def _fit(self, runs: Sequence[Run], scale: Scale) -> CurveProcess:
        """Fits the process. Running trials are taken to end as it predicts."""
        points, losses = observe(runs, scale, self.encoder, self.rungs[-1])
        process = CurveProcess.fit(points, losses, self.encoder.lengths)
        running = [index for index, run in enumerate(runs) if run.running_to is not None]
        if not running:
            return process
        expected = Points(
            self.encoder.points([runs[index].values for index in running]),
            np.log([float(runs[index].running_to or 1) for index in running]),
            np.array(running, dtype=np.int64),
        )
        mean, _ = process.predict(expected)
        joined = points.followed_by(expected), np.concatenate([losses, mean])
        return CurveProcess(*joined, self.encoder.lengths, process.number)

    def _next(self, epoch: int) -> int:
        return next(rung for rung in self.rungs if rung > epoch)

    def _last(self, epoch: int, epochs_left: int) -> int:
        """Returns the last rung that a configuration can reach."""
        return max(rung for rung in self.rungs if epoch < rung <= epoch + epochs_left)


def log_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Returns the logarithm of the expected improvement over the best loss.

    It is finite however small the improvement is.
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    plain = np.log(np.maximum(z * ndtr(z) + density, 1e-300))
    # Far below, the difference loses all digits. There the first term of its series is used.
    tail = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - 2 * np.log(np.maximum(-z, 1.0))
    logarithm: Array = np.where(z < -6, tail, plain) + np.log(deviation)
    return logarithm
