"""Models handed over, from a terminal."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vaetune.terminal import note, say

if TYPE_CHECKING:
    from vaetune.reader import Reader
    from vaetune.study import Study, Trial


def bring_up_and_hand_over(
    study: "Study",
    trial: "Trial",
    results: Path,
    target: Path,
    formats: Sequence[str],
) -> None:
    """Exports where TensorFlow is not there yet: it is brought up in both processes at once."""
    from vaetune.destination import refuse_foreign
    from vaetune.device import choose_device
    from vaetune.reader import Reader

    refuse_foreign(target)
    with Reader() as reader:
        choose_device("cpu")
        hand_over(study, trial, results, target, formats, reader)


def hand_over(
    study: "Study",
    trial: "Trial",
    results: Path,
    target: Path,
    formats: Sequence[str],
    reader: "Reader",
) -> None:
    """Exports a trial, and tells what was written and how far it is apart from the original."""
    from vaetune.export import export_trial

    with _shown_what_is_done() as tell:
        export = export_trial(study, trial, results, target, reader, formats, tell)
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in target.iterdir())
    say(f"Exported to {target}/: {', '.join(names)}")
    for name, apart in export.apart.items():
        told = (f"{what} {value:.0e}" if value else f"{what} 0" for what, value in apart.items())
        say(f"  {name}: {', '.join(told)} apart from the original")
    for name, reason in export.failures.items():
        note(f"vaetune: {name} is not in it: {reason}")
    if export.failures:
        raise typer.Exit(1)


@contextmanager
def _shown_what_is_done() -> Iterator[Callable[[str], None]]:
    """Shows what it is told of in a terminal; in a file or a pipe nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("Restoring the model") as status:
            yield status.update
    else:
        yield lambda doing: None
