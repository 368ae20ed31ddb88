"""What a search is: algorithm, data, budget, training, limits and space, validated once, frozen."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, field_validator, model_validator

from vaetune.config.choices import (
    Algorithm,
    Binarize,
    Decay,
    Precision,
    TrainOn,
)
from vaetune.config.space import DEFAULT_SPACE, REFERENCE_BATCH_SIZE, Number, Space, Table
from vaetune.device import Device


class DataSpec(Table):
    """Which images, and what is made of them.

    Attributes:
        dataset: One of `NAMED_SETS`, or a path.
        binarize: Grey pixels as they are ("none"); 1 where they are at least one half, else 0
            ("threshold"); or 1 with the probability that is their value, drawn again in each
            epoch of training and once for validation and test ("stochastic").
        train_on: None for the training images; else those for validation too, but for a few
            that choose the epoch: see `data.join_validation`.
    """

    dataset: Annotated[str, Field(min_length=1)] = "digits"
    binarize: Binarize = "none"
    train_on: TrainOn | None = None


class Budget(Table):
    """How much training: epochs are absolute, counted from the start of a configuration.

    Each algorithm has its own keys in addition to `max_epochs`, see `BUDGET_KEYS`; those of others
    are None in a `SearchSpec`.

    Attributes:
        max_epochs: Epochs of the longest trials.
        min_epochs: Epochs of the shortest trials, approximately: no rung is shorter.
        factor: A rung keeps one trial in this many.
        hyperband_iterations: Number of times that the whole schedule is run.
        promote_from: Epoch of its parent from which a promoted trial continues.
        max_trials: Number of trials; None for a whole grid.
        initial_trials: Completed at random before the Gaussian process is asked.
        patience: A single configuration stops when this many epochs in a row brought no better
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
"""Budget keys of each algorithm in addition to `max_epochs`, with their defaults."""


class Training(Table):
    """How a configuration is trained, the same for all.

    Attributes:
        batch_size: Images a step; None where it is searched.
        precision: Number format of convolutions and dense layers during training. Weights, latent
            layers, `Sampling`, logits, losses, Adam and all of validation are float32.
        learning_rate_decay: "cosine" lets the learning rate fall to zero over `max_epochs`
            epochs, counted from the start of a configuration.
    """

    batch_size: Annotated[StrictInt, Field(ge=1)] | None = REFERENCE_BATCH_SIZE
    precision: Precision = "float32"
    learning_rate_decay: Decay = "none"


_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Limits(Table):
    """When a search stops early, and what it keeps: no part of the experiment.

    Attributes:
        time_budget: Such as "1h30m" or "90s": a session stops after the epoch in progress.
        max_failure_rate: A search stops when more of its ended trials failed, after ten.
        max_retries: Number of times that a trial is tried again after a transient error.
        keep_best: Number of leading trials whose trained weights are kept on disk.
        final_seeds: Number of other seeds from which the finalists' configurations are trained, at
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


class SearchSpec(Table):
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
        foreign = foreign_keys(given, self.algorithm)
        if foreign and self.algorithm != "single":
            raise ValueError(f"budget.{foreign[0]} {mismatch(self.algorithm)}")
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


def foreign_keys(budget: Mapping[str, Any], algorithm: Algorithm) -> list[str]:
    """The keys of a budget that are another algorithm's; unknown ones are not among them."""
    own = {"max_epochs", *BUDGET_KEYS[algorithm]}
    return [key for key in budget if key in Budget.model_fields and key not in own]


def mismatch(algorithm: Algorithm) -> str:
    """What is said of a key of a budget that is another algorithm's."""
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


def flatten(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens tables into dotted keys; a hyperparameter's dimension stays one value."""
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping) and prefix != "space.":
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
