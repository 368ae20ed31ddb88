"""The command line: parse, call, print, exit. Imports nothing heavy at start."""

import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vaetune import __version__
from vaetune.errors import ResultsError, VaetuneError
from vaetune.evaluation import IMPORTANCE_IMAGES, IMPORTANCE_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vaetune.evaluation import EvaluationProtocol
    from vaetune.journal import TrialEvaluated
    from vaetune.report.watch import Happening
    from vaetune.search import OpenSearch
    from vaetune.spec import ResolvedSearch, SearchSpec
    from vaetune.study import Study, Trial

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


class PrecisionOption(StrEnum):
    """Values of --precision."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


class FormatOption(StrEnum):
    """Values of --format."""

    table = "table"
    json = "json"
    csv = "csv"


class EvaluationFormat(StrEnum):
    """Values of --format where there is no row a trial."""

    table = "table"
    json = "json"


Results = Annotated[
    Path, typer.Option(help="Folder of all results.", show_default=True, file_okay=True)
]
Dataset = Annotated[
    str | None,
    typer.Option(help="digits, mnist, fashion_mnist, an .npz file or a folder of images."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of configurations, weights and image order.")]
BatchSize = Annotated[int | None, typer.Option(help="Images a training step.")]
PrecisionFlag = Annotated[
    PrecisionOption | None, typer.Option(help="Of training; mixed_bfloat16 is for GPUs.")
]
DeviceFlag = Annotated[
    DeviceOption | None, typer.Option(help="Where to train; auto takes a GPU where there is one.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard earlier results first.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the outcome only.")]
TrialId = Annotated[str | None, typer.Option(help="Another trial than the winner, by its id.")]
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
    max_trials: Annotated[
        int | None, typer.Option(help="How many; random, bayesian and grid search only.")
    ] = None,
    min_epochs: Annotated[
        int | None, typer.Option(help="Epochs of the shortest trials; Hyperband only.")
    ] = None,
    factor: Annotated[
        int | None, typer.Option(help="A rung keeps one in this many; Hyperband only.")
    ] = None,
    hyperband_iterations: Annotated[
        int | None, typer.Option(help="How often to run Hyperband's whole schedule.")
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on to more trials or iterations than before.")
    ] = False,
    time_budget: Annotated[
        str | None, typer.Option(help="Such as 1h30m: stop after it, export the winner so far.")
    ] = None,
    max_failure_rate: Annotated[
        float | None, typer.Option(help="Stop when a larger share of the trials failed.")
    ] = None,
    keep_best: Annotated[
        int | None, typer.Option(help="How many of the best trials keep their weights.")
    ] = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    precision: PrecisionFlag = None,
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
    if extend and overwrite:
        raise typer.BadParameter("give --extend or --overwrite, not both")
    flags = {
        "data.dataset": dataset,
        "budget.max_epochs": max_epochs,
        "budget.min_epochs": min_epochs,
        "budget.factor": factor,
        "budget.hyperband_iterations": hyperband_iterations,
        "budget.max_trials": max_trials,
        "limits.time_budget": time_budget,
        "limits.max_failure_rate": max_failure_rate,
        "limits.keep_best": keep_best,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "baseline": baseline,
        "device": device.value if device else None,
    }
    resolved = spec.resolve(spec.find_search(name), flags)
    with _told_when_stopped():
        _run_search(resolved, results, overwrite, extend, quiet)


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
    precision: PrecisionFlag = None,
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
        "training.precision": precision.value if precision else None,
        "device": device.value if device else None,
    }
    own = {key: value for key, value in chosen.items() if value is not None}
    with _told_when_stopped():
        _run_baseline(resolve_single(own, flags), name, results, overwrite, quiet)


@app.command()
def best(
    name: StudyName = None,
    export: Annotated[
        bool, typer.Option("--export", help="Write the model and its figures to results/best/.")
    ] = False,
    trial: TrialId = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="The best of the trials with so many latent dimensions.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Print the winner of a search, or another trial; hand it over with --export."""
    from vaetune.study import find_baseline, pick
    from vaetune.summary import describe_winner

    study = _find(results, name)
    if trial is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial, latent_dim)
    what = "Winner" if picked == study.winner else f"Trial {picked.trial_id}"
    _print(f"{what} of {study.name} ({_state(study)})")
    _print(describe_winner(study, picked, find_baseline(study, results)))
    if export:
        from vaetune.device import choose_device

        choose_device("cpu")
        _export(study, picked, results)


