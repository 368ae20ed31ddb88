"""A worker: a process that trains tasks for a search, and keeps no state that must survive it."""

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
    from vaetune.training import TrainedModel, TrainingContext


_PROGRESS_S = 0.25
"""Seconds between two messages about the progress of an epoch, at least."""


class Worker:
    """The Ray actor that runs in the process of each worker.

    Args:
        images: The image set, in memory that all workers of a machine share; see `share_images`.
        device: Device to train on.
        threads: CPU threads per operation.
    """

    def __init__(self, images: ImageSet, device: Device, threads: int) -> None:
        self._images = images
        self._requested = device
        self._threads = threads

    def describe(self) -> tuple[str, Environment]:
        """Starts the device, and returns the name of the machine and its environment.

        Raises:
            DeviceError: A GPU is requested and there is none.
            DataError: The images are read from the disk, and they are not on this machine.
        """
        self._images.check_on_disk()
        device = choose_device(self._requested, threads=self._threads)
        environment = describe_environment(device.name, device.threads)
        # Only the process of the search knows its command line and its Git checkout.
        return socket.gethostname(), environment.model_copy(
            update={"command": (), "revision": None}
        )

    def run(self, task: Task) -> Iterator[Message]:
        """Trains a task; see `train_task`."""
        from vaetune.training import train_task

        last_s = time.monotonic()
        for message in train_task(task, self._context):
            if isinstance(message, Progressed):
                if time.monotonic() < last_s + _PROGRESS_S:
                    continue
                last_s = time.monotonic()
            yield message

    def measure(self, model: "TrainedModel", samples: int, seed: int) -> "ImageLosses":
        """Measures a model on the validation images; see `Rescorer`."""
        return self._rescorer.measure(model, samples, seed)

    @cached_property
    def _rescorer(self) -> "Rescorer":
        from vaetune.evaluation import rescorer_of

        return rescorer_of(self._context)

    @cached_property
    def _context(self) -> "TrainingContext":
        from vaetune.training import TrainingContext

        return TrainingContext(map_images(self._images))


def share_images(images: ImageSet) -> ImageSet:
    """Returns the images that workers receive: those to train, validate and choose models on.

    Of the images of left-out classes, these are the validation images.
    """
    test = Split(images.test.images[:0], None)
    left_out = tuple(
        split if number == 1 else split.take(slice(0))
        for number, split in enumerate(images.left_out)
    )
    return replace(images, test=test, left_out=left_out)
