"""Which hyperparameters set the best configurations apart from all, by PED-ANOVA."""

import math
import random
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from vaetune.config import Choice, Number, Pinned, Range
from vaetune.study import Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial


ENOUGH = 20
"""Of fewer configurations the shares are uncertain."""

LEAST = 4
"""Importance needs at least this many configurations."""

BEST_SHARE = 0.1
"""How many of the configurations count as the best, but at least `BEST_COUNT` of them."""

BEST_COUNT = 5

SHUFFLES = 20
"""Of the losses, to tell what chance makes of them; fewer where they would take a second."""

SHUFFLED_IN_ALL = 4_000
"""Configurations, but each at least five times."""


@dataclass(frozen=True)
class Importance:
    """What share each hyperparameter has in what sets the best configurations apart from all.

    Attributes:
        epoch: Absolute; losses are the lowest up to it, so that budgets are not mixed.
        configurations: Number of configurations measured at that epoch.
        best: Number of them that count as the best.
        shares: Names and shares, which add up to 1, the highest first.
        chances: In how many of the shuffles each hyperparameter, in the order of the shares, had
            as high an importance as here. Shares alone divide up noise as well as anything.
        shuffles: Number of random reassignments of the losses to the configurations.
        uncertain: Whether the configurations are fewer than `ENOUGH`.
    """

    epoch: int
    configurations: int
    best: int
    shares: tuple[tuple[str, float], ...]
    chances: tuple[int, ...]
    shuffles: int
    uncertain: bool


@dataclass(frozen=True)
class _Sample:
    """Configurations measured at one epoch.

    Attributes:
        losses: The lowest of each up to the epoch, nats per image.
        values: Values of each hyperparameter that differs, in the order of the losses.
    """

    epoch: int
    losses: tuple[float, ...]
    values: Mapping[str, tuple[Number, ...]]

    @property
    def best(self) -> int:
        """How many count as the best, those that equal the last of them included."""
        wanted = max(math.ceil(BEST_SHARE * len(self.losses)), BEST_COUNT)
        last = sorted(self.losses)[min(wanted, len(self.losses) - 1) - 1]
        return sum(loss <= last for loss in self.losses)


def compute_importance(study: Study) -> Importance | None:
    """Shares out what the best configurations have in common and all together have not.

    Losses are compared after equally many epochs: the latest at which a rung or trial ends and
    `ENOUGH` configurations were measured. A later one has promoted configurations alone, which
    are a biased choice: what got them promoted is common to them all and seems not to matter.
    An earlier one tells less of where training leads. Where none has enough, it is the one with
    the most configurations.

    Returns:
        None where there is too little to tell; `why_unknown` says what.

    References:
        Watanabe, Bansal and Hutter (2023), PED-ANOVA: Efficiently Quantifying Hyperparameter
        Importance in Arbitrary Subspaces.
    """
    sample = _sample(study)
    if _obstacle(sample):
        return None
    found, *shuffled = _ped_anova(study, sample, [sample.losses, *_shuffles(sample.losses)])
    whole = sum(found.values()) or 1.0
    order = sorted(found, key=lambda name: -found[name])  # equals in the order of the space
    return Importance(
        epoch=sample.epoch,
        configurations=len(sample.losses),
        best=sample.best,
        shares=tuple((name, found[name] / whole) for name in order),
        chances=tuple(sum(one[name] >= found[name] for one in shuffled) for name in order),
        shuffles=len(shuffled),
        uncertain=len(sample.losses) < ENOUGH,
    )


def why_unknown(study: Study) -> str:
    """Why a study has no importances, in a sentence; empty if it has."""
    return _obstacle(_sample(study))


def _obstacle(sample: _Sample) -> str:
    count = len(sample.losses)
    if count < LEAST:
        return (
            f"That takes at least {LEAST} configurations measured after equally many epochs; "
            f"there are {count}."
        )
    if not sample.values:
        return "All configurations have the same hyperparameters."
    if sample.best == count:
        return "Too many configurations have the same loss to tell the best from the others."
    return ""


