"""Watches a folder of results and writes its page again while searches run.

Each poll needs one `stat` per journal and reads only the lines that were appended. Writing the page
takes seconds of CPU time that a search could use, so it takes at most a tenth of the time.
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
"""Seconds between two polls."""

PAUSE_RATIO = 9.0
"""Pause after writing a page, relative to the time that the page took."""

EPOCHS_PAUSE_S = 60.0
"""Pause in seconds after a page if only epochs have ended since."""

RETRY_S = 30.0
"""Pause in seconds after a page that could not be written."""


@dataclass(frozen=True)
class Clock:
    """The clock of a watch, which tests replace.

    Attributes:
        now: Function that returns monotonic seconds.
        sleep: Function that waits for a number of seconds.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Waiting:
    """No search is running, and the watch waits for one."""


@dataclass(frozen=True)
class Written:
    """The page was written.

    Attributes:
        page: Path of the page.
        running: Searches that are running.
        is_live: True if the page will be written again.
    """

    page: Path
    running: tuple[Study, ...]
    is_live: bool


@dataclass(frozen=True)
class WriteFailed:
    """The page could not be written. The watch will try again.

    Attributes:
        reason: Error message. It is reported only once as long as it stays the same.
    """

    reason: str


@dataclass(frozen=True)
class Ended:
    """A search ended or was killed.

    Attributes:
        name: Name of the search.
        study: Study of the search, or None if its journal cannot be read.
    """

    name: str
    study: Study | None


_KIND = re.compile(rb'"event":\s*"(\w+)"')
"""Pattern of an event's kind. It matches no other text, because quotation marks are escaped."""

WatchEvent = Waiting | Written | WriteFailed | Ended

WriteReport = Callable[[Path, bool], Path]


def watch(
    results: Path, clock: Clock | None = None, write: WriteReport = write_report
) -> Iterator[WatchEvent]:
    """Writes the page of a folder of results again until all running searches have ended.

    If no search is running, it waits for one. Searches that start later count as well. The last
    page is not live. If you stop the generator earlier, write that page yourself.

    Args:
        results: Folder of results, which need not exist yet.
        clock: Clock to use, or None for the system's.
        write: Function like `write_report`.

    Yields:
        Events, when they happen.

    Raises:
        ResultsError: The first or the last page cannot be written, a file of another program has
            its name, or `results` is a file.
        JournalError: No journal can be read when the last page is written.
    """
    if results.exists() and not results.is_dir():
        raise ResultsError(f"{results} is a file. Expected a folder of results, or a new folder.")
    check_replaceable(results / REPORT_NAME)
    clock = clock or Clock()
    folder, writer = _WatchedFolder(results), _PageWriter(results, clock, write)
    changes = folder.poll()
    if not changes.running:
        yield Waiting()
    running: frozenset[str] = frozenset()
    while changes.running or not running:
        yield from writer.update(changes)
        clock.sleep(POLL_S)
        running, changes = changes.running, folder.poll()
        for name in sorted(running - changes.running):
            yield Ended(name, _load_study(results / name))
    yield Written(write(results, False), (), is_live=False)


@dataclass(frozen=True)
class _Changes:
    """The changes in all journals since the last poll.

    Attributes:
        running: Names of the searches that are running or ran since the last poll.
        has_search: True if there is any search, running or not.
        has_news: True if there were other events than the ends of epochs.
        has_epochs: True if epochs ended.
    """

    running: frozenset[str]
    has_search: bool
    has_news: bool
    has_epochs: bool


class _WatchedFolder:
    """The journals of a folder of results."""

    def __init__(self, results: Path) -> None:
        self._results = results
        self._searches: dict[Path, _JournalTail] = {}
        self._baselines: dict[Path, _JournalTail] = {}
        self._is_polled = False

    def poll(self) -> _Changes:
        """Reads all lines that were appended since the last poll."""
        searches = {
            path
            for path in self._results.glob(f"*/{JOURNAL_NAME}")
            if path.parent.name not in RESERVED_NAMES
        }
        baselines = set(self._results.glob(f"{BASELINES}/*/{JOURNAL_NAME}"))
        is_removed = _track(self._searches, searches) | _track(self._baselines, baselines)
        journals = [*self._searches.values(), *self._baselines.values()]
        for journal in journals:
            journal.read()
        running = {
            path.parent.name
            for path, journal in self._searches.items()
            if journal.is_running() or (self._is_polled and journal.has_run)
        }
        kinds: set[str] = set().union(*(journal.pop_kinds() for journal in journals))
        self._is_polled = True
        return _Changes(
            running=frozenset(running),
            has_search=any(journal.has_begun for journal in self._searches.values()),
            has_news=is_removed or bool(kinds - {"epoch_ended"}),
            has_epochs="epoch_ended" in kinds,
        )


