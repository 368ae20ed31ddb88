"""Computes the share of their time that workers spent on training."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vaetune.report.analysis.timeline import worker_intervals
from vaetune.report.text.units import counted, duration, percent
from vaetune.study import Study, TrainingInterval, is_open


@dataclass(frozen=True)
class Utilisation:
    """The share of their time that the workers of a search spent on training.

    A session counts from the start of its first trial to the last event of a trial. The time before
    and after, such as rescoring the finalists, is excluded. Seconds are summed over workers.

    Attributes:
        fewest: Smallest number of workers in a session.
        most: Largest number of workers in a session.
        trained_s: Worker seconds spent on training trials or the Keras example.
        available_s: Worker seconds in total.
        until_last_rung: Share (0 to 1) until the last rung of the plan began. None if that rung
            has not begun or is the only one.
        by_worker: Share (0 to 1) of each worker, in the sessions that it was part of.
    """

    fewest: int
    most: int
    trained_s: float
    available_s: float
    until_last_rung: float | None
    by_worker: Mapping[int, float]

    @property
    def share(self) -> float:
        """The share of the available time spent on training, 0 to 1."""
        return self.trained_s / self.available_s

    @property
    def idle_s(self) -> float:
        """Worker seconds without training."""
        return self.available_s - self.trained_s


@dataclass(frozen=True)
class _Period:
    """The part of a session in which its workers had trials.

    Attributes:
        workers: Number of workers.
        begin: Start of the first trial.
        end: Last event of a trial.
        intervals: Workers, and the intervals in which they trained.
    """

    workers: int
    begin: datetime
    end: datetime
    intervals: tuple[tuple[int, TrainingInterval], ...]

    def duration_s(self, until: datetime) -> float:
        """The duration in seconds, if the period is cut off at `until`."""
        return max(0.0, (min(self.end, until) - self.begin).total_seconds())


def compute_utilisation(study: Study, baseline: Study | None = None) -> Utilisation | None:
    """Computes the share of their time that the workers of a search spent on training.

    Args:
        study: Search to analyse.
        baseline: Run of the Keras example, which the workers may have trained, or None.

    Returns:
        None if no worker has trained a trial yet.
    """
    periods = tuple(_periods(study, baseline))
    end = max((period.end for period in periods), default=study.started.time)
    available_s, trained_s = _available_s(periods, end), _trained_s(periods, end)
    if not any(available_s.values()):
        return None
    last_rung = _start_of_last_rung(study)
    return Utilisation(
        fewest=min(period.workers for period in periods),
        most=max(period.workers for period in periods),
        trained_s=sum(trained_s.values()),
        available_s=sum(available_s.values()),
        until_last_rung=_share(periods, last_rung) if last_rung else None,
        by_worker={n: trained_s.get(n, 0.0) / s for n, s in available_s.items() if s},
    )


def describe_utilisation(found: Utilisation) -> str:
    """Describes the utilisation in a sentence."""
    several = f"{found.fewest} to {found.most} workers"
    workers = counted(found.most, "worker") if found.fewest == found.most else several
    early = found.until_last_rung
    until = "" if early is None else f" ({percent(early)} until the last rung began)"
    return (
        f"{workers} trained for {percent(found.share)} of the time{until} and were idle for "
        f"{duration(found.idle_s)} of worker time."
    )


def _share(periods: Sequence[_Period], until: datetime) -> float | None:
    """The share of the time until a moment that was spent on training; None without any time."""
    available_s = sum(_available_s(periods, until).values())
    return sum(_trained_s(periods, until).values()) / available_s if available_s else None


def _available_s(periods: Iterable[_Period], until: datetime) -> dict[int, float]:
    """The seconds of each worker until a moment."""
    found: dict[int, float] = {}
    for period in periods:
        for worker in range(1, period.workers + 1):
            found[worker] = found.get(worker, 0.0) + period.duration_s(until)
    return found


def _trained_s(periods: Iterable[_Period], until: datetime) -> dict[int, float]:
    """The training seconds of each worker until a moment; overlapping intervals count once."""
    found: dict[int, float] = {}
    last: dict[int, datetime] = {}
    intervals = (known for period in periods for known in period.intervals)
    for worker, one in sorted(intervals, key=lambda known: known[1].started):
        begin, end = max(one.started, last.get(worker, one.started)), min(one.ended, until)
        found[worker] = found.get(worker, 0.0) + max(0.0, (end - begin).total_seconds())
        last[worker] = max(begin, end)
    return found


def _periods(study: Study, baseline: Study | None) -> Iterator[_Period]:
    """Yields a period for each session in which workers had trials."""
    starts = [session.time for session in study.sessions]
    found: list[list[tuple[int, TrainingInterval]]] = [[] for _ in starts]
    for _, worker, one in worker_intervals(study):
        found[bisect_right(starts, one.started) - 1].append((worker, one))
    reference = tuple(worker_intervals(baseline)) if baseline else ()
    for session, own in zip(study.sessions, found, strict=True):
        if own:
            workers = max(session.workers, *(worker for worker, _ in own))
            begin, end = min(one.started for _, one in own), max(one.ended for _, one in own)
            overlapping = (
                (worker, replace(one, started=max(one.started, begin), ended=min(one.ended, end)))
                for _, worker, one in reference
                if worker <= workers and one.started < end and begin < one.ended
            )
            yield _Period(workers, begin, end, (*own, *overlapping))


def _start_of_last_rung(study: Study) -> datetime | None:
    if not study.plan or is_open(study.plan):
        return None
    last = study.plan[-1]
    rung = (last.iteration, last.bracket, last.rung)
    return min(
        (t.started for t in study.trials if (t.iteration, t.bracket, t.rung) == rung), default=None
    )
