"""What a search is: a search file, validated once, frozen.

Each value comes from a flag, else from the file, else from a default, and says which.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictInt,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from vaetune.errors import SpecError
from vaetune.evaluation import Binarize

NAMED_SETS = ("digits", "mnist", "fashion_mnist")
"""Image sets that go by a name; anything else is a path."""


def _must_be_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a number, received {_shown(value)}")
    return value


Number = Annotated[int | float, BeforeValidator(_must_be_number)]
Device = Literal["auto", "cpu", "gpu"]
Precision = Literal["float32", "mixed_bfloat16"]
TrainOn = Literal["train+validation"]
Decay = Literal["none", "cosine"]
Origin = Literal["flag", "file", "search", "default", "extended"]
Algorithm = Literal["hyperband", "random", "bayesian", "grid", "single"]

SEARCH_ALGORITHMS = ("hyperband", "random", "bayesian", "grid")
"""What a search file may ask for; "single" trains the one configuration of a baseline."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Choice(_Table):
    """A hyperparameter with a list of values, tried with equal probability."""

    values: Annotated[tuple[Number, ...], Field(min_length=1)]

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Number, ...]) -> tuple[Number, ...]:
        if len(set(values)) < len(values):
            raise ValueError("must not repeat a value")
        return values

    def numbers(self) -> tuple[Number, ...]:
        return self.values

    def contains(self, number: Number) -> bool:
        return number in self.values


class Range(_Table):
    """A hyperparameter between two bounds, both included, sampled on a scale."""

    min: Number
    max: Number
    scale: Literal["linear", "log"] = "linear"

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.min < self.max:
            raise ValueError(
                f"min must be less than max, received min = {self.min} and max = {self.max}; "
                "to pin a hyperparameter write { value = ... }"
            )
        if self.scale == "log" and self.min <= 0:
            raise ValueError(f'scale = "log" needs a min above 0, received min = {self.min}')
        return self

    def numbers(self) -> tuple[Number, ...]:
        return (self.min, self.max)

    def contains(self, number: Number) -> bool:
        return self.min <= number <= self.max


class Pinned(_Table):
    """A hyperparameter that is not searched."""

    value: Number

    def numbers(self) -> tuple[Number, ...]:
        return (self.value,)

    def contains(self, number: Number) -> bool:
        return number == self.value


def _dimension_tag(raw: Any) -> str | None:
    if isinstance(raw, _Table):
        return type(raw).__name__
    if not isinstance(raw, Mapping):
        return None
    kinds = {"values": "Choice", "value": "Pinned", "min": "Range", "max": "Range"}
    found = {kinds[key] for key in raw if key in kinds}
    return found.pop() if len(found) == 1 else None


Dimension = Annotated[
    Annotated[Choice, Tag("Choice")]
    | Annotated[Range, Tag("Range")]
    | Annotated[Pinned, Tag("Pinned")],
    Discriminator(
        _dimension_tag,
        custom_error_type="dimension",
        custom_error_message=(
            "must be one of { values = [...] }, "
            '{ min = ..., max = ..., scale = "linear" or "log" }, { value = ... }'
        ),
    ),
]

_DIMENSIONS: Mapping[str, type[_Table]] = {"Choice": Choice, "Range": Range, "Pinned": Pinned}

REFERENCE: Mapping[str, Number] = {
    "filters_1": 32,
    "filters_2": 64,
    "dense_units": 16,
    "latent_dim": 2,
    "learning_rate": 1e-3,
}
"""The Keras example's own configuration."""

REFERENCE_BATCH_SIZE = 128
REFERENCE_BETA = 1.0

OPTIONAL: Mapping[str, Number] = {"batch_size": REFERENCE_BATCH_SIZE, "beta": REFERENCE_BETA}
"""Hyperparameters that are there only where a space names them, with the Keras example's values."""


