"""A worker: a process that trains what a driver sends it, and has nothing that must survive it."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from vaetune.data import ImageSet, Split, map_images
from vaetune.device import Device, choose_device
from vaetune.study import Environment, describe_environment
from vaetune.training import Message, Progressed, Task

if TYPE_CHECKING:
    from vaetune.evaluation import ImageLosses, Rescorer
    from vaetune.study import Arrays
    from vaetune.training import TrainingContext


_PROGRESS_S = 0.25
"""Minimum seconds between two progress messages."""


class Worker:
    """What runs in each worker's process.

    Args:
        images: The image set, in memory that all workers of a machine share; see `share_images`.
        device: Device on which to train.
        threads: CPU threads per operation.
    """

    def __init__(self, images: ImageSet, device: Device, threads: int) -> None:
        self._images = images
        self._wanted = device
        self._threads = threads

    def describe(self) -> tuple[str, Environment]:
        """Brings the device up; returns the machine's name and what it is.

        Raises:
            DeviceError: A GPU is wanted and there is none.
        """
        device = choose_device(self._wanted, threads=self._threads)
        environment = describe_environment(device)
        # Of the command and the checkout only the driver can tell.
        return socket.gethostname(), environment.model_copy(
            update={"command": (), "revision": None}
        )

    def run(self, task: Task) -> Iterator[Message]:
        """Does a task; see `train_task`."""
        from vaetune.training import train_task

        told_s = time.monotonic()
        for message in train_task(task, self._context):
            if isinstance(message, Progressed):
                if time.monotonic() < told_s + _PROGRESS_S:
                    continue
                told_s = time.monotonic()
            yield message

    def measure(self, weights: "Arrays", samples: int, seed: int) -> "ImageLosses":
        """Measures a model; see `rescorer.Rescorer`."""
        return self._rescorer.measure(weights, samples, seed)

    @cached_property
    def _rescorer(self) -> "Rescorer":
        from vaetune.evaluation import Rescorer

        return Rescorer(self._context.any_runner(), self._context.data.validation)

    @cached_property
    def _context(self) -> "TrainingContext":
        from vaetune.training import TrainingContext

        return TrainingContext(map_images(self._images))


def share_images(images: ImageSet) -> ImageSet:
    """What a worker is given: training and validation images, never the test images."""
    test = Split(images.test.images[:0], None)
    return replace(images, test=test)