def _sample(study: Study) -> _Sample:
    """The configurations that are compared, in the order drawn."""
    ends = sorted({trial.epoch_to for trial in study.trials})
    found = {epoch: _lowest_losses(study, epoch) for epoch in ends}
    enough = [epoch for epoch in ends if len(found[epoch]) >= ENOUGH]
    epoch = enough[-1] if enough else max(ends, key=lambda at: (len(found[at]), at), default=0)
    losses = found.get(epoch, {})
    drawn = {trial.configuration: trial.hyperparameters for trial in study.trials}
    values = {
        name: tuple(drawn[number][name] for number in losses)
        for name, _ in study.space.dimensions()
        if all(name in drawn[number] for number in losses)
    }
    differing = {name: told for name, told in values.items() if len(set(told)) > 1}
    return _Sample(epoch, tuple(losses.values()), differing)


def _lowest_losses(study: Study, epoch: int) -> dict[int, float]:
    """The lowest loss up to an epoch of each configuration that has a finite one at it."""
    lowest: dict[int, float] = {}
    measured = set()
    for trial in study.trials:
        for one in trial.epochs:
            if one.epoch <= epoch and math.isfinite(one.val_loss):
                held = lowest.get(trial.configuration, math.inf)
                lowest[trial.configuration] = min(held, one.val_loss)
                if one.epoch == epoch:
                    measured.add(trial.configuration)
    return {number: lowest[number] for number in sorted(measured)}


def _shuffles(losses: Sequence[float]) -> Iterator[Sequence[float]]:
    """The losses in other orders, the same each time."""
    chance = random.Random(0)
    for _ in range(min(SHUFFLES, max(5, SHUFFLED_IN_ALL // len(losses)))):
        yield chance.sample(losses, len(losses))


def _ped_anova(
    study: Study, sample: _Sample, dealt: Sequence[Sequence[float]]
) -> list[dict[str, float]]:
    """Importances by hyperparameter, for each way to deal out the losses."""
    with _without_scikit_learn():
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    import optuna

    dimensions = dict(study.space.dimensions())
    distributions = {
        name: _distribution(dimensions[name], values) for name, values in sample.values.items()
    }
    names = list(sample.values)
    # Half a configuration less: a quantile is rounded up, and must not be by a rounding error.
    evaluator = PedAnovaImportanceEvaluator(
        target_quantile=(sample.best - 0.5) / len(sample.losses)
    )
    found = []
    with _silent(optuna):
        asked = optuna.create_study()
        asked.add_trials(
            optuna.trial.create_trial(
                params={name: sample.values[name][place] for name in names},
                distributions=distributions,
                value=loss,
            )
            for place, loss in enumerate(sample.losses)
        )
        for losses in dealt:
            told = get_param_importances(
                asked,
                evaluator=evaluator,
                params=names,
                target=partial(_dealt, losses),
                normalize=False,
            )
            found.append({name: told[name] for name in names})
    return found


def _dealt(losses: Sequence[float], trial: "FrozenTrial") -> float:
    return losses[trial.number]


def _distribution(
    dimension: Choice | Range | Pinned, values: Sequence[Number]
) -> "BaseDistribution":
    """A dimension in Optuna's words, widened to the values that were recorded.

    Rounding may put a value of a logarithmic range just outside the range.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    numbers = {*dimension.numbers(), *values}
    if not isinstance(dimension, Range):
        return CategoricalDistribution(sorted(numbers))
    low, high, is_log = min(numbers), max(numbers), dimension.scale == "log"
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


@contextmanager
def _silent(optuna: ModuleType) -> Iterator[None]:
    """Optuna announces each study, and warns that a target is minimised and `normalize` new."""
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(told)


@contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Imports Optuna's importances without scikit-learn, unless either is there already.

    Optuna imports it together with PED-ANOVA, for an evaluator that is not used here: more than a
    second of CPU, when a whole report should take less than three. What was imported without it
    is forgotten afterwards, so that whoever wants the other evaluators finds them whole.
    """
    import optuna

    package = "optuna.importance"
    if "sklearn" in sys.modules or package in sys.modules:
        yield
        return
    # Optuna has a stand-in there that imports the package when it is first used.
    stand_in = {name: value for name, value in vars(optuna).items() if name == "importance"}
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # importing it raises ImportError
    try:
        yield
    finally:
        del sys.modules["sklearn"]
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]
        vars(optuna).pop("importance", None)
        vars(optuna).update(stand_in)