class Space(_Table):
    """What is searched: a dimension for each hyperparameter, pinned at the reference if unnamed.

    Attributes:
        batch_size: Images a step; None leaves it to `Training`.
        beta: Weight of the KL divergence in training, never in validation; 1 if None.
    """

    filters_1: Dimension = Pinned(value=REFERENCE["filters_1"])
    filters_2: Dimension = Pinned(value=REFERENCE["filters_2"])
    dense_units: Dimension = Pinned(value=REFERENCE["dense_units"])
    latent_dim: Dimension = Pinned(value=REFERENCE["latent_dim"])
    learning_rate: Dimension = Pinned(value=REFERENCE["learning_rate"])
    batch_size: Dimension | None = None
    beta: Dimension | None = None

    @field_validator("filters_1", "filters_2", "dense_units", "latent_dim", "batch_size")
    @classmethod
    def _whole(cls, dimension: Dimension | None) -> Dimension | None:
        for number in dimension.numbers() if dimension else ():
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"needs whole numbers of at least 1, received {number}")
        return dimension

    @field_validator("beta")
    @classmethod
    def _not_negative(cls, dimension: Dimension | None) -> Dimension | None:
        for number in dimension.numbers() if dimension else ():
            if not 0 <= number < math.inf:
                raise ValueError(f"needs finite numbers of at least 0, received {number}")
        return dimension

    @field_validator("learning_rate")
    @classmethod
    def _positive(cls, dimension: Dimension) -> Dimension:
        for number in dimension.numbers():
            if not 0 < number < math.inf:
                raise ValueError(f"needs finite numbers above 0, received {number}")
        return dimension

    @classmethod
    def pinned_at(cls, hyperparameters: Mapping[str, Number]) -> "Space":
        """A space of one configuration."""
        return cls.model_validate({name: {"value": v} for name, v in hyperparameters.items()})

    def dimensions(self) -> Iterator[tuple[str, Choice | Range | Pinned]]:
        """Yields each hyperparameter's name and dimension, in the order of the class."""
        for name in type(self).model_fields:
            dimension = getattr(self, name)
            if dimension is not None:
                yield name, dimension

    def default(self, name: str) -> Number:
        """The reference's value where the space contains it, else the first number there is."""
        dimension: Choice | Range | Pinned = getattr(self, name)
        reference = {**REFERENCE, **OPTIONAL}[name]
        return reference if dimension.contains(reference) else dimension.numbers()[0]


DEFAULT_SPACE = Space(
    filters_1=Choice(values=(16, 32, 64)),
    filters_2=Choice(values=(32, 64, 128)),
    dense_units=Choice(values=(16, 32, 64, 128, 256)),
    latent_dim=Choice(values=(2, 4, 8, 16, 32)),
    learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
)
"""The space of the search file `hyperband`."""


class DataSpec(_Table):
    """Which images, and what is made of them.

    Attributes:
        dataset: One of `NAMED_SETS`, or a path.
        binarize: Grey pixels as they are ("none"); 1 where they are at least one half, else 0
            ("threshold"); or 1 with the probability that is their value, drawn anew in each
            epoch of training and once for validation and test ("stochastic").
        train_on: None for the training images; else those for validation too, but for a few
            that choose the epoch: see `data.join_validation`.
    """

    dataset: Annotated[str, Field(min_length=1)] = "digits"
    binarize: Binarize = "none"
    train_on: TrainOn | None = None


