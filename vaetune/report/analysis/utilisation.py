"""How much of the time workers trained."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vaetune.report.analysis.timeline import worker_intervals
from vaetune.report.text.units import counted, duration, percent
from vaetune.study import Study, TrainingInterval


@dataclass(frozen=True)
class Utilisation:
    """How much of their time the workers of a search trained.

    A session counts from the start of its first trial to the last sign of one: what comes before
    and after, such as judging the finalists, is left out. Seconds are those of every worker: four
    workers have four of them in a second.

    Attributes:
        fewest: Workers of the session that had the fewest.
        most: Workers of the session that had the most.
        trained_s: Seconds in which a worker trained a trial, or meanwhile the Keras example.
        available_s: Seconds that there were.
        until_last_rung: The share of 1 until the rung that is last in the plan began; None if it
            has not, or was the first.
        by_worker: The share of 1 of each worker, in the sessions that had it.
    """

    fewest: int
    most: int
    trained_s: float
    available_s: float
    until_last_rung: float | None
    by_worker: Mapping[int, float]

    @property
    def share(self) -> float:
        """Of 1: in how much of their time they trained."""
        return self.trained_s / self.available_s

    @property
    def idle_s(self) -> float:
        """Seconds in which a worker did not train."""
        return self.available_s - self.trained_s


@dataclass(frozen=True)
class _Shift:
    """The time in which a session's workers had trials, and what they trained in it."""

    workers: int
    begin: datetime
    end: datetime
    intervals: tuple[tuple[int, TrainingInterval], ...]

    def lasts_s(self, until: datetime) -> float:
        """Returns its seconds up to a moment."""
        return max(0.0, (min(self.end, until) - self.begin).total_seconds())


def compute_utilisation(study: Study, baseline: Study | None = None) -> Utilisation | None:
    """How much of their time the workers of a search trained.

    Args:
        study: The search.
        baseline: The Keras example, which its workers may have trained meanwhile.

    Returns:
        None if no worker trained a trial, or one has only just begun.
    """
    shifts = tuple(_shifts(study, baseline))
    end = max((shift.end for shift in shifts), default=study.started.time)
    available_s, trained_s = _available_s(shifts, end), _trained_s(shifts, end)
    if not any(available_s.values()):
        return None
    began = _last_rung_began(study)
    return Utilisation(
        fewest=min(shift.workers for shift in shifts),
        most=max(shift.workers for shift in shifts),
        trained_s=sum(trained_s.values()),
        available_s=sum(available_s.values()),
        until_last_rung=_share(shifts, began) if began else None,
        by_worker={n: trained_s.get(n, 0.0) / s for n, s in available_s.items() if s},
    )


def describe_utilisation(found: Utilisation) -> str:
    """The same in a sentence."""
    several = f"{found.fewest} to {found.most} workers"
    who = counted(found.most, "worker") if found.fewest == found.most else several
    early = found.until_last_rung
    until = "" if early is None else f": {percent(early)} until the last rung began"
    return (
        f"{who} trained for {percent(found.share)} of the time{until}, idle "
        f"{duration(found.idle_s)} of worker time in all."
    )


def _share(shifts: Sequence[_Shift], until: datetime) -> float | None:
    available_s = sum(_available_s(shifts, until).values())
    return sum(_trained_s(shifts, until).values()) / available_s if available_s else None


def _available_s(shifts: Iterable[_Shift], until: datetime) -> dict[int, float]:
    """Seconds that each worker had until a moment."""
    found: dict[int, float] = {}
    for shift in shifts:
        for worker in range(1, shift.workers + 1):
            found[worker] = found.get(worker, 0.0) + shift.lasts_s(until)
    return found


def _trained_s(shifts: Iterable[_Shift], until: datetime) -> dict[int, float]:
    """Seconds that each worker trained until a moment; those that overlap count once."""
    found: dict[int, float] = {}
    last: dict[int, datetime] = {}
    intervals = (known for shift in shifts for known in shift.intervals)
    for worker, one in sorted(intervals, key=lambda known: known[1].started):
        begin, end = max(one.started, last.get(worker, one.started)), min(one.ended, until)
        found[worker] = found.get(worker, 0.0) + max(0.0, (end - begin).total_seconds())
        last[worker] = max(begin, end)
    return found


def _shifts(study: Study, baseline: Study | None) -> Iterator[_Shift]:
    """One for each session whose workers had trials."""
    starts = [session.time for session in study.sessions]
    found: list[list[tuple[int, TrainingInterval]]] = [[] for _ in starts]
    for _, worker, one in worker_intervals(study):
        found[bisect_right(starts, one.started) - 1].append((worker, one))
    reference = tuple(worker_intervals(baseline)) if baseline else ()
    for session, own in zip(study.sessions, found, strict=True):
        if own:
            workers = max(session.workers, *(worker for worker, _ in own))
            begin, end = min(one.started for _, one in own), max(one.ended for _, one in own)
            meanwhile = (
                (worker, replace(one, started=max(one.started, begin), ended=min(one.ended, end)))
                for _, worker, one in reference
                if worker <= workers and one.started < end and begin < one.ended
            )
            yield _Shift(workers, begin, end, (*own, *meanwhile))


def _last_rung_began(study: Study) -> datetime | None:
    if not study.plan:
        return None
    last = study.plan[-1]
    place = (last.iteration, last.bracket, last.rung)
    return min(
        (t.started for t in study.trials if (t.iteration, t.bracket, t.rung) == place), default=None
    )
