"""The order in which groups of hyperparameters change on a path; see `explanation`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from vaetune.config import FAMILY, OPTIONAL, REFERENCE, Value, used, value_of
from vaetune.study.groups import GROUPS

Changed = frozenset[str]
"""Names of the groups that have the values of the explained configuration."""

Rank = TypeVar("Rank", float, tuple[float, float])
"""What orders the configurations of a path, smaller for better ones."""


def changed_groups(values: Mapping[str, Value]) -> tuple[str, ...]:
    """Returns the names of the groups in which a configuration differs from the Keras example."""
    return tuple(
        group
        for group, names in GROUPS.items()
        if any(value_of(values, name) != FAMILY[name].reference for name in names)
    )


def configuration(values: Mapping[str, Value], changed: Changed) -> dict[str, Value]:
    """Returns the Keras example with the values of some groups of a configuration."""
    mixed = {
        name: value_of(values, name) if group in changed else FAMILY[name].reference
        for group, names in GROUPS.items()
        for name in names
    }
    named = used(mixed).items()
    return {name: value for name, value in named if name in REFERENCE or value != OPTIONAL[name]}


def find_path(
    groups: Sequence[str], rank_of: Callable[[Changed], Rank | None]
) -> tuple[list[str], list[Changed]]:
    """Finds the order of a path, or what has to be trained next.

    Args:
        groups: The groups that differ.
        rank_of: Returns the rank with some groups changed, such as the loss; None if it is not
            known.

    Returns:
        The order so far, and the changed groups of unknown ranks that are needed next. The order
        is complete if there are none.
    """
    head: list[str] = []
    tail: list[str] = []
    left = list(groups)
    missing = [one for one in dict.fromkeys([_set(), _set(*groups)]) if rank_of(one) is None]
    from_example = True
    while left and not missing:
        if from_example:
            options = {group: _set(*head, group) for group in left}
        else:
            options = {group: _set(*head, *left) - {group} for group in left}
        found = {group: rank_of(changed) for group, changed in options.items()}
        missing = [options[group] for group, rank in found.items() if rank is None]
        if missing:
            break
        ranks = {group: rank for group, rank in found.items() if rank is not None}
        best = min(left, key=ranks.__getitem__)
        left.remove(best)
        head, tail = ([*head, best], tail) if from_example else (head, [best, *tail])
        from_example = not from_example
    return [*head, *tail], missing


def _set(*groups: str) -> Changed:
    return frozenset(groups)


def differences(
    before: Mapping[str, Value], after: Mapping[str, Value]
) -> dict[str, tuple[Value | None, Value | None]]:
    """Returns both values of each hyperparameter that differs between two configurations."""
    full = [used({**OPTIONAL, **REFERENCE, **one}) for one in (before, after)]
    pairs = {name: (full[0].get(name), full[1].get(name)) for name in FAMILY}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
