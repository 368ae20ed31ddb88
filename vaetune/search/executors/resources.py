"""How the cores and GPUs of one machine, or of several, are shared between workers."""

import math
from dataclasses import dataclass

from vaetune.device import Device
from vaetune.errors import ExecutorError


@dataclass(frozen=True)
class ExecutorOptions:
    """How many workers, and what each of them has.

    Attributes:
        workers: Number of workers.
        threads: CPU threads per worker; None divides the cores evenly.
        gpus_per_worker: A share of a GPU, or several; None shares the GPUs that there are.
        address: HOST:PORT of a Ray cluster that runs already; None is this machine.
    """

    workers: int = 1
    threads: int | None = None
    gpus_per_worker: float | None = None
    address: str | None = None

    @property
    def needs_ray(self) -> bool:
        """Whether the trials are trained by Ray workers, and not by this process."""
        return self.workers > 1 or self.address is not None

    def threads_each(self, cores: float) -> int:
        """Returns the threads per worker when they share a number of cores."""
        return self.threads or max(1, int(cores) // self.workers)

    def __str__(self) -> str:
        where = f"the Ray cluster at {self.address}" if self.address else "this machine"
        has = [_counted(self.threads, "thread")] if self.threads else []
        has += [_counted(self.gpus_per_worker, "GPU")] if self.gpus_per_worker else []
        each = f", {' and '.join(has)} each" if has else ""
        return f"{_counted(self.workers, 'worker')} on {where}{each}"


@dataclass(frozen=True)
class WorkerResources:
    """What a worker has of its machine.

    Attributes:
        threads: CPU threads per operation.
        gpus: GPUs, or a share of one.
    """

    threads: int
    gpus: float


def allocate(spec: ExecutorOptions, device: Device, cores: float, gpus: float) -> WorkerResources:
    """Shares cores and GPUs between workers.

    Raises:
        ExecutorError: They do not fit.
    """
    threads = spec.threads_each(cores)
    if device == "cpu":
        return WorkerResources(threads, 0.0)
    if device == "gpu" and gpus < 1:
        raise ExecutorError(
            "No GPU found, and --device gpu asks for one. Use --device cpu or auto; Ray counts "
            "the GPUs that nvidia-smi lists."
        )
    wanted = spec.gpus_per_worker
    if wanted is None:
        return WorkerResources(threads, _even_gpu_share(spec.workers, gpus))
    if wanted > gpus:
        raise ExecutorError(
            f"--gpus-per-worker {wanted:g} is more than there is: Ray counts "
            f"{_counted(gpus, 'GPU')}."
        )
    if spec.address is None and _places(wanted, gpus) < spec.workers:
        raise ExecutorError(
            f"{spec.workers} workers of {_counted(wanted, 'GPU')} each do not fit: there is room "
            f"for {_places(wanted, gpus)}. Use --workers {_places(wanted, gpus)} or "
            f"--gpus-per-worker {_even_gpu_share(spec.workers, gpus):g}."
        )
    return WorkerResources(threads, wanted)


def _even_gpu_share(workers: int, gpus: float) -> float:
    """The largest share of a GPU of which there are enough, to four decimals as Ray counts."""
    if gpus < 1:
        return 0.0
    if workers <= gpus:
        return 1.0
    return math.floor(1e4 / math.ceil(workers / gpus)) / 1e4


def _places(share: float, gpus: float) -> int:
    """How many workers of a share find a place: none of them lies across two GPUs."""
    if share == 0:
        return 10**9
    return int(gpus // share) if share >= 1 else int(gpus) * int(1 / share + 1e-9)


def _counted(number: float, what: str) -> str:
    return f"{number:g} {what}{'s' * (number != 1)}"
