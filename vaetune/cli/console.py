"""What a command prints, where, and how it ends. Nothing else of the package prints."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

if TYPE_CHECKING:
    from vaetune.device import ChosenDevice
    from vaetune.study import Study, Trial


INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells use it."""


def say(text: str) -> None:
    """Says it on stdout."""
    print(text, flush=True)  # noqa: T201


def note(text: str) -> None:
    """Says it on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def fail(message: str) -> NoReturn:
    """Says it on stderr in one line, and ends with exit code 1."""
    print(f"vaetune: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(1)


@contextmanager
def clean_interrupt() -> Iterator[None]:
    """Says a word where Ctrl-C comes before a search begins, or after it ended."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. Everything recorded before is unharmed.")
        raise typer.Exit(INTERRUPTED) from None


def find_named(results: Path, name: str | None) -> "Study":
    """Finds a study by name, and prints a note about unreadable ones; see `find_study`."""
    from vaetune.study import find_study, is_path, list_studies

    if name is not None and is_path(name):
        return find_study(results, name)
    catalog = list_studies(results)
    if name is None and catalog.studies:
        for folder, reason in catalog.unreadable.items():
            note(f"{folder} is passed over. {reason}")
    return catalog.find(name)


def title_of(study: "Study", trial: "Trial") -> str:
    """Which trial of what comes next, and how far that is."""
    what = "Winner" if trial == study.winner else f"Trial {trial.trial_id}"
    return f"{what} of {study.name} ({study.state})"


def describe_device(device: "ChosenDevice") -> str:
    """What this process trains on."""
    from vaetune.report import counted

    return f"{device.name}, {counted(device.threads, 'thread')}"
