"""When each trial ran, in a search's working time: its sessions without the breaks between them.

And by which worker, what the workers are, and how much of their time they trained.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from vaetune.report.text.units import counted, listed
from vaetune.study import Study, TrainingInterval, Trial, WorkerJoined

MAX_HOSTS = 3
"""Machines that are named; more are counted."""


@dataclass(frozen=True)
class Span:
    """When a trial ran, or a stretch of one that workers trained.

    Attributes:
        lane: Trials of one lane ran one after another.
        start_s: Since the search started, without breaks.
        end_s: End, likewise; for an unfinished trial the time of its last event.
        worker: Number of the worker that trained it; None for the process of the search.
        place: Device, machine and threads of that worker; empty if not known.
    """

    trial_id: str
    lane: int
    start_s: float
    end_s: float
    worker: int | None = None
    place: str = ""


@dataclass(frozen=True)
class Loss:
    """A worker was gone.

    Attributes:
        at_s: Since the search started, without breaks.
        trial_id: The trial that it trained, if any.
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
        lanes: The worker of each; None are lanes of trials that tell none.
        spans: In the order of the study's trials; those of a trial in the order of time.
        reference: Times in which its workers trained the Keras example.
        losses: In the order of time.
    """

    lanes: tuple[int | None, ...]
    spans: tuple[Span, ...]
    reference: tuple[Span, ...]
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class WorkerKind:
    """Workers with the same device and number of threads.

    Attributes:
        numbers: Theirs, ascending.
        place: Their device, machines and threads.
    """

    numbers: tuple[int, ...]
    place: str


class WorkingTime:
    """Seconds since a search started, without the breaks between its sessions."""

    def __init__(self, study: Study) -> None:
        """Finds the breaks: each from the last sign of a session to the start of the next."""
        moments = sorted(study_moments(study))
        self._start = moments[0]
        starts = [session.time for session in study.sessions[1:]]
        lasts = [moments[max(0, bisect_left(moments, start) - 1)] for start in starts]
        breaks = list(zip(lasts, starts, strict=True))
        self._begins, self._ends = lasts, starts
        self._idle_s = [0.0, *accumulate((end - begin).total_seconds() for begin, end in breaks)]
        self.until_s = self.at(moments[-1])
        """At the last moment that the journal knows of."""

    def at(self, moment: datetime) -> float:
        """The working seconds at a moment; in a break, at its beginning."""
        passed = bisect_right(self._ends, moment)
        if passed < len(self._begins):
            moment = min(moment, self._begins[passed])
        idle_s = self._idle_s[passed]
        return (moment - self._start).total_seconds() - idle_s


def study_moments(study: Study) -> Iterator[datetime]:
    """Every time that a study's journal tells."""
    yield study.started.time
    yield from (session.time for session in study.sessions)
    yield from (event.time for event in (*study.workers_joined, *study.workers_lost))
    for trial in study.trials:
        yield trial.started
        yield from (epoch.time for epoch in trial.epochs)
        if trial.ended:
            yield trial.ended
        if _tells_worker(trial):
            yield from (time for one in trial.intervals for time in (one.started, one.ended))
    if study.last_end:
        yield study.last_end.time


def compute_timeline(study: Study, clock: WorkingTime, baseline: Study | None = None) -> Timeline:
    """When each trial ran: a lane a worker, and as many more as other trials overlap.

    Args:
        study: The search.
        clock: Clock of the search's working time.
        baseline: The Keras example, which its workers may have trained.
    """
    workers = _workers(study)
    lanes = {worker: lane for lane, worker in enumerate(workers)}
    places = _Places(study.workers_joined)
    spans: dict[str, list[Span]] = {trial.trial_id: [] for trial in study.trials}
    free_from: list[float] = []
    for started, trial_id, interval in sorted(_stretches(study), key=lambda known: known[:2]):
        start_s, end_s, worker = clock.at(started), clock.at(interval.ended), interval.worker
        if worker is not None:
            span = Span(trial_id, lanes[worker], start_s, end_s, worker, places.of(interval))
        else:
            row = next((n for n, end in enumerate(free_from) if end <= start_s), len(free_from))
            free_from[row : row + 1] = [end_s]
            span = Span(trial_id, len(workers) + row, start_s, end_s)
        spans[trial_id].append(span)
    losses = tuple(
        Loss(lost.worker, lanes[lost.worker], clock.at(lost.time), lost.trial_id, lost.error)
        for lost in study.workers_lost
    )
    in_order = tuple(span for trial in study.trials for span in spans[trial.trial_id])
    reference = tuple(_reference_spans(study, clock, baseline, lanes)) if baseline else ()
    return Timeline((*workers, *(None for _ in free_from)), in_order, reference, losses)


