"""Computes the importance of hyperparameters with PED-ANOVA."""

import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vaetune.config import Value
from vaetune.report.analysis.budgets import ENOUGH_CONFIGURATIONS, compare_at_equal_budget
from vaetune.report.analysis.distributions import as_distribution, silence_optuna
from vaetune.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

CERTAIN_CONFIGURATIONS = 20
"""Number of configurations below which the importances are uncertain."""

MIN_CONFIGURATIONS = 4
"""Number of configurations below which no importance is computed."""

BEST_SHARE = 0.1
"""Share of the configurations that count as the best, but see `MIN_BEST`."""

MIN_BEST = 5
"""Smallest number of configurations that count as the best."""

SHUFFLES = 20
"""Number of random permutations of the losses, to find out how much importance is chance."""

MIN_SHUFFLES = 5
"""Smallest number of permutations, for searches with many configurations."""

MAX_SHUFFLED = 4_000
"""Limit for permutations times configurations, which keeps the time below a second."""


@dataclass(frozen=True)
class Importance:
    """The importance of each hyperparameter for being among the best configurations.

    Attributes:
        epoch: Absolute epoch. The loss of a configuration is its lowest up to this epoch, so that
            different budgets are not mixed.
        configurations: Number of configurations measured at this epoch.
        best: Number of configurations that count as the best.
        shares: Names and importances, which add up to 1, in descending order.
        chances: Number of permutations in which a hyperparameter is at least as important, in the
            order of `shares`. Shares alone cannot be distinguished from noise.
        shuffles: Number of random permutations of the losses.
        uncertain: True if there are fewer than `CERTAIN_CONFIGURATIONS` configurations.
        users: Number of configurations that use each hyperparameter, in the order of `shares`. An
            importance is computed among these.
        left_out: Names of hyperparameters that too few configurations use.
        enough: False if no epoch has `ENOUGH_CONFIGURATIONS`, so that it is the one with the most.
    """

    epoch: int
    configurations: int
    best: int
    shares: tuple[tuple[str, float], ...]
    chances: tuple[int, ...]
    shuffles: int
    uncertain: bool
    users: tuple[int, ...]
    left_out: tuple[str, ...] = ()
    enough: bool = True


@dataclass(frozen=True)
class _Sample:
    """Configurations measured at one epoch.

    Attributes:
        epoch: Absolute epoch.
        losses: Lowest loss of each configuration up to the epoch, nats per image.
        values: Values of each hyperparameter that differs, in the order of the losses. None: the
            configuration does not use it.
    """

    epoch: int
    losses: tuple[float, ...]
    values: Mapping[str, tuple[Value | None, ...]]

    @property
    def best(self) -> int:
        """The number of configurations that count as the best, including ties with the last."""
        wanted = max(math.ceil(BEST_SHARE * len(self.losses)), MIN_BEST)
        last = sorted(self.losses)[min(wanted, len(self.losses) - 1) - 1]
        return sum(loss <= last for loss in self.losses)


