"""Starting points: the configurations with which a search begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from vaetune.config.closest import closest_match
from vaetune.config.dimensions import Choice, Pinned, Range, Value
from vaetune.config.family import (
    FAMILY,
    Alternative,
    Clause,
    Condition,
    describe_condition,
    is_used,
    parents,
    value_of,
)
from vaetune.config.space import Space
from vaetune.errors import short_repr

StartingPoint = Mapping[str, Value]
"""Values of some or all hyperparameters of a space, by name."""

_EXAMPLE = "[{ latent_dim = 8, learning_rate = 0.003 }]"


def check_starting_points(raw: Any, space: Space) -> tuple[StartingPoint, ...] | None:
    """Returns the starting points of a search file; None if there are none.

    Args:
        raw: The value of the key `start_with`.
        space: Search space of the search.

    Raises:
        ValueError: They are not tables, repeat one another, or do not lie in the space. Entries
            are counted from 1 in the message.
    """
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise ValueError(f"must be a list of tables such as {_EXAMPLE}")
    seen: dict[frozenset[tuple[str, Value]], int] = {}
    for number, entry in enumerate(raw, start=1):
        if not isinstance(entry, Mapping) or not entry:
            raise ValueError(
                f"entry {number} must be a table of hyperparameters such as {_EXAMPLE[1:-1]}, "
                f"received {short_repr(entry)}"
            )
        for name, value in entry.items():
            _check_value(number, name, value, space)
        known = settle(space, entry)
        for name in entry:
            _check_condition(number, name, known, space)
        first = seen.setdefault(frozenset(known.items()), number)
        if first != number:
            raise ValueError(
                f"entry {number} repeats entry {first}, received {short_repr(dict(entry))}. "
                "Remove one of them"
            )
    return tuple(raw) or None


def _check_value(number: int, name: str, value: Any, space: Space) -> None:
    """Checks that a value lies in the space."""
    dimensions = dict(space.dimensions())
    if name not in FAMILY:
        raise ValueError(
            f'entry {number} expects hyperparameters, received "{name}".'
            f"{closest_match(name, dimensions)} Expected names from: {', '.join(dimensions)}"
        )
    if name not in dimensions:
        raise ValueError(
            f"entry {number} expects hyperparameters of this space, received {name}. Add it to "
            "the space, or remove it here"
        )
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(
            f"entry {number}: {name} must be a number or a text, received {short_repr(value)}"
        )
    if not FAMILY[name].accepts(value):
        raise ValueError(
            f"entry {number}: {name} needs {FAMILY[name].needs}, received {short_repr(value)}"
        )
    if not dimensions[name].contains(value):
        raise ValueError(
            f"entry {number}: {name} must have a value of the space "
            f"({dimensions[name].words()}), received {short_repr(value)}"
        )


def _check_condition(number: int, name: str, known: StartingPoint, space: Space) -> None:
    """Checks that a configuration with the known values uses a hyperparameter."""
    condition = space.conditions().get(name, ())
    if _verdict(condition, known):
        return
    needed = parents(condition)
    present = " and ".join(f"{one} = {known[one]}" for one in needed if one in known)
    missing = [one for one in needed if one not in known]
    advice = f"Name {' and '.join(missing)} too" if missing else f"Remove {name}, or change that"
    raise ValueError(
        f"entry {number}: {name} is used only where {describe_condition(condition)}, received "
        f"{present or f'no {missing[0]}'}. {advice}"
    )


def settle(space: Space, point: StartingPoint) -> dict[str, Value]:
    """Returns the values that all configurations with a starting point have.

    These are its own values, pinned ones, and the Keras example's where a hyperparameter is not
    used. A value is left out if it is not certain that its conditions hold.

    Args:
        space: The search space.
        point: Values that lie in the space.
    """
    conditions, dimensions = space.conditions(), dict(space.dimensions())
    known: dict[str, Value] = {}
    for name in space.evaluation_order():
        verdict, dimension = _verdict(conditions.get(name, ()), known), dimensions[name]
        if verdict is False:
            known[name] = FAMILY[name].reference
        elif verdict and name in point:
            known[name] = point[name]
        elif verdict and isinstance(dimension, Pinned):
            known[name] = dimension.value
    return known


def _verdict(condition: Condition, known: StartingPoint) -> bool | None:
    """Returns whether a condition holds; None if it depends on values that are not known."""
    verdicts = [_verdict_of_clause(clause, known) for clause in condition]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _verdict_of_clause(clause: Clause, known: StartingPoint) -> bool | None:
    verdicts = [_verdict_of_alternative(alternative, known) for alternative in clause]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _verdict_of_alternative(alternative: Alternative, known: StartingPoint) -> bool | None:
    if any(name in known and known[name] not in values for name, values in alternative.items()):
        return False
    return True if all(name in known for name in alternative) else None


def transfer(
    configuration: StartingPoint, space: Space, fixed: StartingPoint
) -> tuple[StartingPoint, dict[str, str]]:
    """Returns the part of a configuration of another search that lies in a space.

    Args:
        configuration: Hyperparameters of the configuration. Those that are missing have the Keras
            example's values.
        space: The search space.
        fixed: Values of hyperparameters that the space does not have, where they are not the
            Keras example's.

    Returns:
        The values of the searched hyperparameters that lie in the space, and the others: what the
        configuration has and what the space has instead, by name.
    """
    dimensions = dict(space.dimensions())
    kept: dict[str, Value] = {}
    others: dict[str, str] = {}
    for name in FAMILY:
        if not is_used(configuration, name):
            continue
        value = value_of(configuration, name)
        here = dimensions.get(name) or Pinned(value=fixed.get(name, FAMILY[name].reference))
        if not (here.contains(value) and FAMILY[name].accepts(value)):
            others[name] = _difference(value, here)
        elif not isinstance(here, Pinned):
            kept[name] = value
    conditions, known = space.conditions(), settle(space, kept)
    for name, value in tuple(kept.items()):
        verdict = _verdict(conditions.get(name, ()), known)
        if not verdict:
            del kept[name]
        if verdict is None:  # Here it depends on one of the others.
            others[name] = _difference(value, dimensions[name])
        if verdict is False and value != known[name]:
            others[name] = _difference(value, Pinned(value=known[name]))
    return kept, others


def _difference(value: Value, here: Choice | Range | Pinned) -> str:
    return f"{value} (here {here.words()})"
