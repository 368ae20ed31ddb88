"""The command line: parse, call, print, exit. Imports nothing heavy at start."""

import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from vaetune import __version__
from vaetune.errors import VaetuneError
from vaetune.evaluation import IMPORTANCE_IMAGES, IMPORTANCE_SAMPLES
from vaetune.exporting import bring_up_and_hand_over
from vaetune.judging import is_export, judge_exported, judge_study
from vaetune.options import (
    Address,
    AlgorithmOption,
    Baseline,
    BatchSize,
    Dataset,
    DecayOption,
    DeviceFlag,
    EvaluationFormat,
    ExportFormat,
    Factor,
    FinalSeeds,
    FormatOption,
    GpusPerWorker,
    HyperbandIterations,
    KeepBest,
    MaxEpochs,
    MaxTrials,
    MinEpochs,
    OnOption,
    Overwrite,
    PrecisionFlag,
    Quiet,
    Results,
    Seed,
    StudyName,
    ThreadsPerWorker,
    TrialId,
    Workers,
)
from vaetune.running import (
    check_search,
    list_searches,
    run_baseline,
    run_search,
    train_best,
)
from vaetune.terminal import fail, find_named, say, title_of, told_when_stopped
from vaetune.watching import watch_results

app = typer.Typer(
    name="vaetune",
    help="Find the best convolutional variational autoencoder for a set of images.",
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
    say(f"Written: {path}")
    quoted = shlex.quote(name)
    say(f"Next: edit it, then `vaetune check {quoted}`, then `vaetune search {quoted}`")


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
    workers: Workers = 1,
    threads_per_worker: ThreadsPerWorker = None,
    gpus_per_worker: GpusPerWorker = None,
    address: Address = None,
    results: Results = Path("results"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Search, or go on with a search that was stopped.

    Flags override the search file; what neither names has a default.
    """
    from vaetune.search_file import find_search, resolve
    from vaetune.shares import CrewSpec

    if name is None:
        list_searches()
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
    resolved = resolve(find_search(name), flags)
    crew = CrewSpec(workers, threads_per_worker, gpus_per_worker, address)
    if gpus_per_worker is not None and crew.is_one_process:
        raise typer.BadParameter("--gpus-per-worker is for several workers: give --workers too")
    if gpus_per_worker and resolved.spec.device == "cpu":
        raise typer.BadParameter("give --gpus-per-worker or --device cpu, not both")
    with told_when_stopped():
        run_search(resolved, results, overwrite, extend, quiet, crew)


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
    workers: Workers = 1,
    threads_per_worker: ThreadsPerWorker = None,
) -> None:
    """Try a search before it is run: its file, its images, the device, how long it is to take.

    Flags are those of search that make it another one, or let it take longer or shorter. Nothing
    is written into results/.
    """
    from vaetune.search_file import find_search, resolve
    from vaetune.shares import CrewSpec
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
    resolved = resolve(find_search(name), flags)
    refuse_reserved_name(resolved.name)
    with told_when_stopped():
        check_search(resolved, name, CrewSpec(workers, threads_per_worker))


@app.command()
def train(
    best: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train the winner of this search, for longer."),
    ] = None,
    trial: TrialId = None,
    epochs: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
    on: Annotated[
        OnOption | None,
        typer.Option(help="Which images; those of --best, else train, if left out."),
    ] = None,
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
        "data.train_on": on.value if on else None,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "training.learning_rate_decay": learning_rate_decay.value if learning_rate_decay else None,
        "device": device.value if device else None,
    }
    own = {key: value for key, value in chosen.items() if value is not None}
    if best is None and trial is not None:
        raise typer.BadParameter("--trial goes with --best, which names its search")
    with told_when_stopped():
        if best is None:
            from vaetune.search_file import resolve_single

            run_baseline(resolve_single(own, flags), results, name, overwrite, quiet)
        else:
            train_best(best, trial, latent_dim, own, flags, results, name, overwrite, quiet)


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
    from vaetune.shelf import find_baseline
    from vaetune.study import BEST, pick
    from vaetune.summary import describe_winner
    from vaetune.verdict import describe_judgement

    if (formats or output is not None) and not export:
        raise typer.BadParameter("--format and --output go with --export")
    study = find_named(results, name)
    if trial is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial, latent_dim)
    say(title_of(study, picked))
    say(describe_winner(study, picked, find_baseline(study, results)))
    say(describe_judgement(study, picked))
    if export:
        target = results / BEST if output is None else output
        with told_when_stopped():
            bring_up_and_hand_over(study, picked, results, target, formats or ())


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
    with told_when_stopped():
        if name is not None and is_export(name, results):
            if trial is not None:
                raise typer.BadParameter("an export is of one trial: leave --trial out")
            what, judged = judge_exported(Path(name), dataset, protocol, images)
        else:
            study = find_named(results, name)
            what, judged = judge_study(study, trial, dataset, protocol, images, again, results)
    if output is EvaluationFormat.json:
        from vaetune.summary import evaluations_as_json

        say(evaluations_as_json(judged))
        return
    from vaetune.summary import evaluations_as_table

    say(f"{what} on the test images")
    say(evaluations_as_table(judged))


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

    study = find_named(results, name)
    written = {
        FormatOption.table: summary.failures_in_full if failed else summary.trials_as_table,
        FormatOption.json: summary.trials_as_json,
        FormatOption.csv: summary.trials_as_csv,
    }
    say(written[output](replace(study, trials=study.failures) if failed else study))


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
    with told_when_stopped():
        from vaetune.report import write_report

        if watch:
            watch_results(results)
        else:
            say(f"Report: {write_report(results)}")


def main() -> NoReturn:
    """Runs the command line; what the user can mend becomes one line and exit code 1."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except VaetuneError as error:
        fail(str(error))
    except BrokenPipeError:  # such as `vaetune trials | head`
        with suppress(OSError):
            sys.stdout.close()
        sys.exit(1)
    sys.exit(0)


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt  # a search that is told to stop ends as cleanly as by Ctrl-C