@app.command()
def evaluate(
    name: StudyName = None,
    trial: TrialId = None,
    importance_samples: Annotated[
        int, typer.Option(min=1, help="k of the bound on the negative log-likelihood.")
    ] = IMPORTANCE_SAMPLES,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many test images, the first ones, it is of.",
            show_default=str(IMPORTANCE_IMAGES),
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what is recorded already.")
    ] = False,
    output: Annotated[
        EvaluationFormat, typer.Option("--format", help="How.")
    ] = EvaluationFormat.table,
    results: Results = Path("results"),
) -> None:
    """Judge the winner of a search, and the Keras example, on the test images.

    Nothing else looks at them. What was measured before in the same way is printed as recorded.
    """
    from vaetune.evaluation import EvaluationProtocol
    from vaetune.study import pick

    study = _find(results, name)
    picked = pick(study, trial)
    available = study.started.data.test_images
    if images is not None and images > available:
        _note(f"There are {available:,} test images, fewer than --images {images}: all are used.")
    protocol = EvaluationProtocol(
        study.search.seed,
        importance_samples=importance_samples,
        importance_images=IMPORTANCE_IMAGES if images is None else images,
    ).limited_to(available)
    with _told_when_stopped():
        judged = _judge_all(study, picked, protocol, again, results)
    if output is EvaluationFormat.json:
        from vaetune.summary import evaluations_as_json

        _print(evaluations_as_json(judged))
        return
    from vaetune.summary import evaluations_as_table

    what = "Winner" if picked == study.winner else f"Trial {picked.trial_id}"
    _print(f"{what} of {study.name} ({_state(study)}) on the test images")
    _print(evaluations_as_table(judged))


@app.command()
def trials(
    name: StudyName = None,
    output: Annotated[FormatOption, typer.Option("--format", help="How.")] = FormatOption.table,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only the failed ones, with their tracebacks.")
    ] = False,
    results: Results = Path("results"),
) -> None:
    """List every trial of a search."""
    from vaetune import summary

    study = _find(results, name)
    written = {
        FormatOption.table: summary.failures_in_full if failed else summary.trials_as_table,
        FormatOption.json: summary.trials_as_json,
        FormatOption.csv: summary.trials_as_csv,
    }
    _print(written[output](replace(study, trials=study.failures) if failed else study))


@app.command()
def report(
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on writing it, until all searches that run have ended."),
    ] = False,
    results: Results = Path("results"),
) -> None:
    """Write results/report.html from what is recorded.

    With --watch it is written anew as trials start and end, and the page refreshes itself in the
    browser. Where no search runs, the next one is waited for. Ctrl-C ends it at any time.
    """
    with _told_when_stopped():
        from vaetune.report import write_report

        if watch:
            _watch(results)
        else:
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


@contextmanager
def _told_when_stopped() -> "Iterator[None]":
    """Says a word where Ctrl-C comes before a search begins, or after it ended."""
    try:
        yield
    except KeyboardInterrupt:
        _print("Stopped. What was recorded before is unharmed.")
        raise typer.Exit(INTERRUPTED) from None


def _run_search(
    resolved: "ResolvedSearch", results: Path, overwrite: bool, extend: bool, quiet: bool
) -> None:
    from vaetune.data import load_images
    from vaetune.device import choose_device

    images = load_images(resolved.spec.data.dataset)
    device = choose_device(resolved.spec.device)
    from vaetune.search import open_search

    with open_search(
        resolved, images, device, results, overwrite=overwrite, extend=extend
    ) as opened:
        _announce(opened, resolved, quiet)
        study = _run(opened, quiet)
    _tell_outcome(study, results)


def _run_baseline(
    single: "SearchSpec", name: str | None, results: Path, overwrite: bool, quiet: bool
) -> None:
    from vaetune.data import load_images
    from vaetune.device import choose_device
    from vaetune.spec import ResolvedSearch
    from vaetune.summary import describe_winner

    images = load_images(single.data.dataset)
    device = choose_device(single.device)
    from vaetune.search import open_baseline

    with open_baseline(single, images, device, results, name=name, overwrite=overwrite) as opened:
        _announce(opened, ResolvedSearch("train", single, {}), quiet)
        study = _run(opened, quiet)
    if study.winner is None:
        _fail(f"The training failed: {study.trials[0].error}")
    _print(f"Trained {study.name}, in {study.folder}/")
    _print(describe_winner(study, study.winner, None))


def _announce(opened: "OpenSearch", resolved: "ResolvedSearch", quiet: bool) -> None:
    """Prints the resolved search and what is to come, before the first trial."""
    from vaetune.summary import describe_plan, describe_search

    if quiet:
        return
    origins = dict(resolved.origins)
    for key in ("max_trials", "hyperband_iterations"):
        if getattr(opened.spec.budget, key) != getattr(resolved.spec.budget, key):
            origins[f"budget.{key}"] = "extended"
    started, past, device = opened.started, opened.past, opened.device
    _print(f"vaetune {__version__}: {started.kind} {started.name} -> {opened.folder}/")
    if started.search.description:
        _print(started.search.description)
    _print(describe_search(opened.spec, started.data, origins, device.name, device.threads))
    _print(f"{'The whole search' if past else 'To come'}: {describe_plan(opened.plan)}.")
    if past and past.is_complete:
        _print("All of it is done already.")
    elif past:
        _print(f"Going on: {_state(past)}; epochs done: {past.epochs_trained}.")


