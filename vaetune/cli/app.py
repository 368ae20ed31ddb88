"""The command line: registration of the commands and exit codes. Imports nothing heavy."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from vaetune.cli.best import best
from vaetune.cli.cache import cache
from vaetune.cli.check import check
from vaetune.cli.console import fail, say
from vaetune.cli.encode import encode
from vaetune.cli.evaluate import evaluate
from vaetune.cli.explain import explain
from vaetune.cli.groups import GroupedCommand, expand_groups
from vaetune.cli.new import new
from vaetune.cli.report import report
from vaetune.cli.score import score
from vaetune.cli.search import search
from vaetune.cli.train import train
from vaetune.cli.trials import trials
from vaetune.errors import VaetuneError
from vaetune.version import __version__

app = typer.Typer(
    name="vaetune",
    help="Find the best convolutional variational autoencoder for a set of images.",
    subcommand_metavar="COMMAND",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"vaetune {__version__}")
        raise typer.Exit


@app.callback()
def _vaetune(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


for _command in (
    new,
    search,
    check,
    train,
    best,
    evaluate,
    encode,
    score,
    explain,
    trials,
    report,
    cache,
):
    app.command(cls=GroupedCommand)(expand_groups(_command))


def main() -> NoReturn:
    """Runs the command line. An error that the user can fix is one line and exit code 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A command in a cell of a notebook gets the notebook's, which this Python may not have.
    os.environ.pop("MPLBACKEND", None)
    try:
        app()
    except VaetuneError as error:
        fail(str(error))
    except BrokenPipeError:  # The reader has ended, as in `vaetune trials | head`.
        with suppress(OSError):
            sys.stdout.close()
        sys.exit(1)
    sys.exit(0)


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # SIGTERM stops a search as cleanly as Ctrl-C.
