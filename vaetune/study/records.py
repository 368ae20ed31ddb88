"""The records that journal events are made of: data, plan, environment, assignment."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from vaetune.config import Number


class Record(BaseModel):
    # Infinities and NaN are no JSON: they are written as strings.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


def _as_unicode(text: object) -> object:
    """Escapes what UTF-8 cannot say, such as a path or an argument in Latin-1."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_as_unicode)]


class DataSummary(Record):
    """The image set of a search.

    Attributes:
        fingerprint: SHA-256 of all arrays, hexadecimal.
        image_shape: Height, width, channels.
        entropy_floor: Nats per validation image that no model's reconstruction goes below.
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


class Rung(Record):
    """Trials of one budget, those of a bracket's first rung new, the others promoted."""

    iteration: int = 0
    bracket: int
    rung: int
    trials: int
    epoch_from: int
    epoch_to: int

    @property
    def epochs(self) -> int:
        """Epochs that the rung's trials train together."""
        return self.trials * (self.epoch_to - self.epoch_from)


class Environment(Record):
    """Where a session ran.

    Attributes:
        device: The device that trains, such as "CPU" or a GPU's name.
        threads: Threads that one operation may use.
        versions: Package versions by name.
        revision: Git revision of the working directory, if it is a checkout.
        command: The command line.
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


class Assignment(Record):
    """What a trial is to do: train a configuration over the epochs (epoch_from, epoch_to].

    Attributes:
        configuration: Its number in the order drawn; promotions share it.
        parent: The trial that this one continues, if it is a promotion.
        iteration: Index of the run of Hyperband's whole schedule, from 0.
    """

    trial_id: str
    configuration: int
    parent: str | None
    iteration: int = 0
    bracket: int
    rung: int
    epoch_from: int
    epoch_to: int
    hyperparameters: Mapping[str, Number]
