"""An executor that trains several trials at a time, in worker processes on Ray.

It needs no TensorFlow, so the workers start while this process imports it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaetune.data import ImageSet
from vaetune.device import Device, available_cores
from vaetune.errors import ExecutorError, VaetuneError
from vaetune.search.executors.base import PendingSearch
from vaetune.search.executors.ray_cluster import joined_cluster, local_cluster
from vaetune.search.executors.ray_worker import Worker, share_images
from vaetune.search.executors.resources import ExecutorOptions, WorkerResources, allocate
from vaetune.search.executors.trial_queue import Job, TrialQueue, WorkerPlace
from vaetune.study import Environment, describe_environment
from vaetune.training import MAX_CRASHES, EpochDone

if TYPE_CHECKING:
    from vaetune.evaluation import ImageLosses
    from vaetune.training import OnProgress, TrainedModel

WAIT_S = 0.5
"""Seconds to wait for a message of a worker before Ctrl-C is checked."""

MAX_FALSE_STARTS = 3
"""A search stops when a worker is lost this many times in a row before it was ever ready."""


@contextmanager
def open_ray_executor(
    options: ExecutorOptions,
    images: ImageSet,
    device: Device,
    worker_class: type = Worker,
) -> Iterator["RayExecutor"]:
    """Yields an executor with new workers, and ends all of their processes afterwards.

    Args:
        options: Number of workers, and the resources of each.
        images: The image set. Its test images stay in this process.
        device: Device on which the workers train.
        worker_class: The class that runs in their processes; see `Worker`.

    Raises:
        ExecutorError: Ray is not installed, or the machine lacks the resources.
    """
    cores = available_cores()
    with ExitStack() as stack:
        if options.address is None:
            # Ray may count more CPUs than there are, so that every worker starts at once.
            cpus = options.threads_each(cores) * options.workers
            cluster = local_cluster(cpus, with_gpus=device != "cpu")
            ray = stack.enter_context(cluster)
            gpus = ray.cluster_resources().get("GPU", 0.0)
        else:
            ray = stack.enter_context(joined_cluster(options.address))
            total = ray.cluster_resources()
            cores, gpus = int(total.get("CPU", 1.0)), total.get("GPU", 0.0)
        resources = allocate(options, device, cores, gpus)
        executor = RayExecutor(ray, options.workers, resources, images, device, worker_class)
        stack.callback(executor.shut_down)
        yield executor


@dataclass(eq=False)
class _Slot:
    """A worker and its present work. Another worker takes the slot when it is lost.

    Attributes:
        number: Number of the worker, from 1.
        actor: The worker as a Ray actor.
        greeting: Ray's reference to the worker's answer that it is ready.
        joined: Its machine and environment; None before it is ready.
        job: The job that it trains; None if it trains nothing.
        stream: Ray's stream of the messages of that job.
        model: Index of the model that it measures; None if it measures nothing.
        answer: Ray's reference to the measured losses.
        false_starts: Number of times in a row that a worker was lost before it was ready.
    """

    number: int
    actor: Any = None
    greeting: Any = None
    joined: WorkerPlace | None = None
    job: Job | None = None
    stream: Any = None
    model: int | None = None
    answer: Any = None
    false_starts: int = 0

    @property
    def is_idle(self) -> bool:
        return self.joined is not None and self.job is None and self.model is None

    @property
    def expected(self) -> Any:
        """Ray's reference to the next message of the worker; None if it is idle."""
        if self.joined is None:
            return self.greeting
        return self.stream if self.job else self.answer


