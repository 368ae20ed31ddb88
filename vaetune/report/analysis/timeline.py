"""Computes when and on which worker each trial ran.

Times are seconds of working time: the sessions of a search without the breaks between them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from vaetune.report.text.units import counted, join_words
from vaetune.study import Study, TrainingInterval, Trial, WorkerJoined

MAX_HOSTS = 3
"""Largest number of machines that are named; of more, only the number is given."""


@dataclass(frozen=True)
class Span:
    """A period in which a trial was trained.

    Attributes:
        trial_id: Id of the trial.
        lane: Index of the lane. Trials in the same lane ran one after another.
        start_s: Start in seconds of working time.
        end_s: End in seconds of working time; for an unfinished trial, its last event.
        worker: Number of the worker, or None if the process of the search trained the trial.
        place: Device, machine and threads of the worker; empty if unknown.
    """

    trial_id: str
    lane: int
    start_s: float
    end_s: float
    worker: int | None = None
    place: str = ""


@dataclass(frozen=True)
class LostWorker:
    """A worker that was lost.

    Attributes:
        worker: Number of the worker.
        lane: Index of its lane.
        at_s: Time of the loss in seconds of working time.
        trial_id: Id of the trial that it was training, or None.
        error: Error message.
    """

    worker: int
    lane: int
    at_s: float
    trial_id: str | None
    error: str


@dataclass(frozen=True)
class Timeline:
    """When the trials of a search ran.

    Attributes:
        lanes: Number of the worker of each lane, or None for trials trained by the search itself.
        spans: Periods of the trials, in the order of the trials, then of time.
        reference_spans: Periods in which workers of the search trained the Keras example.
        lost_workers: Workers that were lost, in the order of time.
    """

    lanes: tuple[int | None, ...]
    spans: tuple[Span, ...]
    reference_spans: tuple[Span, ...]
    lost_workers: tuple[LostWorker, ...]


@dataclass(frozen=True)
class WorkerKind:
    """Workers with the same device and number of threads.

    Attributes:
        numbers: Numbers of the workers, ascending.
        place: Device, machines and threads of the workers.
    """

    numbers: tuple[int, ...]
    place: str


class WorkingTime:
    """Converts times to seconds of working time, which exclude the breaks between sessions."""

    def __init__(self, study: Study) -> None:
        """Finds the breaks, each from the last event of a session to the start of the next.

        Args:
            study: Search to measure.
        """
        moments = sorted(study_moments(study))
        self._start = moments[0]
        starts = [session.time for session in study.sessions[1:]]
        lasts = [moments[max(0, bisect_left(moments, start) - 1)] for start in starts]
        breaks = list(zip(lasts, starts, strict=True))
        self._begins, self._ends = lasts, starts
        self._idle_s = [0.0, *accumulate((end - begin).total_seconds() for begin, end in breaks)]
        self.until_s = self.at(moments[-1])
        """Working time at the last event of the journal, in seconds."""

    def at(self, moment: datetime) -> float:
        """The working time at a moment, in seconds; it stands still during breaks."""
        passed = bisect_right(self._ends, moment)
        if passed < len(self._begins):
            moment = min(moment, self._begins[passed])
        idle_s = self._idle_s[passed]
        return (moment - self._start).total_seconds() - idle_s


def study_moments(study: Study) -> Iterator[datetime]:
    """Yields the times of all events of a study."""
    yield study.started.time
    yield from (session.time for session in study.sessions)
    yield from (event.time for event in (*study.workers_joined, *study.workers_lost))
    for trial in study.trials:
        yield trial.started
        yield from (epoch.time for epoch in trial.epochs)
        if trial.ended:
            yield trial.ended
        if _has_workers(trial):
            yield from (time for one in trial.intervals for time in (one.started, one.ended))
    if study.last_end:
        yield study.last_end.time


def compute_timeline(study: Study, clock: WorkingTime, baseline: Study | None = None) -> Timeline:
    """Computes when each trial ran.

    Each worker has a lane. Trials trained by the process of the search have as many more lanes as
    are needed to keep overlapping trials apart.

    Args:
        study: Search to describe.
        clock: Working time of the search.
        baseline: Run of the Keras example, which the workers may have trained, or None.
    """
    workers = _workers(study)
    lanes = {worker: lane for lane, worker in enumerate(workers)}
    places = _Places(study.workers_joined)
    spans: dict[str, list[Span]] = {trial.trial_id: [] for trial in study.trials}
    free_from: list[float] = []
    for started, trial_id, interval in sorted(_intervals(study), key=lambda known: known[:2]):
        start_s, end_s, worker = clock.at(started), clock.at(interval.ended), interval.worker
        if worker is not None:
            span = Span(trial_id, lanes[worker], start_s, end_s, worker, places.of(interval))
        else:
            row = next((n for n, end in enumerate(free_from) if end <= start_s), len(free_from))
            free_from[row : row + 1] = [end_s]
            span = Span(trial_id, len(workers) + row, start_s, end_s)
        spans[trial_id].append(span)
    return Timeline(
        lanes=(*workers, *(None for _ in free_from)),
        spans=tuple(span for trial in study.trials for span in spans[trial.trial_id]),
        reference_spans=tuple(_reference_spans(study, clock, baseline, lanes)) if baseline else (),
        lost_workers=tuple(
            LostWorker(
                lost.worker, lanes[lost.worker], clock.at(lost.time), lost.trial_id, lost.error
            )
            for lost in study.workers_lost
        ),
    )


def _reference_spans(
    study: Study, clock: WorkingTime, baseline: Study, lanes: Mapping[int, int]
) -> Iterator[Span]:
    """Yields the periods in which workers trained the Keras example during the search."""
    for trial_id, worker, one in worker_intervals(baseline):
        start_s, end_s = clock.at(one.started), min(clock.at(one.ended), clock.until_s)
        if worker in lanes and study.started.time <= one.started and start_s < end_s:
            yield Span(trial_id, lanes[worker], start_s, end_s, worker)


def _workers(study: Study) -> tuple[int, ...]:
    """The numbers of all workers, ascending."""
    workers = {event.worker for event in study.workers_joined}
    workers |= {event.worker for event in study.workers_lost}
    return tuple(sorted(workers | {worker for _, worker, _ in worker_intervals(study)}))


def _intervals(study: Study) -> Iterator[tuple[datetime, str, TrainingInterval]]:
    """Yields start, trial id and interval of all training intervals.

    A trial without workers has a single interval that spans its breaks.
    """
    for trial in study.trials:
        if _has_workers(trial):
            yield from ((one.started, trial.trial_id, one) for one in trial.intervals)
        else:
            whole = TrainingInterval(None, trial.started, _last_event(trial), trial.epoch_from)
            yield trial.started, trial.trial_id, whole


def _has_workers(trial: Trial) -> bool:
    return any(one.worker is not None for one in trial.intervals)


def _last_event(trial: Trial) -> datetime:
    times = [trial.started, *(epoch.time for epoch in trial.epochs)]
    return max(times if trial.ended is None else [*times, trial.ended])


class _Places:
    """Finds the device, machine and threads of a worker at a time."""

    def __init__(self, joined: Iterable[WorkerJoined]) -> None:
        self._since: dict[int, list[datetime]] = {}
        self._places: dict[int, list[str]] = {}
        for event in joined:
            self._since.setdefault(event.worker, []).append(event.time)
            place = _place(event.environment.device, event.environment.threads, [event.host])
            self._places.setdefault(event.worker, [""]).append(place)

    def of(self, interval: TrainingInterval) -> str:
        """The place of an interval's worker when it started; empty if unknown."""
        worker = interval.worker or 0
        since = self._since.get(worker, [])
        return self._places.get(worker, [""])[bisect_right(since, interval.started)]


