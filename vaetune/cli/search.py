"""`vaetune search`: run a search, or continue one."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.best import export_and_print
from vaetune.cli.console import (
    INTERRUPTED,
    advise_if_moved,
    clean_interrupt,
    fail,
    note,
    say,
    title_of,
)
from vaetune.cli.groups import budget_option, flags_of
from vaetune.cli.options import (
    BudgetOptions,
    ClusterOptions,
    LimitOptions,
    OutputOptions,
    StartWith,
    TrainingOptions,
    WinnerOptions,
)
from vaetune.errors import ResultsError, VaetuneError
from vaetune.version import __version__

if TYPE_CHECKING:
    from vaetune.config import Compilation, ResolvedSearch, SearchSpec
    from vaetune.data import ImageSet
    from vaetune.device import ChosenDevice
    from vaetune.search import Executor, ExecutorOptions, SearchSession, Watcher
    from vaetune.study import Study


def search(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A file searches/NAME.toml, or a path. Without it, the searches are listed."
        ),
    ] = None,
    budget: BudgetOptions,
    start_with: StartWith = None,
    extend: Annotated[
        bool,
        budget_option("--extend", help="Continue to more trials or iterations than before."),
    ] = False,
    limits: LimitOptions,
    training: TrainingOptions,
    winner: WinnerOptions,
    cluster: ClusterOptions,
    output: OutputOptions,
) -> None:
    """Run a search, or continue one that was stopped.

    Options override the search file, which overrides the defaults. Without a name, the available
    searches are listed.
    """
    from vaetune.config import find_search
    from vaetune.search import ExecutorOptions

    if name is None:
        list_searches()
        return
    if extend and output.overwrite:
        raise typer.BadParameter("give --extend or --overwrite, not both")
    flags = flags_of(budget, limits, training, winner)
    resolved = resolve_and_start(
        find_search(name), flags, start_with, output.results, output.overwrite
    )
    options = ExecutorOptions(
        cluster.workers, cluster.threads_per_worker, cluster.gpus_per_worker, cluster.address
    )
    if options.gpus_per_worker is not None and not options.needs_ray:
        raise typer.BadParameter("--gpus-per-worker is for several workers: give --workers too")
    if options.gpus_per_worker and resolved.spec.device == "cpu":
        raise typer.BadParameter("give --gpus-per-worker or --device cpu, not both")
    with clean_interrupt():
        run_in_terminal(resolved, options, output, extend)


def resolve_and_start(
    path: Path,
    flags: Mapping[str, object],
    start_with: Sequence[str] | None,
    results: Path,
    overwrite: bool = False,
) -> "ResolvedSearch":
    """Reads a search file, and adds the starting points of --start-with.

    Args:
        path: The search file.
        flags: Values of options, by key of the search file.
        start_with: Values of --start-with.
        results: Folder of all results.
        overwrite: Whether to discard earlier results of the search.
    """
    from vaetune.config import resolve
    from vaetune.search import resolve_with_starting_points

    if not start_with:
        return resolve(path, flags)
    resolved, notes = resolve_with_starting_points(path, flags, start_with, results, overwrite)
    for text in notes:
        note(text)
    return resolved


PATIENCE_S = 15.0
"""Seconds after which a note says that no worker is ready yet."""

_OPEN = "anyone who can reach its ports can run programs on it. See RAY_AUTH_MODE in Ray's manual."


def run_in_terminal(
    resolved: "ResolvedSearch", options: "ExecutorOptions", output: OutputOptions, extend: bool
) -> None:
    """Runs a search, or continues it, and prints its progress and its outcome."""
    from vaetune.search import run_search

    @contextmanager
    def watch(session: "SearchSession", executor: "Executor") -> "Iterator[Watcher]":
        if options.needs_ray and not session.is_done:
            _warn_if_open(options)
        announce(session, resolved, describe_trainers(options, session.device), output.quiet)
        executor.wait_until_ready(_WaitNotice(options, output.quiet).print_if_late)
        with progress_of(session, output.quiet) as watcher:
            yield watcher

    with advise_if_moved(resolved.origins.get("data.dataset") == "flag"):
        study = run_search(
            resolved,
            results=output.results,
            executor=options,
            overwrite=output.overwrite,
            extend=extend,
            verbose=not output.quiet,
            watch=watch,
        )
    print_outcome(study, output.results)


def describe_trainers(options: "ExecutorOptions", device: "ChosenDevice") -> str:
    """Returns who trains: this process on its device, or workers."""
    from vaetune.cli.console import describe_device

    return describe_device(device) if not options.needs_ray else str(options)


def compilation_of(spec: "SearchSpec", images: "ImageSet", device: "ChosenDevice") -> "Compilation":
    """Returns whether the training steps of a search are compiled in this process."""
    from vaetune.config import plan_compilation
    from vaetune.data import DiskImages

    train = images.train.images
    return plan_compilation(spec, len(train), device.is_gpu, isinstance(train, DiskImages))


def _warn_if_open(options: "ExecutorOptions") -> None:
    """Prints a warning if a cluster accepts connections without a token."""
    from vaetune.search import has_token

    if options.address and not has_token():
        note(f"The Ray cluster at {options.address} does not require a token: {_OPEN}")


class _WaitNotice:
    """Prints one line if no worker is ready after a while.

    Args:
        options: The workers that the search waits for.
        quiet: Print nothing.
    """

    def __init__(self, options: "ExecutorOptions", quiet: bool) -> None:
        self._options = options
        self._is_done = quiet
        self._due_s = time.monotonic() + PATIENCE_S

    def print_if_late(self) -> None:
        """Prints the line when it is due, and only once."""
        if not self._is_done and time.monotonic() > self._due_s:
            self._is_done = True
            room = " The cluster may have no free resources." if self._options.address else ""
            say(f"{self._options}: none is ready yet.{room} Press Ctrl-C to stop waiting.")


def list_searches() -> None:
    """Prints the searches that can be run by name."""
    from vaetune.config import available_searches, describe
    from vaetune.report import list_searches as as_table

    say("Searches (run one with `vaetune search NAME`):")
    found = available_searches()
    say(as_table((name, describe(path)) for name, path in found.items()))


def announce(
    session: "SearchSession", resolved: "ResolvedSearch", trainers: str, quiet: bool
) -> None:
    """Prints the resolved search and its plan, before the first trial."""
    from vaetune.report import (
        describe_image_set,
        describe_plan,
        describe_retraining,
        describe_search,
        describe_small_space,
        describe_warnings,
    )

    if quiet:
        return
    origins = dict(resolved.origins)
    for key in ("max_trials", "hyperband_iterations", "total_epochs"):
        if getattr(session.spec.budget, key) != getattr(resolved.spec.budget, key):
            origins[f"budget.{key}"] = "extended"
    started, past = session.started, session.past
    say(f"vaetune {__version__}: {started.kind} {started.name} -> {session.folder}/")
    if started.search.description:
        say(started.search.description)
    say(describe_image_set(started.data, session.spec.data))
    compilation = compilation_of(session.spec, session.images, session.device)
    say(describe_search(session.spec, started.data, origins, trainers, compilation))
    if warnings := describe_warnings(started.data):
        say(warnings)
    say(f"{'The whole search' if past else 'To train'}: {describe_plan(session.plan)}.")
    small_space = describe_small_space(session.spec, session.plan)
    if small_space:
        say(small_space)
    seeds = session.spec.limits.final_seeds
    if seeds and started.kind == "search" and not (past and session.is_decided):
        say(f"Then: {describe_retraining(session.plan, session.spec)}.")
    if session.is_done:
        say("The search is complete: nothing is left to train.")
    elif past and past.is_complete and session.is_decided:
        say("All trials are complete: lost or damaged files are made again.")
    elif past and past.is_complete:
        say("All trials are complete: the finalists are compared again.")
    elif past:
        say(f"Continuing: {past.state}; epochs trained: {past.epochs_trained}.")


@contextmanager
def progress_of(session: "SearchSession", quiet: bool) -> "Iterator[Watcher]":
    """Shows the progress of a session; after Ctrl-C, says how to continue and ends the command."""
    from rich.console import Console

    from vaetune.cli.live.progress import SearchProgress
    from vaetune.search import StoppableWatcher, run_of_reference

    kind = session.started.kind
    searched = session.spec.space.searched()
    reference = run_of_reference(session.spec.data.likelihood)
    objective = session.spec.ranked_by
    progress = SearchProgress(
        Console(), session.plan, session.past, quiet, kind, searched, reference, objective
    )
    try:
        with progress, StoppableWatcher(progress) as watcher:
            yield watcher
    except KeyboardInterrupt:
        say("Stopped. Everything found so far is kept. Run the same command again to continue.")
        _refresh_report(session.results)
        raise typer.Exit(INTERRUPTED) from None


def print_outcome(study: "Study", results: Path) -> None:
    """Prints the winner, hints on what could be better, and what to do next.

    Args:
        study: The search after this session.
        results: Folder of all results.
    """
    from vaetune.report import describe_decision, describe_hints, describe_winner, write_report
    from vaetune.study import command, find_baseline, find_example

    end = study.last_end
    if study.winner is not None:
        reference, example = find_baseline(study, results), find_example(study, results)
        say(title_of(study, study.winner))
        say(describe_winner(study, study.winner, reference, example))
        say(describe_decision(study, study.winner))
        if hints := describe_hints(study):
            say(hints)
    say(f"Report: {write_report(results)}")
    if end and end.reason == "failures":
        fail(
            f"{end.message} The first failed with: {study.failures[0].error} "
            f"See `vaetune trials {study.name} --failed`. "
            "To continue anyway, run the same command with --max-failure-rate 1."
        )
    if end and end.reason == "time_budget":
        say(f"{end.message} Run the same command again to continue.")
        _export_winner_so_far(study, results)
    elif study.winner is None:
        fail(f"Every trial failed, the first with: {study.trials[0].error}")
    else:
        say(f"Next: {command('best', study, '--export')}")


def _export_winner_so_far(study: "Study", results: Path) -> None:
    """Exports the winner to results/best/, in at least the formats of the export there."""
    from vaetune.config import BEST
    from vaetune.study import read_manifest

    if study.winner is None:
        return
    try:
        earlier = read_manifest(results / BEST) or {}
        formats = tuple(earlier.get("formats", ()))
        export_and_print(study, study.winner, results / BEST, formats, device="auto")
    except ResultsError as error:  # Its checkpoint is lost and has not been recreated yet.
        say(f"The winner so far is not exported. {error}")


def _refresh_report(results: Path) -> None:
    from vaetune.report import write_report

    with suppress(VaetuneError):  # There is nothing to report yet.
        say(f"Report: {write_report(results)}")
