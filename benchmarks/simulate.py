"""Compares search algorithms on the table of learning curves, without training.

    python benchmarks/simulate.py [--seeds 100]

A configuration has the curve and the seconds of the nearest configuration in the table. Distances
use the latent size, filters and units by their index among the choices, and the logarithm of the
learning rate, each scaled to [0, 1]. Every trial, a promoted one included, also takes the fixed
cost of its tool (measured by `side_by_side.py --workload one-step`). The result is the time until
the best validation loss is within 5, 2 and 1 nats of the lowest one in the table. It is written to
`results/simulated.json`.
"""

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from typing import Any

import numpy as np
from curves import EPOCHS, GIVE_UP_S, NAMES, Curve, read_curves
from workloads import FACTOR, LEARNING_RATES, RESULTS, SPACE, read_runs

WITHIN = (5.0, 2.0, 1.0)
"""Distances from the lowest validation loss of the table, in nats."""


class Clock:
    """Simulated time, and when each distance from the lowest loss was reached.

    Args:
        per_trial_s: Fixed cost of a trial, in seconds.

    Attributes:
        reached_s: Simulated seconds by distance, in nats.
    """

    def __init__(self, per_trial_s: float) -> None:
        self._per_trial_s = per_trial_s
        self._now_s = 0.0
        self._best = math.inf
        self._lowest = min(min(curve.val_loss) for curve in table())
        self.reached_s: dict[float, float] = {}

    def begin(self) -> None:
        """Starts a trial."""
        self._now_s += self._per_trial_s

    def train(self, curve: Curve, epoch: int) -> float:
        """Trains one epoch, counted from 1, and returns its validation loss."""
        self._now_s += curve.cpu_s[epoch - 1]
        loss = curve.val_loss[epoch - 1]
        self._best = min(self._best, loss)
        for nats in WITHIN:
            if self._best <= self._lowest + nats:
                self.reached_s.setdefault(nats, self._now_s)
        return loss

    @property
    def is_over(self) -> bool:
        """Whether all distances are reached, or the time is up."""
        return len(self.reached_s) == len(WITHIN) or self._now_s > GIVE_UP_S


@cache
def table() -> list[Curve]:
    """Returns all curves."""
    return list(read_curves())


@cache
def _points() -> np.ndarray:
    return np.array([_point(curve.values) for curve in table()])


def look_up(values: Mapping[str, Any]) -> Curve:
    """Returns the curve of the nearest configuration."""
    distances = ((_points() - _point(values)) ** 2).sum(axis=1)
    return table()[int(distances.argmin())]


def _point(values: Mapping[str, Any]) -> list[float]:
    low, high = LEARNING_RATES
    rate = math.log(values["learning_rate"] / low) / math.log(high / low)
    choices = [SPACE[name].index(values[name]) / (len(SPACE[name]) - 1) for name in NAMES[:-1]]
    return [*choices, rate]


def _draw(rng: np.random.Generator) -> Curve:
    low, high = LEARNING_RATES
    values: dict[str, Any] = {name: rng.choice(SPACE[name]).item() for name in SPACE}
    return look_up(values | {"learning_rate": low * (high / low) ** rng.random()})


def random_search(clock: Clock, seed: int) -> None:
    """Trains random configurations for all epochs."""
    rng = np.random.default_rng(seed)
    while not clock.is_over:
        curve = _draw(rng)
        clock.begin()
        for epoch in range(1, EPOCHS + 1):
            clock.train(curve, epoch)


def hyperband(clock: Clock, seed: int, continues: bool = True) -> None:
    """Repeats Keras Tuner's schedule (27 epochs, factor 3) with its own oracle.

    Args:
        clock: Simulated time.
        seed: Random seed of the oracle.
        continues: True if a promoted trial continues its parent, False if it restarts.
    """
    from vaetune.device import import_tensorflow

    import_tensorflow()
    from keras_tuner.src.engine.trial import TrialStatus

    from vaetune.config.spec import Budget, SearchSpec
    from vaetune.search.oracles.base import OBJECTIVE
    from vaetune.search.oracles.control import assignment, make_oracle

    budget = Budget(max_epochs=EPOCHS, factor=FACTOR)
    for again in itertools.count():
        oracle = make_oracle(SearchSpec(seed=seed + 1_000_003 * again, budget=budget))
        while not clock.is_over:
            trial = oracle.create_trial("tuner")
            if trial.status == TrialStatus.STOPPED:
                break
            asked = assignment(oracle, trial)
            curve = look_up(asked.hyperparameters)
            clock.begin()
            if not continues:
                for epoch in range(1, asked.epoch_from + 1):
                    clock.train(curve, epoch)
            epochs = range(asked.epoch_from + 1, asked.epoch_to + 1)
            oracle.update_trial(
                trial.trial_id, {OBJECTIVE: min(clock.train(curve, epoch) for epoch in epochs)}
            )
            trial.status = TrialStatus.COMPLETED
            oracle.end_trial(trial)
        if clock.is_over:
            return


