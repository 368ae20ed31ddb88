"""Verdict about hyperparameters for which the winner is at the edge of the search space."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from vaetune.config import FAMILY, STRUCTURAL, Choice, Range, Value
from vaetune.report.analysis.budgets import EqualBudget
from vaetune.report.text.units import counted, hyperparameter, join_words
from vaetune.report.verdicts.verdict import Dimension, Verdict, write_lines
from vaetune.study import Study

MIN_GROUP = 3
"""Number of configurations at the edge, and next to it, that are needed for a comparison."""

SURE = 2.0
"""Standard errors by which the configurations at the edge must rank lower than the others."""

MAX_NAMED = 3
"""Number of hyperparameters that the verdict names."""

_MAX_FACTOR = 3.0
"""Largest factor by which a logarithmic range is widened. Large learning rates diverge."""

_NEAR = 0.1
"""Share of a range at each end that counts as its edge."""


@dataclass(frozen=True)
class Edge:
    """A hyperparameter that has better losses towards an edge of its dimension.

    Attributes:
        name: Name of the hyperparameter.
        seen: Values and median losses in words.
        wider: Dimension that reaches beyond the edge.
        sureness: Number of standard errors by which the configurations at the edge rank lower.
    """

    name: str
    seen: str
    wider: Dimension
    sureness: float


def judge_edges(study: Study, budget: EqualBudget) -> Verdict | None:
    """Says at which edges of the space the winner is, if losses suggest that a trend continues.

    Args:
        study: A complete search.
        budget: Losses of its configurations after the same number of epochs.
    """
    falls = "losses fall"
    what = "losses"
    if not budget.objective.is_loss:
        falls, what = f"the {budget.objective.title} rises", budget.objective.title
    edges = sorted(_find_edges(study, budget), key=lambda edge: -edge.sureness)[:MAX_NAMED]
    if not edges:
        return None
    count = counted(len(budget.losses), "configuration")
    seen = (
        f"The winner is at the edge of the space, and {falls} towards it: "
        f"{join_words([edge.seen for edge in edges])} (median {what} of {count} after "
        f"{counted(budget.epoch, 'epoch')})."
    )
    lines = write_lines(study, {f"space.{edge.name}": edge.wider for edge in edges})
    advice = "Better values may lie beyond. To find out, widen the space; epochs may take longer."
    return Verdict("edge", "The edge of the space", seen, advice, lines)


def _find_edges(study: Study, budget: EqualBudget) -> Iterator[Edge]:
    winner = study.winner
    for name, dimension in study.space.dimensions():
        value = winner.hyperparameters.get(name) if winner else None
        if value is None or isinstance(value, str):
            continue
        points = [
            (drawn[name], budget.losses[number])
            for number, drawn in budget.hyperparameters.items()
            if name in drawn
        ]
        edge = None
        if isinstance(dimension, Choice):
            edge = _edge_of_choice(name, dimension, value, points, budget.text)
        elif isinstance(dimension, Range):
            edge = _edge_of_range(name, dimension, value, points, budget.text)
        # A model may not have the wider values, such as four levels.
        if edge and write_lines(study, {f"space.{name}": edge.wider}):
            yield edge


Points = Sequence[tuple[Value, float]]
"""Value and cost of each configuration."""

Describe = Callable[[float], str]
"""Returns the objective with a cost as text."""


def _edge_of_choice(
    name: str, dimension: Choice, value: float, points: Points, text: Describe
) -> Edge | None:
    numbers = [one for one in dimension.values if not isinstance(one, str)]
    inwards = sorted(numbers, reverse=value == max(numbers))
    if len(numbers) < max(2, len(dimension.values)) or value != inwards[0]:
        return None
    groups = [[loss for x, loss in points if x == one] for one in inwards]
    sureness = trend_towards_first(groups)
    beyond = _step_beyond(name, inwards[0], inwards[1])
    if sureness is None or beyond is None:
        return None
    is_largest = inwards[0] > inwards[1]
    values = (*dimension.values, beyond) if is_largest else (beyond, *dimension.values)
    seen = (
        f"{name} = {hyperparameter(value)}, the {'largest' if is_largest else 'smallest'} value, "
        f"with {text(median(groups[0]))} against {_number(text(median(groups[1])))} for "
        f"{hyperparameter(inwards[1])}"
    )
    return Edge(name, seen, Choice(values=values, when=dimension.when), sureness)


def _number(text: str) -> str:
    return text.removesuffix(" nats")


def _edge_of_range(
    name: str, dimension: Range, value: float, points: Points, text: Describe
) -> Edge | None:
    place = _place(dimension, value)
    if _NEAR < place < 1 - _NEAR:
        return None
    is_upper = place > 0.5
    groups: list[list[float]] = [[], [], []]
    for x, loss in points:
        if not isinstance(x, str):
            third = min(2, max(0, int(3 * _place(dimension, x))))
            groups[2 - third if is_upper else third].append(loss)
    sureness = trend_towards_first(groups)
    wider = _widen(name, dimension, is_upper)
    if sureness is None or wider is None:
        return None
    end = dimension.max if is_upper else dimension.min
    seen = (
        f"{name} = {hyperparameter(value)}, near the end of its range at {hyperparameter(end)}, "
        f"with {text(median(groups[0]))} in the outer third against "
        f"{_number(text(median(groups[1])))} in the middle"
    )
    return Edge(name, seen, wider, sureness)


def trend_towards_first(groups: Sequence[Sequence[float]]) -> float | None:
    """Returns how surely losses fall towards the first of some groups, in standard errors.

    The medians of the first three groups must rise, the lowest loss must be in the first group,
    and its losses must rank lower than those of the second in the test of Mann and Whitney.

    Args:
        groups: Losses of the values of a hyperparameter, from an edge inwards.

    Returns:
        None if there are too few losses, or if the trend is less than `SURE` standard errors.
    """
    first, others = groups[:2]
    if min(len(first), len(others)) < MIN_GROUP:
        return None
    medians = [median(group) for group in groups[:3] if group]
    lowest = min(map(min, filter(None, groups[1:])))
    if any(one >= other for one, other in pairwise(medians)) or min(first) > lowest:
        return None
    ranked = sorted(others)
    higher = (len(ranked) - (bisect_left(ranked, x) + bisect_right(ranked, x)) / 2 for x in first)
    pairs = len(first) * len(others)
    error = math.sqrt((len(first) + len(others) + 1) / (12 * pairs))
    sureness = (sum(higher) / pairs - 0.5) / error
    return sureness if sureness >= SURE else None


def _step_beyond(name: str, edge: float, inner: float) -> int | float | None:
    """Returns the next value beyond an edge; None if rounding makes it the same.

    Numbers of layers continue with the same difference, other values with the same ratio.
    """
    is_whole = FAMILY[name].kind == "whole"
    if name in STRUCTURAL or min(edge, inner) <= 0:
        beyond = edge + (edge - inner)
    else:
        beyond = edge * edge / inner
    rounded = round(beyond) if is_whole else float(f"{beyond:.3g}")
    return rounded if rounded != edge else None


def _place(dimension: Range, value: float) -> float:
    """Returns the place of a value in its range, from 0 to 1."""
    low, high = dimension.min, dimension.max
    if dimension.scale == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _widen(name: str, dimension: Range, is_upper: bool) -> Range | None:
    """Returns a range that reaches half its length further, or less; None if rounding undoes it."""
    low, high = dimension.min, dimension.max
    if dimension.scale == "log":
        factor = min(math.sqrt(high / low), _MAX_FACTOR)
        new = high * factor if is_upper else low / factor
    else:
        half = (high - low) / 2
        new = high + half if is_upper else low - half
    rounded = round(new) if FAMILY[name].kind == "whole" else float(f"{new:.2g}")
    if low <= rounded <= high:
        return None
    return dimension.model_copy(update={"max" if is_upper else "min": rounded})