def _track(journals: "dict[Path, _JournalTail]", present: set[Path]) -> bool:
    """Adds new journals and drops removed ones.

    Returns:
        True if a journal was removed.
    """
    removed = journals.keys() - present
    for path in removed:
        del journals[path]
    for path in sorted(present - journals.keys()):
        journals[path] = _JournalTail(path)
    return bool(removed)


@dataclass
class _JournalTail:
    """Reads the lines that are appended to a journal. Damaged lines raise no error."""

    path: Path
    _file_state: tuple[int, int, int] | None = None
    _read_to: int = 0
    _is_open: bool = False
    _killed_at: int | None = None
    _kinds: set[str] = field(default_factory=set)

    @property
    def has_begun(self) -> bool:
        """True if the journal has a first line."""
        return self._read_to > 0

    @property
    def has_run(self) -> bool:
        """True if a session began since the last `pop_kinds`, even if it has ended."""
        return "session_started" in self._kinds

    def read(self) -> None:
        """Reads the complete lines that were appended, or all lines if the file was replaced."""
        with suppress(OSError), self.path.open("rb") as journal:
            before, self._file_state = self._file_state, _file_state(os.fstat(journal.fileno()))
            if self._file_state == before:
                return
            # Another inode, or a size that did not grow, means that the file was replaced.
            inode, _, size = self._file_state
            if before is None or inode != before[0] or size <= before[2]:
                self._kinds.add("replaced")
                self._read_to, self._is_open = 0, False
            journal.seek(self._read_to)
            self._parse(journal.read())

    def is_running(self) -> bool:
        """True if the last session has not ended and its process is alive."""
        if not self._is_open or self._read_to == self._killed_at:
            return False
        if is_in_use(self.path.parent):
            return True
        before = self._read_to
        self.read()  # A session writes its end before it releases the lock.
        if self._is_open and self._read_to == before:
            self._killed_at = before
        return self._is_open and self._read_to != before

    def pop_kinds(self) -> set[str]:
        """The kinds of the events since the last call."""
        kinds, self._kinds = self._kinds, set()
        return kinds

    def _parse(self, content: bytes) -> None:
        whole = content[: content.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.splitlines():
            kind = _kind_of(line)
            self._kinds.add(kind)
            if kind in ("session_started", "session_ended"):
                self._is_open = kind == "session_started"


def _file_state(stat: os.stat_result) -> tuple[int, int, int]:
    """Inode, modification time and size, which change when a file changes."""
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _kind_of(line: bytes) -> str:
    found = _KIND.search(line)
    return found[1].decode() if found else "damaged"


class _PageWriter:
    """Writes the page if there are changes and the pause after the last page is over."""

    def __init__(self, results: Path, clock: Clock, write: WriteReport) -> None:
        self._results = results
        self._clock = clock
        self._write = write
        self._page: Path | None = None
        self._page_state: tuple[int, int, int] | None = None
        self._has_news = False
        self._has_epochs = False
        self._not_before_s = self._epochs_not_before_s = clock.now()
        self._reason = ""

    def update(self, changes: _Changes) -> Iterator[WatchEvent]:
        """Writes the page if it has changed and the pause is over. Yields what happened."""
        self._has_news |= changes.has_news or self._is_replaced()
        self._has_epochs |= changes.has_epochs
        if changes.has_search and self._is_due():
            yield from self._try_to_write(changes.running)

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
            self._pause(began_s, RETRY_S)
            return
        self._page_state, self._reason = _state_on_disk(self._page), ""
        self._has_news = self._has_epochs = False
        studies = [_load_study(self._results / name) for name in sorted(running)]
        self._pause(began_s)
        yield Written(self._page, tuple(filter(None, studies)), is_live=True)

    def _pause(self, began_s: float, least_s: float = 0.0) -> None:
        """Sets the time before which no page is written."""
        now_s = self._clock.now()
        self._not_before_s = now_s + max(PAUSE_RATIO * (now_s - began_s), least_s)
        self._epochs_not_before_s = now_s + EPOCHS_PAUSE_S

    def _is_replaced(self) -> bool:
        """True if a page that is not live replaced the page, as at the end of a search."""
        if self._page is None or _state_on_disk(self._page) == self._page_state:
            return False
        self._page_state = _state_on_disk(self._page)
        return not is_live_page(self._page)


def _state_on_disk(path: Path) -> tuple[int, int, int] | None:
    try:
        return _file_state(path.stat())
    except OSError:
        return None


def _load_study(folder: Path) -> Study | None:
    try:
        return load_study(folder)
    except VaetuneError:
        return None
