"""The specification of a search: algorithm, data, budget, training, limits and space.

A specification is validated once and immutable.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, ValidationInfo, field_validator, model_validator

from vaetune.config.choices import Algorithm, Compile, Decay, Precision
from vaetune.config.data import DataSpec
from vaetune.config.dimensions import Table, Value
from vaetune.config.family import FAMILY, REFERENCE_BATCH_SIZE
from vaetune.config.likelihoods import Likelihood
from vaetune.config.schedule import schedule_epochs
from vaetune.config.space import EARLIER_SPACE, Space
from vaetune.config.starting_points import check_starting_points
from vaetune.device import Device


class Budget(Table):
    """The amount of training.

    Epochs are counted from the start of a configuration, promotions included. Each algorithm has
    its own keys in addition to `max_epochs`, see `BUDGET_KEYS`; in a `SearchSpec` the keys of
    other algorithms are None.

    Attributes:
        max_epochs: Epochs of the longest trials.
        min_epochs: Lower bound of the epochs of the shortest trials.
        factor: Reduction factor: each rung keeps 1 in `factor` trials.
        hyperband_iterations: Number of runs of the complete Hyperband schedule.
        promote_from: Epoch of its parent from which a promoted trial continues.
        total_epochs: Sum of the epochs of all trials, at most. None: those of Hyperband's schedule
            with the same `max_epochs`.
        max_trials: Number of trials, at most. None: the complete grid; for freeze-thaw, as many as
            `total_epochs` allows.
        initial_trials: Random trials to complete before the Gaussian process proposes trials.
        patience: Epochs without a better validation loss after which the training of a single
            configuration stops. None: it never stops early.
    """

    max_epochs: Annotated[StrictInt, Field(ge=1)] = 9
    min_epochs: Annotated[StrictInt, Field(ge=1)] | None = 1
    factor: Annotated[StrictInt, Field(ge=2)] | None = 3
    hyperband_iterations: Annotated[StrictInt, Field(ge=1)] | None = 1
    promote_from: Literal["last", "best"] | None = "last"
    total_epochs: Annotated[StrictInt, Field(ge=1)] | None = None
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
    "freeze_thaw": {"total_epochs": None, "max_trials": None},
    "random": {"max_trials": 10},
    "bayesian": {"max_trials": 25, "initial_trials": 10},
    "grid": {"max_trials": None},
    "single": {"patience": None},
}
"""The budget keys of each algorithm in addition to `max_epochs`, with their defaults."""


class Training(Table):
    """Training settings that all configurations share.

    Attributes:
        batch_size: Images per training step. None if the space has it.
        precision: Type in which convolutions and dense layers multiply during training. Weights,
            latent layers, `Sampling`, logits, losses, Adam and validation always use float32.
        compile: Whether XLA compiles training steps, once for all widths of a structure. "padded"
            compiles them on every device. "auto" compiles them on a GPU if the epochs of the search
            repay it. "none" never does. The losses differ by rounding only.
        learning_rate_decay: Learning-rate schedule. "cosine" decreases the rate to zero over
            `max_epochs` epochs, counted from the start of a configuration. None if the space has
            it.
    """

    batch_size: Annotated[StrictInt, Field(ge=1)] | None = REFERENCE_BATCH_SIZE
    precision: Precision = "float32"
    compile: Compile = "auto"
    learning_rate_decay: Decay | None = "none"


_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Limits(Table):
    """When a search stops early and what it keeps. Limits do not change the experiment.

    Attributes:
        time_budget: Time after which a session stops, at the end of the current epoch, such as
            "1h30m" or "90s".
        max_failure_rate: Share of failed trials, in [0, 1], above which a search stops. It is
            checked once ten trials have ended.
        max_retries: Number of retries of a trial after a transient error.
        keep_best: Number of leading trials that keep their trained weights on disk.
        final_seeds: Number of further seeds from which each finalist's configuration is trained
            again, at the largest budget, before the winner is chosen.
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
        """The time budget of a session in seconds; infinite if there is none."""
        return math.inf if self.time_budget is None else _seconds(self.time_budget)


def _seconds(duration: str) -> float:
    found = _DURATION.fullmatch(duration)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600.0 * hours + 60.0 * minutes + seconds


