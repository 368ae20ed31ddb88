"""Describes the latent dimensions that the winner uses, and the objective by their number."""

from vaetune.config import Objective, value_of
from vaetune.report.analysis.budgets import EqualBudget
from vaetune.report.text.units import counted, join_words
from vaetune.study import Study, Trial

MAX_SIZES = 5
"""Number of latent sizes up to which all are named; of more, only the best and its neighbours."""


def active_units(study: Study, trial: Trial) -> int | None:
    """Returns the active units of the top level of a trial; None if the journal has no number.

    Args:
        study: Search of the trial.
        trial: The trial.
    """
    event = study.evaluation(trial)
    if event is not None:
        return event.evaluation.active_units
    # With several levels, the number at the end of a trial includes those of the lower levels.
    return None if has_levels(trial) else trial.active_units


def has_levels(trial: Trial) -> bool:
    """Returns whether the model of a trial has several levels of latent variables."""
    return bool(value_of(trial.hyperparameters, "levels") != 1)


def describe_latents(winner: Trial | None, active: int | None, budget: EqualBudget) -> str:
    """The active units of the winner and the lowest loss by latent size, in a sentence.

    Args:
        winner: Winner of the search, or None.
        active: Number of active units of its top level; None if it is unknown.
        budget: Losses of the configurations after the same number of epochs.

    Returns:
        An empty text if neither is known.
    """
    use = ""
    if winner is not None and active is not None:
        several = " of the top level" * has_levels(winner)
        use = f"{active} of {winner.latent_dim}"
        if 1 < active == winner.latent_dim:
            use = f"all {active}"
        use += f" latent dimensions{several} of the winner are active"
    sizes = _compare_sizes(budget)
    parts = [part for part in (use, sizes) if part]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _compare_sizes(budget: EqualBudget) -> str:
    """A clause about the lowest loss of each latent size; empty for fewer than two sizes."""
    lowest: dict[int, float] = {}
    for number, loss in budget.losses.items():
        size = int(value_of(budget.hyperparameters[number], "latent_dim"))
        lowest[size] = min(loss, lowest.get(size, loss))
    if len(lowest) < 2:
        return ""
    best = min(lowest, key=lambda size: (lowest[size], size))
    sizes = sorted(lowest)
    if len(sizes) > MAX_SIZES:
        place = sizes.index(best)
        sizes = sizes[max(0, place - 1) : place + 2]
    objective = budget.objective
    others = [
        _compare(objective, size, lowest[size] - lowest[best]) for size in sizes if size != best
    ]
    title = "lowest loss" if objective.is_loss else objective.best_title
    return (
        f"after {counted(budget.epoch, 'epoch')}, the {title} is {budget.text(lowest[best])} "
        f"with latent_dim {best}, {join_words(others)} "
        f"({counted(len(budget.losses), 'configuration')})"
    )


def _compare(objective: Objective, size: int, gap: float) -> str:
    number = objective.rough(gap)
    if number == objective.rough(0.0):
        return f"the same with {size}"
    return f"{number} {'lower' if objective.is_maximised else 'higher'} with {size}"
