"""The files of a search's folder: which belong to it, how they are discarded or set aside."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from vaetune.errors import ResultsError
from vaetune.study import JOURNAL_NAME, PICTURES_NAME, FileSetAside

DISCARDED = "journal.discarded"

_TRIALS = "trials"

_ORPHANS = "trials.orphaned"

_TORN = "journal.torn-*"

_OWN_FILES = (
    JOURNAL_NAME,
    DISCARDED,
    _TORN,
    PICTURES_NAME,
    _TRIALS,
    f"{_ORPHANS}*",
    ".lock",
    ".holder",
)


def check_own_folder(folder: Path) -> None:
    try:
        present = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{folder} cannot be used for results: {error.strerror}.") from error
    foreign = [name for name in present if not any(fnmatch(name, own) for own in _OWN_FILES)]
    if foreign and JOURNAL_NAME not in present:
        raise ResultsError(
            f"{folder} holds files of another program, such as {foreign[0]}. "
            "Name the search otherwise, or write elsewhere with --results."
        )


def discard(folder: Path) -> None:
    """Removes a search; from the first step on it is gone, wherever the rest is cut off."""
    journal = folder / JOURNAL_NAME
    if journal.exists():
        journal.replace(folder / DISCARDED)
    for path in (folder / _TRIALS, *folder.glob(f"{_ORPHANS}*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in (*folder.glob(_TORN), folder / PICTURES_NAME, folder / DISCARDED):
        path.unlink(missing_ok=True)


def set_orphans_aside(folder: Path) -> FileSetAside | None:
    """Sets aside trials whose journal is missing or lacks its first line."""
    trials, orphans = folder / _TRIALS, sorted(folder.glob(f"{_ORPHANS}*"))
    if trials.is_dir():
        orphans.append(folder / f"{_ORPHANS}-{len(orphans) + 1}")
        try:
            trials.replace(orphans[-1])
        except OSError as error:
            raise ResultsError(f"{trials} cannot be moved: {error.strerror}.") from error
    if not orphans:
        return None
    torn = folder / JOURNAL_NAME
    has_piece = torn.exists() and torn.stat().st_size > 0
    return FileSetAside(
        file=JOURNAL_NAME,
        aside="journal.torn-0" if has_piece else None,
        remedy="What it told of the trials is lost with it: the search begins anew. The trials' "
        f"files are in {orphans[-1].name}/ until --overwrite removes them.",
    )
