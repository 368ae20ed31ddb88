"""Parts of journal events: data set, plan, environment, assignment."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from vaetune.config import Reading, Value
from vaetune.files import escape_bytes


class Record(BaseModel):
    """An immutable part of a journal, stored as a JSON object."""

    # JSON has no infinities and no NaN, so they are written as strings.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


def _now() -> datetime:
    return datetime.now(UTC)


class TimedRecord(Record):
    """A record of something that happened at a certain time."""

    time: datetime = Field(default_factory=_now)


class SparseRecord(Record):
    """A record without fields that are not used, so that it is as an earlier version wrote it."""

    optional: ClassVar[tuple[str, ...]] = ()
    """Names of the fields that are left out while they are None."""

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        unused = {name for name in self.optional if fields[name] is None}
        return {key: value for key, value in fields.items() if key not in unused}


Text = Annotated[str, BeforeValidator(lambda x: escape_bytes(x) if isinstance(x, str) else x)]
"""Text in which bytes that are not UTF-8 are escaped."""


class DataSummary(Record):
    """Description of the image set of a search.

    Attributes:
        name: Name of the data set.
        source: Data set name, file or folder that it was loaded from.
        fingerprint: SHA-256 of all arrays, hexadecimal.
        image_shape: Height, width, channels.
        class_names: Names of the classes; None without labels.
        entropy_floor: Lower bound on the reconstruction loss of any model, nats per validation
            image.
        reading: Record of the reading; None in searches of the first journals.
        class_counts: Number of images of each class, in all splits together; None without labels
            and in searches of the first journals.
        left_out_images: Number of images of classes that are left out of all splits.
    """

    name: Text
    source: Text
    fingerprint: str
    image_shape: tuple[int, int, int]
    train_images: int
    validation_images: int
    test_images: int
    class_names: tuple[Text, ...] | None
    entropy_floor: float
    reading: Reading | None = None
    class_counts: tuple[int, ...] | None = None
    left_out_images: int = 0

    @property
    def images(self) -> int:
        """Number of images of the data set, with those that are left out."""
        used = self.train_images + self.validation_images + self.test_images
        return used + self.left_out_images

    @property
    def show(self) -> tuple[int, ...] | None:
        """Channels that the user chose for pictures; None without a choice."""
        return self.reading.show if self.reading else None


class Rung(SparseRecord):
    """The trials of a search that train over the same epochs, in one bracket.

    The trials of the first rung of a bracket (rung 0) are new configurations. The others are
    promoted from the rung below.

    Attributes:
        iteration: Run of the whole Hyperband schedule, from 0.
        trials: Number of trials.
        epoch_from: Epochs that each trial's configuration has trained already.
        epoch_to: Last epoch, absolute.
        most_epochs: Sum of the epochs of all trials, at most, if the algorithm decides about
            promotions while it runs. Then `trials` is the largest possible number. Otherwise None.
    """

    optional = ("most_epochs",)

    iteration: int = 0
    bracket: int
    rung: int
    trials: int
    epoch_from: int
    epoch_to: int
    most_epochs: int | None = None

    @property
    def epochs(self) -> int:
        """Sum of the epochs that the trials train."""
        if self.most_epochs is not None:
            return self.most_epochs
        return self.trials * (self.epoch_to - self.epoch_from)


def is_open(plan: Iterable[Rung]) -> bool:
    """Returns whether a plan has upper bounds of trials and epochs only."""
    return any(rung.most_epochs is not None for rung in plan)


class Environment(Record):
    """Machine and software on which a session ran.

    Attributes:
        python: Version of Python.
        platform: Operating system and its version.
        cpu: Model name of the processor.
        cores: Number of CPU cores.
        threads: CPU threads per operation.
        device: Device that trains: "CPU", or the name of a GPU.
        versions: Package versions by name.
        revision: Git commit of the working directory; None outside a checkout.
        command: Command line, one string per argument.
    """

    python: str
    platform: str
    cpu: str
    cores: int
    threads: int
    device: str
    versions: Mapping[str, str]
    revision: str | None
    command: tuple[Text, ...]


class Decision(Record):
    """What an algorithm expected of a trial that it chose.

    Attributes:
        expected_loss: Expected cost after `epoch`, see `Objective.cost`: by default the validation
            loss, nats per image.
        low: Cost one standard deviation below it.
        high: Cost one standard deviation above it.
        epoch: Last epoch that the configuration could reach within the budget, absolute.
        cost_s: Cost of the epochs up to there, in seconds of the machine on which operations
            were measured once.
    """

    expected_loss: float
    low: float
    high: float
    epoch: int
    cost_s: float

    @property
    def deviation(self) -> float:
        """Half the distance of `low` and `high`: the standard deviation of the cost."""
        return (self.high - self.low) / 2


class Assignment(Record):
    """The task of a trial: train a configuration over the epochs (epoch_from, epoch_to].

    Attributes:
        configuration: Number of the configuration, in the order drawn. Promotions keep it.
        parent: Id of the trial that this one is promoted from; None for a new configuration.
        iteration: Run of the whole Hyperband schedule, from 0.
        epoch_from: Last epoch before this trial, absolute; 0 for a new configuration.
        epoch_to: Last epoch of this trial, absolute.
        hyperparameters: Values of the hyperparameters that the model uses, by name.
    """

    trial_id: str
    configuration: int
    parent: str | None
    iteration: int = 0
    bracket: int
    rung: int
    epoch_from: int
    epoch_to: int
    hyperparameters: Mapping[str, Value]
