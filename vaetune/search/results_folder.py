"""Checks, removes and moves the files in the folder of a search."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from vaetune.errors import OVERWRITE, ResultsError
from vaetune.study import JOURNAL_NAME, PICTURES_NAME, FileSetAside

DISCARDED = "journal.discarded"
"""Name of the journal while the files of a search are removed."""

_TRIALS = "trials"

_ORPHANS = "trials.orphaned"

_INCOMPLETE = "journal.torn-*"

_OWN_FILES = (
    JOURNAL_NAME,
    DISCARDED,
    _INCOMPLETE,
    PICTURES_NAME,
    _TRIALS,
    f"{_ORPHANS}*",
    ".lock",
    ".holder",
)


def check_usable(folder: Path) -> None:
    """Checks that a folder can hold a search.

    Raises:
        ResultsError: The folder cannot be read, or it holds files of another program.
    """
    try:
        present = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{folder} cannot be read: {error.strerror}.") from error
    foreign = [name for name in present if not any(fnmatch(name, own) for own in _OWN_FILES)]
    if foreign and JOURNAL_NAME not in present:
        raise ResultsError(
            f"{folder} holds files of another program, such as {foreign[0]}. "
            "Choose another name for the search, or another folder with --results."
        )


def discard(folder: Path) -> None:
    """Removes all files of a search.

    The journal is renamed first. If this is then interrupted, the search no longer exists, and
    the next session removes the rest.
    """
    journal = folder / JOURNAL_NAME
    if journal.exists():
        journal.replace(folder / DISCARDED)
    for path in (folder / _TRIALS, *folder.glob(f"{_ORPHANS}*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in (*folder.glob(_INCOMPLETE), folder / PICTURES_NAME, folder / DISCARDED):
        path.unlink(missing_ok=True)


def set_orphans_aside(folder: Path) -> FileSetAside | None:
    """Moves trials out of the way if their journal is missing or has no complete first line.

    Returns:
        An event that records it, or None if there are no such trials.

    Raises:
        ResultsError: The trials cannot be moved.
    """
    trials, orphans = folder / _TRIALS, sorted(folder.glob(f"{_ORPHANS}*"))
    if trials.is_dir():
        orphans.append(folder / f"{_ORPHANS}-{len(orphans) + 1}")
        try:
            trials.replace(orphans[-1])
        except OSError as error:
            raise ResultsError(f"{trials} cannot be moved: {error.strerror}.") from error
    if not orphans:
        return None
    journal = folder / JOURNAL_NAME
    is_incomplete = journal.exists() and journal.stat().st_size > 0
    return FileSetAside(
        file=JOURNAL_NAME,
        aside="journal.torn-0" if is_incomplete else None,
        remedy="Its record of the trials is lost, so the search starts again. The files of the "
        f"trials are in {orphans[-1].name}/ until {OVERWRITE} removes them.",
    )