class RayExecutor:
    """Trains models on Ray workers; see `Executor`.

    This process keeps the oracle, the journal and the checkpoints. Workers receive tasks and send
    messages back through Ray's object store, so no disk is shared. The images are put there once,
    and the workers of a machine share them.

    Args:
        ray: The `ray` module, connected to a cluster.
        workers: Number of workers.
        resources: Threads and GPUs of each worker.
        images: The image set. Its test images stay in this process.
        device: Device on which the workers train.
        worker_class: The class that runs in their processes; see `Worker`.
    """

    def __init__(
        self,
        ray: Any,
        workers: int,
        resources: WorkerResources,
        images: ImageSet,
        device: Device,
        worker_class: type = Worker,
    ) -> None:
        self.workers = workers
        self.resources = resources
        self._ray = ray
        # Ray does not hide GPUs from actors that request none, so the device is forced to CPU.
        self._device: Device = device if resources.gpus else "cpu"
        self._images = ray.put(share_images(images))
        self._actor_class = ray.remote(worker_class)
        self._queue: TrialQueue | None = None
        self._measured: dict[int, ImageLosses] = {}
        self._lost_without_result = 0
        self._slots = [_Slot(number) for number in range(1, workers + 1)]
        for slot in self._slots:
            self._start_worker(slot)

    @property
    def environment(self) -> Environment:
        """The environment of the first ready worker, with the command line of this process."""
        ready = (slot.joined for slot in self._slots if slot.joined)
        _, remote = next(ready)
        here = describe_environment(remote.device, remote.threads)
        return remote.model_copy(update={"command": here.command, "revision": here.revision})

    def wait_until_ready(self, on_wait: Callable[[], None]) -> None:
        """Waits until a worker is ready; see `Executor.wait_until_ready`."""
        while not any(slot.joined for slot in self._slots):
            self._receive(on_wait)

    def shut_down(self) -> None:
        """Ends the workers on all machines."""
        for slot in self._slots:
            self._ray.kill(slot.actor)

    def _start_worker(self, slot: _Slot) -> None:
        slot.joined = slot.job = slot.stream = slot.model = slot.answer = None
        # Workers on one machine would share its cores, so they are spread over the machines.
        slot.actor = self._actor_class.options(
            num_cpus=self.resources.threads,
            num_gpus=self.resources.gpus,
            scheduling_strategy="SPREAD",
        ).remote(self._images, self._device, self.resources.threads)
        slot.greeting = slot.actor.describe.remote()

    # Training

    def run(self, searches: Iterable[PendingSearch], on_wait: Callable[[], None]) -> None:
        """Trains all trials of some searches; see `Executor.run`."""
        joined = {slot.number: slot.joined for slot in self._slots if slot.joined}
        with TrialQueue(searches, joined) as queue:
            self._queue = queue
            try:
                self._hand_out(queue)
                while self._is_busy(queue):
                    if self._receive(on_wait):
                        self._hand_out(queue)
                if queue.stop:
                    raise queue.stop
            finally:
                self._queue = None

    def _is_busy(self, queue: TrialQueue) -> bool:
        if queue.stop:  # Workers finish the epochs that they are training.
            return any(slot.job for slot in self._slots)
        return not queue.is_done

    def _hand_out(self, queue: TrialQueue) -> None:
        """Gives tasks to idle workers as long as there are any."""
        for slot in self._slots:
            if not slot.is_idle:
                continue
            job = queue.next_job(slot.number)
            if job is None:
                return
            slot.job = job
            slot.stream = slot.actor.run.options(num_returns="streaming").remote(job.task)

    # Messages

    def _receive(self, on_wait: Callable[[], None]) -> bool:
        """Waits up to `WAIT_S` for a message of a worker.

        Returns:
            Whether there may be a new job to hand out: a worker became idle, or was lost.
        """
        expected = [slot.expected for slot in self._slots if slot.expected is not None]
        ready, _ = self._ray.wait(expected, num_returns=1, timeout=WAIT_S)
        if not ready:
            on_wait()
            return False
        slot = next(slot for slot in self._slots if slot.expected is ready[0])
        try:
            return self._handle(slot)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, VaetuneError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            self._replace(slot, error)
            return True

    def _handle(self, slot: _Slot) -> bool:
        if slot.joined is None:
            slot.joined = self._ray.get(slot.greeting)
            slot.false_starts = 0
            if self._queue:
                self._queue.on_worker_joined(slot.number, slot.joined)
            return True
        if slot.job is not None and self._queue:
            return self._handle_message(slot, slot.job, self._queue)
        if slot.model is not None:
            self._measured[slot.model] = self._ray.get(slot.answer)
            slot.model = slot.answer = None
            self._lost_without_result = 0
        return True

    def _handle_message(self, slot: _Slot, job: Job, queue: TrialQueue) -> bool:
        try:
            message = self._ray.get(next(slot.stream))
        except StopIteration:
            slot.job = slot.stream = None
            queue.finish(job)
            return True
        if job.is_repair and isinstance(message, EpochDone):
            self._lost_without_result = 0
        queue.record(job, message)
        return False

    # Lost workers

    def _replace(self, slot: _Slot, error: Exception) -> None:
        """Starts another worker in the slot of a lost one, and hands its trial back."""
        reason = _why_lost(error)
        self._ray.kill(slot.actor)
        if slot.joined is None:
            slot.false_starts += 1
            is_hopeless = getattr(error, "actor_init_failed", False)
            if slot.false_starts >= MAX_FALSE_STARTS or is_hopeless:
                raise ExecutorError(f"Worker {slot.number} cannot start. {reason}") from error
        else:
            if self._queue:
                self._queue.on_worker_lost(slot.number, reason, slot.job)
            self._check_losses(slot, reason)
        self._start_worker(slot)

    def _check_losses(self, slot: _Slot, reason: str) -> None:
        """Stops work that loses every worker, if no trial can be marked as failed instead.

        Raises:
            ExecutorError: Too many workers in a row were lost.
        """
        if slot.model is not None:
            work = "measured a finalist"
        elif slot.job and slot.job.is_repair:
            work = f"recreated lost files of trial {slot.job.trial.trial_id}"
        else:
            return
        self._lost_without_result += 1
        if self._lost_without_result >= MAX_CRASHES:
            raise ExecutorError(
                f"{self._lost_without_result} workers in a row were lost while they {work}. "
                f"{reason} "
                "Everything found so far is kept. Run the search again to continue it."
            )

    # Measuring

    def measure(
        self,
        models: "Sequence[TrainedModel]",
        samples: int,
        seed: int,
        on_progress: "OnProgress | None" = None,
    ) -> "list[ImageLosses]":
        """Measures models on all workers; see `Executor.measure`."""
        self._measured = {}

        def report() -> None:
            if on_progress:
                on_progress(len(self._measured) / len(models))

        while len(self._measured) < len(models):
            begun = {*self._measured, *(slot.model for slot in self._slots)}
            left = deque(number for number in range(len(models)) if number not in begun)
            for slot in self._slots:
                if slot.is_idle and left:
                    slot.model = left.popleft()
                    arguments = (models[slot.model], samples, seed)
                    slot.answer = slot.actor.measure.remote(*arguments)
            self._receive(report)
            report()
        return [self._measured[number] for number in range(len(models))]


def _why_lost(error: Exception) -> str:
    """Returns a sentence that explains why a worker was lost."""
    text = " ".join(str(error).split())
    if "No module named" in text:
        missing = text[text.index("No module named") :].split(" ")[3].strip("'\"")
        return (
            f"Its machine has no Python module {missing!r}: install the same version of "
            "vaetune[distributed] on every machine of the cluster."
        )
    if "OutOfMemory" in type(error).__name__ or "memory pressure" in text:
        return "Its machine ran out of memory, and Ray ended it."
    if "node has died" in text:
        return "Its machine no longer answers."
    return "Its process was killed, perhaps for lack of memory."
