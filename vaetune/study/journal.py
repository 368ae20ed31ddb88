"""The append-only record of a search: one JSON object a line, one writer.

Everything a person reads is made from it, and a search continues from it after a crash. An
event is on the disk before anything that follows from it happens.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from pydantic import Field, TypeAdapter, ValidationError

from vaetune.errors import JournalError, ResultsError
from vaetune.files import writing_to
from vaetune.study.events import FORMAT, Event, FileSetAside

JOURNAL_NAME = "journal.jsonl"

Listener = Callable[[Event], None]

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Journal:
    """Writes a journal. One process at a time holds it: open it inside `lock_results`.

    Args:
        path: The journal's file; it is created with its first event.

    Attributes:
        listener: Called with each event once it is on the disk.
        repaired: File with the torn last line that was set aside when the journal was opened, if
            any.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener: Listener | None = None
        self.repaired = _set_torn_line_aside(path)
        with writing_to(path):
            # Unbuffered: nothing of a line that failed is left to be written later.
            self._file = path.open("ab", buffering=0)

    def append(self, event: Event) -> None:
        """Writes an event through to the disk, then tells the listener.

        Raises:
            ResultsError: See `write`.
        """
        self.write(event)
        self.publish(event)

    def write(self, event: Event) -> None:
        """Writes an event to the disk, without passing it on to the listener; see `publish`.

        Raises:
            ResultsError: The disk is full or the file cannot be written. The journal then ends
                with the event before.
        """
        line = event.model_dump_json().encode() + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        try:
            with writing_to(self.path):
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
        except ResultsError:
            os.truncate(self.path, end)
            raise

    def publish(self, event: Event) -> None:
        """Tells the listener of an event that is recorded already."""
        if self.listener:
            self.listener(event)

    def close(self) -> None:
        """Closes the file; every event is on the disk already."""
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
    """What was found torn when the journal was opened, to be journaled."""
    if journal.repaired is None:
        return None
    return FileSetAside(
        file=JOURNAL_NAME,
        aside=journal.repaired.name,
        remedy="Its last line was torn: what that told is done again.",
    )


def read_journal(path: Path) -> Iterator[Event]:
    """Yields the events of a journal, without a last line that is still being written.

    Raises:
        JournalError: There is none, its format is unknown, or a line is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise JournalError(f"There is no journal at {path}.") from None
    except OSError as error:
        raise JournalError(f"The journal {path} cannot be read: {error.strerror}.") from error
    whole_lines = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole_lines.splitlines(), start=1):
        if number == 1:
            _check_format(line, path)
        yield _parsed(line, number, path)


def _set_torn_line_aside(path: Path) -> Path | None:
    """Moves what follows the last line break into a file of its own."""
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
        raise JournalError(f"{path} is not a journal of vaetune: its first line names no format.")
    if version != FORMAT:
        raise JournalError(
            f"{path} has format {version}, this vaetune reads format {FORMAT}. "
            "Read it with the version that wrote it, or search again under another name."
        )


def _parsed(line: bytes, number: int, path: Path) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":
            raise JournalError(
                f"{path}, line {number} holds {first['loc'][-1]!r}, which this vaetune does not "
                "know: a later version wrote it. Read it with that one, or search again under "
                "another name."
            ) from error
        if first["type"] == "union_tag_invalid":
            raise JournalError(
                f"{path}, line {number} tells of {first['ctx']['tag']!r}, which this vaetune does "
                "not know: a later version wrote it, or it is damaged. Read it with that one, "
                "restore the file from a copy, or search again with --overwrite."
            ) from error
        what = first["msg"]
        raise JournalError(
            f"{path}, line {number} is damaged ({what}). Restore the file from a copy, "
            "or search again with --overwrite."
        ) from error
