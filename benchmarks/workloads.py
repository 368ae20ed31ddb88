"""Workloads of the comparison, and the record of a run."""

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
"""Bounds of the log-uniform learning rate; with `SPACE` this is the space of vaetune 0.1."""


STEPS_ALONE = "steps-alone"
"""Contender that runs only the training steps of vaetune's search with the same seed."""


@dataclass(frozen=True)
class Workload:
    """Images and a budget.

    Attributes:
        name: Name on the command line.
        title: Description in the tables.
        train: Number of training images.
        validation: Number of validation images.
        contenders: Names of the contenders, in the order of their runs.
        max_epochs: Epochs of the longest trials.
        trials: Number of trials of Keras Tuner's Hyperband with `FACTOR`.
        epochs: Number of epochs of all trials together, for every contender.
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
"""Contenders that train one trial at a time."""

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
            "a quick check that the contenders run",
            32,
            16,
            ("vaetune", "vaetune-workers", "keras-tuner", "optuna", "vaetune-random", STEPS_ALONE),
            max_epochs=3,
            trials=6,
            epochs=11,
        ),
        Workload(
            "glimpse",
            "a quick check of a contender that runs each trial in its own process",
            32,
            16,
            ("ray",),
            max_epochs=3,
            epochs=2,
        ),
    )
}
MEASURED = ("one-step", "digits", "workers")
"""Workloads with a table."""


@dataclass
class Run:
    """One search by one contender.

    Attributes:
        workload: Name of the workload.
        contender: Name of the tool.
        seed: Random seed of the search.
        wall_s: Seconds from before the first trial to after the last one.
        trials: Number of trials.
        epochs: Number of epochs of all trials together.
        curve: Pairs of seconds since the start and validation loss, for every improvement.
        trained: Configuration and number of epochs of each trial, if known.
        training_s: Seconds inside training steps, if known.
        promoted_s: Median seconds of a promoted trial besides its training, if known.
        megabytes: Size of the files that the search leaves.
        environment: Processor and versions.
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
        """Identifies the run."""
        return self.workload, self.contender, self.seed

    @property
    def best(self) -> float:
        """Lowest validation loss, in nats per image."""
        return self.curve[-1][1]

    def add_epoch(self, seconds: float, val_loss: float) -> None:
        """Records an epoch's validation loss."""
        self.epochs += 1
        if val_loss < (self.curve[-1][1] if self.curve else np.inf):
            self.curve.append((round(seconds, 3), round(val_loss, 4)))


def load_arrays(workload: Workload) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns training and validation images of shape (n, 28, 28, 1) in [0, 1]."""
    from vaetune.data.images import to_unit_interval
    from vaetune.data.sources import load_images

    digits = load_images("digits")
    return (
        to_unit_interval(digits.train.images[: workload.train]),
        to_unit_interval(digits.validation.images[: workload.validation]),
    )


def describe() -> dict[str, str]:
    """Returns the processor and the versions of packages."""
    packages = ("vaetune", "tensorflow", "keras", "keras-tuner", "optuna", "ray", "numpy")
    found = {"python": platform.python_version(), "processor": _processor()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_runs(path: Path) -> Iterator[Run]:
    """Yields the runs of a results file; the last one of each key counts."""
    runs = (Run(**line) for line in read_lines(path))
    yield from {run.key: run for run in runs}.values()


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the lines of a results file, if it exists, except incomplete ones."""
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def write_run(path: Path, run: Run) -> None:
    """Appends a run to a results file."""
    append_line(path, json.dumps(asdict(run)))


def append_line(path: Path, line: str) -> None:
    """Appends a line to a file, after a line break if its last line is incomplete."""
    path.parent.mkdir(exist_ok=True)
    is_incomplete = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write("\n" * is_incomplete + line + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
