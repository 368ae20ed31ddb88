"""`vaetune trials`: list the trials of a search, or write them for another tool."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, find_named, say
from vaetune.cli.options import Results, StudyName
from vaetune.cli.values import FormatOption

if TYPE_CHECKING:
    from vaetune.study import Study


class ToolOption(StrEnum):
    """Values of --to."""

    optuna = "optuna"
    tensorboard = "tensorboard"
    mlflow = "mlflow"


def trials(
    name: StudyName = None,
    output_format: Annotated[
        FormatOption | None, typer.Option("--format", help="Output format. Default: table.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List only the failed trials, with their tracebacks.")
    ] = False,
    to: Annotated[
        ToolOption | None,
        typer.Option("--to", help="Tool to write the trials for, instead of listing them."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="New file or folder for --to: .db or .log for optuna, a folder for tensorboard, "
            ".db for mlflow."
        ),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """List every trial of a search, or write them for another tool."""
    if to is None:
        if output is not None:
            raise typer.BadParameter("--output goes with --to")
        list_trials(find_named(results, name), output_format or FormatOption.table, failed)
        return
    if output is None:
        raise typer.BadParameter("--to needs --output, the file or folder to write")
    if output_format is not None or failed:
        raise typer.BadParameter("give --to, or --format and --failed, not both")
    write_and_print(find_named(results, name), to, output)


def list_trials(study: "Study", output_format: FormatOption, failed: bool) -> None:
    """Prints the trials of a study in a format."""
    from vaetune.report import failures_in_full, trials_as_csv, trials_as_json, trials_as_table

    written = {
        FormatOption.table: failures_in_full if failed else trials_as_table,
        FormatOption.json: trials_as_json,
        FormatOption.csv: trials_as_csv,
    }
    say(written[output_format](replace(study, trials=study.failures) if failed else study))


def write_and_print(study: "Study", tool: ToolOption, output: Path) -> None:
    """Writes the trials of a study for a tool, and prints how to open them."""
    from vaetune.export import opening_command, write_trials
    from vaetune.report import counted

    with clean_interrupt():
        write_trials(study, tool.value, output)
    configurations = len({trial.configuration for trial in study.trials})
    say(
        f"{output}: {study.address}, {counted(len(study.trials), 'trial')} of "
        f"{counted(configurations, 'configuration')}. "
        f"Open it with: {opening_command(tool.value, output)}"
    )
