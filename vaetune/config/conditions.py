"""Conditions of the hyperparameters of a space, and the number of its configurations."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from vaetune.config.dimensions import Choice, Pinned, Range, Value
from vaetune.config.family import (
    FAMILY,
    STRUCTURAL,
    Alternative,
    Clause,
    Condition,
    holds,
    parents,
    structure_of,
    value_of,
)

Dimensions = Mapping[str, Choice | Range | Pinned]
"""The dimensions of a space by name."""

Points = Mapping[str, Sequence[tuple[Value, float]]]
"""The values of each hyperparameter, each with the number of values that it represents. Parents
come before the hyperparameters that depend on them."""

_NEVER: Condition = ((),)
"""A condition that no configuration meets."""


def written_conditions(dimensions: Dimensions) -> dict[str, Condition]:
    """Returns the condition of each hyperparameter, that of the family and that of `when`.

    A `when` is met only if the model uses the hyperparameters that it names.
    """
    return {name: (*FAMILY[name].used, *_when(one)) for name, one in dimensions.items()}


def _when(dimension: Choice | Range | Pinned) -> Condition:
    if dimension.when is None:
        return ()
    inherent = [clause for name in dimension.when for clause in FAMILY[name].used]
    return ((dimension.when,), *inherent)


def evaluation_order(dimensions: Dimensions) -> list[str]:
    """Returns the names with parents first, otherwise in the order of the dimensions.

    Raises:
        ValueError: A hyperparameter depends on itself.
    """
    conditions = written_conditions(dimensions)
    order: dict[str, None] = {}

    def place(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise ValueError(
                f"{name} depends on itself, received the conditions {circle}. Remove one of them"
            )
        for parent in parents(conditions[name]):
            if parent in dimensions and parent not in order:
                place(parent, (*path, name))
        order[name] = None

    for name in dimensions:
        if name not in order:
            place(name, ())
    return list(order)


def effective_conditions(dimensions: Dimensions) -> dict[str, Condition]:
    """Returns the conditions that depend on the configuration, parents first.

    Conditions that every configuration of the space meets are left out.
    """
    written = written_conditions(dimensions)
    constants: dict[str, Value] = {}
    found: dict[str, Condition] = {}
    for name in evaluation_order(dimensions):
        condition = _simplify(written[name], dimensions, constants)
        dimension = dimensions[name]
        if condition:
            found[name] = condition
        elif isinstance(dimension, Pinned):
            constants[name] = dimension.value
    return found


def _simplify(
    condition: Condition, dimensions: Dimensions, constants: Mapping[str, Value]
) -> Condition:
    """Removes the clauses that hold in the whole space."""
    clauses: list[Clause] = []
    for clause in condition:
        alternatives = [_variable_part(one, dimensions, constants) for one in clause]
        possible = tuple(one for one in alternatives if one is not None)
        if {} not in possible:
            clauses.append(possible)
    return _NEVER if () in clauses else tuple(clauses)


def _variable_part(
    alternative: Alternative, dimensions: Dimensions, constants: Mapping[str, Value]
) -> Alternative | None:
    """Returns the part that depends on the configuration; None if it never holds."""
    variable = {}
    for name, values in alternative.items():
        if name in dimensions and name not in constants:
            variable[name] = values
        elif value_of(constants, name) not in values:
            return None
    return variable


def points_of(dimensions: Dimensions, listed: Collection[str]) -> Points:
    """Returns the values of each dimension, parents first.

    Args:
        dimensions: The dimensions of a space.
        listed: Names of hyperparameters of which every value is listed. A range of others is
            represented by the values that conditions name, and one value for the rest.
    """
    named: dict[str, set[Value]] = {}
    for condition in written_conditions(dimensions).values():
        for clause in condition:
            for alternative in clause:
                for name, values in alternative.items():
                    named.setdefault(name, set()).update(values)
    return {
        name: list(_points(name, dimensions[name], named.get(name, set()), name in listed))
        for name in evaluation_order(dimensions)
    }


def _points(
    name: str, dimension: Choice | Range | Pinned, named: Collection[Value], is_listed: bool
) -> Iterator[tuple[Value, float]]:
    if not isinstance(dimension, Range):
        yield from ((value, 1) for value in dimension.listed())
    elif FAMILY[name].kind == "real":
        yield dimension.min, math.inf
    else:
        whole = range(int(dimension.min), int(dimension.max) + 1)
        single = whole if is_listed else sorted(number for number in whole if number in named)
        yield from ((number, 1) for number in single)
        rest = next((number for number in whole if number not in single), None)
        if rest is not None:
            yield rest, len(whole) - len(single)


def count(
    points: Points, conditions: Mapping[str, Condition], kept: Collection[str] = ()
) -> dict[frozenset[tuple[str, Value]], float]:
    """Counts the configurations for each combination of the values of some hyperparameters.

    Args:
        points: Values of all hyperparameters.
        conditions: Conditions of hyperparameters that not all configurations use.
        kept: Names of the hyperparameters to distinguish.

    Returns:
        Number of configurations by the names and values of the `kept` hyperparameters that they
        use.
    """
    last: dict[str, int] = {}
    for place, name in enumerate(points):
        last |= dict.fromkeys(parents(conditions.get(name, ())), place)
    counts: dict[frozenset[tuple[str, Value]], float] = {frozenset(): 1.0}
    for place, name in enumerate(points):
        following: dict[frozenset[tuple[str, Value]], float] = {}
        for state, number in counts.items():
            is_used = holds(conditions.get(name, ()), dict(state))
            for extra, times in _extensions(name, points[name]) if is_used else (((), 1.0),):
                needed = (
                    pair
                    for pair in (*state, *extra)
                    if pair[0] in kept or last.get(pair[0], -1) > place
                )
                key = frozenset(needed)
                following[key] = following.get(key, 0.0) + number * times
        counts = following
    return counts


def _extensions(
    name: str, values: Sequence[tuple[Value, float]]
) -> Iterator[tuple[tuple[tuple[str, Value], ...], float]]:
    return ((((name, value),), times) for value, times in values)


def count_structures(dimensions: Dimensions) -> int:
    """Returns the number of different structures that the models of a space can have."""
    counts = count(points_of(dimensions, STRUCTURAL), effective_conditions(dimensions), STRUCTURAL)
    return len({frozenset(structure_of(dict(state)).items()) for state in counts})


def list_programs(dimensions: Dimensions) -> list[dict[str, Value]]:
    """Returns structural values and batch size, of each combination of both in a space."""
    names = (*STRUCTURAL, "batch_size")
    counts = count(points_of(dimensions, names), effective_conditions(dimensions), names)
    states = sorted((dict(state) for state in counts), key=repr)
    found = {(*structure_of(s).items(), s.get("batch_size")): s for s in states}
    return list(found.values())


def impossible(dimensions: Dimensions) -> list[str]:
    """Returns the names of hyperparameters that no configuration of the space uses."""
    conditions = effective_conditions(dimensions)
    points = points_of(dimensions, ())
    return [
        name
        for name, condition in conditions.items()
        if not any(
            holds(condition, dict(state)) for state in count(points, conditions, parents(condition))
        )
    ]
