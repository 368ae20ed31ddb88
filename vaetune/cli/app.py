"""The command line: registration of the commands and exit codes. Imports nothing heavy."""

import codecs
import errno
import io
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
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
    escape_unknown_characters()
    _check_working_directory()
    try:
        app()
    except VaetuneError as error:
        fail(str(error))
    except BrokenPipeError:  # The reader has ended, as in `vaetune trials | head`.
        _close_stdout()
        sys.exit(1)
    except OSError as error:
        # Files have a name, and errors about them are handled where they are written.
        if error.filename is not None or error.errno not in _STDOUT_ERRORS:
            raise
        _close_stdout()
        fail(f"The output cannot be written: {error.strerror}. Everything found so far is kept.")
    sys.exit(0)


def _check_working_directory() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        fail("The working directory was deleted. Change to another one.")


_STDOUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def _close_stdout() -> None:
    """Closes stdout without the text that could not be written, which Python would try again."""
    with suppress(OSError):
        sys.stdout.close()


_PLAIN = {"\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{NO-BREAK SPACE}": " "}


def escape_unknown_characters() -> None:
    """Prints escapes of characters that the encoding of stdout does not have, or plain ones."""

    def escape(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        unknown = error.object[error.start : error.end]
        plain = (
            _PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in unknown
        )
        return "".join(plain), error.end

    codecs.register_error("vaetune-escape", escape)
    if isinstance(sys.stdout, io.TextIOWrapper):
        with suppress(OSError):  # It cannot be changed in all processes.
            sys.stdout.reconfigure(errors="vaetune-escape")


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # SIGTERM stops a search as cleanly as Ctrl-C.
