"""How commands print lines, errors and titles, and how they end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from vaetune.errors import MissingImagesError, ResultsError

if TYPE_CHECKING:
    from vaetune.device import ChosenDevice
    from vaetune.study import Exported, Study, Trial


INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


def say(text: str) -> None:
    """Prints a line to stdout."""
    print(text, flush=True)  # noqa: T201


def note(text: str) -> None:
    """Prints a line to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def fail(message: str) -> NoReturn:
    """Prints an error to stderr as one line, and ends the command with exit code 1."""
    print(f"vaetune: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(1)


@contextmanager
def clean_interrupt(
    message: str = "Stopped. Everything found so far is kept.",
) -> Iterator[None]:
    """Ends the command cleanly after Ctrl-C outside of a search.

    Args:
        message: Line that is printed then.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(message)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def advise_if_moved(is_given: bool) -> Iterator[None]:
    """Adds `--dataset` to the error about images that are no longer where a search found them.

    Args:
        is_given: Whether `--dataset` was given, so that there is nothing to add.

    Raises:
        MissingImagesError: The body raised it.
    """
    try:
        yield
    except MissingImagesError as error:
        if is_given:
            raise
        advice = "If the images have moved, name their new place with --dataset."
        raise MissingImagesError(f"{error} {advice}") from error


def find_named(results: Path, name: str | None) -> "Study":
    """Finds a study by name, and prints a note about unreadable ones; see `find_study`."""
    from vaetune.study import find_study, list_studies

    if name is not None:
        return find_study(results, name)
    catalog = list_studies(results)
    if catalog.studies:
        for folder, reason in catalog.unreadable.items():
            note(f"{folder} is skipped. {reason}")
    return catalog.find()


def hand_over(study: "Study") -> "Study":
    """Returns the study with the best trained model of a search, and says so if it is another.

    See `find_best_trained`.
    """
    from vaetune.study import find_best_trained

    found = find_best_trained(study)
    if found is not study and study.winner:
        note(
            f"By the {study.measure.title}, {found.address} is the best training of the winning "
            f"configuration of {study.name}. To use the search's own, give --trial "
            f"{study.winner.trial_id}."
        )
    return found


def is_export(name: str, results: Path) -> bool:
    """Whether a name is the folder of an export, and not that of a study."""
    from vaetune.study import has_begun, read_manifest

    folders = (results / name, Path(name))
    return not any(map(has_begun, folders)) and read_manifest(folders[1]) is not None


def find_exported(folder: Path) -> "Exported":
    """Returns the export in a folder.

    Raises:
        ResultsError: Its manifest is damaged.
    """
    from vaetune.study import find_export

    exported = find_export(folder)
    if exported is None:
        raise ResultsError(f"The manifest of {folder} is damaged. Export the trial again.")
    return exported


def title_of(study: "Study", trial: "Trial") -> str:
    """Returns a title for a trial: what it is, its study and how far that study is."""
    what = "Winner" if trial == study.winner else f"Trial {trial.trial_id}"
    return f"{what} of {study.name} ({study.state})"


def describe_device(device: "ChosenDevice") -> str:
    """Returns the device and the threads of this process."""
    from vaetune.report import counted

    return f"{device.name}, {counted(device.threads, 'thread')}"
