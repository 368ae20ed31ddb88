"""Searches and trainings, run from a terminal: data, device, journal, and what came of it."""

import shlex
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vaetune import __version__
from vaetune.errors import ResultsError, VaetuneError
from vaetune.exporting import hand_over
from vaetune.terminal import INTERRUPTED, fail, find_named, note, say, state_of, title_of

if TYPE_CHECKING:
    from vaetune.device import ChosenDevice
    from vaetune.search import OpenSearch
    from vaetune.search_file import ResolvedSearch
    from vaetune.shares import CrewSpec
    from vaetune.study import Study
    from vaetune.workforce import Workforce

PATIENCE_S = 15.0
"""After which it is said that no worker is ready yet."""

_OPEN = "whoever reaches its ports can run programs on it. Ray's manual tells of RAY_AUTH_MODE."


def run_search(
    resolved: "ResolvedSearch",
    results: Path,
    overwrite: bool,
    extend: bool,
    quiet: bool,
    crew: "CrewSpec",
) -> None:
    """Runs a search, or goes on with it, and tells what it found."""
    from vaetune.data import load_prepared
    from vaetune.device import choose_device
    from vaetune.resumption import is_left

    images = load_prepared(resolved.spec.data)
    with ExitStack() as stack:
        workers = None
        if not crew.is_one_process and is_left(resolved, images, results, overwrite, extend):
            from vaetune.crew import open_crew

            # Before this process imports TensorFlow: they do so at the same time.
            workers = stack.enter_context(open_crew(crew, images, resolved.spec.device))
            _warn_of_openness(crew)
        # Where workers train, nothing is trained here.
        wanted = resolved.spec.device if crew.is_one_process else "cpu"
        device = choose_device(wanted, threads=crew.threads)
        from vaetune.search import open_search

        opening = open_search(resolved, images, device, results, overwrite=overwrite, extend=extend)
        opened = stack.enter_context(opening)
        trainers = _describe_trainers(crew, device)
        _announce(opened, resolved, trainers, quiet)
        if workers:
            workers.wait_for_one(_Patience(crew, quiet).tell)
        study = _run(opened, quiet, workers)
    _tell_outcome(study, results)


def _describe_trainers(crew: "CrewSpec", device: "ChosenDevice") -> str:
    """Who trains: this process on its device, or workers."""
    from vaetune.summary import describe_device

    return describe_device(device) if crew.is_one_process else str(crew)


def _warn_of_openness(crew: "CrewSpec") -> None:
    """Says that a cluster let this process in which showed no token."""
    from vaetune.cluster import has_token

    if crew.address and not has_token():
        note(f"The Ray cluster at {crew.address} asks for no token: {_OPEN}")


class _Patience:
    """Says once that no worker is ready for a while."""

    def __init__(self, crew: "CrewSpec", quiet: bool) -> None:
        self._crew = crew
        self._told = quiet
        self._until_s = time.monotonic() + PATIENCE_S

    def tell(self) -> None:
        """Says it if it is time."""
        if not self._told and time.monotonic() > self._until_s:
            self._told = True
            room = " There may be no room on it." if self._crew.address else ""
            say(f"{self._crew}: none is ready yet.{room} Ctrl-C stops waiting.")


def check_search(resolved: "ResolvedSearch", name: str, crew: "CrewSpec") -> None:
    """Tries a search before it is run; writes nothing."""
    from vaetune.data import load_prepared
    from vaetune.device import available_cores, choose_device
    from vaetune.shares import CrewSpec
    from vaetune.summary import describe_plan, describe_search

    spec = resolved.spec
    images = load_prepared(spec.data)
    cores = available_cores()
    threads = crew.threads if crew.is_one_process else crew.threads_each(cores)
    device = choose_device(spec.device, threads=threads)
    from vaetune.rehearsal import describe_rehearsal, rehearse
    from vaetune.search import summarise

    data = summarise(images)
    say(f"vaetune {__version__}: check of {resolved.name}")
    say(describe_search(spec, data, resolved.origins, _describe_trainers(crew, device)))
    say("Trying it: a model is saved and read back, and a few steps are timed.")
    workers = crew.workers
    if workers > 1 and device.name != "CPU":
        workers = 1
        say("What several workers take on GPUs is not known: the time is that of one.")
    rehearsal = rehearse(spec, images, workers, workers * device.threads / cores)
    say(f"To come: {describe_plan(rehearsal.plan)}.")
    say(describe_rehearsal(rehearsal, spec, data.train_images))
    has_flags = "flag" in resolved.origins.values() or crew != CrewSpec()
    say(f"Ready. Next: vaetune search {shlex.quote(name)}{' and the same flags' * has_flags}")


