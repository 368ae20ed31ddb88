"""What the algorithm expected of each trial that it chose, and what was reached."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vaetune.config import Objective
from vaetune.report.text.units import NOTHING, counted, rough
from vaetune.study import Decision, Study, Trial


@dataclass(frozen=True)
class DecisionRow:
    """A decision of the algorithm.

    Attributes:
        trial_id: Id of the trial.
        configuration: Number of its configuration.
        choice: "new", or the epoch after which the configuration continued.
        epochs: First and last epoch of the trial.
        expected: Value of the objective that was expected, with its standard deviation.
        after: Epoch for which it was expected.
        reached: Best value of the configuration up to that epoch, if it was trained so far.
        cost: Counted cost of the epochs up to there, in seconds.
    """

    trial_id: str
    configuration: int
    choice: str
    epochs: str
    expected: str
    after: int
    reached: str
    cost: str


@dataclass(frozen=True)
class Decisions:
    """The decisions of a search.

    Attributes:
        rows: Decisions in the order of time.
        summary: Accuracy of the expectations in a sentence.
    """

    rows: tuple[DecisionRow, ...]
    summary: str


def compute_decisions(study: Study) -> Decisions | None:
    """Collects the decisions of a search; None if its algorithm records none."""
    decided = [(trial, trial.decision) for trial in study.trials if trial.decision]
    if not decided:
        return None
    reached = _costs_by_epoch(study)
    found = [reached.get((trial.configuration, one.epoch)) for trial, one in decided]
    rows = tuple(
        _row(trial, decision, cost) for (trial, decision), cost in zip(decided, found, strict=True)
    )
    both = [(one, loss) for (_, one), loss in zip(decided, found, strict=True) if loss is not None]
    return Decisions(rows, " ".join(_summary(len(decided), both, study.objective)))


def _costs_by_epoch(study: Study) -> dict[tuple[int, int], float]:
    """Lowest costs up to the ends of completed trials, by configuration and epoch."""
    lowest: dict[int, float] = {}
    found: dict[tuple[int, int], float] = {}
    for trial in study.trials:
        if trial.status == "completed" and trial.score is not None:
            cost = trial.objective.cost(trial.score)
            best = min(cost, lowest.get(trial.configuration, cost))
            lowest[trial.configuration] = found[trial.configuration, trial.epoch_to] = best
    return found


def _row(trial: Trial, decision: Decision, reached: float | None) -> DecisionRow:
    objective = trial.objective
    expected = rough(objective, objective.value(decision.expected_loss))
    return DecisionRow(
        trial_id=trial.trial_id,
        configuration=trial.configuration,
        choice="new" if trial.parent is None else f"continued after epoch {trial.epoch_from}",
        epochs=f"{trial.epoch_from + 1}\N{EN DASH}{trial.epoch_to}",
        expected=f"{expected} \N{PLUS-MINUS SIGN} {rough(objective, decision.deviation)}",
        after=decision.epoch,
        reached=NOTHING if reached is None else rough(objective, objective.value(reached)),
        cost=f"{decision.cost_s:,.1f}",
    )


def _summary(
    decided: int, both: Sequence[tuple[Decision, float]], objective: Objective
) -> Iterator[str]:
    what = "a loss" if objective.is_loss else "a measurement"
    if not both:
        yield f"None of {counted(decided, 'forecast')} can be compared with {what} yet."
        return
    errors = [abs(cost - one.expected_loss) for one, cost in both]
    within = sum(one.low <= cost <= one.high for one, cost in both)
    yield (
        f"{len(both):,} of {counted(decided, 'forecast')} can be compared with {what}: the others "
        "are of configurations that were not trained as far."
    )
    yield (
        f"Of these, {within:,} were within one standard deviation, and the median error was "
        f"{objective.rough(statistics.median(errors))} {objective.unit_of_difference}".rstrip()
        + "."
    )