class SearchSpec(Table):
    """The specification of a search: algorithm, seed, data, budget, training, limits and space.

    Attributes:
        description: One line about the search.
        algorithm: Search algorithm. "single" trains one configuration.
        seed: Random seed of the search.
        baseline: Whether to train the Keras example as well, for comparison.
        device: Device to train on.
        data: The images and their preparation.
        budget: The amount of training.
        training: Training settings that all configurations share.
        limits: Limits of a session, which do not change the experiment.
        space: The search space.
        start_with: Configurations with which the search begins, in order. The algorithm draws
            what they do not name. None: it draws all configurations.
    """

    description: str = ""
    algorithm: Algorithm = "hyperband"
    seed: Annotated[StrictInt, Field(ge=0, lt=2**31)] = 0
    baseline: StrictBool = True
    device: Device = "auto"
    data: DataSpec = DataSpec()
    budget: Budget = Budget()
    training: Training = Training()
    limits: Limits = Limits()
    space: Space = EARLIER_SPACE
    start_with: tuple[Mapping[str, Value], ...] | None = None

    @field_validator("start_with", mode="before")
    @classmethod
    def _lie_in_the_space(cls, raw: Any, info: ValidationInfo) -> Any:
        is_checked = raw is not None and "space" in info.data
        return check_starting_points(raw, info.data["space"]) if is_checked else raw

    @property
    def planned_epochs(self) -> float:
        """Sum of the epochs of all trials, at most."""
        budget = self.budget
        if self.algorithm == "hyperband":
            runs = budget.hyperband_iterations or 1
            return runs * schedule_epochs(budget.max_epochs, budget.factor or 3)
        if budget.total_epochs is not None:
            return budget.total_epochs
        trials = 1 if self.algorithm == "single" else budget.max_trials or self.space.size()
        return trials * budget.max_epochs

    @property
    def fixed_settings(self) -> dict[str, Value]:
        """Hyperparameters that `[training]` has in place of the space, with their values."""
        settings = {name: getattr(self.training, name) for name in SEARCHABLE}
        return {name: value for name, value in settings.items() if value is not None}

    def with_likelihood(self, likelihood: Likelihood) -> "SearchSpec":
        """Returns this specification with another likelihood of the pixels."""
        data = self.data.model_copy(update={"likelihood": likelihood})
        return self.model_copy(update={"data": data})

    def with_compile(self, wanted: Compile) -> "SearchSpec":
        """Returns this specification with another value of `Training.compile`."""
        training = self.training.model_copy(update={"compile": wanted})
        return self.model_copy(update={"training": training})

    @model_validator(mode="after")
    def _complete_training(self) -> "SearchSpec":
        """Sets the settings that the space does not have, and checks `train_on`."""
        fixed = _training_values(self.training)
        searched = {key: None for key in fixed if getattr(self.space, key)}
        object.__setattr__(self, "training", self.training.model_copy(update=fixed | searched))
        if self.algorithm != "single" and self.data.train_on:
            raise ValueError(
                f'data.train_on = "{self.data.train_on}" is only for `vaetune train`: a search '
                "ranks its trials by the validation images"
            )
        return self

    @model_validator(mode="after")
    def _complete_budget(self) -> "SearchSpec":
        """Fills in the budget keys of the algorithm and sets all others to None."""
        defaults = BUDGET_KEYS[self.algorithm]
        given = self.budget.model_dump(include=self.budget.model_fields_set, exclude_none=True)
        foreign = foreign_budget_keys(given, self.algorithm)
        if foreign and self.algorithm != "single":
            raise ValueError(f"budget.{foreign[0]} {describe_budget_keys(self.algorithm)}")
        empty = dict.fromkeys(Budget.model_fields)
        own = {key: value for key, value in given.items() if key not in foreign}
        values = empty | dict(defaults) | {"max_epochs": self.budget.max_epochs} | own
        max_trials, initial_trials = values["max_trials"], values["initial_trials"]
        if initial_trials is not None and initial_trials >= max_trials:
            raise ValueError(
                f"max_trials must be greater than budget.initial_trials, received {max_trials} and "
                f"{initial_trials}: the Gaussian process would never be used. For this few trials, "
                "use the algorithm random"
            )
        if self.algorithm == "freeze_thaw":
            values["total_epochs"] = _total_epochs(self.budget.max_epochs, values["total_epochs"])
        object.__setattr__(self, "budget", Budget.model_construct(**values))
        return self


def _total_epochs(max_epochs: int, total_epochs: int | None) -> int:
    """Returns the epochs of a whole search, those of Hyperband's schedule by default."""
    if total_epochs is None:
        return schedule_epochs(max_epochs)
    if total_epochs < max_epochs:
        raise ValueError(
            f"total_epochs must be at least budget.max_epochs, received {total_epochs} and "
            f"{max_epochs}: no configuration could be trained to its end"
        )
    return total_epochs


def foreign_budget_keys(budget: Mapping[str, Any], algorithm: Algorithm) -> list[str]:
    """Returns the keys of a budget that belong to other algorithms, without unknown keys."""
    own = {"max_epochs", *BUDGET_KEYS[algorithm]}
    return [key for key in budget if key in Budget.model_fields and key not in own]


def describe_budget_keys(algorithm: Algorithm) -> str:
    """Returns the rest of a message about a budget key that belongs to another algorithm."""
    keys = ", ".join(["max_epochs", *BUDGET_KEYS[algorithm]])
    return f"does not apply to the algorithm {algorithm}, which takes {keys}"


def single_configuration(
    hyperparameters: Mapping[str, Value], epochs: int, like: SearchSpec
) -> SearchSpec:
    """Returns the experiment that trains one configuration as another experiment does.

    Args:
        hyperparameters: The configuration.
        epochs: Number of epochs to train.
        like: Experiment that provides data, seed, device, training and limits.
    """
    single = {
        "description": "",
        "algorithm": "single",
        "baseline": False,
        "budget": {"max_epochs": epochs},
        "start_with": None,
        "space": Space.pinned_at(hyperparameters),
    }
    return SearchSpec.model_validate(dict(like) | single)


REFERENCE_TRAINING = Training()
"""Training settings of the Keras example. Those of a search do not change them."""


def earlier_reference_training(training: Training) -> Training:
    """Returns the training settings with which vaetune 0.1 trained the Keras example.

    Args:
        training: Training settings of the trials. If the space has a setting, the example kept
            its own.
    """
    return training.model_copy(update=_training_values(training))


SEARCHABLE = ("batch_size", "learning_rate_decay")
"""Keys of `Training` that a space can have instead."""


def _training_values(training: Training) -> dict[str, Value]:
    """Returns the searchable settings, with the Keras example's value in place of None."""
    return {key: getattr(training, key) or FAMILY[key].reference for key in SEARCHABLE}