def _reference_spans(
    study: Study, clock: WorkingTime, baseline: Study, lanes: Mapping[int, int]
) -> Iterator[Span]:
    """When the workers of a search trained its baseline, in its sessions."""
    for trial_id, worker, one in worker_intervals(baseline):
        start_s, end_s = clock.at(one.started), min(clock.at(one.ended), clock.until_s)
        if worker in lanes and study.started.time <= one.started and start_s < end_s:
            yield Span(trial_id, lanes[worker], start_s, end_s, worker)


def _workers(study: Study) -> tuple[int, ...]:
    """The numbers of all workers, ascending."""
    told = {event.worker for event in study.workers_joined}
    told |= {event.worker for event in study.workers_lost}
    return tuple(sorted(told | {worker for _, worker, _ in worker_intervals(study)}))


def _stretches(study: Study) -> Iterator[tuple[datetime, str, TrainingInterval]]:
    """A trial that no worker trained has one, through its breaks."""
    for trial in study.trials:
        if _tells_worker(trial):
            yield from ((one.started, trial.trial_id, one) for one in trial.intervals)
        else:
            whole = TrainingInterval(None, trial.started, _last_sign(trial), trial.epoch_from)
            yield trial.started, trial.trial_id, whole


def _tells_worker(trial: Trial) -> bool:
    return any(one.worker is not None for one in trial.intervals)


def _last_sign(trial: Trial) -> datetime:
    seen = [trial.started, *(epoch.time for epoch in trial.epochs)]
    return max(seen if trial.ended is None else [*seen, trial.ended])


class _Places:
    """What each worker was, and since when."""

    def __init__(self, joined: Iterable[WorkerJoined]) -> None:
        self._since: dict[int, list[datetime]] = {}
        self._places: dict[int, list[str]] = {}
        for event in joined:
            self._since.setdefault(event.worker, []).append(event.time)
            place = _place(event.environment.device, event.environment.threads, [event.host])
            self._places.setdefault(event.worker, [""]).append(place)

    def of(self, interval: TrainingInterval) -> str:
        """What the worker of a stretch was then; empty if that is not known."""
        worker = interval.worker or 0
        since = self._since.get(worker, [])
        return self._places.get(worker, [""])[bisect_right(since, interval.started)]


def _place(device: str, threads: int, hosts: Sequence[str]) -> str:
    where = listed(hosts) if len(hosts) <= MAX_HOSTS else f"{len(hosts)} machines"
    return f"{device} on {where}, {counted(threads, 'thread')}"


def list_worker_kinds(joined: Iterable[WorkerJoined]) -> tuple[WorkerKind, ...]:
    """Gathers workers of equal devices, those of the lowest number first."""
    hosts: dict[int, dict[tuple[str, int], list[str]]] = {}
    for event in joined:
        kind = (event.environment.device, event.environment.threads)
        hosts.setdefault(event.worker, {}).setdefault(kind, []).append(event.host)
    alike: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for worker in sorted(hosts):
        alike.setdefault(tuple(hosts[worker]), []).append(worker)
    return tuple(
        WorkerKind(tuple(numbers), _places(kinds, [hosts[number] for number in numbers]))
        for kinds, numbers in alike.items()
    )


def _places(
    kinds: Iterable[tuple[str, int]], workers: Sequence[Mapping[tuple[str, int], Sequence[str]]]
) -> str:
    """What workers were, one after the other where they changed."""
    each = " each" if len(workers) > 1 else ""
    told = []
    for kind in kinds:
        where = tuple(dict.fromkeys(host for hosts in workers for host in hosts[kind]))
        told.append(f"{_place(*kind, where)}{each}")
    return ", then ".join(told)


def worker_intervals(study: Study) -> Iterator[tuple[str, int, TrainingInterval]]:
    """Trials, workers, and the stretches in which these trained those."""
    for trial in study.trials:
        for one in trial.intervals:
            if one.worker is not None:
                yield trial.trial_id, one.worker, one
