"""A verdict, and the lines of the search file that act on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from vaetune.config import Choice, Pinned, Range, SearchSpec, Value, check_stages
from vaetune.errors import SpecError
from vaetune.study import Study

Kind = Literal[
    "failures",
    "copies",
    "collapsed",
    "collapsed_trials",
    "epochs",
    "edge",
    "inactive",
    "lead",
]

Dimension = Choice | Range | Pinned

Changes = Mapping[str, int | Dimension]
"""New values by dotted key of the search file, such as "budget.max_epochs"."""


@dataclass(frozen=True)
class Verdict:
    """Something that could be better about a search.

    Attributes:
        kind: Kind of the verdict.
        title: Title in a few words.
        seen: Observation with its figures, in a sentence.
        advice: Remedy in a sentence.
        lines: Lines of the search file that apply the remedy; empty if no line does.
    """

    kind: Kind
    title: str
    seen: str
    advice: str
    lines: str = ""


def change(study: Study, changes: Changes) -> SearchSpec | None:
    """Returns a search with other values; None if it would be refused.

    Args:
        study: Search to change.
        changes: The new values.
    """
    if study.search.algorithm == "single":
        return None
    raw = study.search.model_dump(exclude_none=True)
    for key, value in changes.items():
        table, _, name = key.partition(".")
        raw[table][name] = value if isinstance(value, int) else value.model_dump(exclude_none=True)
    try:
        changed = SearchSpec.model_validate(raw)
        if "space.stages" in changes:
            check_stages(changed.space, study.started.data.image_shape)
    except (ValidationError, SpecError):
        return None
    return changed


def write_lines(study: Study, changes: Changes) -> str:
    """The lines of the search file for some changes; empty if the search would be refused.

    Args:
        study: Search to change.
        changes: The new values.
    """
    if change(study, changes) is None:
        return ""
    tables: dict[str, list[str]] = {}
    for key, value in changes.items():
        table, _, name = key.partition(".")
        written = str(value) if isinstance(value, int) else _write_dimension(value)
        tables.setdefault(table, []).append(f"{name} = {written}")
    return "\n".join("\n".join([f"[{table}]", *lines]) for table, lines in tables.items())


def _write_dimension(dimension: Dimension) -> str:
    match dimension:
        case Choice():
            parts = [f"values = {_write_list(dimension.values)}"]
        case Range():
            parts = [f"min = {_write(dimension.min)}", f"max = {_write(dimension.max)}"]
            parts += [f'scale = "{dimension.scale}"'] * (dimension.scale != "linear")
        case Pinned():
            parts = [f"value = {_write(dimension.value)}"]
    if dimension.when:
        when = ", ".join(f"{name} = {_write_list(one)}" for name, one in dimension.when.items())
        parts.append(f"when = {{ {when} }}")
    return f"{{ {', '.join(parts)} }}"


def _write_list(values: tuple[Value, ...]) -> str:
    return f"[{', '.join(map(_write, values))}]"


def _write(value: Value) -> str:
    # A JSON string without escaped Unicode is also a basic string of TOML.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
