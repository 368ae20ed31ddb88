"""A worker that sleeps instead of training, to run more workers than there are cores.

It runs in the processes of Ray's workers and does not import TensorFlow.
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
from vaetune.device import Device
from vaetune.study.artifacts import PRIOR_SAMPLES, RECONSTRUCTIONS, Artifacts
from vaetune.study.checkpoint import Checkpoint
from vaetune.study.environment import describe_environment
from vaetune.study.events import EpochEnded
from vaetune.study.records import Assignment, Environment
from vaetune.training.tasks import Began, Completed, EpochDone, Message, Progressed, Task

PROGRESS_S = 0.25
"""Seconds between two progress messages, as in the real worker."""

_WEIGHTS = np.zeros(100, np.float32)


@dataclass(frozen=True)
class Speed:
    """Duration of simulated epochs.

    Attributes:
        epoch_s: Mean seconds per epoch, over configurations.
        spread: Standard deviation of the logarithm of a configuration's seconds per epoch.
        workers: Number of workers that must have started before any of them is ready.
        folder: Folder in which each worker writes a file when it has started.
    """

    epoch_s: float
    spread: float
    workers: int
    folder: Path


@dataclass(frozen=True)
class Curve:
    """A simulated learning curve.

    Attributes:
        epoch_s: Seconds per epoch.
        end: Loss that the curve approaches.
        fall: Difference between the first loss and `end`.
        epochs: Number of epochs in which this difference shrinks to a third.
    """

    epoch_s: float
    end: float
    fall: float
    epochs: float

    def loss(self, epoch: int) -> float:
        """Returns the loss after an epoch, counted from 1."""
        return self.end + self.fall * 3 ** (-epoch / self.epochs)


def simulate_curve(speed: Speed, seed: int, configuration: int) -> Curve:
    """Returns the curve of a configuration, which is the same each time."""
    rng = np.random.default_rng([seed, configuration])
    # exp(spread * z) has a mean of exp(spread ** 2 / 2).
    factor = math.exp(speed.spread * rng.standard_normal() - speed.spread**2 / 2)
    end, fall, epochs = rng.uniform(100, 200), rng.uniform(50, 300), rng.uniform(1, 12)
    return Curve(speed.epoch_s * factor, end, fall, epochs)


class Sleeper:
    """Sleeps through its epochs and returns simulated losses; see `ray_worker.Worker`.

    Attributes:
        speed: Duration of the epochs; `sleeper_class` sets it.
    """

    speed: Speed

    def __init__(self, images: ImageSet, device: Device, threads: int) -> None:
        self._images = images
        self._threads = threads
        self._sent_s = 0.0

    def describe(self) -> tuple[str, Environment]:
        """Waits for the other workers, so that their start is not part of the measured time."""
        (self.speed.folder / str(os.getpid())).touch()
        while len(list(self.speed.folder.iterdir())) < self.speed.workers:
            time.sleep(0.1)
        environment = describe_environment("CPU", self._threads)
        unknown = {"command": (), "revision": None}
        return socket.gethostname(), environment.model_copy(update=unknown)

    def run(self, task: Task) -> Iterator[Message]:
        """Sleeps through a task and yields its messages."""
        state = task.start
        for trial in task.lineage:
            yield Began(trial.trial_id, _WEIGHTS.size)
            curve = simulate_curve(self.speed, task.spec.seed, trial.configuration)
            for epoch in range((state.epoch if state else 0) + 1, trial.epoch_to + 1):
                slept_s = yield from self._sleep(trial.trial_id, epoch, curve.epoch_s)
                state = _checkpoint(epoch, curve.loss(epoch))
                yield EpochDone(_ended(trial, epoch, curve.loss(epoch), slept_s), state)
        if state is not None:
            yield Completed(state.best_val_loss, self._take_pictures())

    def _sleep(self, trial_id: str, epoch: int, seconds: float) -> Generator[Message, None, float]:
        """Sleeps through an epoch, with as many progress messages as the real worker sends."""
        began_s = time.monotonic()
        while (passed_s := time.monotonic() - began_s) < seconds:
            if time.monotonic() >= self._sent_s + PROGRESS_S:
                self._sent_s = time.monotonic()
                yield Progressed(trial_id, epoch, passed_s / seconds)
            time.sleep(min(PROGRESS_S, seconds - passed_s))
        return passed_s

    def _take_pictures(self) -> Artifacts:
        shown = self._images.validation.images
        samples = np.resize(shown, (PRIOR_SAMPLES, *shown.shape[1:]))
        z_mean = np.zeros((len(shown), 2), np.float32)
        return Artifacts(shown[:RECONSTRUCTIONS], samples, z_mean, None)


def sleeper_class(speed: Speed) -> type[Sleeper]:
    """Returns a class of workers for `open_ray_executor`."""
    return type("Sleeper", (Sleeper,), {"speed": speed})


def _checkpoint(epoch: int, loss: float) -> Checkpoint:
    """Returns the checkpoint after an epoch, which is the best so far because losses only fall."""
    return Checkpoint(
        epoch=epoch,
        weights=(_WEIGHTS,),
        optimizer=(_WEIGHTS,),
        best_epoch=epoch,
        best_val_loss=loss,
        best_weights=(_WEIGHTS,),
    )


def _ended(trial: Assignment, epoch: int, loss: float, slept_s: float) -> EpochEnded:
    return EpochEnded(
        trial_id=trial.trial_id,
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
