"""Templates of search files: a built-in file with every key present and explained."""

import itertools
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from vaetune.config.choices import NAMED_SETS, Algorithm
from vaetune.config.names import check_name
from vaetune.config.search_file import built_in_search
from vaetune.config.suited import DEFAULT_SHAPE, suit_space
from vaetune.errors import SpecError

SEARCHES = "searches"
"""Name of the folder of search files in the working directory."""

_MOST_COMPLETE: Algorithm = "hyperband"
"""Its built-in file explains every key except the budget keys of other algorithms."""

_TABLE = re.compile(r"\[(\w+)\]")

_KEY = re.compile(r"(?:# )?(\w+) = ")


def write_template(
    name: str,
    algorithm: Algorithm = _MOST_COMPLETE,
    dataset: str = "digits",
    folder: Path | None = None,
    image_shape: Sequence[int] = DEFAULT_SHAPE,
    count: int = 0,
) -> Path:
    """Writes `searches/NAME.toml`, a copy of a built-in search file to be edited.

    Its space suits the images. For grey images of 28 x 28 pixels, it is that of the built-in file.

    Args:
        name: Name of the search.
        algorithm: Algorithm of the search, one of `SEARCH_ALGORITHMS`.
        dataset: One of `NAMED_SETS`, or a path relative to `folder`. The images need not exist
            yet.
        folder: Folder that contains `searches/`, which is created if needed. Default: the working
            directory.
        image_shape: Height, width and channels of the images.
        count: Number of training images.

    Returns:
        Path of the file.

    Raises:
        ResultsError: The name is reserved.
        SpecError: The name is not allowed, or the file exists or cannot be written.
    """
    check_name(name)
    folder = folder or Path()
    path = folder / SEARCHES / f"{name}.toml"
    if path.exists():
        raise SpecError(f"{path} already exists. Edit it, or choose another name.")
    text = compose(name, algorithm, _relative_to(path.parent, dataset, folder), image_shape, count)
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def compose(
    name: str,
    algorithm: Algorithm,
    dataset: str,
    image_shape: Sequence[int] = DEFAULT_SHAPE,
    count: int = 0,
) -> str:
    """Returns the text of a template.

    It has the comments and values of the built-in file. Keys that the built-in file leaves out,
    because they have their defaults, are added as comments.

    Args:
        name: Name of the search.
        algorithm: Algorithm of the built-in file.
        dataset: Image set, as the file names it.
        image_shape: Height, width and channels of the images.
        count: Number of training images.
    """
    own, complete = (
        _tables(built_in_search(each).read_text(encoding="utf-8"))
        for each in (algorithm, _MOST_COMPLETE)
    )
    tables = {
        table: own[table]
        if table == "budget"
        else _with_missing_keys(own.get(table, lines[:1]), lines)
        for table, lines in complete.items()
    }
    # Above the first key, the first comment is about the algorithm. The others are about the
    # built-in file, so they are dropped.
    about, *top = tables[""]
    quoted = shlex.quote(name)
    usage = f"# Edit this file, then: vaetune check {quoted}; vaetune search {quoted}"
    keys = list(itertools.dropwhile(lambda line: not _KEY.match(line), top))
    tables[""] = [about, usage, *_with_description(keys, dataset)]
    tables["space"] = suit_space(tables["space"], image_shape, count, algorithm)
    tables["data"] = _with_value(tables["data"], "dataset", dataset)
    return "\n\n".join("\n".join(lines) for lines in tables.values()) + "\n"


def _relative_to(searches: Path, dataset: str, folder: Path) -> str:
    """Returns a path relative to the search file, so that both can move together.

    Args:
        searches: Folder of the search file.
        dataset: Name of an image set, or path relative to `folder`.
        folder: Folder that contains `searches`.
    """
    if not dataset.isprintable():
        raise SpecError(
            f"The path {dataset!r} cannot be written into a search file, because it contains "
            "unprintable characters. Rename it."
        )
    path = Path(dataset).expanduser()
    if dataset in NAMED_SETS or path.is_absolute():
        return dataset if dataset in NAMED_SETS else str(path)
    return Path(os.path.relpath(folder / path, searches)).as_posix()


def _tables(text: str) -> dict[str, list[str]]:
    """Returns the lines of each table, header first. Lines above all tables have the name ""."""
    tables: dict[str, list[str]] = {"": []}
    table = ""
    for line in text.splitlines():
        header = _TABLE.match(line)
        table = header[1] if header else table
        if line:
            tables.setdefault(table, []).append(line)
    return tables


def _entries(lines: Iterable[str]) -> dict[str, list[str]]:
    """Returns the line of each key, with the comments above it; some keys are commented out."""
    entries: dict[str, list[str]] = {}
    above: list[str] = []
    for line in lines:
        key = _KEY.match(line)
        if key:
            entries[key[1]] = [*above, line]
        above = [] if key or not line.startswith("#") else [*above, line]
    return entries


def _with_missing_keys(lines: list[str], complete: list[str]) -> list[str]:
    """Adds to a table, as comments, the keys that only the complete table has."""
    present = _entries(lines)
    missing = [entry for key, entry in _entries(complete).items() if key not in present]
    added = [line for entry in missing for line in entry if line not in lines]
    return lines + [line if line.startswith("#") else f"# {line}" for line in added]


def _with_description(lines: list[str], dataset: str) -> list[str]:
    """Adds the images to the description, unless they are the built-in file's digits."""
    if dataset == "digits":
        return lines
    (line,) = (line for line in lines if line.startswith("description = "))
    built_in = tomllib.loads(line)["description"]
    images = dataset if dataset in NAMED_SETS else Path(dataset).name
    return _with_value(lines, "description", f"{built_in} on {images}")


def _with_value(lines: list[str], key: str, value: str) -> list[str]:
    # A JSON string without escaped Unicode is also a basic string of TOML.
    written = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    return [written if line.startswith(f"{key} = ") else line for line in lines]
