"""The command line: parse, call, print, exit. Imports nothing heavy at start."""

import signal
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vaetune import __version__
from vaetune.errors import VaetuneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaetune.search import OpenSearch
    from vaetune.spec import Origin, ResolvedSearch, SearchSpec
    from vaetune.study import Study

app = typer.Typer(
    name="vaetune",
    help="Find the best convolutional variational autoencoder for a set of images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells use it."""


class DeviceOption(StrEnum):
    """Values of --device."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class FormatOption(StrEnum):
    """Values of --format."""

    table = "table"
    json = "json"
    csv = "csv"


Results = Annotated[
    Path, typer.Option(help="Folder of all results.", show_default=True, file_okay=True)
]
Dataset = Annotated[
    str | None,
    typer.Option(help="digits, mnist, fashion_mnist, an .npz file or a folder of images."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of configurations, weights and image order.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a training step.")]
DeviceFlag = Annotated[
    DeviceOption | None, typer.Option(help="Where to train; auto takes a GPU where there is one.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard earlier results first.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the outcome only.")]
StudyName = Annotated[
    str | None, typer.Argument(help="A search; the most recently started one by default.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        _print(f"vaetune {__version__}")
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


@app.command()
def search(
    name: Annotated[
        str | None,
        typer.Argument(help="A file searches/NAME.toml, or a path. Lists them if left out."),
    ] = None,
    dataset: Dataset = None,
    max_epochs: Annotated[int | None, typer.Option(help="Epochs of the longest trials.")] = None,
    factor: Annotated[int | None, typer.Option(help="A rung keeps one in this many.")] = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    baseline: Annotated[
        bool | None,
        typer.Option("--baseline/--no-baseline", help="Also train the Keras example to compare."),
    ] = None,
    device: DeviceFlag = None,
    results: Results = Path("results"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Search, or go on with a search that was stopped.

    Flags override the search file; what neither names has a default.
    """
    from vaetune import spec

    if name is None:
        _list_searches()
        return
    flags = {
        "data.dataset": dataset,
        "budget.max_epochs": max_epochs,
        "budget.factor": factor,
        "seed": seed,
        "training.batch_size": batch_size,
        "baseline": baseline,
        "device": device.value if device else None,
    }
    resolved = spec.resolve(spec.find_search(name), flags)
    _run_search(resolved, results, overwrite, quiet)


@app.command()
def train(
    epochs: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
    filters_1: Annotated[
        int | None, typer.Option(help="Channels of the first convolution.")
    ] = None,
    filters_2: Annotated[int | None, typer.Option(help="Channels of the second.")] = None,
    dense_units: Annotated[int | None, typer.Option(help="Width of the dense layer.")] = None,
    latent_dim: Annotated[int | None, typer.Option(help="Latent dimensions.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the folder in results/baselines/.")] = None,
    dataset: Dataset = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    device: DeviceFlag = None,
    results: Results = Path("results"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train one configuration, outside any search.

    It is the Keras example's unless flags say otherwise. Its results, in results/baselines/,
    are there to compare searches with.
    """
    from vaetune.spec import resolve_single

    chosen = {
        "filters_1": filters_1,
        "filters_2": filters_2,
        "dense_units": dense_units,
        "latent_dim": latent_dim,
        "learning_rate": learning_rate,
    }
    flags = {
        "budget.max_epochs": epochs,
        "data.dataset": dataset,
        "seed": seed,
        "training.batch_size": batch_size,
        "device": device.value if device else None,
    }
    own = {key: value for key, value in chosen.items() if value is not None}
    _run_baseline(resolve_single(own, flags), name, results, overwrite, quiet)


@app.command()
def best(
    name: StudyName = None,
    export: Annotated[
        bool, typer.Option("--export", help="Write the model and its figures to results/best/.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Print the winner of a search; hand it over with --export."""
    from vaetune.errors import ResultsError
    from vaetune.study import find_baseline, find_study
    from vaetune.summary import describe_winner

    study = find_study(results, name)
    winner = study.winner
    if winner is None:
        raise ResultsError(
            f'"{study.name}" has no completed trial yet: {_state(study)}. '
            f"Go on with `vaetune search {study.name}`."
        )
    _print(f"Winner of {study.name} ({_state(study)})")
    _print(describe_winner(study, winner, find_baseline(study, results)))
    if export:
        from vaetune.device import choose_device

        choose_device("cpu")
        from vaetune.export import export_trial

        folder = export_trial(study, winner, results)
        _print(f"Exported to {folder}/: {', '.join(sorted(p.name for p in folder.iterdir()))}")


@app.command()
def trials(
    name: StudyName = None,
    output: Annotated[FormatOption, typer.Option("--format", help="How.")] = FormatOption.table,
    results: Results = Path("results"),
) -> None:
    """List every trial of a search."""
    from vaetune import summary
    from vaetune.study import find_study

    written = {
        FormatOption.table: summary.trials_as_table,
        FormatOption.json: summary.trials_as_json,
        FormatOption.csv: summary.trials_as_csv,
    }
    _print(written[output](find_study(results, name)))


@app.command()
def report(results: Results = Path("results")) -> None:
    """Write results/report.html from what is recorded."""
    from vaetune.report import write_report

    _print(f"Report: {write_report(results)}")


def main() -> NoReturn:
    """Runs the command line; what the user can mend becomes one line and exit code 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except VaetuneError as error:
        _fail(str(error))
    except BrokenPipeError:  # such as `vaetune trials | head`
        with suppress(OSError):
            sys.stdout.close()
        sys.exit(1)
    sys.exit(0)


def _run_search(resolved: "ResolvedSearch", results: Path, overwrite: bool, quiet: bool) -> None:
    from vaetune.data import load_images
    from vaetune.device import choose_device

    images = load_images(resolved.spec.data.dataset)
    device = choose_device(resolved.spec.device)
    from vaetune.search import open_search

    with open_search(resolved, images, device, results, overwrite=overwrite) as opened:
        if not quiet:
            _announce(opened, resolved.origins)
        study = _run(opened, quiet)
    _tell_outcome(study, results)


def _run_baseline(
    single: "SearchSpec", name: str | None, results: Path, overwrite: bool, quiet: bool
) -> None:
    from vaetune.data import load_images
    from vaetune.device import choose_device
    from vaetune.summary import describe_winner

    images = load_images(single.data.dataset)
    device = choose_device(single.device)
    from vaetune.search import open_baseline

    with open_baseline(single, images, device, results, name=name, overwrite=overwrite) as opened:
        if not quiet:
            _announce(opened, {})
        study = _run(opened, quiet)
    if study.winner is None:
        _fail(f"The training failed: {study.trials[0].error}")
    _print(f"Trained {study.name}, in {study.folder}/")
    _print(describe_winner(study, study.winner, None))


def _announce(opened: "OpenSearch", origins: "Mapping[str, Origin]") -> None:
    """Prints the resolved search and what is to come, before the first trial."""
    from vaetune.summary import describe_plan, describe_search

    started, past = opened.started, opened.past
    _print(f"vaetune {__version__}: {started.kind} {started.name} -> {opened.folder}/")
    if started.search.description:
        _print(started.search.description)
    _print(describe_search(started, origins, opened.device.name, opened.device.threads))
    _print(f"To come: {describe_plan(started.plan)}.")
    if opened.journal.repaired:
        _print(f"The journal's last line was torn; it was set aside in {opened.journal.repaired}.")
    if past and past.is_complete:
        _print("All of it is done already.")
    elif past:
        _print(f"Going on: {_state(past)}; epochs done: {past.epochs_trained}.")


def _run(opened: "OpenSearch", quiet: bool) -> "Study":
    from rich.console import Console

    from vaetune.progress import SearchProgress
    from vaetune.signals import StoppableWatcher

    progress = SearchProgress(Console(), opened.started, opened.past, quiet)
    try:
        with progress, StoppableWatcher(progress) as watcher:
            return opened.run(watcher)
    except KeyboardInterrupt:
        _print("Stopped. What was found so far is kept; the same command goes on from here.")
        _refresh_report(opened.results)
        raise typer.Exit(INTERRUPTED) from None


def _tell_outcome(study: "Study", results: Path) -> None:
    from vaetune.report import write_report
    from vaetune.study import find_baseline
    from vaetune.summary import describe_winner

    path = write_report(results)
    if study.winner is None:
        _print(f"Report: {path}")
        _fail(f"Every trial failed, the first with: {study.trials[0].error}")
    _print(f"Winner of {study.name} ({_state(study)})")
    _print(describe_winner(study, study.winner, find_baseline(study, results)))
    _print(f"Report: {path}")
    _print(f"Next: vaetune best {study.name} --export")


def _refresh_report(results: Path) -> None:
    from vaetune.report import write_report

    with suppress(VaetuneError):  # nothing to report yet
        _print(f"Report: {write_report(results)}")


def _state(study: "Study") -> str:
    from vaetune.summary import counted

    ended = sum(trial.ended is not None for trial in study.trials)
    planned = sum(rung.trials for rung in study.started.plan)
    failed = f", {len(study.failures)} failed" if study.failures else ""
    if study.is_complete:
        return f"complete, {counted(ended, 'trial')}{failed}"
    return f"not complete, {ended} of {counted(planned, 'trial')}{failed}"


def _list_searches() -> None:
    from vaetune.spec import available_searches, describe
    from vaetune.summary import list_searches

    _print("Searches (run one with `vaetune search NAME`):")
    _print(list_searches((name, describe(path)) for name, path in available_searches().items()))


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # a search that is told to stop ends as cleanly as by Ctrl-C


def _print(text: str) -> None:
    print(text)  # noqa: T201


def _fail(message: str) -> NoReturn:
    print(f"vaetune: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(1)