def compute_importance(study: Study) -> Importance | None:
    """Computes how much each hyperparameter separates the best configurations from all others.

    Losses are compared after the same number of epochs; see `compare_at_equal_budget`.

    A hyperparameter that not all configurations use is compared among those that use it.

    Returns:
        None if there are too few data; `explain_missing_importance` gives the reason.

    References:
        Watanabe, Bansal and Hutter (2023), PED-ANOVA: Efficiently Quantifying Hyperparameter
        Importance in Arbitrary Subspaces.
    """
    sample = _sample(study)
    parts = [part for part in _parts(sample) if not _missing_reason(part)]
    if not parts:
        return None
    shuffles = min(SHUFFLES, max(MIN_SHUFFLES, MAX_SHUFFLED // len(sample.losses)))
    rounds: list[dict[str, float]] = [{} for _ in range(1 + shuffles)]
    for part in parts:
        losses = [part.losses, *_shuffles(part.losses, shuffles)]
        for one, importances in zip(rounds, _ped_anova(study, part, losses), strict=True):
            one |= importances
    rated = [name for name in sample.values if name in rounds[0]]
    found, *shuffled = ({name: one[name] for name in rated} for one in rounds)
    whole = sum(found.values()) or 1.0
    users = {name: len(part.losses) for part in parts for name in part.values}
    # Sorting is stable: equal importances keep the order of the search space.
    order = sorted(found, key=lambda name: -found[name])
    return Importance(
        epoch=sample.epoch,
        configurations=len(sample.losses),
        best=sample.best,
        shares=tuple((name, found[name] / whole) for name in order),
        chances=tuple(sum(one[name] >= found[name] for one in shuffled) for name in order),
        shuffles=len(shuffled),
        uncertain=len(sample.losses) < CERTAIN_CONFIGURATIONS,
        users=tuple(users[name] for name in order),
        left_out=tuple(name for name in sample.values if name not in users),
        enough=len(sample.losses) >= ENOUGH_CONFIGURATIONS,
    )


def explain_missing_importance(study: Study) -> str:
    """Explains in a sentence why a study has no importances; empty if it has."""
    sample = _sample(study)
    parts = _parts(sample) or [sample]
    reasons = [_missing_reason(part) for part in parts]
    return reasons[0] if all(reasons) else ""


def _missing_reason(sample: _Sample) -> str:
    count = len(sample.losses)
    if count < MIN_CONFIGURATIONS:
        return (
            f"This needs at least {MIN_CONFIGURATIONS} configurations measured after the same "
            f"number of epochs; there are {count}."
        )
    if not sample.values:
        return "All configurations have the same hyperparameters."
    if sample.best == count:
        return "Too many configurations have the same loss to tell the best from the others."
    return ""


def _sample(study: Study) -> _Sample:
    """Selects the configurations to compare, in the order drawn."""
    budget = compare_at_equal_budget(study)
    values = {
        name: tuple(drawn.get(name) for drawn in budget.hyperparameters.values())
        for name, _ in study.space.dimensions()
    }
    differing = {name: column for name, column in values.items() if len(set(column) - {None}) > 1}
    return _Sample(budget.epoch, tuple(budget.losses.values()), differing)


def _parts(sample: _Sample) -> list[_Sample]:
    """Splits a sample into the configurations that use the same hyperparameters.

    Every part has the hyperparameters that exactly its configurations use; the first part is the
    one with the most configurations.
    """
    names: dict[tuple[int, ...], list[str]] = {}
    for name, column in sample.values.items():
        users = tuple(place for place, value in enumerate(column) if value is not None)
        names.setdefault(users, []).append(name)
    return [
        _Sample(
            sample.epoch,
            tuple(sample.losses[place] for place in users),
            {name: tuple(sample.values[name][place] for place in users) for name in names[users]},
        )
        for users in sorted(names, key=len, reverse=True)
    ]


def _shuffles(losses: Sequence[float], count: int) -> Iterator[Sequence[float]]:
    """Yields random permutations of the losses, with a fixed seed."""
    generator = random.Random(0)
    for _ in range(count):
        yield generator.sample(losses, len(losses))


def _ped_anova(
    study: Study, sample: _Sample, permutations: Sequence[Sequence[float]]
) -> list[dict[str, float]]:
    """Computes the importance of each hyperparameter, for each permutation of the losses."""
    with _without_scikit_learn():
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    import optuna

    dimensions = dict(study.space.dimensions())
    distributions = {
        name: as_distribution(dimensions[name], values) for name, values in sample.values.items()
    }
    names = list(sample.values)
    # Optuna rounds the quantile up to whole configurations. Half a configuration less keeps a
    # rounding error from adding one.
    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=(sample.best - 0.5) / len(sample.losses)
    )
    found = []
    with silence_optuna(optuna):
        optuna_study = optuna.create_study()
        optuna_study.add_trials(
            optuna.trial.create_trial(
                params={name: sample.values[name][place] for name in names},
                distributions=distributions,
                value=loss,
            )
            for place, loss in enumerate(sample.losses)
        )
        for losses in permutations:
            importances = get_param_importances(
                optuna_study,
                evaluator=evaluator,
                params=names,
                target=partial(_loss_of, losses),
                normalize=False,
            )
            found.append({name: importances[name] for name in names})
    return found


def _loss_of(losses: Sequence[float], trial: "FrozenTrial") -> float:
    return losses[trial.number]


@contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Imports `optuna.importance` without scikit-learn, unless one of them is imported already.

    Optuna imports scikit-learn for an evaluator that is not used here. This takes more than a
    second of CPU time, and a whole report should take less than three. Afterwards the modules are
    removed from `sys.modules`, so that other code can import all evaluators.
    """
    import optuna

    package = "optuna.importance"
    if "sklearn" in sys.modules or package in sys.modules:
        yield
        return
    # The attribute `optuna.importance` is a proxy that imports the package on first use.
    proxy = {name: value for name, value in vars(optuna).items() if name == "importance"}
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        yield
    finally:
        del sys.modules["sklearn"]
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]
        vars(optuna).pop("importance", None)
        vars(optuna).update(proxy)
