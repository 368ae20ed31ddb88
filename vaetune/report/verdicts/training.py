"""Verdict about the number of epochs: whether the objective still improved at the end."""

import math
from collections.abc import Sequence
from itertools import pairwise

from vaetune.report.analysis.budgets import learning_curves
from vaetune.report.text.units import counted
from vaetune.report.verdicts.verdict import Changes, Verdict, change, write_lines
from vaetune.study import Study, command

RECENT = 3
"""Number of last epochs over which the fall of a loss is averaged."""

MIN_SHARE = 0.01
"""Share of the whole fall of a loss that an epoch must still bring."""

MIN_TRIALS = 3
"""Number of the longest trials from which their share says something."""


def average_fall(losses: Sequence[float]) -> float | None:
    """Returns by how much a loss was still falling at its end, in nats per epoch.

    The fall is the mean over the last `RECENT` epochs. It counts if the last epoch is the best,
    if the fall is larger than any rise in the second half of the curve, which is the noise of
    epochs, and if it is at least `MIN_SHARE` of the whole fall.

    Args:
        losses: Validation loss after each epoch, nats per image, or another cost.

    Returns:
        None if the loss was not falling, or if there are fewer than two epochs.
    """
    if len(losses) < 2 or not all(map(math.isfinite, losses)) or losses[-1] > min(losses):
        return None
    recent = losses[-1 - RECENT :]
    fall = (recent[0] - recent[-1]) / (len(recent) - 1)
    second_half = losses[len(losses) // 2 :]
    noise = max((after - before for before, after in pairwise(second_half)), default=0.0)
    is_falling = fall > max(0.0, noise) and fall >= MIN_SHARE * (losses[0] - losses[-1])
    return fall if is_falling else None


def judge_epochs(study: Study) -> Verdict | None:
    """Says whether the winner, or most of the longest trials, ended while they still improved.

    Args:
        study: A complete search.
    """
    most, winner = study.search.budget.max_epochs, study.winner
    objective = study.objective
    word = "loss" if objective.is_loss else objective.title
    improving = "rising" if objective.is_maximised else "falling"
    curves = {
        number: [objective.cost(one.value) for one in epochs]
        for number, epochs in learning_curves(study).items()
        if epochs and epochs[-1].epoch == most
    }
    falls = {number: average_fall(losses) for number, losses in curves.items()}
    falling = sum(fall is not None for fall in falls.values())
    fall = falls.get(winner.configuration) if winner else None
    trials = f"{len(falls):,} trials with {counted(most, 'epoch')}"
    share = f"all {trials}" if falling == len(falls) else f"{falling:,} of the {trials}"
    if winner and fall is not None:
        last, before = curves[winner.configuration][-1], curves[winner.configuration][-2]
        others = f"; {share} ended so" if len(falls) > 1 else ""
        subject = "The" if study.search.algorithm == "single" else "The winner's"
        by = objective.difference(before - last)
        seen = (
            f"{subject} {word} was still {improving} when training ended, by {by} in the last of "
            f"{counted(most, 'epoch')}{others}."
        )
    elif len(falls) >= MIN_TRIALS and falling > len(falls) / 2:
        seen = (
            f"{share[0].upper()}{share[1:]} ended while their {word} was still {improving}, so "
            "another configuration may win after more."
        )
    else:
        return None
    changes = _more_epochs(study)
    lines = write_lines(study, changes)
    return Verdict("epochs", "More epochs", seen, _advise(study, changes), lines)


def _more_epochs(study: Study) -> Changes:
    """Returns the changes that double the epochs of the longest trials."""
    budget = study.search.budget
    changes = {"budget.max_epochs": 2 * budget.max_epochs}
    if study.search.algorithm == "freeze_thaw" and budget.total_epochs is not None:
        changes["budget.total_epochs"] = 2 * budget.total_epochs
    return changes


def _advise(study: Study, changes: Changes) -> str:
    epochs = str(2 * study.search.budget.max_epochs)
    if study.search.algorithm == "single":
        return f"Train for longer, for example with --epochs {epochs}."
    changed = change(study, changes)
    longer = changed.planned_epochs if changed else math.inf
    before, cost = study.search.planned_epochs, ""
    if math.isfinite(longer) and math.isfinite(before):
        cost = f": {int(longer):,} epochs in all, not {int(before):,}"
    if not study.names_images:
        return f"Search again with longer trials{cost}."
    alone = command("train --best", study, "--epochs", epochs)
    return f"Train the winner alone for longer with `{alone}`, or search with longer trials{cost}."
