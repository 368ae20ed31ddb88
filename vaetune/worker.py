"""A worker: a process that trains what a driver sends it, and has nothing that must survive it."""

import ctypes
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data import ImageSet, Split
from vaetune.device import choose_device
from vaetune.environment import describe_environment
from vaetune.folder import ALIGNMENT
from vaetune.journal import Environment
from vaetune.spec import Device
from vaetune.tasks import Message, Progressed, Task

if TYPE_CHECKING:
    from vaetune.checkpoint import Arrays
    from vaetune.rescorer import Measured
    from vaetune.routine import Bench

_PROGRESS_S = 0.25
"""Between two words of how far an epoch is, at the least."""


class Worker:
    """What runs in each worker's process.

    Args:
        images: The image set, in memory that all workers of a machine share; see `share_images`.
        device: Where to train.
        threads: That one operation may use.
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
        """Does a task; see `routine.attempt`."""
        from vaetune.routine import attempt

        told_s = time.monotonic()
        for message in attempt(task, self._bench):
            if isinstance(message, Progressed):
                if time.monotonic() < told_s + _PROGRESS_S:
                    continue
                told_s = time.monotonic()
            yield message

    def measure(self, weights: "Arrays", samples: int, seed: int) -> "Measured":
        """Measures a model; see `rescorer.Rescorer`."""
        return self._bench.rescorer.measure(weights, samples, seed)

    @cached_property
    def _bench(self) -> "Bench":
        from vaetune.routine import Bench

        return Bench(_map_images(self._images))


def share_images(images: ImageSet) -> ImageSet:
    """What a worker is given: training and validation images, never the test images."""
    test = Split(images.test.images[:0], None)
    return replace(images, test=test)


def _map_images(images: ImageSet) -> ImageSet:
    """The same images, in arrays that TensorFlow takes without copying them."""
    train, validation = (
        replace(split, images=_writeable(split.images))
        for split in (images.train, images.validation)
    )
    return replace(images, train=train, validation=validation)


def _writeable(array: NDArray[Any]) -> NDArray[Any]:
    """The same memory, which nobody writes to, as TensorFlow wants it to be.

    It takes no memory that is marked as read-only, as that of Ray's object store is. An array that
    does not begin where TensorFlow wants it to is small, and copied.
    """
    if array.ctypes.data % ALIGNMENT or not array.flags.c_contiguous:
        return array.copy()
    memory: Any = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    memory.owner = array  # which lives as long as the view
    return np.frombuffer(memory, array.dtype).reshape(array.shape)