def asha(clock: Clock, seed: int) -> None:
    """Follows the stopping rule of Ray's ASHA: after 1, 3 and 9 epochs the best third continues."""
    rng = np.random.default_rng(seed)
    rungs: dict[int, list[float]] = {1: [], 3: [], 9: []}
    while not clock.is_over:
        curve = _draw(rng)
        clock.begin()
        for epoch in range(1, EPOCHS + 1):
            loss = clock.train(curve, epoch)
            if epoch in rungs:
                # Compared with earlier trials at this rung; the first trial always continues.
                others = rungs[epoch]
                is_stopped = bool(others) and loss > np.percentile(others, 100 / FACTOR)
                others.append(loss)
                if is_stopped:
                    break


def optuna_search(clock: Clock, seed: int) -> None:
    """Runs Optuna's TPE with its HyperbandPruner."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(values) for name, values in SPACE.items()
    }
    distributions["learning_rate"] = optuna.distributions.FloatDistribution(
        *LEARNING_RATES, log=True
    )
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(1, EPOCHS, FACTOR),
        study_name=str(seed),  # The pruner chooses brackets by this name.
    )
    while not clock.is_over:
        trial = study.ask(distributions)
        curve = look_up(trial.params)
        clock.begin()
        for epoch in range(1, EPOCHS + 1):
            loss = clock.train(curve, epoch)
            trial.report(loss, epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, min(curve.val_loss))


ALGORITHMS: dict[str, tuple[Callable[[Clock, int], None], str]] = {
    "Hyperband, promoted trials continue (vaetune)": (hyperband, "vaetune"),
    "Hyperband, promoted trials continue (Keras Tuner's fixed cost)": (hyperband, "keras-tuner"),
    "Hyperband, promoted trials restart (vaetune's fixed cost)": (
        partial(hyperband, continues=False),
        "vaetune",
    ),
    "ASHA's stopping rule (Ray Tune's fixed cost)": (asha, "ray"),
    "TPE with HyperbandPruner (Optuna)": (optuna_search, "optuna"),
    "Random search (vaetune's fixed cost)": (random_search, "vaetune"),
}
"""The algorithms by title, each with the tool that provides the fixed cost of a trial."""


def fixed_costs() -> dict[str, float]:
    """Returns the median seconds that a trial costs each tool besides its training steps."""
    from tables import fixed_cost

    runs = list(read_runs(RESULTS / "side_by_side.jsonl"))
    tools = sorted({tool for _, tool in ALGORITHMS.values()})
    return {tool: statistics.median(fixed_cost(runs, tool).values()) for tool in tools}


def simulate(title: str, per_trial_s: float, seed: int) -> dict[float, float]:
    """Simulates one search and returns the seconds by distance, see `Clock.reached_s`."""
    clock = Clock(per_trial_s)
    ALGORITHMS[title][0](clock, seed)
    return clock.reached_s


def main() -> None:
    """Simulates all algorithms and writes their times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    arguments = parser.parse_args()
    costs = fixed_costs()
    simulated: dict[str, Any] = {
        "seeds": arguments.seeds,
        "configurations": len(table()),
        "lowest": min(min(curve.val_loss) for curve in table()),
        "fixed_cost_s": costs,
        "median_s": {},
        "quartiles_s": {},
    }
    with ProcessPoolExecutor() as pool:
        for title, (_, tool) in ALGORITHMS.items():
            runs = list(
                pool.map(partial(simulate, title, costs[tool]), range(1, arguments.seeds + 1))
            )
            of = {nats: [run.get(nats, GIVE_UP_S) for run in runs] for nats in WITHIN}
            simulated["median_s"][title] = {n: statistics.median(s) for n, s in of.items()}
            simulated["quartiles_s"][title] = {
                n: np.percentile(s, (25, 75), method="nearest").tolist() for n, s in of.items()
            }
            print(title, {n: round(s) for n, s in simulated["median_s"][title].items()}, flush=True)
    text = json.dumps(simulated, indent=2, allow_nan=False)
    (RESULTS / "simulated.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