def train_best(
    search_name: str,
    trial_id: str | None,
    latent_dim: int | None,
    hyperparameters: Mapping[str, float],
    flags: Mapping[str, object],
    results: Path,
    name: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Trains the winner of a search, or another of its trials, from its beginning."""
    from vaetune.search_file import resolve_single
    from vaetune.study import pick

    study = find_named(results, search_name)
    if trial_id is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial_id, latent_dim)
    resolved = resolve_single(hyperparameters, flags, picked.hyperparameters, study.search)
    spec = resolved.spec
    described = f"Trial {picked.trial_id} of {study.name}, trained from its beginning"
    spec = spec.model_copy(update={"description": described})
    resolved = replace(resolved, name=f"{study.name}-trial-{picked.trial_id}", spec=spec)
    run_baseline(resolved, results, name, overwrite, quiet, of=study)


def run_baseline(
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
    from vaetune.study import command
    from vaetune.summary import describe_device, describe_winner

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
        _announce(opened, resolved, describe_device(device), quiet)
        study = _run(opened, quiet)
    if study.winner is None:
        fail(f"The training failed: {study.trials[0].error}")
    say(f"Trained {study.name}, in {study.folder}/")
    say(describe_winner(study, study.winner, None))
    say(f"Next: {command('evaluate', study)}")


def list_searches() -> None:
    """Lists the searches that can be run by name."""
    from vaetune import summary
    from vaetune.search_file import available_searches, describe

    say("Searches (run one with `vaetune search NAME`):")
    found = available_searches()
    say(summary.list_searches((name, describe(path)) for name, path in found.items()))


def _announce(opened: "OpenSearch", resolved: "ResolvedSearch", trainers: str, quiet: bool) -> None:
    """Prints the resolved search and what is to come, before the first trial."""
    from vaetune.summary import describe_plan, describe_retraining, describe_search

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
    if seeds and started.kind == "search" and not (past and opened.is_judged):
        say(f"After it: {describe_retraining(opened.plan, opened.spec)}.")
    if past and past.is_complete and opened.is_judged:
        say("All of it is done already.")
    elif past and past.is_complete:
        say("All of its trials are done already: now its finalists are judged again.")
    elif past:
        say(f"Going on: {state_of(past)}; epochs done: {past.epochs_trained}.")


def _run(opened: "OpenSearch", quiet: bool, workforce: "Workforce | None" = None) -> "Study":
    from rich.console import Console

    from vaetune.progress import SearchProgress
    from vaetune.signals import StoppableWatcher

    kind = opened.started.kind
    progress = SearchProgress(Console(), opened.plan, opened.past, quiet, kind)
    try:
        with progress, StoppableWatcher(progress) as watcher:
            return opened.run(watcher, workforce=workforce)
    except KeyboardInterrupt:
        say("Stopped. What was found so far is kept; the same command goes on from here.")
        _refresh_report(opened.results)
        raise typer.Exit(INTERRUPTED) from None


def _tell_outcome(study: "Study", results: Path) -> None:
    from vaetune.destination import read_manifest
    from vaetune.reader import Reader
    from vaetune.report import write_report
    from vaetune.shelf import find_baseline
    from vaetune.study import BEST, command
    from vaetune.summary import describe_winner
    from vaetune.verdict import describe_judgement

    end = study.last_end
    if study.winner is not None:
        say(title_of(study, study.winner))
        say(describe_winner(study, study.winner, find_baseline(study, results)))
        say(describe_judgement(study, study.winner))
    say(f"Report: {write_report(results)}")
    if end and end.reason == "failures":
        fail(
            f"{end.message} The first failed with: {study.failures[0].error} "
            f"See `vaetune trials {study.name} --failed`. "
            "To go on all the same: --max-failure-rate 1"
        )
    if end and end.reason == "time_budget":
        say(f"{end.message} The same command goes on from here.")
        if study.winner:
            try:
                former = read_manifest(results / BEST) or {}
                formats = tuple(former.get("formats", ()))  # no fewer than there were
                with Reader() as reader:
                    hand_over(study, study.winner, results, results / BEST, formats, reader)
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
