"""Reading of search files: a flag overrides the file, and the file overrides a default.

An error is one line that names the wrong key or flag. A script gives overrides by key, so errors
name the key to it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vaetune.config.choices import NAMED_SETS, SEARCH_ALGORITHMS, Algorithm
from vaetune.config.closest import closest_match
from vaetune.config.comparison import flatten
from vaetune.config.dimensions import Value
from vaetune.config.explain import NameOverride, explain_error, flag_name, key_name
from vaetune.config.family import used
from vaetune.config.reading import ReadingSpec
from vaetune.config.spec import (
    SEARCHABLE,
    SearchSpec,
    describe_budget_keys,
    foreign_budget_keys,
)
from vaetune.errors import SpecError, short_repr

EARLIER = "0.1"
"""Version whose built-in files are kept as NAME-0.1, so that their searches can be finished."""

Origin = Literal["flag", "file", "search", "default", "extended"]


@dataclass(frozen=True)
class ResolvedSearch:
    """A search that is ready to run.

    Attributes:
        name: Name of the search and of its folder of results.
        spec: The experiment.
        origins: Origin of each value, by dotted key such as "budget.max_epochs".
        start_from: Earlier searches that its starting points come from, as the command line names
            them.
    """

    name: str
    spec: SearchSpec
    origins: Mapping[str, Origin]
    start_from: tuple[str, ...] = ()


def resolve(
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    name_override: NameOverride = flag_name,
) -> ResolvedSearch:
    """Reads a search file, applies the overrides and validates the result.

    Args:
        path: The search file.
        overrides: Values of flags, by dotted key. None stands for a flag that was not given.
        folder: Folder that relative paths in the overrides start from. Default: the working
            directory.
        name_override: Names a wrong override in an error. Default: by its flag.

    Raises:
        SpecError: The file cannot be read or is not TOML, or a key or value is wrong.
    """
    raw = _read_toml(path)
    flags = {key: value for key, value in (overrides or {}).items() if value is not None}
    in_file = set(flatten(raw))
    _make_dataset_absolute(raw, path.parent, f"{path}: data.dataset")
    for key, value in flags.items():
        _set(raw, key, value)
    if "data.dataset" in flags:
        _make_dataset_absolute(raw, folder or Path.cwd(), name_override("data.dataset"))
    _drop_overridden(raw, flags)
    names = {key: name_override(key) for key in flags}
    _check_algorithm(raw, path, names)
    _check_budget(raw, path, names)
    _check_searched_settings(raw, path, names)
    spec = _validate(raw, str(path), flags, name_override)
    origins: dict[str, Origin] = {
        key: "flag" if key in flags else "file" if key in in_file else "default"
        for key in flatten(spec.model_dump(exclude_none=True))
    }
    return ResolvedSearch(path.stem, spec, origins)


def load_search(name: str, overrides: Mapping[str, Any] | None = None) -> ResolvedSearch:
    """Loads a search by name.

    Args:
        name: Name of a built-in search such as "hyperband" or of a file `searches/NAME.toml`, or
            path of a search file.
        overrides: Values that replace those of the file, by dotted key such as
            "budget.max_epochs".

    Raises:
        SpecError: The search does not exist, or a key or value is wrong.

    Example:
        >>> search = load_search("hyperband", {"budget.max_epochs": 27, "seed": 1})
    """
    return resolve(find_search(name), overrides, name_override=key_name)


_INHERITED = {"objective", "seed", "device", "data", "training"}


def resolve_single(
    hyperparameters: Mapping[str, Value],
    overrides: Mapping[str, Any],
    configuration: Mapping[str, Value] | None = None,
    like: SearchSpec | None = None,
    name_override: NameOverride = flag_name,
) -> ResolvedSearch:
    """Returns the experiment that trains one configuration.

    Args:
        hyperparameters: Hyperparameters given as flags.
        overrides: Other values given as flags, as for `resolve`. Relative paths start from the
            working directory.
        configuration: Values of the hyperparameters that no flag gives; those that the model no
            longer uses are left out. Default: the Keras example's.
        like: Search that provides data, objective, seed, device and training where no flag gives
            them.
            Default: the default values.
        name_override: Names a wrong flag in an error.

    Raises:
        SpecError: A value is wrong.
    """
    flags = {key: value for key, value in overrides.items() if value is not None}
    for name in SEARCHABLE:
        if f"training.{name}" in flags and name in hyperparameters:
            raise SpecError(
                f"{name_override(f'training.{name}')} conflicts with "
                f"{name_override(f'space.{name}')}. Remove one of them."
            )
    kept = used({**(configuration or {}), **hyperparameters})
    kept = {name: value for name, value in kept.items() if f"training.{name}" not in flags}
    pinned = kept | dict(hyperparameters)
    raw = like.model_dump(include=_INHERITED, exclude_none=True) if like else {}
    inherited = {*flatten(raw), *(f"space.{name}" for name in kept)}
    raw |= {"algorithm": "single", "baseline": False}
    raw["space"] = {name: {"value": value} for name, value in pinned.items()}
    for key, value in flags.items():
        _set(raw, key, value)
    if flags.get("data.train_on") == "train":
        raw["data"].pop("train_on")
    _make_dataset_absolute(raw, Path.cwd(), "--dataset")
    given = flags | {f"space.{name}": value for name, value in hyperparameters.items()}
    spec = _validate(raw, "train", given, name_override)
    origins: dict[str, Origin] = {
        key: "flag" if key in given else "search" if key in inherited else "default"
        for key in flatten(spec.model_dump(exclude_none=True))
    }
    return ResolvedSearch("", spec, origins)


def find_search(name: str, folder: Path | None = None) -> Path:
    """Returns the path of a search file.

    Args:
        name: Path of a search file, or name of a file in `searches/` or of a built-in search.
        folder: Folder that contains `searches/`. Default: the working directory.

    Raises:
        SpecError: The file does not exist. The message lists the available searches.
    """
    is_path = name.endswith(".toml") or "/" in name or "\\" in name
    if is_path and Path(name).is_file():
        return Path(name)
    available = available_searches(folder)
    found = {**earlier_searches(), **available}
    if not is_path and name in found:
        return found[name]
    missing = f"There is no search file at {name}." if is_path else f'There is no search "{name}".'
    raise SpecError(
        f"{missing}{closest_match(Path(name).stem, available)} There are: {', '.join(available)}. "
        "To write a search file of your own, run `vaetune new NAME`."
    )


def available_searches(folder: Path | None = None) -> dict[str, Path]:
    """Returns the search files by name. A file in `searches/` hides a built-in of the same name."""
    own = (folder or Path.cwd()) / "searches"
    found = {**built_in_searches(), **{path.stem: path for path in own.glob("*.toml")}}
    return dict(sorted(found.items()))


def built_in_searches() -> dict[str, Path]:
    """Returns the built-in search files by name."""
    return {path.stem: path for path in _built_in().glob("*.toml")}


def earlier_searches() -> dict[str, Path]:
    """Returns the built-in files of an earlier version by name, such as "hyperband-0.1"."""
    return {path.stem: path for path in _built_in().glob("earlier/*.toml")}


def built_in_search(algorithm: Algorithm) -> Path:
    """Returns the path of the built-in search file of an algorithm."""
    return _built_in() / f"{algorithm.replace('_', '-')}.toml"


def describe(path: Path) -> str:
    """Returns the description in a search file, or why the file cannot be read, as one line."""
    try:
        return resolve(path).spec.description
    except SpecError as error:
        return f"cannot be read: {error}"


def _built_in() -> Path:
    # A wheel has the folder inside the package, a checkout has it at the top.
    in_wheel = Path(__file__).parents[1] / "searches"
    return in_wheel if in_wheel.is_dir() else Path(__file__).parents[2] / "searches"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        # Some editors write a byte order mark, which this encoding skips.
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at end of document, line {len(text.splitlines())}"
        reason = str(error).replace("at end of document", end)
        raise SpecError(f"{path} is not valid TOML: {reason}.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not a UTF-8 text file: {error.reason}.") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}.") from error


def _validate(
    raw: Mapping[str, Any], where: str, overrides: Mapping[str, Any], name_override: NameOverride
) -> SearchSpec:
    try:
        return SearchSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(explain_error(error, where, overrides, name_override)) from error


def parse_reading(options: Mapping[str, Any]) -> ReadingSpec:
    """Validates how images are read, given by the keys of `[data]` in a search file.

    Raises:
        SpecError: A key or value is wrong.
    """
    return _validate({"data": options}, "How the images are read", {}, key_name).data


def _check_algorithm(raw: Mapping[str, Any], path: Path, names: Mapping[str, str]) -> None:
    algorithm = raw.get("algorithm", SEARCH_ALGORITHMS[0])
    if algorithm not in SEARCH_ALGORITHMS:
        subject = "Unknown" if "algorithm" in names else f"{path}: unknown"
        raise SpecError(
            f"{subject} algorithm {short_repr(algorithm)}."
            f"{closest_match(str(algorithm), SEARCH_ALGORITHMS)} Expected one of: "
            f"{', '.join(SEARCH_ALGORITHMS)}."
        )


def _check_budget(raw: Mapping[str, Any], path: Path, names: Mapping[str, str]) -> None:
    budget, algorithm = raw.get("budget"), raw.get("algorithm", SEARCH_ALGORITHMS[0])
    foreign = foreign_budget_keys(budget, algorithm) if isinstance(budget, Mapping) else []
    if foreign:
        key = f"budget.{foreign[0]}"
        subject = names.get(key, f"{path}: {key}")
        raise SpecError(f"{subject} {describe_budget_keys(algorithm)}.")


def _drop_overridden(raw: dict[str, Any], flags: Mapping[str, Any]) -> None:
    """Removes hyperparameters of the file for which a flag gives one value in [training]."""
    space = raw.get("space")
    for name in SEARCHABLE:
        if f"training.{name}" in flags and isinstance(space, dict):
            space.pop(name, None)


def _check_searched_settings(raw: Mapping[str, Any], path: Path, names: Mapping[str, str]) -> None:
    space, training = raw.get("space"), raw.get("training")
    if not (isinstance(space, Mapping) and isinstance(training, Mapping)):
        return
    for name in SEARCHABLE:
        if name in space and name in training:
            key = f"training.{name}"
            raise SpecError(
                f"{names.get(key, f'{path}: {key}')} conflicts with space.{name}, which searches "
                f"the {name.replace('_', ' ')}. Remove one of them."
            )


def _make_dataset_absolute(raw: dict[str, Any], folder: Path, subject: str) -> None:
    """Makes the path of the image set absolute, but keeps the name of a named set."""
    data = raw.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(dataset, str) or not dataset:
        return  # The validation reports it.
    if dataset not in NAMED_SETS:
        try:
            data["dataset"] = str((folder / Path(dataset).expanduser()).resolve())
        except (RuntimeError, ValueError) as error:  # an unknown user's home, or a null byte
            message = f"{subject} is not a path: {short_repr(dataset)} ({error})."
            raise SpecError(message) from error


def _set(raw: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key in nested tables."""
    *parents, last = key.split(".")
    for parent in parents:
        table = raw.setdefault(parent, {})
        if not isinstance(table, dict):
            return  # The validation reports it.
        raw = table
    raw[last] = value
