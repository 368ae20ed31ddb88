"""A search file of the user's own, drafted from a built-in one: every key is there, explained."""

import itertools
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable
from pathlib import Path

from vaetune.config.choices import NAMED_SETS, Algorithm
from vaetune.config.names import check_name
from vaetune.config.search_file import built_in_search
from vaetune.errors import SpecError

SEARCHES = "searches"
"""The folder of search files in the working directory."""

_FULLEST: Algorithm = "hyperband"
"""The algorithm whose built-in file explains every key but those of the others' budgets."""

_TABLE = re.compile(r"\[(\w+)\]")

_KEY = re.compile(r"(?:# )?(\w+) = ")


def write_template(
    name: str, algorithm: Algorithm = _FULLEST, dataset: str = "digits", folder: Path | None = None
) -> Path:
    """Writes `searches/NAME.toml`, to be edited: what the built-in file of an algorithm searches.

    Args:
        name: Name of the search.
        algorithm: One of `spec.SEARCH_ALGORITHMS`.
        dataset: One of `spec.NAMED_SETS`, or a path from `folder`; it may not be there yet.
        folder: Folder that holds `searches/`. Default: the working directory.

    Returns:
        The file.

    Raises:
        ResultsError: The name is reserved.
        SpecError: No search can be named so, it has a file already, or that cannot be written.
    """
    check_name(name)
    folder = folder or Path()
    path = folder / SEARCHES / f"{name}.toml"
    if path.exists():
        raise SpecError(f"There is a file {path} already. Edit it, or choose another name.")
    text = compose(name, algorithm, _seen_from(path.parent, dataset, folder))
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def compose(name: str, algorithm: Algorithm, dataset: str) -> str:
    """The text of a drafted search file.

    Its comments and values are the built-in file's. Keys that are at their defaults there stand
    among them as comments.

    Args:
        name: Name of the search.
        algorithm: Algorithm of the built-in file.
        dataset: As the file is to name it.
    """
    own, fullest = (
        _tables(built_in_search(one).read_text(encoding="utf-8")) for one in (algorithm, _FULLEST)
    )
    tables = {
        table: own[table] if table == "budget" else _completed(own.get(table, lines[:1]), lines)
        for table, lines in fullest.items()
    }
    # Of the comments above the first key, the first line is about the algorithm, the others about
    # the built-in file.
    about, *top = tables[""]
    quoted = shlex.quote(name)
    usage = f"# Edit this file, then: vaetune check {quoted}; vaetune search {quoted}"
    keys = list(itertools.dropwhile(lambda line: not _KEY.match(line), top))
    tables[""] = [about, usage, *_with_description(keys, dataset)]
    tables["data"] = _with_value(tables["data"], "dataset", dataset)
    return "\n\n".join("\n".join(lines) for lines in tables.values()) + "\n"


def _seen_from(searches: Path, dataset: str, folder: Path) -> str:
    """A path from the working directory as one from the search file: both may move together."""
    if not dataset.isprintable():
        raise SpecError(f"The path {dataset!r} cannot be written into a search file. Rename it.")
    path = Path(dataset).expanduser()
    if dataset in NAMED_SETS or path.is_absolute():
        return dataset if dataset in NAMED_SETS else str(path)
    return Path(os.path.relpath(folder / path, searches)).as_posix()


def _tables(text: str) -> dict[str, list[str]]:
    """The lines of each table of a search file, its header first; "" for what is above them."""
    tables: dict[str, list[str]] = {"": []}
    table = ""
    for line in text.splitlines():
        header = _TABLE.match(line)
        table = header[1] if header else table
        if line:
            tables.setdefault(table, []).append(line)
    return tables


def _entries(lines: Iterable[str]) -> dict[str, list[str]]:
    """The line of each key of a table, also of one in a comment, after the comments above it."""
    entries: dict[str, list[str]] = {}
    above: list[str] = []
    for line in lines:
        key = _KEY.match(line)
        if key:
            entries[key[1]] = [*above, line]
        above = [] if key or not line.startswith("#") else [*above, line]
    return entries


def _completed(lines: list[str], fullest: list[str]) -> list[str]:
    """A table with the keys that it lacks, as comments."""
    present = _entries(lines)
    missing = [entry for key, entry in _entries(fullest).items() if key not in present]
    added = [line for entry in missing for line in entry if line not in lines]
    return lines + [line if line.startswith("#") else f"# {line}" for line in added]


def _with_description(lines: list[str], dataset: str) -> list[str]:
    """Says in the description what the images are, if they are not those of the built-in file."""
    if dataset == "digits":
        return lines
    (line,) = (line for line in lines if line.startswith("description = "))
    built_in = tomllib.loads(line)["description"]
    images = dataset if dataset in NAMED_SETS else Path(dataset).name
    return _with_value(lines, "description", f"{built_in.rpartition(' on ')[0]} on {images}")


def _with_value(lines: list[str], key: str, value: str) -> list[str]:
    # A basic string of TOML is one of JSON; what only JSON escapes is not escaped here.
    written = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    return [written if line.startswith(f"{key} = ") else line for line in lines]