class Budget(_Table):
    """How much training: epochs are absolute, counted from the start of a configuration.

    Each algorithm has its own keys beside `max_epochs`, see `BUDGET_KEYS`; those of the others
    are None in a `SearchSpec`.

    Attributes:
        max_epochs: Of the longest trials.
        min_epochs: Of the shortest trials, about: no rung is shorter.
        factor: A rung keeps one trial in this many.
        hyperband_iterations: How often the whole schedule is run.
        promote_from: The epoch of its parent that a promoted trial goes on from.
        max_trials: How many; None for a whole grid.
        initial_trials: Completed at random before the Gaussian process is asked.
        patience: A single configuration stops when so many epochs in a row brought no better
            validation loss; None trains to the end.
    """

    max_epochs: Annotated[StrictInt, Field(ge=1)] = 9
    min_epochs: Annotated[StrictInt, Field(ge=1)] | None = 1
    factor: Annotated[StrictInt, Field(ge=2)] | None = 3
    hyperband_iterations: Annotated[StrictInt, Field(ge=1)] | None = 1
    promote_from: Literal["last", "best"] | None = "last"
    max_trials: Annotated[StrictInt, Field(ge=1)] | None = None
    initial_trials: Annotated[StrictInt, Field(ge=1)] | None = None
    patience: Annotated[StrictInt, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> "Budget":
        if self.min_epochs is not None and self.min_epochs > self.max_epochs:
            raise ValueError(
                f"min_epochs must be at most max_epochs, received min_epochs = {self.min_epochs} "
                f"and max_epochs = {self.max_epochs}"
            )
        return self


BUDGET_KEYS: Mapping[Algorithm, Mapping[str, Any]] = {
    "hyperband": {
        "min_epochs": 1,
        "factor": 3,
        "hyperband_iterations": 1,
        "promote_from": "last",
    },
    "random": {"max_trials": 10},
    "bayesian": {"max_trials": 25, "initial_trials": 10},
    "grid": {"max_trials": None},
    "single": {"patience": None},
}
"""What an algorithm's budget holds beside `max_epochs`, with the defaults."""


class Training(_Table):
    """How a configuration is trained, the same for all.

    Attributes:
        batch_size: Images a step; None where it is searched.
        precision: What convolutions and dense layers multiply in while training. Weights, the
            latent layers, `Sampling`, logits, losses, Adam and all of validation are float32.
        learning_rate_decay: "cosine" lets the learning rate fall to zero over `max_epochs`
            epochs, counted from the start of a configuration.
    """

    batch_size: Annotated[StrictInt, Field(ge=1)] | None = REFERENCE_BATCH_SIZE
    precision: Precision = "float32"
    learning_rate_decay: Decay = "none"


_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Limits(_Table):
    """When a search stops early, and what it keeps: no part of the experiment.

    Attributes:
        time_budget: Such as "1h30m" or "90s": a session stops after the epoch in progress.
        max_failure_rate: A search stops when more of its ended trials failed, after ten.
        max_retries: How often a trial is tried again after an error that may pass.
        keep_best: How many leaders keep their trained weights on the disk.
        final_seeds: From how many other seeds the finalists' configurations are trained anew, at
            the largest budget, before the winner is chosen.
    """

    time_budget: str | None = None
    max_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    max_retries: Annotated[StrictInt, Field(ge=0)] = 1
    keep_best: Annotated[StrictInt, Field(ge=1)] = 3
    final_seeds: Annotated[StrictInt, Field(ge=0)] = 0

    @field_validator("time_budget")
    @classmethod
    def _is_duration(cls, text: str | None) -> str | None:
        if text is not None and not (_DURATION.fullmatch(text) and _seconds(text) > 0):
            raise ValueError('must be a time such as "1h30m", "45m" or "90s"')
        return text

    @property
    def time_budget_s(self) -> float:
        """Seconds a session may take; infinite if nothing is said."""
        return math.inf if self.time_budget is None else _seconds(self.time_budget)


def _seconds(duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600.0 * hours + 60.0 * minutes + seconds


class SearchSpec(_Table):
    """A whole experiment: algorithm, data, budget, space, seed."""

    description: str = ""
    algorithm: Algorithm = "hyperband"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    baseline: StrictBool = True
    device: Device = "auto"
    data: DataSpec = DataSpec()
    budget: Budget = Budget()
    training: Training = Training()
    limits: Limits = Limits()
    space: Space = DEFAULT_SPACE

    @model_validator(mode="after")
    def _complete_training(self) -> "SearchSpec":
        """The batch size is the training's, or searched; the validation images rank a search."""
        size = self.training.batch_size or REFERENCE_BATCH_SIZE
        given = None if self.space.batch_size else size
        object.__setattr__(self, "training", self.training.model_copy(update={"batch_size": given}))
        if self.algorithm != "single" and self.data.train_on:
            raise ValueError(
                f'data.train_on = "{self.data.train_on}" is for `vaetune train`: a search ranks '
                "by the validation images"
            )
        return self

    @model_validator(mode="after")
    def _complete_budget(self) -> "SearchSpec":
        """Gives the budget the keys of its algorithm, and no others."""
        defaults = BUDGET_KEYS[self.algorithm]
        given = self.budget.model_dump(include=self.budget.model_fields_set, exclude_none=True)
        foreign = _foreign_keys(given, self.algorithm)
        if foreign and self.algorithm != "single":
            raise ValueError(f"budget.{foreign[0]} {_not_of(self.algorithm)}")
        empty = dict.fromkeys(Budget.model_fields)
        kept = {key: value for key, value in given.items() if key not in foreign}
        values = empty | dict(defaults) | {"max_epochs": self.budget.max_epochs} | kept
        most, initial = values["max_trials"], values["initial_trials"]
        if initial is not None and initial >= most:
            raise ValueError(
                f"max_trials must be more than budget.initial_trials, received {most} and "
                f"{initial}: the Gaussian process would not be asked. For so few trials search at "
                "random"
            )
        object.__setattr__(self, "budget", Budget.model_construct(**values))
        return self


def _foreign_keys(budget: Mapping[str, Any], algorithm: Algorithm) -> list[str]:
    """The keys of a budget that are another algorithm's; unknown ones are not among them."""
    own = {"max_epochs", *BUDGET_KEYS[algorithm]}
    return [key for key in budget if key in Budget.model_fields and key not in own]


def _not_of(algorithm: Algorithm) -> str:
    known = ", ".join(["max_epochs", *BUDGET_KEYS[algorithm]])
    return f"does not go with the algorithm {algorithm}, whose budget has {known}"


def single_configuration(
    hyperparameters: Mapping[str, Number], epochs: int, like: SearchSpec
) -> SearchSpec:
    """The experiment of training one configuration, on the data and with the seed of another."""
    single = {
        "description": "",
        "algorithm": "single",
        "baseline": False,
        "budget": {"max_epochs": epochs},
        "space": Space.pinned_at(hyperparameters),
    }
    return SearchSpec.model_validate(dict(like) | single)


def reference_training(training: Training) -> Training:
    """How the Keras example is trained to be held against trials that are trained so."""
    size = training.batch_size or REFERENCE_BATCH_SIZE
    return training.model_copy(update={"batch_size": size})


@dataclass(frozen=True)
class ResolvedSearch:
    """A search ready to run.

    Attributes:
        name: Names the folder of its results.
        spec: The experiment.
        origins: Where each value came from, by dotted key such as "budget.max_epochs".
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
        folder: Where relative paths among the overrides start; the working directory if None.

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
        f"{missing}{_closest(Path(name).stem, available)} There are: {', '.join(available)}. "
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


def differences(ours: SearchSpec, theirs: SearchSpec) -> list[str]:
    """Lists what makes two experiments different ones, as "key: theirs -> ours".

    Where the images are does not count, what they are does: compare their fingerprints. Limits
    do not count either.
    """
    kept: Any = {
        **dict.fromkeys(("algorithm", "seed", "budget", "training", "space"), True),
        "data": {"binarize", "train_on"},
    }
    dumped = (spec.model_dump(include=kept, exclude_none=True) for spec in (theirs, ours))
    left, right = map(flatten, dumped)
    return [
        f"{key}: {left.get(key, 'not set')} -> {right.get(key, 'not set')}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def is_larger(ours: Budget, theirs: Budget) -> bool:
    """Whether a budget differs from another in more trials or more iterations alone."""
    left, right = ours.model_dump(), theirs.model_dump()
    changed = {key for key in left if left[key] != right[key]}
    if changed == {"hyperband_iterations"}:
        return bool(left["hyperband_iterations"] > right["hyperband_iterations"])
    if changed == {"max_trials"}:
        most = left["max_trials"] or math.inf  # none: a whole grid
        return bool(right["max_trials"] is not None and most > right["max_trials"])
    return False


def _built_in() -> Path:
    inside = Path(__file__).parent / "searches"  # in an installed wheel
    return inside if inside.is_dir() else Path(__file__).parents[1] / "searches"


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
        raise SpecError(_explain(error, where, flags)) from error


def _check_algorithm(raw: Mapping[str, Any], path: Path) -> None:
    algorithm = raw.get("algorithm", SEARCH_ALGORITHMS[0])
    if algorithm not in SEARCH_ALGORITHMS:
        raise SpecError(
            f"{path}: unknown algorithm {_shown(algorithm)}."
            f"{_closest(str(algorithm), SEARCH_ALGORITHMS)} There are: "
            f"{', '.join(SEARCH_ALGORITHMS)}."
        )


def _check_budget(raw: Mapping[str, Any], path: Path, flags: Mapping[str, Any]) -> None:
    budget, algorithm = raw.get("budget"), raw.get("algorithm", SEARCH_ALGORITHMS[0])
    foreign = _foreign_keys(budget, algorithm) if isinstance(budget, Mapping) else []
    if foreign:
        key = f"budget.{foreign[0]}"
        subject = _flag(key) if key in flags else f"{path}: {key}"
        raise SpecError(f"{subject} {_not_of(algorithm)}.")


def _check_batch_size(raw: Mapping[str, Any], path: Path, flags: Mapping[str, Any]) -> None:
    key = "training.batch_size"
    space, training = raw.get("space"), raw.get("training")
    if not (isinstance(space, Mapping) and isinstance(training, Mapping)):
        return
    if "batch_size" in space and "batch_size" in training:
        subject = _flag(key) if key in flags else f"{path}: {key}"
        raise SpecError(
            f"{subject} does not go with space.batch_size, which searches it. Leave one of them "
            "out."
        )


_PLAIN_WORDS = {
    "model_type": "must be a table",
    "too_short": "must hold at least one value",
    "missing": "is missing",
}


def _explain(error: ValidationError, where: str, flags: Mapping[str, Any]) -> str:
    """Turns the first of Pydantic's complaints into one line, and counts the others."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(first['loc'])}{_and_more(error)}"
    key = _dotted(first["loc"])
    message = _PLAIN_WORDS.get(first["type"], first["msg"].removeprefix("Value error, "))
    flag = next((given for given in flags if _is_about(given, key, message)), None)
    subject = _flag(flag) if flag else f"{where}: {key}".rstrip(": ")
    message = message.removeprefix("Input ")
    if flag:
        message = message.removeprefix(f"{flag.rpartition('.')[2]} ")
    received = "" if "received" in message else f", received {_shown(first['input'])}"
    return f"{subject} {message[:1].lower()}{message[1:]}{received}.{_and_more(error)}"


def _is_about(flag: str, key: str, message: str) -> bool:
    """Whether a complaint of a key, or of the table that holds it, is about a flag's value."""
    table, _, name = flag.rpartition(".")
    return key.startswith(flag) or (key in ("", table) and message.startswith(f"{name} "))


def _flag(key: str) -> str:
    return f"--{key.rpartition('.')[2].replace('_', '-')}"


def _unknown_key(location: Sequence[int | str]) -> str:
    *parents, key = location
    known = list(_table_at(parents).model_fields)
    elsewhere = [dotted for dotted in _all_keys() if dotted.rpartition(".")[2] == key]
    hint = _closest(str(key), known) or (f' Did you mean "{elsewhere[0]}"?' if elsewhere else "")
    what = "hyperparameter" if parents == ["space"] else "key"
    return f'unknown {what} "{_dotted(location)}".{hint} Known here: {", ".join(known)}.'


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location if part not in _DIMENSIONS)


def _table_at(parents: Sequence[int | str]) -> Any:
    """The model of a table; Pydantic names the kind of a dimension among the parents."""
    table: Any = SearchSpec
    for parent in parents:
        is_kind = parent in _DIMENSIONS
        table = _DIMENSIONS[str(parent)] if is_kind else table.model_fields[parent].annotation
    return table


def _all_keys() -> Iterator[str]:
    yield from flatten(SearchSpec().model_dump())


def _closest(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f' Did you mean "{matches[0]}"?' if matches else ""


def _and_more(error: ValidationError) -> str:
    others = error.error_count() - 1
    return f" ({others} more wrong value{'s' * (others > 1)})" if others else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _anchor_dataset(raw: dict[str, Any], folder: Path, subject: str) -> None:
    """Makes the path of a data set absolute; the name of a named one stays as it is."""
    data = raw.get("data")
    dataset = data.get("dataset") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(dataset, str) or not dataset:
        return  # the validation will complain of it
    if dataset not in NAMED_SETS:
        try:
            data["dataset"] = str((folder / Path(dataset).expanduser()).resolve())
        except (RuntimeError, ValueError) as error:  # no such user's home, a null byte
            raise SpecError(f"{subject} is no path: {_shown(dataset)} ({error}).") from error


def _put(raw: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = raw.setdefault(parent, {})
        if not isinstance(table, dict):
            return  # the validation will complain of it
        raw = table
    raw[last] = value


def flatten(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens tables into dotted keys; a hyperparameter's dimension stays one value."""
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping) and prefix != "space.":
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
