"""What is searched in the side-by-side runs, and what a run records."""

import json
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results"

FACTOR = 3
BATCH_SIZE = 128

SPACE = {
    "filters_1": [16, 32, 64],
    "filters_2": [32, 64, 128],
    "dense_units": [16, 32, 64, 128, 256],
    "latent_dim": [2, 4, 8, 16, 32],
}
LEARNING_RATES = (1e-4, 1e-2)
"""Log-uniform between; with `SPACE` it is the default space of vaetune."""


STEPS_ALONE = "steps-alone"
"""The training steps of vaetune's search of the same seed, without any search around them."""


@dataclass(frozen=True)
class Workload:
    """Images and a budget.

    Attributes:
        train: Training images.
        validation: Validation images.
        max_epochs: Of the longest trials.
        trials: Of Keras Tuner's Hyperband with `FACTOR`.
        epochs: Of the same; the other contenders may train as many in all.
        contenders: Who is asked to search it, in turn.
    """

    name: str
    title: str
    train: int
    validation: int
    contenders: tuple[str, ...]
    max_epochs: int = 9
    trials: int = 23
    epochs: int = 75


_ALONE = ("vaetune", "keras-tuner", "optuna", "ray", "vaetune-random")
"""Train one trial at a time."""

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "one-step",
            "128 images, one step an epoch, 16 validation images",
            128,
            16,
            (*_ALONE, STEPS_ALONE),
        ),
        Workload(
            "digits",
            "the packaged digits, 5,000 training and 1,000 validation images",
            5000,
            1000,
            _ALONE,
        ),
        Workload(
            "workers",
            "the packaged digits again, with one worker and with two",
            5000,
            1000,
            ("vaetune", "vaetune-workers", "keras-tuner"),
        ),
        Workload(
            "smoke",
            "does it run at all",
            32,
            16,
            ("vaetune", "vaetune-workers", "keras-tuner", "optuna", "vaetune-random", STEPS_ALONE),
            max_epochs=3,
            trials=6,
            epochs=11,
        ),
        Workload(
            "glimpse",
            "does it run where every trial is a process of its own",
            32,
            16,
            ("ray",),
            max_epochs=3,
            epochs=2,
        ),
    )
}
MEASURED = ("one-step", "digits", "workers")
"""The workloads that the tables tell of."""


@dataclass
class Run:
    """One search by one contender.

    Attributes:
        wall_s: From before the first trial to after the last one.
        trials: How many were begun.
        epochs: How many were trained in all.
        curve: Seconds since the start and validation loss, wherever that became lower.
        trained: The configuration and the epochs of each trial, where it is known.
        training_s: Seconds inside training steps, where the contender tells.
        promoted_s: Median seconds of a promoted trial beside its training, where it tells.
        megabytes: Left on the disk.
    """

    workload: str
    contender: str
    seed: int
    wall_s: float = 0.0
    trials: int = 0
    epochs: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)
    trained: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    training_s: float | None = None
    promoted_s: float | None = None
    megabytes: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a run from the others."""
        return self.workload, self.contender, self.seed

    @property
    def best(self) -> float:
        """The lowest validation loss, nats per image."""
        return self.curve[-1][1]

    def saw(self, seconds: float, val_loss: float) -> None:
        """Records an epoch's validation loss."""
        self.epochs += 1
        if val_loss < (self.curve[-1][1] if self.curve else np.inf):
            self.curve.append((round(seconds, 3), round(val_loss, 4)))


def load_arrays(workload: Workload) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Training and validation images (n, 28, 28, 1) in [0, 1]."""
    from vaetune.data.images import to_unit_interval
    from vaetune.data.sources import load_images

    digits = load_images("digits")
    return (
        to_unit_interval(digits.train.images[: workload.train]),
        to_unit_interval(digits.validation.images[: workload.validation]),
    )


def describe() -> dict[str, str]:
    """Versions and machine."""
    packages = ("vaetune", "tensorflow", "keras", "keras-tuner", "optuna", "ray", "numpy")
    found = {"python": platform.python_version(), "processor": _processor()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_runs(path: Path) -> Iterator[Run]:
    """The runs of a results file, the last of each key."""
    runs = (Run(**line) for line in read_lines(path))
    yield from {run.key: run for run in runs}.values()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a results file, if there is one; a line that was cut off is left out."""
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def write_run(path: Path, run: Run) -> None:
    """Adds a run to a results file."""
    append_line(path, json.dumps(asdict(run)))


def append_line(path: Path, line: str) -> None:
    """Adds a line to a file, whose last one may have been cut off."""
    path.parent.mkdir(exist_ok=True)
    is_torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * is_torn + line + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