def _place(device: str, threads: int, hosts: Sequence[str]) -> str:
    machines = join_words(hosts) if len(hosts) <= MAX_HOSTS else f"{len(hosts)} machines"
    return f"{device} on {machines}, {counted(threads, 'thread')}"


def list_worker_kinds(joined: Iterable[WorkerJoined]) -> tuple[WorkerKind, ...]:
    """Groups workers with equal devices and threads, in the order of their lowest numbers."""
    hosts: dict[int, dict[tuple[str, int], list[str]]] = {}
    for event in joined:
        kind = (event.environment.device, event.environment.threads)
        hosts.setdefault(event.worker, {}).setdefault(kind, []).append(event.host)
    alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for worker in sorted(hosts):
        alike.setdefault(tuple(hosts[worker]), []).append(worker)
    return tuple(
        WorkerKind(tuple(numbers), _describe_places(kinds, [hosts[number] for number in numbers]))
        for kinds, numbers in alike.items()
    )


def _describe_places(
    kinds: Iterable[tuple[str, int]], workers: Sequence[Mapping[tuple[str, int], Sequence[str]]]
) -> str:
    """Describes the places of workers, one after another if they changed.

    Args:
        kinds: Devices and numbers of threads, in the order of time.
        workers: Machines of each worker, by device and threads.
    """
    each = " each" if len(workers) > 1 else ""
    places = []
    for kind in kinds:
        machines = tuple(dict.fromkeys(host for hosts in workers for host in hosts[kind]))
        places.append(f"{_place(*kind, machines)}{each}")
    return ", then ".join(places)


def worker_intervals(study: Study) -> Iterator[tuple[str, int, TrainingInterval]]:
    """Yields trial id, worker and interval of all intervals in which workers trained trials."""
    for trial in study.trials:
        for one in trial.intervals:
            if one.worker is not None:
                yield trial.trial_id, one.worker, one
