"""Parts of the lines that a search prints."""

import math

from vaetune.config import Objective
from vaetune.study import EpochEnded, Study


class BestSoFar:
    """The best epoch so far, and the trial that it belongs to.

    Args:
        objective: Objective of the search.
        past: The search as earlier sessions left it; None for a new one.
    """

    def __init__(self, objective: Objective, past: Study | None) -> None:
        self._objective = objective
        best = past.ranking[0] if past and past.ranking else None
        self._costs = best.rank if best else (math.inf, math.inf)
        self._trial_id = best.trial_id if best else ""

    def is_improved_by(self, event: EpochEnded) -> bool:
        """Returns whether an epoch is at least as good as the best one, and keeps it if so."""
        costs = self._objective.cost(event.value), event.val_loss
        if costs < self._costs:
            self._costs, self._trial_id = costs, event.trial_id
        return costs == self._costs

    def describe(self) -> list[str]:
        """Returns a text with the best value and its trial; nothing before the first epoch."""
        value = self._objective.value(self._costs[0])
        is_known = bool(self._trial_id)
        return [f"best {self._objective.number(value)} (trial {self._trial_id})"] * is_known


def as_sentence(error: str) -> str:
    """Returns an error with a period at its end."""
    text = " ".join(error.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def subject_of(run: str, trial_id: str | None, main: str) -> str:
    """Returns the subject of a sentence about a trial."""
    if run == main:
        return f"Trial {trial_id}"
    return "The Keras example" if run == "baseline" else run.capitalize()
