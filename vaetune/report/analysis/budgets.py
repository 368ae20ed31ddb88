"""Compares configurations after the same number of epochs, the largest that enough have reached."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vaetune.config import VALIDATION_LOSS, Objective, Value
from vaetune.report.text.units import rough
from vaetune.study import EpochEnded, Study

ENOUGH_CONFIGURATIONS = 10
"""Number of configurations that are enough for a comparison, if they are `ENOUGH_SHARE` of all.

Measured with Hyperband searches drawn from complete learning curves, 300 of digits and 150 of
letters: the ranks of their importances correlate with those of all complete curves by 0.32 and 0.06
after epoch 1 (17 configurations), and by 0.39 and 0.20 after epoch 3 (11). With two iterations it
is 0.45 and 0.08 after epoch 1 (33), and 0.42 and 0.31 after epoch 9 (12).
"""

ENOUGH_SHARE = 0.1
"""Share of all configurations that are enough. Fewer were selected too strictly."""


@dataclass(frozen=True)
class EqualBudget:
    """Configurations measured after the same number of epochs.

    Attributes:
        epoch: Absolute epoch; 0 without any trial.
        losses: Lowest cost of each configuration up to the epoch, by its number; by default the
            validation loss, nats per image, see `Objective.cost`.
        hyperparameters: Hyperparameters of each configuration that uses them, by its number.
        objective: Objective of the search.
    """

    epoch: int
    losses: Mapping[int, float]
    hyperparameters: Mapping[int, Mapping[str, Value]]
    objective: Objective = VALIDATION_LOSS

    def text(self, cost: float) -> str:
        """Returns the value with a cost, such as "101.2 nats" or "94.2 %"."""
        value = rough(self.objective, self.objective.value(cost))
        return f"{value} nats" if self.objective.is_loss else value


def compare_at_equal_budget(study: Study) -> EqualBudget:
    """Selects the epoch after which configurations are compared, and their losses.

    It is the latest epoch at which a rung or trial ends and enough configurations were measured,
    or else the one with the most. At later epochs there are only promoted configurations. Comparing
    few of these is biased: they share what got them promoted, which then seems unimportant. But
    losses after few epochs say less about the final ones.

    Args:
        study: Search to describe.
    """
    ends = sorted({trial.epoch_to for trial in study.trials})
    found: dict[int, dict[int, float]] = {end: {} for end in ends}
    for number, epochs in sorted(learning_curves(study).items()):
        for epoch, lowest in _lowest_so_far(epochs, study.objective):
            if epoch in found:
                found[epoch][number] = lowest
    epoch = _choose(found)
    losses = found.get(epoch, {})
    drawn = {trial.configuration: trial.hyperparameters for trial in study.trials}
    used = {number: drawn[number] for number in losses}
    return EqualBudget(epoch, losses, used, study.objective)


def learning_curves(study: Study) -> dict[int, list[EpochEnded]]:
    """Returns the epochs of each configuration in order, across its trials, by its number."""
    curves: dict[int, list[EpochEnded]] = {}
    for trial in sorted(study.trials, key=lambda trial: trial.epoch_from):
        curves.setdefault(trial.configuration, []).extend(trial.epochs)
    return curves


def _lowest_so_far(epochs: list[EpochEnded], objective: Objective) -> list[tuple[int, float]]:
    """Returns the epochs with a finite value, with the lowest cost up to each of them."""
    lowest, found = math.inf, list[tuple[int, float]]()
    for one in epochs:
        if math.isfinite(one.value):
            lowest = min(lowest, objective.cost(one.value))
            found.append((one.epoch, lowest))
    return found


def _choose(found: Mapping[int, Mapping[int, float]]) -> int:
    """Returns the latest epoch with enough configurations, or the one with the most."""
    most = max(map(len, found.values()), default=0)
    enough = max(ENOUGH_CONFIGURATIONS, ENOUGH_SHARE * most)
    reached = [epoch for epoch, losses in found.items() if len(losses) >= enough]
    return max(reached or [end for end in found if len(found[end]) == most], default=0)
