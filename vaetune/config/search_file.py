"""A search file read: each value comes from a flag, else from the file, else from a default.

Errors are one line each and name the key or the flag.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vaetune.config.choices import NAMED_SETS, SEARCH_ALGORITHMS, Algorithm
from vaetune.config.explain import closest_match, explain_error, flag_name
from vaetune.config.space import Number
from vaetune.config.spec import (
    SearchSpec,
    flatten,
    foreign_keys,
    mismatch,
)
from vaetune.errors import SpecError, shown

Origin = Literal["flag", "file", "search", "default", "extended"]


@dataclass(frozen=True)
class ResolvedSearch:
    """A search ready to run.

    Attributes:
        name: Names the folder of its results.
        spec: The experiment.
        origins: Origin of each value, by dotted key such as "budget.max_epochs".
    """

    name: str
    spec: SearchSpec
    origins: Mapping[str, Origin]


def resolve(
    path: Path, overrides: Mapping[str, Any] | None = None, folder: Path | None = None
) -> ResolvedSearch:
    """Reads a search file, lets flags override it, and validates the outcome.

    Args:
        path: The search file.
        overrides: Values of flags, by dotted key; None stands for a flag that was not given.
        folder: Folder at which relative paths in `overrides` start. Default: the working directory.

    Raises:
        SpecError: The file cannot be read or is no TOML, or a key or value is wrong.
    """
    raw = _read_toml(path)
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    in_file = set(flatten(raw))
    _anchor_dataset(raw, path.parent, f"{path}: data.dataset")
    for key, value in flags.items():
        _put(raw, key, value)
    if "data.dataset" in flags:
        _anchor_dataset(raw, folder or Path.cwd(), "--dataset")
    _check_algorithm(raw, path)
    _check_budget(raw, path, flags)
    _check_batch_size(raw, path, flags)
    spec = _validated(raw, str(path), flags)
    origins: dict[str, Origin] = {
        key: "flag" if key in flags else "file" if key in in_file else "default"
        for key in flatten(spec.model_dump(exclude_none=True))
    }
    return ResolvedSearch(path.stem, spec, origins)


def load_search(name: str, overrides: Mapping[str, Any] | None = None) -> ResolvedSearch:
    """Loads a search by name.

    Args:
        name: A built-in search such as "hyperband", the name of a file `searches/NAME.toml`, or
            the path of a search file.
        overrides: Values that replace those of the file, by dotted key such as
            "budget.max_epochs".

    Raises:
        SpecError: There is no such search, or a key or value is wrong.

    Example:
        >>> search = load_search("hyperband", {"budget.max_epochs": 27, "seed": 1})
    """
    return resolve(find_search(name), overrides)


_TAKEN_OVER = {"seed", "device", "data", "training"}


def resolve_single(
    hyperparameters: Mapping[str, Number],
    overrides: Mapping[str, Any],
    configuration: Mapping[str, Number] | None = None,
    like: SearchSpec | None = None,
) -> ResolvedSearch:
    """The experiment of training one configuration.

    Args:
        hyperparameters: Those that flags give.
        overrides: As for `resolve`; paths start at the working directory.
        configuration: The others; the reference's if None.
        like: A search whose data, seed, device and training count where no flag overrides them;
            the defaults if None.

    Raises:
        SpecError: A value is wrong.
    """
    flags = {key: value for key, value in overrides.items() if value is not None}
    pinned = {**(configuration or {}), **hyperparameters}
    if "training.batch_size" in flags:
        pinned.pop("batch_size", None)
    raw = like.model_dump(include=_TAKEN_OVER, exclude_none=True) if like else {}
    taken = {*flatten(raw), *(f"space.{name}" for name in configuration or {})}
    raw |= {"algorithm": "single", "baseline": False}
    raw["space"] = {name: {"value": value} for name, value in pinned.items()}
    for key, value in flags.items():
        _put(raw, key, value)
    if flags.get("data.train_on") == "train":
        raw["data"].pop("train_on")
    _anchor_dataset(raw, Path.cwd(), "--dataset")
    given = flags | {f"space.{name}": value for name, value in hyperparameters.items()}
    spec = _validated(raw, "train", given)
    origins: dict[str, Origin] = {
        key: "flag" if key in given else "search" if key in taken else "default"
        for key in flatten(spec.model_dump(exclude_none=True))
    }
    return ResolvedSearch("", spec, origins)


def find_search(name: str, folder: Path | None = None) -> Path:
    """Finds the file of a search: a path, `searches/NAME.toml`, or one built into the package.

    Raises:
        SpecError: There is none; the message names those there are.
    """
    is_path = name.endswith(".toml") or "/" in name or "\\" in name
    if is_path and Path(name).is_file():
        return Path(name)
    available = available_searches(folder)
    if not is_path and name in available:
        return available[name]
    missing = f"No search file at {name}." if is_path else f'No search named "{name}".'
    raise SpecError(
        f"{missing}{closest_match(Path(name).stem, available)} There are: {', '.join(available)}. "
        "A search is a file searches/NAME.toml; `vaetune new NAME` writes one to edit."
    )


def available_searches(folder: Path | None = None) -> dict[str, Path]:
    """The searches that go by a name; one in `searches/` hides a built-in one of its name."""
    own = (folder or Path.cwd()) / "searches"
    found = {path.stem: path for place in (_built_in(), own) for path in place.glob("*.toml")}
    return dict(sorted(found.items()))


def built_in_search(algorithm: Algorithm) -> Path:
    """The search file of an algorithm that is built into the package."""
    return _built_in() / f"{algorithm}.toml"


def describe(path: Path) -> str:
    """The one-line description in a search file, or what keeps it from being read."""
    try:
        return resolve(path).spec.description
    except SpecError as error:
        return f"cannot be read: {error}"


def _built_in() -> Path:
    inside = Path(__file__).parents[1] / "searches"  # in an installed wheel
    return inside if inside.is_dir() else Path(__file__).parents[2] / "searches"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at end of document, line {len(text.splitlines())}"
        reason = str(error).replace("at end of document", end)
        raise SpecError(f"{path} is not valid TOML: {reason}.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not text in UTF-8: {error.reason}") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error


def _validated(raw: Mapping[str, Any], where: str, flags: Mapping[str, Any]) -> SearchSpec:
    try:
        return SearchSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(explain_error(error, where, flags)) from error


def _check_algorithm(raw: Mapping[str, Any], path: Path) -> None:
    algorithm = raw.get("algorithm", SEARCH_ALGORITHMS[0])
    if algorithm not in SEARCH_ALGORITHMS:
        raise SpecError(
            f"{path}: unknown algorithm {shown(algorithm)}."
            f"{closest_match(str(algorithm), SEARCH_ALGORITHMS)} There are: "
            f"{', '.join(SEARCH_ALGORITHMS)}."
        )


def _check_budget(raw: Mapping[str, Any], path: Path, flags: Mapping[str, Any]) -> None:
    budget, algorithm = raw.get("budget"), raw.get("algorithm", SEARCH_ALGORITHMS[0])
    foreign = foreign_keys(budget, algorithm) if isinstance(budget, Mapping) else []
    if foreign:
        key = f"budget.{foreign[0]}"
        subject = flag_name(key) if key in flags else f"{path}: {key}"
        raise SpecError(f"{subject} {mismatch(algorithm)}.")


def _check_batch_size(raw: Mapping[str, Any], path: Path, flags: Mapping[str, Any]) -> None:
    key = "training.batch_size"
    space, training = raw.get("space"), raw.get("training")
    if not (isinstance(space, Mapping) and isinstance(training, Mapping)):
        return
    if "batch_size" in space and "batch_size" in training:
        subject = flag_name(key) if key in flags else f"{path}: {key}"
        raise SpecError(
            f"{subject} does not go with space.batch_size, which searches it. Leave one of them "
            "out."
        )


def _anchor_dataset(raw: dict[str, Any], folder: Path, subject: str) -> None:
    """Makes the path of a data set absolute; the name of a named one stays as it is."""
    data = raw.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(dataset, str) or not dataset:
        return  # the validation reports it
    if dataset not in NAMED_SETS:
        try:
            data["dataset"] = str((folder / Path(dataset).expanduser()).resolve())
        except (RuntimeError, ValueError) as error:  # no such user's home, a null byte
            raise SpecError(f"{subject} is no path: {shown(dataset)} ({error}).") from error


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = raw.setdefault(parent, {})
        if not isinstance(table, dict):
            return  # the validation reports it
        raw = table
    raw[last] = value