def _run(opened: "OpenSearch", quiet: bool) -> "Study":
    from rich.console import Console

    from vaetune.progress import SearchProgress
    from vaetune.signals import StoppableWatcher

    progress = SearchProgress(Console(), opened.plan, opened.past, quiet)
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

    end = study.last_end
    if study.winner is not None:
        _print(f"Winner of {study.name} ({_state(study)})")
        _print(describe_winner(study, study.winner, find_baseline(study, results)))
    _print(f"Report: {write_report(results)}")
    if end and end.reason == "failures":
        _fail(
            f"{end.message} The first failed with: {study.failures[0].error} "
            f"See `vaetune trials {study.name} --failed`. "
            "To go on all the same: --max-failure-rate 1"
        )
    if end and end.reason == "time_budget":
        _print(f"{end.message} The same command goes on from here.")
        if study.winner:
            try:
                _export(study, study.winner, results)
            except ResultsError as error:  # it was lost, and is not yet made again
                _print(f"The winner so far is not exported. {error}")
    elif study.winner is None:
        _fail(f"Every trial failed, the first with: {study.trials[0].error}")
    else:
        _print(f"Next: vaetune best {study.name} --export")


def _watch(results: Path) -> None:
    from vaetune.report import write_report
    from vaetune.report.page import REPORT_NAME, is_live_page
    from vaetune.report.watch import watch

    page, told = results / REPORT_NAME, ""
    try:
        for number, happening in enumerate(watch(results)):
            if number == 0:
                _print(f"Watching {results}/: {page} is written as trials end. Ctrl-C stops.")
            line = _describe(happening)
            if line not in ("", told):
                _print(line)
                told = line
    except KeyboardInterrupt:
        _print("No longer watching.")
        if is_live_page(page):
            _print(f"Report: {write_report(results)}, no longer live")


def _describe(happening: "Happening") -> str:
    from vaetune.report.watch import Ended, Unwritten, Waiting, Written

    match happening:
        case Waiting():
            return "No search is running: waiting for one to begin."
        case Written(is_live=False):
            return f"Report: {happening.page}, no longer live"
        case Written():
            return "; ".join(f"{study.name}: {_state(study)}" for study in happening.running)
        case Ended():
            return _describe_end(happening.name, happening.study)
        case Unwritten():
            return f"The page is as it was. {happening.reason}"


def _describe_end(name: str, study: "Study | None") -> str:
    if study is None:
        return f"{name} has ended; its journal cannot be read."
    return f"{name} {'has ended' if study.last_end else 'was killed'}: {_state(study)}"


def _judge_all(
    study: "Study", picked: "Trial", protocol: "EvaluationProtocol", again: bool, results: Path
) -> "dict[str, TrialEvaluated]":
    """The evaluations of a trial and of the Keras example, by what to call them."""
    from vaetune.study import find_baseline

    models = {f"trial {picked.trial_id}": (study, picked)}
    baseline = find_baseline(study, results)
    if baseline and baseline.winner:
        models["Keras example"] = (baseline, baseline.winner)
    else:
        _note("There is no Keras example trained alike to hold it against.")
    recorded = {name: one.evaluation(trial, protocol) for name, (one, trial) in models.items()}
    judged = {name: event for name, event in recorded.items() if event and not again}
    missing = {name: model for name, model in models.items() if name not in judged}
    if missing:
        judged |= _judge(missing, study, protocol)
    return {name: judged[name] for name in models if name in judged}


def _judge(
    models: "dict[str, tuple[Study, Trial]]", study: "Study", protocol: "EvaluationProtocol"
) -> "Iterator[tuple[str, TrialEvaluated]]":
    """Evaluates models on the images of a study; that of another study may fail."""
    from rich.console import Console

    from vaetune.data import load_images
    from vaetune.device import choose_device
    from vaetune.progress import EvaluationProgress

    images = load_images(study.search.data.dataset)
    device = choose_device("auto", exact=True)
    from vaetune.judge import judge
    from vaetune.signals import StoppableWatcher

    for name, (one, trial) in models.items():
        progress = EvaluationProgress(Console(stderr=True), name)
        try:
            with progress, StoppableWatcher(progress) as watcher:
                event = judge(one, trial.trial_id, images, protocol, device, watcher.on_progress)
        except VaetuneError as error:
            if one is study:
                raise
            _note(f"The {name} is not judged beside it. {error}")
        else:
            yield name, event


def _export(study: "Study", trial: "Trial", results: Path) -> None:
    from vaetune.export import export_trial

    folder = export_trial(study, trial, results)
    _print(f"Exported to {folder}/: {', '.join(sorted(p.name for p in folder.iterdir()))}")


def _refresh_report(results: Path) -> None:
    from vaetune.report import write_report

    with suppress(VaetuneError):  # nothing to report yet
        _print(f"Report: {write_report(results)}")


def _find(results: Path, name: str | None) -> "Study":
    from vaetune.study import list_studies

    shelf = list_studies(results)
    if name is None and shelf.studies:
        for folder, reason in shelf.unreadable.items():
            _note(f"{folder} is passed over. {reason}")
    return shelf.find(name)


def _state(study: "Study") -> str:
    from vaetune.summary import counted

    ended = sum(trial.ended is not None for trial in study.trials)
    planned = study.trials_planned
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


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _fail(message: str) -> NoReturn:
    print(f"vaetune: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    sys.exit(1)
