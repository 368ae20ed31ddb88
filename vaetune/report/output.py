"""The report's file: written atomically, never over a file of another program."""

import os
from datetime import UTC, datetime
from pathlib import Path

from vaetune.config import BASELINES, REPORT_NAME
from vaetune.errors import ResultsError
from vaetune.files import is_in_use
from vaetune.report.page import GENERATOR, render_report
from vaetune.study import find_baseline, list_baselines, list_studies

_LIVE = b'<noscript><meta http-equiv="refresh"'
"""What only a live page has, near its beginning."""


def write_report(results: str | os.PathLike[str] = "results", live: bool = False) -> Path:
    """Writes `report.html` with all searches of a results folder.

    Args:
        results: Folder of all results.
        live: Whether the page is to be written again and again; see `watch`.

    Returns:
        The page's path.

    Raises:
        ResultsError: There is no search, the page cannot be written, or a file of another
            program is in its place.
        JournalError: No journal can be read.
    """
    results = Path(results)
    target = results / REPORT_NAME
    check_replaceable(target)
    catalog = list_studies(results)
    catalog.find(None)  # raises where there is none
    baselines = {study.name: find_baseline(study, results) for study in catalog.studies}
    unreadable = dict(catalog.unreadable)
    for name, reason in list_baselines(results).unreadable.items():
        unreadable[f"{BASELINES}/{name}"] = reason
    open_ended = [study for study in catalog.studies if live and study.last_end is None]
    running = {study.name for study in open_ended if is_in_use(study.folder)}
    page = render_report(catalog.studies, baselines, datetime.now(UTC), unreadable, live, running)
    _write_atomically(target, page.encode())
    return target


def is_live_page(page: Path) -> bool:
    """Whether a page is there that was written to be written again."""
    try:
        with page.open("rb") as file:
            return _LIVE in file.read(4096)
    except OSError:
        return False


def check_replaceable(target: Path) -> None:
    """Leaves a page alone that vaetune did not write.

    Raises:
        ResultsError: There is one.
    """
    try:
        with target.open("rb") as page:
            head = page.read(4096)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{target} cannot be replaced: {error.strerror}.") from error
    if f'<meta name="generator" content="{GENERATOR} '.encode() not in head:
        raise ResultsError(
            f"{target} was not written by vaetune and will not be overwritten. "
            "Move it away, or use other results with --results."
        )


def _write_atomically(target: Path, content: bytes) -> None:
    """A reader sees the old page or the new one, whenever the power goes."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise ResultsError(
            f"{target} cannot be written: {error.strerror}. What is recorded is unharmed; "
            "`vaetune report` writes the page again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
