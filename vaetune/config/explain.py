"""Errors in a search file, explained in one line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vaetune.config.space import DIMENSIONS
from vaetune.config.spec import SearchSpec, flatten
from vaetune.errors import shown

_PLAIN_WORDS = {
    "model_type": "must be a table",
    "too_short": "must hold at least one value",
    "missing": "is missing",
}


def explain_error(error: ValidationError, where: str, flags: Mapping[str, Any]) -> str:
    """Turns the first of Pydantic's complaints into one line, and counts the others."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(first['loc'])}{_and_more(error)}"
    key = _dotted(first["loc"])
    message = _PLAIN_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    flag = next((given for given in flags if _is_about(given, key, message)), None)
    subject = flag_name(flag) if flag else f"{where}: {key}".rstrip(": ")
    message = message.removeprefix("Input ")
    if flag:
        message = message.removeprefix(f"{flag.rpartition('.')[2]} ")
    received = "" if "received" in message else f", received {shown(first['input'])}"
    return f"{subject} {message[:1].lower()}{message[1:]}{received}.{_and_more(error)}"


def _is_about(flag: str, key: str, message: str) -> bool:
    """Whether a complaint of a key, or of the table that holds it, is about a flag's value."""
    table, _, name = flag.rpartition(".")
    return key.startswith(flag) or (key in ("", table) and message.startswith(f"{name} "))


def flag_name(key: str) -> str:
    return f"--{key.rpartition('.')[2].replace('_', '-')}"


def _unknown_key(location: Sequence[int | str]) -> str:
    *parents, key = location
    known = list(_table_at(parents).model_fields)
    elsewhere = [dotted for dotted in _all_keys() if dotted.rpartition(".")[2] == key]
    hint = closest_match(str(key), known) or (
        f' Did you mean "{elsewhere[0]}"?' if elsewhere else ""
    )
    what = "hyperparameter" if parents == ["space"] else "key"
    return f'unknown {what} "{_dotted(location)}".{hint} Known here: {", ".join(known)}.'


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location if part not in DIMENSIONS)


def _table_at(parents: Sequence[int | str]) -> Any:
    """The model of a table; Pydantic names the kind of a dimension among the parents."""
    table: Any = SearchSpec
    for parent in parents:
        is_kind = parent in DIMENSIONS
        table = DIMENSIONS[str(parent)] if is_kind else table.model_fields[parent].annotation
    return table


def _all_keys() -> Iterator[str]:
    yield from flatten(SearchSpec().model_dump())


def closest_match(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f' Did you mean "{matches[0]}"?' if matches else ""


def _and_more(error: ValidationError) -> str:
    others = error.error_count() - 1
    return f" ({others} more wrong value{'s' * (others > 1)})" if others else ""
