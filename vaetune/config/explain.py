"""One-line messages for errors in a search file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vaetune.config.closest import closest_match
from vaetune.config.comparison import flatten
from vaetune.config.dimensions import DIMENSIONS
from vaetune.config.space import CONDITION_ERROR
from vaetune.config.spec import SearchSpec
from vaetune.errors import short_repr

_PLAIN_WORDS = {
    "model_type": "must be a table",
    "too_short": "must contain at least one value",
    "missing": "is missing",
}


NameOverride = Callable[[str], str]
"""Returns the name that a caller knows an override by, such as its flag, from its dotted key."""


def explain_error(
    error: ValidationError, where: str, overrides: Mapping[str, Any], name_override: NameOverride
) -> str:
    """Returns Pydantic's first complaint as one line, with the number of further complaints.

    Args:
        error: Validation error of a search.
        where: Name of the search file in the message.
        overrides: Values that replace those of the file, by dotted key.
        name_override: Names a wrong override in the message.
    """
    first = error.errors(include_url=False)[0]
    key, message = _dotted(first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] == CONDITION_ERROR:
        inner = first["ctx"]["key"]
        key, message = f"{key}.{inner}".lstrip("."), message.removeprefix(f"{inner} ")
    if first["type"] == "extra_forbidden":
        is_given = any(f"{one}.".startswith(f"{key}.") for one in overrides)
        subject = "Unknown" if is_given else f"{where}: unknown"
        return f"{subject} {_describe_unknown_key(first['loc'])}{_count_others(error)}"
    message = _PLAIN_WORDS.get(first["type"], message)
    override = next((one for one in overrides if _concerns(message, key, one)), None)
    subject = name_override(override) if override else f"{where}: {key}".rstrip(": ")
    message = message.removeprefix("Input ")
    if override:
        message = message.removeprefix(f"{override.rpartition('.')[2]} ")
    received = "" if "received" in message else f", received {short_repr(first['input'])}"
    return f"{subject} {message[:1].lower()}{message[1:]}{received}.{_count_others(error)}"


def _concerns(message: str, key: str, override: str) -> bool:
    """Whether a complaint about a key, or about the table of the key, concerns an override."""
    table, _, name = override.rpartition(".")
    return f"{key}.".startswith(f"{override}.") or (
        key in ("", table) and message.startswith(f"{name} ")
    )


def flag_name(key: str) -> str:
    """Returns the flag of a dotted key, such as "--max-epochs" for "budget.max_epochs"."""
    return f"--{key.rpartition('.')[2].replace('_', '-')}"


def key_name(key: str) -> str:
    """Returns a dotted key as a script writes it, such as '"budget.max_epochs"'."""
    return f'"{key}"'


def _describe_unknown_key(location: Sequence[int | str]) -> str:
    *parents, key = location
    known = list(_table_at(parents).model_fields)
    elsewhere = [dotted for dotted in _all_keys() if dotted.rpartition(".")[2] == key]
    hint = closest_match(str(key), known) or (
        f' Did you mean "{elsewhere[0]}"?' if elsewhere else ""
    )
    kind = "hyperparameter" if parents == ["space"] else "key"
    return f'{kind} "{_dotted(location)}".{hint} Expected one of: {", ".join(known)}.'


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location if part not in DIMENSIONS)


def _table_at(parents: Sequence[int | str]) -> Any:
    """Returns the Pydantic model of a table."""
    table: Any = SearchSpec
    for parent in parents:
        # Pydantic puts the tag of a dimension, such as "Range", among the parents.
        is_tag = parent in DIMENSIONS
        table = DIMENSIONS[str(parent)] if is_tag else table.model_fields[parent].annotation
    return table


def _all_keys() -> Iterator[str]:
    yield from flatten(SearchSpec().model_dump())


def _count_others(error: ValidationError) -> str:
    others = error.error_count() - 1
    return f" ({others} more wrong value{'s' * (others > 1)})" if others else ""
