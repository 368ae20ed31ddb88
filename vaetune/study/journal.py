"""The append-only record of a search: one JSON object per line, written by one process.

Everything that is shown about a search is read from its journal, and after a crash a search
continues from it. An event is on the disk before anything happens that depends on it.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError

from vaetune.errors import OVERWRITE, JournalError
from vaetune.files import writing_to
from vaetune.study.events import FORMAT, Event, FileSetAside

JOURNAL_NAME = "journal.jsonl"

Listener = Callable[[Event], None]

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Journal:
    """Appends events to a journal.

    Only one process may write to a journal: open it inside `lock_results`.

    Args:
        path: File of the journal. It is created if it does not exist.

    Attributes:
        listener: Callable that receives each event once it is on the disk.
        repaired: File that holds an incomplete last line, which was moved there when the journal
            was opened; None if every line was complete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener: Listener | None = None
        self.repaired = _move_incomplete_line(path)
        with writing_to(path):
            # Unbuffered, so that no part of a line that failed can be written later.
            self._file = path.open("ab", buffering=0)
        self._incomplete_from: int | None = None

    def append(self, event: Event) -> None:
        """Writes an event to the disk, then passes it to the listener.

        Raises:
            ResultsError: The event cannot be written; see `write`.
        """
        self.write(event)
        self.publish(event)

    def write(self, event: Event) -> None:
        """Writes an event to the disk. `publish` passes it to the listener.

        Raises:
            ResultsError: The disk is full, or the file cannot be written. The journal then ends
                with the previous event.
        """
        line = event.model_dump_json().encode() + b"\n"
        with writing_to(self.path):
            self._remove_incomplete_line()
            self._incomplete_from = os.fstat(self._file.fileno()).st_size
        try:
            with writing_to(self.path):
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
                self._incomplete_from = None
        finally:
            # If this fails too, the next event, or the next session, removes the line.
            with suppress(OSError):
                self._remove_incomplete_line()

    def _remove_incomplete_line(self) -> None:
        if self._incomplete_from is not None:
            os.truncate(self.path, self._incomplete_from)
            self._incomplete_from = None

    def publish(self, event: Event) -> None:
        """Passes an event that is recorded already to the listener."""
        if self.listener:
            self.listener(event)

    def close(self) -> None:
        """Closes the file. Every event is on the disk already."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def describe_repair(journal: Journal) -> FileSetAside | None:
    """Returns an event that records the repair of the journal, or None if it was intact."""
    if journal.repaired is None:
        return None
    return FileSetAside(
        file=JOURNAL_NAME,
        aside=journal.repaired.name,
        remedy="Its last line was incomplete: the work that it recorded is done again.",
    )


def read_journal(path: Path) -> Iterator[Event]:
    """Yields the events of a journal.

    An incomplete last line is skipped: a search may be writing it now.

    Raises:
        JournalError: There is no journal, its format is unknown, or a line is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise JournalError(
            f"There is no search in {path.parent}: {path.name} is missing. Expected the folder of "
            "a search, such as results/hyperband."
        ) from None
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}.") from error
    whole_lines = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole_lines.splitlines(), start=1):
        if number == 1:
            _check_format(line, path)
        yield _parse(line, number, path)


def _move_incomplete_line(path: Path) -> Path | None:
    """Moves the text after the last line break to a file of its own, and returns its path."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end == len(content):
        return None
    aside = path.with_name(f"journal.torn-{end}")
    with writing_to(path):
        aside.write_bytes(content[end:])
        os.truncate(path, end)
    return aside


def _check_format(line: bytes, path: Path) -> None:
    try:
        first = json.loads(line)
        version = first.get("format") if isinstance(first, dict) else None
    except (ValueError, RecursionError):
        version = None
    if version is None:
        raise JournalError(f"{path} is not a journal of vaetune: its first line has no format.")
    if version not in range(1, FORMAT + 1):
        newer = ", which is newer" if isinstance(version, int) and version > FORMAT else ""
        raise JournalError(
            f"{path} has format {version}{newer}. This version of vaetune reads the formats up to "
            f"{FORMAT}. Use the version that wrote it, or search again under another name."
        )


def _parse(line: bytes, number: int, path: Path) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":
            raise JournalError(
                f"{path}, line {number} has the unknown field {first['loc'][-1]!r}: a later "
                "version of vaetune wrote it. Use that version, or search again under another "
                "name."
            ) from error
        if first["type"] == "union_tag_invalid":
            raise JournalError(
                f"{path}, line {number} has the unknown event {first['ctx']['tag']!r}: a later "
                "version of vaetune wrote it, or it is damaged. Use that version, restore the "
                f"file from a copy, or search again with {OVERWRITE}."
            ) from error
        raise JournalError(
            f"{path}, line {number} is damaged ({first['msg']}). Restore the file from a copy, "
            f"or search again with {OVERWRITE}."
        ) from error
