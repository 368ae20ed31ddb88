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
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vaetune.evaluation import EvaluationProtocol
    from vaetune.journal import TrialEvaluated
    from vaetune.reader import Reader
    from vaetune.report.watch import Happening
    from vaetune.search import OpenSearch
    from vaetune.spec import DataSpec, ResolvedSearch
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


class OnOption(StrEnum):
    """Values of --on."""

    train = "train"
    both = "train+validation"


class DecayOption(StrEnum):
    """Values of --learning-rate-decay."""

    none = "none"
    cosine = "cosine"


class AlgorithmOption(StrEnum):
    """Values of --algorithm."""

    hyperband = "hyperband"
    random = "random"
    bayesian = "bayesian"
    grid = "grid"


class FormatOption(StrEnum):
    """Values of --format."""

    table = "table"
    json = "json"
    csv = "csv"


class ExportFormat(StrEnum):
    """Values of --format where a model is handed over."""

    keras = "keras"
    saved_model = "saved-model"
    onnx = "onnx"
    litert = "litert"
    all = "all"


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
MaxEpochs = Annotated[int | None, typer.Option(help="Epochs of the longest trials.")]
MaxTrials = Annotated[
    int | None, typer.Option(help="How many; random, bayesian and grid search only.")
]
MinEpochs = Annotated[
    int | None, typer.Option(help="Epochs of the shortest trials; Hyperband only.")
]
Factor = Annotated[int | None, typer.Option(help="A rung keeps one in this many; Hyperband only.")]
HyperbandIterations = Annotated[
    int | None, typer.Option(help="How often to run Hyperband's whole schedule.")
]
KeepBest = Annotated[
    int | None, typer.Option(help="How many of the best trials keep their weights.")
]
FinalSeeds = Annotated[
    int | None,
    typer.Option(help="Train the finalists from so many other seeds before one of them wins."),
]
Baseline = Annotated[
    bool | None,
    typer.Option("--baseline/--no-baseline", help="Also train the Keras example to compare."),
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
    str | None,
    typer.Argument(help="A search, or baselines/NAME; the latest search if left out."),
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
def new(
    name: Annotated[str, typer.Argument(help="What to call the search.")],
    algorithm: Annotated[
        AlgorithmOption, typer.Option(help="Whose built-in search file to begin with.")
    ] = AlgorithmOption.hyperband,
    dataset: Dataset = None,
) -> None:
    """Write a search file of your own, searches/NAME.toml, to edit."""
    from vaetune.drafting import draft_search

    path = draft_search(name, algorithm.value, dataset or "digits")
    _print(f"Written: {path}")
    _print(f"Next: edit it, then `vaetune check {name}`, then `vaetune search {name}`")


@app.command()
def search(
    name: Annotated[
        str | None,
        typer.Argument(help="A file searches/NAME.toml, or a path. Lists them if left out."),
    ] = None,
    dataset: Dataset = None,
    max_epochs: MaxEpochs = None,
    max_trials: MaxTrials = None,
    min_epochs: MinEpochs = None,
    factor: Factor = None,
    hyperband_iterations: HyperbandIterations = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on to more trials or iterations than before.")
    ] = False,
    time_budget: Annotated[
        str | None, typer.Option(help="Such as 1h30m: stop after it, export the winner so far.")
    ] = None,
    max_failure_rate: Annotated[
        float | None, typer.Option(help="Stop when a larger share of the trials failed.")
    ] = None,
    keep_best: KeepBest = None,
    final_seeds: FinalSeeds = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    precision: PrecisionFlag = None,
    baseline: Baseline = None,
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
        "limits.final_seeds": final_seeds,
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
def check(
    name: Annotated[str, typer.Argument(help="A file searches/NAME.toml, or a path.")],
    dataset: Dataset = None,
    max_epochs: MaxEpochs = None,
    max_trials: MaxTrials = None,
    min_epochs: MinEpochs = None,
    factor: Factor = None,
    hyperband_iterations: HyperbandIterations = None,
    keep_best: KeepBest = None,
    final_seeds: FinalSeeds = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    precision: PrecisionFlag = None,
    baseline: Baseline = None,
    device: DeviceFlag = None,
) -> None:
    """Try a search before it is run: its file, its images, the device, how long it is to take.

    Flags are those of search. Nothing is written into results/.
    """
    from vaetune import spec
    from vaetune.study import refuse_reserved_name

    flags = {
        "data.dataset": dataset,
        "budget.max_epochs": max_epochs,
        "budget.min_epochs": min_epochs,
        "budget.factor": factor,
        "budget.hyperband_iterations": hyperband_iterations,
        "budget.max_trials": max_trials,
        "limits.keep_best": keep_best,
        "limits.final_seeds": final_seeds,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "baseline": baseline,
        "device": device.value if device else None,
    }
    resolved = spec.resolve(spec.find_search(name), flags)
    refuse_reserved_name(resolved.name)
    with _told_when_stopped():
        _check(resolved, name)


@app.command()
def train(
    best: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train the winner of this search, for longer."),
    ] = None,
    trial: TrialId = None,
    epochs: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
    on: Annotated[OnOption, typer.Option(help="Which images.")] = OnOption.train,
    learning_rate_decay: Annotated[
        DecayOption | None, typer.Option(help="Of the learning rate over the epochs.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better one.")
    ] = None,
    filters_1: Annotated[
        int | None, typer.Option(help="Channels of the first convolution.")
    ] = None,
    filters_2: Annotated[int | None, typer.Option(help="Channels of the second.")] = None,
    dense_units: Annotated[int | None, typer.Option(help="Width of the dense layer.")] = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="Latent dimensions; with --best, whose best trial.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL divergence.")] = None,
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
    """Train one configuration from its beginning, outside any search.

    With --best it is the winner of a search, on the data and in the way of that search, else the
    Keras example's; flags change either. Trained on train+validation, one image in twenty of
    both is held out to choose the epoch. What is trained lies in results/baselines/.
    """
    chosen = {
        "filters_1": filters_1,
        "filters_2": filters_2,
        "dense_units": dense_units,
        "latent_dim": None if best else latent_dim,
        "learning_rate": learning_rate,
        "beta": beta,
    }
    flags = {
        "budget.max_epochs": epochs,
        "budget.patience": patience,
        "data.dataset": dataset,
        "data.train_on": None if on is OnOption.train else on.value,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "training.learning_rate_decay": learning_rate_decay.value if learning_rate_decay else None,
        "device": device.value if device else None,
    }
    own = {key: value for key, value in chosen.items() if value is not None}
    if best is None and trial is not None:
        raise typer.BadParameter("--trial goes with --best, which names its search")
    with _told_when_stopped():
        if best is None:
            from vaetune.spec import resolve_single

            _run_baseline(resolve_single(own, flags), results, name, overwrite, quiet)
        else:
            _train_best(best, trial, latent_dim, own, flags, results, name, overwrite, quiet)


