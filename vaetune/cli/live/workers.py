"""Which workers of a search are ready, lost or idle, and the lines that say so."""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

from vaetune.report import counted
from vaetune.study import SessionStarted, WorkerJoined, WorkerLost, changes

_PAUSE_S = 1.0
"""Seconds without a trial after which a worker counts as idle."""

_MAX_NAMES = 6


class WorkerStatus:
    """Which workers are ready, which are lost, and how they differ.

    Many workers become ready at about the same time. They are reported together: when all of them
    are ready, or when the first trial has ended.

    Args:
        session: The session that the workers belong to; None before it starts.
    """

    def __init__(self, session: SessionStarted | None = None) -> None:
        self._asked = session.workers if session else 1
        self._environment = session.environment if session else None
        self._ready: dict[int, WorkerJoined] = {}
        self._lost: dict[int, WorkerJoined] = {}
        self._errors: dict[int, str] = {}
        self._unreported: set[int] = set()
        self._has_reported = False
        self._differences: set[tuple[str, ...]] = set()
        self._free_since: dict[int, float] = {}

    def join(self, event: WorkerJoined) -> Iterator[str]:
        """Adds a worker that is ready; yields the lines to print."""
        number = event.worker
        before = self._lost.pop(number, None)
        self._errors.pop(number, None)
        self._ready[number] = event
        self._free_since[number] = time.monotonic()
        if before is None:
            self._unreported.add(number)
        elif number not in self._unreported:
            where = f": {_place([event])}" if _place([event]) != _place([before]) else ""
            yield f"worker {number} is back{where}"
        if len(self._ready) >= self._asked and self._unreported:
            yield from self._report()

    def lose(self, event: WorkerLost) -> bool:
        """Records that a worker is lost; returns whether this is reported for the first time.

        The journals of the search and of the Keras example may both report it.
        """
        number = event.worker
        is_news = self._errors.get(number) != event.error
        self._errors[number] = event.error
        self._free_since.pop(number, None)
        if number in self._ready:
            self._lost[number] = self._ready.pop(number)
        return is_news

    def occupy(self, number: int | None) -> None:
        """Records that a worker has a trial."""
        if number is not None:
            self._free_since.pop(number, None)

    def release(self, number: int) -> None:
        """Records that the trial of a worker has ended."""
        if number in self._ready:
            self._free_since[number] = time.monotonic()

    def report_ready(self) -> Iterator[str]:
        """Yields the lines about the ready workers, once."""
        if not self._has_reported and self._ready:
            yield from self._report()

    def differences(self) -> Iterator[str]:
        """Yields a warning for each difference between workers and this session, once."""
        if not self._has_reported or self._environment is None:
            return
        found: dict[tuple[str, ...], list[int]] = {}
        for number, worker in sorted(self._ready.items()):
            changed = tuple(changes(self._environment, worker.environment))
            found.setdefault(changed, []).append(number)
        for changed, numbers in found.items():
            if changed and changed not in self._differences:
                self._differences.add(changed)
                yield _warning(numbers, changed)

    def remarks(self, is_rescoring: bool) -> Iterator[str]:
        """Yields the number of ready workers if some are missing, and the number of idle ones."""
        ready, long_ago_s = len(self._ready), time.monotonic() - _PAUSE_S
        if ready < self._asked and self._asked > 1:
            yield f"{ready} of {self._asked} workers are ready"
        free = sum(since_s < long_ago_s for since_s in tuple(self._free_since.values()))
        if free and not is_rescoring:
            yield f"{counted(free, 'worker')} {'waits' if free == 1 else 'wait'}"

    def _report(self) -> Iterator[str]:
        self._has_reported = True
        kinds: dict[tuple[str, int], list[WorkerJoined]] = {}
        for _, worker in sorted(self._ready.items()):
            kind = worker.environment.device, worker.environment.threads
            kinds.setdefault(kind, []).append(worker)
        for alike in kinds.values():
            unreported = [worker for worker in alike if worker.worker in self._unreported]
            if len(kinds) == 1:
                count = _of(len(alike), self._asked)
                yield f"{count} {_are(alike)} ready: {_place(alike, is_host_known=True)}"
            elif unreported:
                names = _numbered([worker.worker for worker in unreported])
                yield f"{names} {_are(unreported)} ready: {_place(unreported)}"
        self._unreported -= set(self._ready)


def _place(workers: Sequence[WorkerJoined], is_host_known: bool = False) -> str:
    """Describes workers of one kind, such as "CPU on node7, 1 thread each"."""
    environment, hosts = workers[0].environment, {worker.host for worker in workers}
    where = "" if is_host_known else f" on {workers[0].host}"
    if len(hosts) > 1:
        where = f" on {len(hosts)} machines"
    each = " each" if len(workers) > 1 else ""
    return f"{environment.device}{where}, {counted(environment.threads, 'thread')}{each}"


def _warning(numbers: Sequence[int], changed: Sequence[str]) -> str:
    verb, them = ("differs", "it") if len(numbers) == 1 else ("differ", "them")
    return (
        f"Warning: {_numbered(numbers)} {verb} from this session: {'; '.join(changed)}. "
        f"The same trial may give other numbers on {them}."
    )


def _of(count: int, asked: int) -> str:
    return counted(count, "worker") if count >= asked else f"{count} of {asked} workers"


def _are(workers: Sequence[object]) -> str:
    return "is" if len(workers) == 1 else "are"


def _numbered(numbers: Sequence[int]) -> str:
    """Returns "worker 3" or "workers 1 to 4 and 7"; of many workers, a count and the first."""
    if len(numbers) == 1:
        return f"worker {numbers[0]}"
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda at: at[1] - at[0])
    ]
    names = [
        name
        for run in runs
        for name in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    ]
    if len(names) > _MAX_NAMES:
        return f"{len(numbers)} workers ({', '.join(names[:3])}, ...)"
    return f"workers {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"
