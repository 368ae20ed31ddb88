"""The tables of recorded learning curves that simulated searches use.

`curves/NAME.jsonl` has a line for each random configuration of the default space,
`curves/NAME-again.jsonl` one for each that was trained a second time with another seed, and
`curves/NAME-seconds.jsonl` the seconds of an epoch. `record_curves.py` writes them.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workloads import read_lines

from vaetune.config import DEFAULT_SPACE, Space

FOLDER = Path(__file__).parent / "curves"


@dataclass(frozen=True)
class Curve:
    """The learning curve of a configuration.

    Attributes:
        number: Number of the configuration in the table.
        values: Hyperparameters by name.
        val_loss: Validation loss after each epoch, in nats per image.
        entropy_floor: Lower bound of all losses on these images, in nats per image.
    """

    number: int
    values: dict[str, Any]
    val_loss: tuple[float, ...]
    entropy_floor: float


@dataclass(frozen=True)
class Seconds:
    """The seconds of an epoch of a configuration, on one thread and after tracing.

    Attributes:
        number: Number of the configuration in the table.
        train_s: Seconds to train on all training images.
        validation_s: Seconds to validate on all validation images.
    """

    number: int
    train_s: float
    validation_s: float


@dataclass(frozen=True)
class Table:
    """The tables of an image set.

    Attributes:
        name: Name of the image set.
        folder: Folder of the files.
        space: Search space of the recorded configurations.
    """

    name: str
    folder: Path = FOLDER
    space: Space = field(default=DEFAULT_SPACE, compare=False)

    @property
    def curves_path(self) -> Path:
        """File of the learning curves."""
        return self.folder / f"{self.name}.jsonl"

    @property
    def again_path(self) -> Path:
        """File of the learning curves of a second training."""
        return self.folder / f"{self.name}-again.jsonl"

    @property
    def seconds_path(self) -> Path:
        """File of the seconds of an epoch."""
        return self.folder / f"{self.name}-seconds.jsonl"

    @property
    def is_complete(self) -> bool:
        """Whether all three files are there."""
        return all(p.exists() for p in (self.curves_path, self.again_path, self.seconds_path))

    def curves(self) -> list[Curve]:
        """Returns the learning curves, in the order of their numbers."""
        return _read_curves(self.curves_path)

    def again(self) -> list[Curve]:
        """Returns the learning curves of a second training, in the order of their numbers."""
        return _read_curves(self.again_path)

    def seconds(self) -> list[Seconds]:
        """Returns the seconds of an epoch."""
        return [Seconds(**line) for line in read_lines(self.seconds_path)]


def write_curves(path: Path, curves: Iterable[Curve]) -> None:
    """Writes a file of learning curves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(curve)) + "\n" for curve in curves))


def _read_curves(path: Path) -> list[Curve]:
    lines = (line | {"val_loss": tuple(line["val_loss"])} for line in read_lines(path))
    return sorted((Curve(**line) for line in lines), key=lambda curve: curve.number)
