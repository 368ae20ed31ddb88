"""`vaetune trials`: list the trials of a search."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vaetune.cli.console import find_named, say
from vaetune.cli.options import FormatOption, Results, StudyName


def trials(
    name: StudyName = None,
    output: Annotated[
        FormatOption, typer.Option("--format", help="Output format.")
    ] = FormatOption.table,
    failed: Annotated[
        bool, typer.Option("--failed", help="List only the failed trials, with their tracebacks.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """List every trial of a search."""
    from vaetune.report import failures_in_full, trials_as_csv, trials_as_json, trials_as_table

    study = find_named(results, name)
    written = {
        FormatOption.table: failures_in_full if failed else trials_as_table,
        FormatOption.json: trials_as_json,
        FormatOption.csv: trials_as_csv,
    }
    say(written[output](replace(study, trials=study.failures) if failed else study))