@app.command()
def best(
    name: StudyName = None,
    export: Annotated[
        bool, typer.Option("--export", help="Write the model and its figures to results/best/.")
    ] = False,
    formats: Annotated[
        list[ExportFormat] | None,
        typer.Option("--format", help="Of the export, beside keras; may be given several times."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Export to this folder instead of results/best/.")
    ] = None,
    trial: TrialId = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="The best of the trials with so many latent dimensions.")
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Print the winner of a search, or another trial; hand it over with --export.

    An export is read back, and left out is what says something else than the original.
    """
    from vaetune.study import BEST, find_baseline, pick
    from vaetune.summary import describe_winner
    from vaetune.verdict import describe_judgement

    if (formats or output is not None) and not export:
        raise typer.BadParameter("--format and --output go with --export")
    study = _find(results, name)
    if trial is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial, latent_dim)
    what = "Winner" if picked == study.winner else f"Trial {picked.trial_id}"
    _print(f"{what} of {study.name} ({_state(study)})")
    _print(describe_winner(study, picked, find_baseline(study, results)))
    _print(describe_judgement(study, picked))
    if export:
        target = results / BEST if output is None else output
        with _told_when_stopped():
            _bring_up_and_export(study, picked, results, target, formats or ())


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
    dataset: Annotated[
        str | None,
        typer.Option(help="Where the images are, if not where they were; an export needs it."),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Judge the winner of a search, and the Keras example, on the test images.

    Nothing else looks at them. What was measured before in the same way is printed as recorded.
    With the folder of an export, such as results/best, its model is judged, and nothing recorded.
    """
    from vaetune.evaluation import EvaluationProtocol

    protocol = EvaluationProtocol(
        seed=0,
        importance_samples=importance_samples,
        importance_images=IMPORTANCE_IMAGES if images is None else images,
    )
    with _told_when_stopped():
        if name is not None and _is_export(name, results):
            if trial is not None:
                raise typer.BadParameter("an export is of one trial: leave --trial out")
            what, judged = _judge_export(Path(name), dataset, protocol, images)
        else:
            study = _find(results, name)
            what, judged = _judge_study(study, trial, dataset, protocol, images, again, results)
    if output is EvaluationFormat.json:
        from vaetune.summary import evaluations_as_json

        _print(evaluations_as_json(judged))
        return
    from vaetune.summary import evaluations_as_table

    _print(f"{what} on the test images")
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
    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device

    data = resolved.spec.data
    images = prepare_images(load_images(data.dataset), data)
    device = choose_device(resolved.spec.device)
    from vaetune.search import open_search

    with open_search(
        resolved, images, device, results, overwrite=overwrite, extend=extend
    ) as opened:
        _announce(opened, resolved, quiet)
        study = _run(opened, quiet)
    _tell_outcome(study, results)


def _check(resolved: "ResolvedSearch", name: str) -> None:
    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.summary import describe_plan, describe_search

    spec = resolved.spec
    images = prepare_images(load_images(spec.data.dataset), spec.data)
    device = choose_device(spec.device)
    from vaetune.rehearsal import describe_rehearsal, rehearse
    from vaetune.search import summarise

    data = summarise(images)
    _print(f"vaetune {__version__}: check of {resolved.name}")
    _print(describe_search(spec, data, resolved.origins, device.name, device.threads))
    _print("Trying it: a model is saved and read back, and a few steps are timed.")
    rehearsal = rehearse(spec, images)
    _print(f"To come: {describe_plan(rehearsal.plan)}.")
    _print(describe_rehearsal(rehearsal, spec, data.train_images))
    has_flags = "flag" in resolved.origins.values()
    _print(f"Ready. Next: vaetune search {name}{' and the same flags' * has_flags}")


def _train_best(
    search_name: str,
    trial_id: str | None,
    latent_dim: int | None,
    hyperparameters: "Mapping[str, float]",
    flags: "Mapping[str, object]",
    results: Path,
    name: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    from vaetune.spec import resolve_single
    from vaetune.study import pick

    study = _find(results, search_name)
    if trial_id is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial_id, latent_dim)
    resolved = resolve_single(hyperparameters, flags, picked.hyperparameters, study.search)
    spec = resolved.spec
    described = f"Trial {picked.trial_id} of {study.name}, trained from its beginning for longer"
    spec = spec.model_copy(update={"description": described})
    resolved = replace(resolved, name=f"{study.name}-trial-{picked.trial_id}", spec=spec)
    _run_baseline(resolved, results, name, overwrite, quiet, of=study)


def _run_baseline(
    resolved: "ResolvedSearch",
    results: Path,
    name: str | None,
    overwrite: bool,
    quiet: bool,
    of: "Study | None" = None,
) -> None:
    """Trains one configuration, on the images of a study if it is one of its trials."""
    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.summary import describe_winner

    single = resolved.spec
    images = load_images(single.data.dataset)
    device = choose_device(single.device)
    from vaetune.judge import check_images
    from vaetune.search import open_baseline

    if of is not None:
        check_images(of, prepare_images(images, of.search.data))
    images = prepare_images(images, single.data)
    with open_baseline(
        single, images, device, results, name=name, stem=resolved.name or None, overwrite=overwrite
    ) as opened:
        _announce(opened, resolved, quiet)
        study = _run(opened, quiet)
    if study.winner is None:
        _fail(f"The training failed: {study.trials[0].error}")
    _print(f"Trained {study.name}, in {study.folder}/")
    _print(describe_winner(study, study.winner, None))
    _print(f"Next: vaetune evaluate {study.address}")


def _announce(opened: "OpenSearch", resolved: "ResolvedSearch", quiet: bool) -> None:
    """Prints the resolved search and what is to come, before the first trial."""
    from vaetune.summary import describe_plan, describe_retraining, describe_search

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
    seeds = opened.spec.limits.final_seeds
    if seeds and started.kind == "search":
        _print(f"After it: {describe_retraining(opened.plan, opened.spec)}.")
    if past and past.is_complete and opened.is_judged:
        _print("All of it is done already.")
    elif past and past.is_complete:
        _print("All of its trials are done already: now its finalists are judged again.")
    elif past:
        _print(f"Going on: {_state(past)}; epochs done: {past.epochs_trained}.")


def _run(opened: "OpenSearch", quiet: bool) -> "Study":
    from rich.console import Console

    from vaetune.progress import SearchProgress
    from vaetune.signals import StoppableWatcher

    kind = opened.started.kind
    progress = SearchProgress(Console(), opened.plan, opened.past, quiet, kind)
    try:
        with progress, StoppableWatcher(progress) as watcher:
            return opened.run(watcher)
    except KeyboardInterrupt:
        _print("Stopped. What was found so far is kept; the same command goes on from here.")
        _refresh_report(opened.results)
        raise typer.Exit(INTERRUPTED) from None


def _tell_outcome(study: "Study", results: Path) -> None:
    from vaetune.reader import Reader
    from vaetune.report import write_report
    from vaetune.study import BEST, find_baseline
    from vaetune.summary import describe_winner
    from vaetune.verdict import describe_judgement

    end = study.last_end
    if study.winner is not None:
        _print(f"Winner of {study.name} ({_state(study)})")
        _print(describe_winner(study, study.winner, find_baseline(study, results)))
        _print(describe_judgement(study, study.winner))
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
                with Reader() as reader:
                    _export(study, study.winner, results, results / BEST, (), reader)
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


def _is_export(name: str, results: Path) -> bool:
    """Whether a name is the folder of an export, and of no study."""
    from vaetune.destination import read_manifest
    from vaetune.study import has_begun, is_path

    folders = (results / name, Path(name))
    return is_path(name) and not any(map(has_begun, folders)) and bool(read_manifest(folders[1]))


def _judge_study(
    study: "Study",
    trial_id: str | None,
    dataset: str | None,
    protocol: "EvaluationProtocol",
    wanted: int | None,
    again: bool,
    results: Path,
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """The evaluations of a trial and of the Keras example, by what to call them."""
    from vaetune.study import find_baseline, pick

    picked = pick(study, trial_id)
    data = study.search.data
    protocol = _for_images(
        replace(protocol, seed=study.search.seed, binarize=data.binarize),
        study.started.data.test_images,
        wanted,
    )
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
        placed = data.model_copy(update={"dataset": dataset or data.dataset})
        judged |= _judge(missing, study, placed, protocol)
    what = "Winner" if picked == study.winner else f"Trial {picked.trial_id}"
    told = {name: judged[name] for name in models if name in judged}
    return f"{what} of {study.name} ({_state(study)})", told


def _for_images(
    protocol: "EvaluationProtocol", available: int, wanted: int | None
) -> "EvaluationProtocol":
    """The protocol where there are so many test images, with a note if more were wanted."""
    if wanted is not None and wanted > available:
        _note(f"There are {available:,} test images, fewer than --images {wanted}: all are used.")
    return protocol.limited_to(available)


def _judge(
    models: "dict[str, tuple[Study, Trial]]",
    study: "Study",
    data: "DataSpec",
    protocol: "EvaluationProtocol",
) -> "Iterator[tuple[str, TrialEvaluated]]":
    """Evaluates models on the images of a study; that of another study may fail."""
    from rich.console import Console

    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.progress import EvaluationProgress

    images = prepare_images(load_images(data.dataset), data)
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


def _judge_export(
    folder: Path, dataset: str | None, protocol: "EvaluationProtocol", wanted: int | None
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """The evaluation of an exported model, by what to call it."""
    from rich.console import Console

    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.progress import EvaluationProgress
    from vaetune.spec import NAMED_SETS

    device = choose_device("auto", exact=True)
    from vaetune.judge import find_export, judge_export
    from vaetune.signals import StoppableWatcher

    exported = find_export(folder)
    if exported is None:
        raise ResultsError(f"What {folder} says of itself is damaged. Export it again.")
    data = exported.data
    if dataset is None and data.dataset not in NAMED_SETS:
        raise ResultsError(
            f'{folder} does not say where its images "{data.dataset}" are. '
            "Name them with --dataset."
        )
    images = prepare_images(load_images(dataset or data.dataset), data)
    if images.fingerprint != exported.fingerprint:
        _note("These are other images than the model was trained and validated on.")
    protocol = _for_images(
        replace(protocol, seed=exported.seed, binarize=data.binarize), len(images.test), wanted
    )
    progress = EvaluationProgress(Console(stderr=True), str(folder))
    with progress, StoppableWatcher(progress) as watcher:
        event = judge_export(exported, images, protocol, device, watcher.on_progress)
    return f"The model in {folder}/", {f"trial {exported.trial_id}": event}


def _bring_up_and_export(
    study: "Study",
    trial: "Trial",
    results: Path,
    target: Path,
    formats: "Sequence[str]",
) -> None:
    """Exports where TensorFlow is not there yet: it is brought up in both processes at once."""
    from vaetune.destination import refuse_foreign
    from vaetune.device import choose_device
    from vaetune.reader import Reader

    refuse_foreign(target)
    with Reader() as reader:
        choose_device("cpu")
        _export(study, trial, results, target, formats, reader)


def _export(
    study: "Study",
    trial: "Trial",
    results: Path,
    target: Path,
    formats: "Sequence[str]",
    reader: "Reader",
) -> None:
    from vaetune.export import export_trial

    with _shown_what_is_done() as tell:
        export = export_trial(study, trial, results, target, reader, formats, tell)
    names = sorted(f"{path.name}{'/' * path.is_dir()}" for path in target.iterdir())
    _print(f"Exported to {target}/: {', '.join(names)}")
    for name, apart in export.apart.items():
        told = (f"{what} {value:.0e}" if value else f"{what} 0" for what, value in apart.items())
        _print(f"  {name}: {', '.join(told)} apart from the original")
    for name, reason in export.failures.items():
        _note(f"vaetune: {name} is not in it: {reason}")
    if export.failures:
        raise typer.Exit(1)


@contextmanager
def _shown_what_is_done() -> "Iterator[Callable[[str], None]]":
    """Shows what it is told of in a terminal; in a file or a pipe nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("Restoring the model") as status:
            yield status.update
    else:
        yield lambda doing: None


def _refresh_report(results: Path) -> None:
    from vaetune.report import write_report

    with suppress(VaetuneError):  # nothing to report yet
        _print(f"Report: {write_report(results)}")


def _find(results: Path, name: str | None) -> "Study":
    from vaetune.study import find_study, is_path, list_studies

    if name is not None and is_path(name):
        return find_study(results, name)
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
