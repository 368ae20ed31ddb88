"""A results folder while searches write to it: its page is written again as they run.

A look costs one `stat` a journal, and what was appended to it is read once. A page costs seconds of
the processors on which a search trains: no more than a tenth of the time is spent on pages.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from vaetune.config import BASELINES, REPORT_NAME, RESERVED_NAMES
from vaetune.errors import ResultsError, VaetuneError
from vaetune.files import is_in_use
from vaetune.report.output import check_replaceable, is_live_page, write_report
from vaetune.study import JOURNAL_NAME, Study, load_study

POLL_S = 1.0
"""Seconds between two looks."""

REST = 9.0
"""Seconds without a page, for each second that the last one took."""

EPOCHS_REST_S = 60.0
"""Minimum seconds between two pages that differ in finished epochs only."""

RETRY_S = 30.0
"""Seconds after which a page that could not be written is tried again."""


@dataclass(frozen=True)
class Clock:
    """Time as a watch sees it.

    Attributes:
        now: Seconds that never go back.
        sleep: Waits for a number of seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Waiting:
    """No search runs: one is waited for."""


@dataclass(frozen=True)
class Written:
    """The page was written.

    Attributes:
        running: The searches that run, just after it was.
        is_live: Whether more pages are to follow.
    """

    page: Path
    running: tuple[Study, ...]
    is_live: bool


@dataclass(frozen=True)
class WriteFailed:
    """The page could not be written, and will be tried again.

    Attributes:
        reason: Reason why the page was not written. It is printed once until it changes.
    """

    reason: str


@dataclass(frozen=True)
class Ended:
    """A search ended, or was killed.

    Attributes:
        study: The search as it ended; None if its journal cannot be read.
    """

    name: str
    study: Study | None


_KIND = re.compile(rb'"event":\s*"(\w+)"')
"""An event's kind; within a text its quotation marks would be escaped."""

WatchEvent = Waiting | Written | WriteFailed | Ended

WriteReport = Callable[[Path, bool], Path]


def watch(
    results: Path, clock: Clock | None = None, write: WriteReport = write_report
) -> Iterator[WatchEvent]:
    """Writes the page of a folder of results anew as its searches go on, until they have ended.

    These are all that run at the first look and all that begin later; where none runs, one is
    waited for. The last page is not live. Whoever stops earlier has that one to write.

    Args:
        results: The folder; it may be yet to come.
        clock: Clock and sleep, replaced in tests.
        write: As `write_report`.

    Yields:
        What happens, as it does.

    Raises:
        ResultsError: The first page or the last cannot be written, a file of another program is in
            its place, or `results` is a file.
        JournalError: No journal can be read when the last page is written.
    """
    if results.exists() and not results.is_dir():
        raise ResultsError(f"{results} is a file; expected a folder of results, or none yet.")
    check_replaceable(results / REPORT_NAME)
    clock = clock or Clock()
    catalog, desk = _WatchedFolder(results), _Desk(results, clock, write)
    look = catalog.look()
    if not look.running:
        yield Waiting()
    running: frozenset[str] = frozenset()
    while look.running or not running:
        yield from desk.take(look)
        clock.sleep(POLL_S)
        running, look = look.running, catalog.look()
        for name in sorted(running - look.running):
            yield Ended(name, _study_of(results / name))
    yield Written(write(results, False), (), is_live=False)


@dataclass(frozen=True)
class _Look:
    """What a look at all journals found.

    Attributes:
        running: The names of the searches that run, or did since the last look.
        has_search: Whether a search has begun, now or ever.
        news: Whether more than epochs happened since the last look.
        epochs: Whether epochs ended.
    """

    running: frozenset[str]
    has_search: bool
    news: bool
    epochs: bool


