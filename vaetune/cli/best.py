"""`vaetune best`: print or export the winner."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, find_named, hand_over, note, say, title_of
from vaetune.cli.options import Results, StudyName, TrialId
from vaetune.cli.values import ExportFormat

if TYPE_CHECKING:
    from vaetune.device import Device
    from vaetune.study import Study, Trial


def best(
    name: StudyName = None,
    export: Annotated[
        bool, typer.Option("--export", help="Write the model and its figures to results/best/.")
    ] = False,
    formats: Annotated[
        list[ExportFormat] | None,
        typer.Option(
            "--format",
            metavar="<keras|saved-model|onnx|litert|all>",
            help="Format of the export, in addition to keras; may be given several times.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Export to this folder instead of results/best/.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Images of the search, if they have moved; for --export.")
    ] = None,
    trial: TrialId = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="Use the best trial with this number of latent dimensions.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Print the winner of a search or another trial, and export it.

    An exported model is loaded again in each format. A format that differs from the original is
    left out.
    """
    from vaetune.config import BEST
    from vaetune.report import describe_decision, describe_winner
    from vaetune.study import find_baseline, find_example, pick

    if (formats or output is not None or dataset is not None) and not export:
        raise typer.BadParameter("--format, --output and --dataset go with --export")
    study = find_named(results, name)
    if trial is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    if trial is None and latent_dim is None:
        study = hand_over(study)
    picked = pick(study, trial, latent_dim)
    say(title_of(study, picked))
    reference, example = find_baseline(study, results), find_example(study, results)
    say(describe_winner(study, picked, reference, example))
    say(describe_decision(study, picked))
    if export:
        target = results / BEST if output is None else output
        with clean_interrupt("Stopped. Nothing was exported."):
            export_and_print(study, picked, target, formats or (), "cpu", dataset)


def export_and_print(
    study: "Study",
    trial: "Trial",
    target: Path,
    formats: Sequence[str],
    device: "Device",
    dataset: str | None = None,
) -> None:
    """Exports a trial, and prints the files and the maximum differences from the original.

    Args:
        study: Search or baseline of the trial.
        trial: Trial to export.
        target: Folder to write.
        formats: Formats besides "keras".
        device: Device for TensorFlow.
        dataset: New place of the images; None if they have not moved.
    """
    from vaetune.export import export_trial

    with _show_steps() as on_step:
        export = export_trial(
            study, trial, target, formats, images=dataset, device=device, on_step=on_step
        )
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in target.iterdir())
    say(f"Exported to {target}/: {', '.join(names)}")
    for name, differences in export.max_difference.items():
        values = (
            f"{part} {value:.0e}" if value else f"{part} 0" for part, value in differences.items()
        )
        say(f"  {name}: maximum difference from the original: {', '.join(values)}")
    if export.no_losses:
        note(
            "Without losses of validation images, `vaetune score` sets no threshold with this "
            f"export. {export.no_losses}"
        )
    for name, reason in export.failures.items():
        note(f"vaetune: {name} was not exported: {reason}")
    if export.failures:
        raise typer.Exit(1)


@contextmanager
def _show_steps() -> Iterator[Callable[[str], None]]:
    """Shows the current step in a terminal, and nothing in a file or pipe."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("Restoring the model") as status:
            yield status.update
    else:
        yield lambda step: None
