"""Shares the cores and GPUs of one machine, or of several, between workers."""

import math
from dataclasses import dataclass

from vaetune.device import Device
from vaetune.errors import ExecutorError

_UNLIMITED = 10**9
"""Number of workers that fit if they use no GPU."""


@dataclass(frozen=True)
class ExecutorOptions:
    """Number of workers, and the resources of each.

    Attributes:
        workers: Number of models to train in parallel.
        threads: CPU threads per worker. None: the cores, divided by the number of workers.
        gpus_per_worker: GPUs per worker, possibly a fraction. None: the GPUs, divided by the
            number of workers.
        address: HOST:PORT of a running Ray cluster. None: this machine.
    """

    workers: int = 1
    threads: int | None = None
    gpus_per_worker: float | None = None
    address: str | None = None

    @property
    def needs_ray(self) -> bool:
        """Whether Ray workers train the trials, instead of this process."""
        return self.workers > 1 or self.address is not None

    def threads_each(self, cores: float) -> int:
        """Returns the CPU threads per worker.

        Args:
            cores: Number of cores to share.
        """
        return self.threads or max(1, int(cores) // self.workers)

    def __str__(self) -> str:
        where = f"the Ray cluster at {self.address}" if self.address else "this machine"
        parts = [_counted(self.threads, "thread")] if self.threads else []
        parts += [_counted(self.gpus_per_worker, "GPU")] if self.gpus_per_worker else []
        each = f", {' and '.join(parts)} each" if parts else ""
        return f"{_counted(self.workers, 'worker')} on {where}{each}"


@dataclass(frozen=True)
class WorkerResources:
    """Resources of one worker.

    Attributes:
        threads: CPU threads per operation.
        gpus: Number of GPUs, possibly a fraction.
    """

    threads: int
    gpus: float


def allocate(
    options: ExecutorOptions, device: Device, cores: float, gpus: float
) -> WorkerResources:
    """Returns the resources of each worker.

    Args:
        options: Number of workers, and requested resources of each.
        device: Device to train on.
        cores: Number of cores to share.
        gpus: Number of GPUs to share.

    Raises:
        ExecutorError: There are not enough GPUs.
    """
    threads = options.threads_each(cores)
    if device == "cpu":
        return WorkerResources(threads, 0.0)
    if device == "gpu" and gpus < 1:
        raise ExecutorError(
            'No GPU found, but the device "gpu" was requested. Use "cpu" or "auto". Ray counts the '
            "GPUs that nvidia-smi lists."
        )
    requested = options.gpus_per_worker
    if requested is None:
        return WorkerResources(threads, _even_gpu_share(options.workers, gpus))
    if requested > gpus:
        raise ExecutorError(
            f"--gpus-per-worker {requested:g} is more than Ray found: {_counted(gpus, 'GPU')}."
        )
    room = _room(requested, gpus)
    if options.address is None and room < options.workers:
        raise ExecutorError(
            f"{options.workers} workers with {_counted(requested, 'GPU')} each do not fit: there "
            f"is room for {room}. Use --workers {room} or --gpus-per-worker "
            f"{_even_gpu_share(options.workers, gpus):g}."
        )
    return WorkerResources(threads, requested)


def _even_gpu_share(workers: int, gpus: float) -> float:
    """Returns the largest share of a GPU that every worker can have.

    Ray counts shares to four decimals, so it is rounded down to them.
    """
    if gpus < 1:
        return 0.0
    if workers <= gpus:
        return 1.0
    return math.floor(1e4 / math.ceil(workers / gpus)) / 1e4


def _room(share: float, gpus: float) -> int:
    """Returns how many workers with a share of a GPU fit. A fraction never spans two GPUs."""
    if share == 0:
        return _UNLIMITED
    return int(gpus // share) if share >= 1 else int(gpus) * int(1 / share + 1e-9)


def _counted(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'s' * (number != 1)}"
