"""`vaetune report`: write the report, once or while searches run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, say
from vaetune.cli.options import Results

if TYPE_CHECKING:
    from vaetune.report import WatchEvent
    from vaetune.study import Study


def report(
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Update the report until all running searches have ended."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write to this file instead.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Write results/report.html, a page about all searches.

    With --watch, the page is updated as trials start and end, and refreshes itself in the browser.
    If no search is running, vaetune waits for the next one. Press Ctrl-C to stop.
    """
    if watch and output is not None:
        raise typer.BadParameter("give --watch or --output, not both")
    with clean_interrupt():
        from vaetune.report import write_report

        if watch:
            watch_results(results)
        else:
            say(f"Report: {write_report(results, output=output)}")


def watch_results(results: Path) -> None:
    """Updates the report as trials end, and prints the state of running searches."""
    from vaetune.config import REPORT_NAME
    from vaetune.report import is_live_page, watch, write_report

    page, printed = results / REPORT_NAME, ""
    try:
        for number, event in enumerate(watch(results)):
            if number == 0:
                say(f"Watching {results}/: {page} is updated as trials end. Press Ctrl-C to stop.")
            line = _describe(event)
            if line not in ("", printed):
                say(line)
                printed = line
    except KeyboardInterrupt:
        say("Stopped watching.")
        if is_live_page(page):
            say(f"Report: {write_report(results)}, no longer live")


def _describe(event: "WatchEvent") -> str:
    from vaetune.report import Ended, Waiting, WriteFailed, Written

    match event:
        case Waiting():
            return "No search is running. Waiting for one to start."
        case Written(is_live=False):
            return f"Report: {event.page}, no longer live"
        case Written():
            return "; ".join(f"{study.name}: {study.state}" for study in event.running)
        case Ended():
            return _describe_end(event.name, event.study)
        case WriteFailed():
            return f"The report was not updated. {event.reason}"


def _describe_end(name: str, study: "Study | None") -> str:
    if study is None:
        return f"{name} has ended; its journal cannot be read."
    return f"{name} {'has ended' if study.last_end else 'was killed'}: {study.state}"
