"""Writes the report to a file, atomically and never over a file of another program."""

import os
from datetime import UTC, datetime
from pathlib import Path

from vaetune.config import BASELINES, REPORT_NAME
from vaetune.errors import ResultsError
from vaetune.files import check_writable, is_in_use, write_atomically
from vaetune.report.page import GENERATOR, render_report
from vaetune.study import (
    explain_as_trained,
    find_baseline,
    find_example,
    list_baselines,
    list_studies,
)

_LIVE = b'<noscript><meta http-equiv="refresh"'
"""Text near the beginning of a page that only live pages contain."""


def write_report(
    results: str | os.PathLike[str] = "results",
    live: bool = False,
    output: str | os.PathLike[str] | None = None,
) -> Path:
    """Writes `report.html` about all searches in a folder of results.

    Args:
        results: Folder of results.
        live: True if the page will be written repeatedly; see `watch`.
        output: File to write. Default: `report.html` in the folder of results.

    Returns:
        Path of the page.

    Raises:
        ResultsError: There is no search, the page cannot be written, or a file of another program
            has its name.
        JournalError: No journal can be read.
    """
    results = Path(results)
    target = results / REPORT_NAME if output is None else Path(output)
    check_replaceable(target)
    if output is not None:
        check_writable(target, "--output")
    catalog = list_studies(results)
    catalog.find(None)  # Raises an error if there is no search.
    baselines = {study.name: find_baseline(study, results) for study in catalog.studies}
    examples = {study.name: find_example(study, results) for study in catalog.studies}
    trained = list_baselines(results)
    explanations = {study.name: explain_as_trained(study, trained) for study in catalog.studies}
    unreadable = dict(catalog.unreadable)
    for name, reason in trained.unreadable.items():
        unreadable[f"{BASELINES}/{name}"] = reason
    unfinished = [study for study in catalog.studies if live and study.last_end is None]
    running = {study.name for study in unfinished if is_in_use(study.folder)}
    page = render_report(
        catalog.studies,
        baselines,
        datetime.now(UTC),
        unreadable,
        live,
        running,
        examples,
        explanations,
    )
    try:
        # A search and `vaetune report` may write the page at the same time.
        write_atomically(target, lambda file: file.write(page.encode()), own_temporary=True)
    except ResultsError as error:
        advice = "To write the report elsewhere, use `vaetune report --output FILE`."
        raise ResultsError(f"{error} {advice}") from error
    return target


def is_live_page(page: Path) -> bool:
    """Whether a page exists and was written as live."""
    try:
        with page.open("rb") as file:
            return _LIVE in file.read(4096)
    except OSError:
        return False


def check_replaceable(target: Path) -> None:
    """Checks that a page is missing or was written by vaetune.

    Raises:
        ResultsError: It is a file of another program, or cannot be read.
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
            "Move it away, or write to another file with `vaetune report --output FILE`."
        )