class _WatchedFolder:
    """The journals of a folder of results."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._searches: dict[Path, _Log] = {}
        self._baselines: dict[Path, _Log] = {}
        self._is_known = False

    def look(self) -> _Look:
        searches = {
            path
            for path in self._results.glob(f"*/{JOURNAL_NAME}")
            if path.parent.name not in RESERVED_NAMES
        }
        baselines = set(self._results.glob(f"{BASELINES}/*/{JOURNAL_NAME}"))
        has_lost = _keep_up(self._searches, searches) | _keep_up(self._baselines, baselines)
        logs = [*self._searches.values(), *self._baselines.values()]
        for log in logs:
            log.read()
        running = {
            path.parent.name
            for path, log in self._searches.items()
            if log.is_running() or (self._is_known and log.has_run)
        }
        kinds: set[str] = set().union(*(log.take_kinds() for log in logs))
        self._is_known = True
        return _Look(
            running=frozenset(running),
            has_search=any(log.has_begun for log in self._searches.values()),
            news=has_lost or bool(kinds - {"epoch_ended"}),
            epochs="epoch_ended" in kinds,
        )


def _keep_up(logs: "dict[Path, _Log]", present: set[Path]) -> bool:
    """Follows journals that come and go; tells whether one went."""
    gone = logs.keys() - present
    for path in gone:
        del logs[path]
    for path in sorted(present - logs.keys()):
        logs[path] = _Log(path)
    return bool(gone)


@dataclass
class _Log:
    """A journal as it grows. Whatever it holds, nothing is raised."""

    path: Path
    _mark: tuple[int, int, int] | None = None  # inode, time of change, size
    _read_to: int = 0
    _is_open: bool = False
    _killed_at: int | None = None
    _kinds: set[str] = field(default_factory=set)

    @property
    def has_begun(self) -> bool:
        """Whether there is a first line: before that there is no search."""
        return self._read_to > 0

    @property
    def has_run(self) -> bool:
        """Whether a session began since `take_kinds` was asked last, however short it was."""
        return "session_started" in self._kinds

    def read(self) -> None:
        """Takes in the whole lines that were appended; all of them if it is another file."""
        with suppress(OSError), self.path.open("rb") as journal:
            before, self._mark = self._mark, _mark_of(os.fstat(journal.fileno()))
            if self._mark == before:
                return
            if before is None or self._mark[0] != before[0] or self._mark[2] <= before[2]:
                self._kinds.add("replaced")
                self._read_to, self._is_open = 0, False
            journal.seek(self._read_to)
            self._take(journal.read())

    def is_running(self) -> bool:
        """Whether the last session has no end, and a process that may yet write it."""
        if not self._is_open or self._read_to == self._killed_at:
            return False
        if is_in_use(self.path.parent):
            return True
        before = self._read_to
        self.read()  # a session ends before it releases the lock
        if self._is_open and self._read_to == before:
            self._killed_at = before
        return self._is_open and self._read_to != before

    def take_kinds(self) -> set[str]:
        """The kinds of the events since this was asked last."""
        taken, self._kinds = self._kinds, set()
        return taken

    def _take(self, content: bytes) -> None:
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            kind = _kind_of(line)
            self._kinds.add(kind)
            if kind in ("session_started", "session_ended"):
                self._is_open = kind == "session_started"


def _mark_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _kind_of(line: bytes) -> str:
    found = _KIND.search(line)
    return found[1].decode() if found else "damaged"


class _Desk:
    """Writes the page when there is something to tell and it was left alone for long enough."""

    def __init__(self, results: Path, clock: Clock, write: WriteReport) -> None:
        self._results = results
        self._clock = clock
        self._write = write
        self._page: Path | None = None
        self._mark: tuple[int, int, int] | None = None
        self._has_news = False
        self._has_epochs = False
        self._not_before_s = self._epochs_not_before_s = clock.now()
        self._reason = ""

    def take(self, look: _Look) -> Iterator[WatchEvent]:
        """Takes in what a look found, and writes the page if one is due."""
        self._has_news |= look.news or self._is_replaced()
        self._has_epochs |= look.epochs
        if look.has_search and self._is_due():
            yield from self._try_to_write(look.running)

    def _is_due(self) -> bool:
        now_s = self._clock.now()
        if now_s < self._not_before_s:
            return False
        return self._has_news or (self._has_epochs and now_s >= self._epochs_not_before_s)

    def _try_to_write(self, running: frozenset[str]) -> Iterator[WatchEvent]:
        began_s = self._clock.now()
        try:
            self._page = self._write(self._results, True)
        except VaetuneError as error:
            if self._page is None and isinstance(error, ResultsError):
                raise
            if str(error) != self._reason:
                yield WriteFailed(str(error))
            self._reason = str(error)
            self._rest(began_s, RETRY_S)
            return
        self._mark, self._reason = _mark_on_disk(self._page), ""
        self._has_news = self._has_epochs = False
        studies = [_study_of(self._results / name) for name in sorted(running)]
        self._rest(began_s)
        yield Written(self._page, tuple(filter(None, studies)), is_live=True)

    def _rest(self, began_s: float, least_s: float = 0.0) -> None:
        now_s = self._clock.now()
        self._not_before_s = now_s + max(REST * (now_s - began_s), least_s)
        self._epochs_not_before_s = now_s + EPOCHS_REST_S

    def _is_replaced(self) -> bool:
        """Whether a page that is not live took the place of ours: a search leaves one."""
        if self._page is None or _mark_on_disk(self._page) == self._mark:
            return False
        self._mark = _mark_on_disk(self._page)
        return not is_live_page(self._page)


def _mark_on_disk(path: Path) -> tuple[int, int, int] | None:
    try:
        return _mark_of(path.stat())
    except OSError:
        return None


def _study_of(folder: Path) -> Study | None:
    try:
        return load_study(folder)
    except VaetuneError:
        return None
