"""`vaetune search`: run a search, or continue one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.best import export_and_print
from vaetune.cli.console import INTERRUPTED, clean_interrupt, fail, note, say, title_of
from vaetune.cli.help import budget_option
from vaetune.cli.options import (
    Address,
    Baseline,
    BatchSize,
    Dataset,
    DeviceFlag,
    Factor,
    FinalSeeds,
    GpusPerWorker,
    HyperbandIterations,
    KeepBest,
    MaxEpochs,
    MaxTrials,
    MinEpochs,
    Overwrite,
    PrecisionFlag,
    Quiet,
    Results,
    Seed,
    ThreadsPerWorker,
    Workers,
)
from vaetune.errors import ResultsError, VaetuneError
from vaetune.version import __version__

if TYPE_CHECKING:
    from vaetune.config import ResolvedSearch
    from vaetune.device import ChosenDevice
    from vaetune.search import Executor, ExecutorOptions, SearchSession, Watcher
    from vaetune.study import Study


def search(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A file searches/NAME.toml, or a path. Without it, searches are listed."
        ),
    ] = None,
    dataset: Dataset = None,
    max_epochs: MaxEpochs = None,
    max_trials: MaxTrials = None,
    min_epochs: MinEpochs = None,
    factor: Factor = None,
    hyperband_iterations: HyperbandIterations = None,
    extend: Annotated[
        bool,
        budget_option(
            "--extend",
            help="Continue to more trials or iterations than before.",
        ),
    ] = False,
    time_budget: Annotated[
        str | None,
        budget_option(
            help="Time to stop after, such as 1h30m; the winner so far is exported.",
        ),
    ] = None,
    max_failure_rate: Annotated[
        float | None,
        budget_option(help="Share of failed trials above which the search stops."),
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
    """Run a search, or continue one that was stopped.

    Options override the search file. What neither names has a default.
    """
    from vaetune.config import find_search, resolve
    from vaetune.search import ExecutorOptions

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
    options = ExecutorOptions(workers, threads_per_worker, gpus_per_worker, address)
    if gpus_per_worker is not None and not options.needs_ray:
        raise typer.BadParameter("--gpus-per-worker is for several workers: give --workers too")
    if gpus_per_worker and resolved.spec.device == "cpu":
        raise typer.BadParameter("give --gpus-per-worker or --device cpu, not both")
    with clean_interrupt():
        run_in_terminal(resolved, results, overwrite, extend, quiet, options)


PATIENCE_S = 15.0
"""After which it is said that no worker is ready yet."""

_OPEN = "whoever reaches its ports can run programs on it. Ray's manual tells of RAY_AUTH_MODE."


def run_in_terminal(
    resolved: "ResolvedSearch",
    results: Path,
    overwrite: bool,
    extend: bool,
    quiet: bool,
    options: "ExecutorOptions",
) -> None:
    """Runs a search, or continues it, and prints what it found."""
    from vaetune.search import run_search

    @contextmanager
    def watch(session: "SearchSession", executor: "Executor") -> "Iterator[Watcher]":
        if options.needs_ray and not session.is_done:
            _warn_of_openness(options)
        announce(session, resolved, describe_trainers(options, session.device), quiet)
        executor.wait_until_ready(_Patience(options, quiet).tell)
        with progress_of(session, quiet) as watcher:
            yield watcher

    study = run_search(
        resolved,
        results=results,
        executor=options,
        overwrite=overwrite,
        extend=extend,
        watch=watch,
    )
    _tell_outcome(study, results)


def describe_trainers(options: "ExecutorOptions", device: "ChosenDevice") -> str:
    """Who trains: this process on its device, or workers."""
    from vaetune.cli.console import describe_device

    return describe_device(device) if not options.needs_ray else str(options)


def _warn_of_openness(options: "ExecutorOptions") -> None:
    """Says that a cluster let this process in which showed no token."""
    from vaetune.search import has_token

    if options.address and not has_token():
        note(f"The Ray cluster at {options.address} asks for no token: {_OPEN}")


class _Patience:
    """Says once that no worker is ready for a while."""

    def __init__(self, options: "ExecutorOptions", quiet: bool) -> None:
        self._crew = options
        self._told = quiet
        self._until_s = time.monotonic() + PATIENCE_S

    def tell(self) -> None:
        """Says it if it is time."""
        if not self._told and time.monotonic() > self._until_s:
            self._told = True
            room = " There may be no room on it." if self._crew.address else ""
            say(f"{self._crew}: none is ready yet.{room} Ctrl-C stops waiting.")


def list_searches() -> None:
    """Lists the searches that can be run by name."""
    from vaetune.config import available_searches, describe
    from vaetune.report import list_searches as as_table

    say("Searches (run one with `vaetune search NAME`):")
    found = available_searches()
    say(as_table((name, describe(path)) for name, path in found.items()))


def announce(
    opened: "SearchSession", resolved: "ResolvedSearch", trainers: str, quiet: bool
) -> None:
    """Prints the resolved search and what is to come, before the first trial."""
    from vaetune.report import describe_plan, describe_retraining, describe_search

    if quiet:
        return
    origins = dict(resolved.origins)
    for key in ("max_trials", "hyperband_iterations"):
        if getattr(opened.spec.budget, key) != getattr(resolved.spec.budget, key):
            origins[f"budget.{key}"] = "extended"
    started, past = opened.started, opened.past
    say(f"vaetune {__version__}: {started.kind} {started.name} -> {opened.folder}/")
    if started.search.description:
        say(started.search.description)
    say(describe_search(opened.spec, started.data, origins, trainers))
    say(f"{'The whole search' if past else 'To come'}: {describe_plan(opened.plan)}.")
    seeds = opened.spec.limits.final_seeds
    if seeds and started.kind == "search" and not (past and opened.is_decided):
        say(f"After it: {describe_retraining(opened.plan, opened.spec)}.")
    if past and past.is_complete and opened.is_decided:
        say("All of it is done.")
    elif past and past.is_complete:
        say("All trials are done: now the finalists are measured again.")
    elif past:
        say(f"Going on: {past.state}; epochs done: {past.epochs_trained}.")


@contextmanager
def progress_of(session: "SearchSession", quiet: bool) -> "Iterator[Watcher]":
    """Shows the progress of a session; after Ctrl-C it says how to continue, and ends."""
    from rich.console import Console

    from vaetune.cli.live.progress import SearchProgress
    from vaetune.search import StoppableWatcher

    kind = session.started.kind
    progress = SearchProgress(Console(), session.plan, session.past, quiet, kind)
    try:
        with progress, StoppableWatcher(progress) as watcher:
            yield watcher
    except KeyboardInterrupt:
        say("Stopped. Everything found so far is kept; run the same command again to continue.")
        _refresh_report(session.results)
        raise typer.Exit(INTERRUPTED) from None


def _tell_outcome(study: "Study", results: Path) -> None:
    from vaetune.config import BEST
    from vaetune.export import read_manifest
    from vaetune.report import describe_decision, describe_winner, write_report
    from vaetune.study import command, find_baseline

    end = study.last_end
    if study.winner is not None:
        say(title_of(study, study.winner))
        say(describe_winner(study, study.winner, find_baseline(study, results)))
        say(describe_decision(study, study.winner))
    say(f"Report: {write_report(results)}")
    if end and end.reason == "failures":
        fail(
            f"{end.message} The first failed with: {study.failures[0].error} "
            f"See `vaetune trials {study.name} --failed`. "
            "To continue anyway: --max-failure-rate 1"
        )
    if end and end.reason == "time_budget":
        say(f"{end.message} Run the same command again to continue.")
        if study.winner:
            try:
                former = read_manifest(results / BEST) or {}
                formats = tuple(former.get("formats", ()))  # no fewer than there were
                export_and_print(study, study.winner, results / BEST, formats, device="auto")
            except ResultsError as error:  # it was lost, and is not yet made again
                say(f"The winner so far is not exported. {error}")
    elif study.winner is None:
        fail(f"Every trial failed, the first with: {study.trials[0].error}")
    else:
        say(f"Next: {command('best', study, '--export')}")


def _refresh_report(results: Path) -> None:
    from vaetune.report import write_report

    with suppress(VaetuneError):  # nothing to report yet
        say(f"Report: {write_report(results)}")
