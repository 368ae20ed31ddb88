"""A worker that sleeps where others train, for searches on more workers than there are cores.

It runs in the processes of Ray's workers and imports no TensorFlow.
"""

import math
import os
import socket
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaetune.data.images import ImageSet
from vaetune.device import ChosenDevice, Device
from vaetune.study.artifacts import PRIOR_SAMPLES, RECONSTRUCTIONS, Artifacts
from vaetune.study.checkpoint import Checkpoint
from vaetune.study.environment import describe_environment
from vaetune.study.events import EpochEnded
from vaetune.study.records import Assignment, Environment
from vaetune.training.tasks import Began, Completed, EpochDone, Message, Progressed, Task

PROGRESS_S = 0.25
"""Between two words of how far an epoch is, as from the real worker."""

_WEIGHTS = np.zeros(100, np.float32)


@dataclass(frozen=True)
class Pace:
    """How long made-up epochs take.

    Attributes:
        epoch_s: Mean seconds of an epoch, over configurations.
        spread: Standard deviation of the logarithm of a configuration's seconds.
        workers: So many are to be up before any of them says that it is ready.
        folder: In which each leaves a file when it is.
    """

    epoch_s: float
    spread: float
    workers: int
    folder: Path


@dataclass(frozen=True)
class Curve:
    """A configuration, made up.

    Attributes:
        epoch_s: Seconds of each of its epochs.
        end: The loss that it comes to.
        fall: How much higher it begins.
        epochs: In which that shrinks to a third.
    """

    epoch_s: float
    end: float
    fall: float
    epochs: float

    def loss(self, epoch: int) -> float:
        """After an epoch, absolute."""
        return self.end + self.fall * 3 ** (-epoch / self.epochs)


def make_up(pace: Pace, seed: int, configuration: int) -> Curve:
    """The curve of a configuration, the same each time."""
    rng = np.random.default_rng([seed, configuration])
    # exp(spread * z) has a mean of exp(spread ** 2 / 2).
    factor = math.exp(pace.spread * rng.standard_normal() - pace.spread**2 / 2)
    end, fall, epochs = rng.uniform(100, 200), rng.uniform(50, 300), rng.uniform(1, 12)
    return Curve(pace.epoch_s * factor, end, fall, epochs)


class Sleeper:
    """Takes its time, and answers with made-up losses; see `worker.Worker`.

    Attributes:
        pace: See `at_pace`.
    """

    pace: Pace

    def __init__(self, images: ImageSet, device: Device, threads: int) -> None:
        self._images = images
        self._threads = threads
        self._told_s = 0.0

    def describe(self) -> tuple[str, Environment]:
        """Waits for the others: the search is measured, not how so many processes start."""
        (self.pace.folder / str(os.getpid())).touch()
        while len(list(self.pace.folder.iterdir())) < self.pace.workers:
            time.sleep(0.1)
        environment = describe_environment(ChosenDevice("CPU", self._threads))
        nothing = {"command": (), "revision": None}
        return socket.gethostname(), environment.model_copy(update=nothing)

    def run(self, task: Task) -> Iterator[Message]:
        """Does a task."""
        state = task.start
        for asked in task.lineage:
            yield Began(asked.trial_id, _WEIGHTS.size)
            curve = make_up(self.pace, task.spec.seed, asked.configuration)
            for epoch in range((state.epoch if state else 0) + 1, asked.epoch_to + 1):
                slept_s = yield from self._sleep(asked.trial_id, epoch, curve.epoch_s)
                state = _checkpoint(epoch, curve.loss(epoch))
                yield EpochDone(_ended(asked, epoch, curve.loss(epoch), slept_s), state)
        if state is not None:
            yield Completed(state.best_val_loss, self._take_pictures())

    def _sleep(self, trial_id: str, epoch: int, seconds: float) -> Generator[Message, None, float]:
        """Sleeps through an epoch, and tells how far it is as often as the real worker."""
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            if time.monotonic() >= self._told_s + PROGRESS_S:
                self._told_s = time.monotonic()
                yield Progressed(trial_id, epoch, passed_s / seconds)
            time.sleep(min(PROGRESS_S, seconds - passed_s))
        return passed_s

    def _take_pictures(self) -> Artifacts:
        shown = self._images.validation.images
        samples = np.resize(shown, (PRIOR_SAMPLES, *shown.shape[1:]))
        z_mean = np.zeros((len(shown), 2), np.float32)
        return Artifacts(shown[:RECONSTRUCTIONS], samples, z_mean, None)


def at_pace(pace: Pace) -> type[Sleeper]:
    """A class of workers, for `open_crew`."""
    return type("Sleeper", (Sleeper,), {"pace": pace})


def _checkpoint(epoch: int, loss: float) -> Checkpoint:
    """After an epoch, which is the best so far: losses only fall."""
    return Checkpoint(
        epoch=epoch,
        weights=(_WEIGHTS,),
        optimizer=(_WEIGHTS,),
        best_epoch=epoch,
        best_val_loss=loss,
        best_weights=(_WEIGHTS,),
    )


def _ended(asked: Assignment, epoch: int, loss: float, slept_s: float) -> EpochEnded:
    return EpochEnded(
        trial_id=asked.trial_id,
        epoch=epoch,
        loss=loss,
        reconstruction_loss=loss - 10,
        kl_loss=10.0,
        val_loss=loss,
        val_reconstruction_loss=loss - 10,
        val_kl_loss=10.0,
        train_s=slept_s,
        validation_s=0.0,
    )
