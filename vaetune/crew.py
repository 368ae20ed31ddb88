"""Workers on Ray, which train several trials at a time.

Needs no TensorFlow: they start while their driver imports it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vaetune.cluster import joined_cluster, local_cluster
from vaetune.data import ImageSet
from vaetune.device import ChosenDevice, available_cores
from vaetune.environment import describe_environment
from vaetune.errors import StoppedEarly, VaetuneError, WorkforceError
from vaetune.journal import Environment
from vaetune.shares import CrewSpec, Share, share_out
from vaetune.spec import Device
from vaetune.tasks import MOST_DEATHS, EpochDone, Task
from vaetune.worker import Worker, share_images

if TYPE_CHECKING:
    from vaetune.checkpoint import Arrays
    from vaetune.rescorer import Measured
    from vaetune.training import OnProgress
    from vaetune.tuner import Trial, VAETuner
    from vaetune.workforce import Opening

WAIT_S = 0.5
"""How long to wait for a word of a worker before Ctrl-C is listened for."""

MOST_FALSE_STARTS = 3
"""Of a worker in a row, before it ever was ready: more would not help."""


@contextmanager
def open_crew(
    spec: CrewSpec,
    images: ImageSet,
    device: Device,
    worker_class: type = Worker,
) -> Iterator["Crew"]:
    """Engages workers; all of their processes are gone afterwards.

    Args:
        spec: How many.
        images: The image set; its test images stay here.
        device: Where they train.
        worker_class: Runs in their processes; see `worker.Worker`.

    Raises:
        WorkforceError: Ray is not there, or what each worker is to have does not fit.
    """
    cores = available_cores()
    with ExitStack() as stack:
        if spec.address is None:
            # As many as the workers want: on this machine Ray is not to keep one waiting.
            wanted = spec.threads_each(cores) * spec.workers
            starting = local_cluster(wanted, with_gpus=device != "cpu")
            ray = stack.enter_context(starting)
            gpus = ray.cluster_resources().get("GPU", 0.0)
        else:
            ray = stack.enter_context(joined_cluster(spec.address))
            counted = ray.cluster_resources()
            cores, gpus = int(counted.get("CPU", 1.0)), counted.get("GPU", 0.0)
        share = share_out(spec, device, cores, gpus)
        crew = Crew(ray, spec.workers, share, images, device, worker_class)
        stack.callback(crew.dismiss)
        yield crew


@dataclass(eq=False)
class _Open:
    """A search whose trials are being trained.

    Attributes:
        again: Trials that have begun and wait for a worker: theirs was lost, or they met an error
            that may pass.
        moved: Those of them whose worker was lost.
        busy: Workers that are at it.
        mending: What is made again once the trials are done.
    """

    tuner: "VAETuner"
    stack: ExitStack
    again: "deque[Trial]" = field(default_factory=deque)
    moved: set[str] = field(default_factory=set)
    busy: int = 0
    mending: "Iterator[tuple[Trial, Task]] | None" = None


@dataclass(frozen=True, eq=False)
class _Job:
    """What a worker is at.

    Attributes:
        mends: Whether the trial has ended already, and something of it was lost.
    """

    opened: _Open
    trial: "Trial"
    stream: Any
    mends: bool


@dataclass(eq=False)
class _Place:
    """A worker's place, which another one takes when it is lost.

    Attributes:
        greeting: Tells where the worker is, once it is ready.
        joined: Its machine and what that is; None before it is ready.
        job: The trial that it trains.
        model: The number of the model that it measures.
        answer: What it will have measured.
        false_starts: How often it was lost in a row before it was ready.
    """

    number: int
    actor: Any = None
    greeting: Any = None
    joined: tuple[str, Environment] | None = None
    job: _Job | None = None
    model: int | None = None
    answer: Any = None
    false_starts: int = 0

    @property
    def is_idle(self) -> bool:
        return self.joined is not None and self.job is None and self.model is None

    @property
    def expected(self) -> Any:
        """What the driver waits for of the worker; None if it is idle."""
        if self.joined is None:
            return self.greeting
        return self.job.stream if self.job else self.answer


class Crew:
    """Directs workers; see `workforce.Workforce`.

    The driver keeps oracle, journal and checkpoints. A worker is sent tasks, and what it answers
    comes through Ray's object store: no disk is shared. The images are put there once, and mapped
    by the workers of a machine.

    Args:
        ray: Ray, with this process as its driver.
        workers: How many.
        share: What each has.
        images: The image set; its test images stay here.
        device: Where they train.
        worker_class: Runs in their processes; see `worker.Worker`.
    """

    def __init__(
        self,
        ray: Any,
        workers: int,
        share: Share,
        images: ImageSet,
        device: Device,
        worker_class: type = Worker,
    ) -> None:
        self.workers = workers
        self.share = share
        self._ray = ray
        # Ray hides no GPU from who asked for none.
        self._device: Device = device if share.gpus else "cpu"
        self._images = ray.put(share_images(images))
        self._actor_class = ray.remote(worker_class)
        self._opened: list[_Open] = []
        self._measured: dict[int, Measured] = {}
        self._stop: StoppedEarly | None = None
        self._lost_in_vain = 0
        self._places = [_Place(number) for number in range(1, workers + 1)]
        for place in self._places:
            self._engage(place)

    @property
    def environment(self) -> Environment:
        """Where the first worker that is ready trains, on whose command."""
        ready = (place.joined for place in self._places if place.joined)
        _, of_worker = next(ready)
        here = describe_environment(ChosenDevice(of_worker.device, of_worker.threads))
        known = {"command": here.command, "revision": here.revision}
        return of_worker.model_copy(update=known)

    def wait_for_one(self, on_wait: Callable[[], None]) -> None:
        """Waits until a worker is ready: before that nothing can be trained.

        Raises:
            WorkforceError: None can start.
        """
        while not any(place.joined for place in self._places):
            self._hear(on_wait)

    def dismiss(self) -> None:
        """Ends the workers, wherever they are."""
        for place in self._places:
            self._ray.kill(place.actor)

    def _engage(self, place: _Place) -> None:
        """Lets a worker take a place."""
        place.joined = place.job = place.model = place.answer = None
        # On a machine each, as long as there are some: they would share its cores.
        place.actor = self._actor_class.options(
            num_cpus=self.share.threads,
            num_gpus=self.share.gpus,
            scheduling_strategy="SPREAD",
        ).remote(self._images, self._device, self.share.threads)
        place.greeting = place.actor.describe.remote()

    # Trials

    def run(self, openings: "Iterable[Opening]", on_wait: Callable[[], None]) -> None:
        """Runs all trials of some searches; see `workforce.Workforce`."""
        waiting = deque(openings)
        self._opened, self._stop = [], None
        with ExitStack() as stack:
            self._hand_out(waiting, stack)
            while self._is_at_work(waiting):
                if self._hear(on_wait):
                    self._hand_out(waiting, stack)
            if self._stop:
                raise self._stop

    def _is_at_work(self, waiting: "deque[Opening]") -> bool:
        if self._stop:  # whoever is within an epoch ends it
            return any(place.job for place in self._places)
        return bool(self._opened or waiting)

    def _hand_out(self, waiting: "deque[Opening]", stack: ExitStack) -> None:
        """Gives every idle worker something to do, if there is something."""
        try:
            for place in self._places:
                if place.is_idle and not self._stop and not self._employ(place, waiting, stack):
                    return
        except StoppedEarly as stop:
            self._stop_with(stop)

    def _employ(self, place: _Place, waiting: "deque[Opening]", stack: ExitStack) -> bool:
        for opened in tuple(self._opened):
            if self._find_job(place, opened):
                return True
        while waiting:
            opening = self._open(waiting.popleft(), stack)
            if opening and self._find_job(place, opening):
                return True
        return False

    def _open(self, opening: "Opening", stack: ExitStack) -> _Open | None:
        inner = ExitStack()
        stack.push(inner)  # should the search not come to its end
        tuner = inner.enter_context(opening)
        if tuner is None:
            return None
        inner.callback(tuner.keep)
        tuner.on_search_begin()
        for place in self._places:
            if place.joined:
                tuner.on_worker_joined(place.number, *place.joined)
        opened = _Open(tuner, inner)
        self._opened.append(opened)
        return opened

    def _close(self, opened: _Open) -> None:
        opened.tuner.tidy()
        opened.tuner.on_search_end()
        self._opened.remove(opened)
        opened.stack.close()

    def _find_job(self, place: _Place, opened: _Open) -> bool:
        """Gives a worker something of a search to do; closes the search if all is done."""
        while trial := self._next_trial(place, opened):
            task = opened.tuner.task_of(trial)
            if task is None:  # the workers that trained it died too often
                opened.moved.discard(trial.trial_id)
                opened.tuner.on_trial_end(trial)
                continue
            if trial.trial_id in opened.moved:
                opened.moved.remove(trial.trial_id)
                opened.tuner.on_trial_moved(trial, place.number)
            self._send(place, opened, trial, task)
            return True
        if opened.mending is None and not opened.busy:
            opened.mending = opened.tuner.mending()
        if opened.mending is not None:
            mended = next(opened.mending, None)
            if mended is not None:
                self._send(place, opened, *mended)
                return True
            if not opened.busy:
                self._close(opened)
        return False

    def _next_trial(self, place: _Place, opened: _Open) -> "Trial | None":
        if opened.again:
            return opened.again.popleft()
        next_trial = opened.tuner.next_trial() if opened.mending is None else None
        if next_trial is not None:
            opened.tuner.on_trial_begin(next_trial, place.number)
        return next_trial

    def _send(self, place: _Place, opened: _Open, trial: "Trial", task: Task) -> None:
        stream = place.actor.run.options(num_returns="streaming").remote(task)
        place.job = _Job(opened, trial, stream, mends=opened.mending is not None)
        opened.busy += 1

    # What workers say

    def _hear(self, on_wait: Callable[[], None]) -> bool:
        """Waits for a word of a worker, for a while.

        Returns:
            Whether one may be idle now, or have lost what another may take over.
        """
        expected = [place.expected for place in self._places if place.expected is not None]
        ready, _ = self._ray.wait(expected, num_returns=1, timeout=WAIT_S)
        if not ready:
            on_wait()
            return False
        place = next(place for place in self._places if place.expected is ready[0])
        try:
            return self._take(place)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, VaetuneError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            self._replace(place, error)
            return True

    def _take(self, place: _Place) -> bool:
        if place.joined is None:
            place.joined = self._ray.get(place.greeting)
            place.false_starts = 0
            for opened in self._opened:
                opened.tuner.on_worker_joined(place.number, *place.joined)
            return True
        if place.job is not None:
            return self._take_message(place, place.job)
        if place.model is not None:
            self._measured[place.model] = self._ray.get(place.answer)
            place.model = place.answer = None
            self._lost_in_vain = 0
        return True

    def _take_message(self, place: _Place, job: _Job) -> bool:
        try:
            message = self._ray.get(next(job.stream))
        except StopIteration:
            self._finish(place, job)
            return True
        if job.mends and isinstance(message, EpochDone):
            self._lost_in_vain = 0
        try:
            job.opened.tuner.take(job.trial, message)
        except StoppedEarly as stop:
            self._stop_with(stop)
        return False

    def _stop_with(self, stop: StoppedEarly) -> None:
        if stop.reason != "time_budget":  # there is no end in sight of what still runs
            raise stop
        self._stop = stop

    def _finish(self, place: _Place, job: _Job) -> None:
        place.job = None
        job.opened.busy -= 1
        if job.mends or self._stop:
            return
        if job.opened.tuner.has_ended(job.trial):
            job.opened.tuner.on_trial_end(job.trial)
        else:
            job.opened.again.append(job.trial)

    def _replace(self, place: _Place, error: Exception) -> None:
        """Lets another worker take the place of one that is lost, and its trial go on elsewhere."""
        reason = _why_lost(error)
        self._ray.kill(place.actor)
        if place.joined is None:
            place.false_starts += 1
            if place.false_starts >= MOST_FALSE_STARTS or getattr(
                error, "actor_init_failed", False
            ):
                raise WorkforceError(f"Worker {place.number} cannot start. {reason}") from error
        else:
            self._tell_of_loss(place, reason)
            self._refuse_deadly(place, reason)
        self._engage(place)

    def _refuse_deadly(self, place: _Place, reason: str) -> None:
        """Gives up on what kills every worker that does it, and is no trial that may fail of it."""
        if place.model is not None:
            done = "measured a finalist"
        elif place.job and place.job.mends:
            done = f"made trial {place.job.trial.trial_id} again, of which something was lost"
        else:
            return
        self._lost_in_vain += 1
        if self._lost_in_vain >= MOST_DEATHS:
            raise WorkforceError(
                f"{self._lost_in_vain} workers in a row were lost while they {done}. {reason} "
                "What was found is kept; the same command goes on from there."
            )

    def _tell_of_loss(self, place: _Place, reason: str) -> None:
        job = place.job
        for opened in self._opened:
            is_its_own = job is not None and job.opened is opened and not job.mends
            trial = job.trial if job and is_its_own else None
            opened.tuner.on_worker_lost(place.number, reason, trial)
            if trial:
                opened.again.append(trial)
                opened.moved.add(trial.trial_id)
        if job is not None:
            job.opened.busy -= 1
            job.opened.mending = None  # to be looked through once more

    # Models

    def measure(
        self,
        models: "Sequence[Arrays]",
        samples: int,
        seed: int,
        on_progress: "OnProgress | None" = None,
    ) -> "list[Measured]":
        """Measures models on all workers; see `workforce.Workforce`."""
        self._measured = {}

        def tell() -> None:
            if on_progress:
                on_progress(len(self._measured) / len(models))

        while len(self._measured) < len(models):
            taken = {*self._measured, *(place.model for place in self._places)}
            left = deque(number for number in range(len(models)) if number not in taken)
            for place in self._places:
                if place.is_idle and left:
                    place.model = left.popleft()
                    arguments = (models[place.model], samples, seed)
                    place.answer = place.actor.measure.remote(*arguments)
            self._hear(tell)
            tell()
        return [self._measured[number] for number in range(len(models))]


def _why_lost(error: Exception) -> str:
    """What Ray tells of a worker's end, in a sentence."""
    told = " ".join(str(error).split())
    if "No module named" in told:
        missing = told[told.index("No module named") :].split(" ")[3].strip("'\"")
        return (
            f"Its machine has no Python module {missing!r}: install the same version of "
            "vaetune[distributed] on every machine of the cluster."
        )
    if "OutOfMemory" in type(error).__name__ or "memory pressure" in told:
        return "Its machine ran out of memory, and Ray ended it."
    if "node has died" in told:
        return "Its machine is gone."
    return "Its process was killed, perhaps for lack of memory."
