"""Runs a search from start to end: images, device, executor and session.

This module does not import TensorFlow itself, so that workers start while this process imports
it, and the device is chosen before TensorFlow uses one.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.config import (
    DataSpec,
    ResolvedSearch,
    SearchSpec,
    check_name,
    check_stages,
    load_search,
)
from vaetune.data import Dataset, ImageSet, load_images, load_prepared, prepare_images
from vaetune.device import ChosenDevice, check_precision, choose_device
from vaetune.search.executors.base import Executor
from vaetune.search.executors.resources import ExecutorOptions
from vaetune.search.interrupts import StoppableWatcher
from vaetune.search.objectives import check_objectives
from vaetune.search.printer import PrintingWatcher
from vaetune.search.resume import is_unfinished
from vaetune.search.watcher import NoWatcher, Watcher

if TYPE_CHECKING:
    from vaetune.search.session import SearchSession
    from vaetune.study import Study

OpenExecutor = Callable[[ImageSet, ChosenDevice], AbstractContextManager[Executor]]
"""Opens an executor for an image set, after TensorFlow was started on a device."""

OpenWatcher = Callable[["SearchSession", Executor], AbstractContextManager[Watcher]]
"""Opens a watcher for an open search, before its first trial."""


def run_search(
    search: ResolvedSearch | SearchSpec | str,
    images: ImageSet | Dataset | None = None,
    results: str | os.PathLike[str] = "results",
    *,
    name: str | None = None,
    executor: ExecutorOptions | OpenExecutor | None = None,
    overwrite: bool = False,
    extend: bool = False,
    verbose: bool = True,
    watch: OpenWatcher | None = None,
) -> "Study":
    """Runs a search, or continues one that was stopped.

    After a search was stopped, by Ctrl-C, a full disk or a power cut, call `run_search` again with
    the same arguments: the search continues. A complete search is returned at once.

    Args:
        search: Search from `load_search`, a specification, or the name of a search file.
        images: Image set, or any source that `load_images` accepts. Default: the data set of the
            search.
        results: Folder of all results.
        name: Name of the search's folder in `results`. Default: the name of its file, or "search".
        executor: Number of workers and the resources of each. Default: one model at a time, in
            this process.
        overwrite: Whether to discard earlier results of this name.
        extend: Whether to continue to a larger budget than the search was started with.
        verbose: Whether to print a line per trial, and the winner.
        watch: Opens a watcher that replaces the lines of `verbose`.

    Returns:
        The study as it is now. Its `last_end` says whether a limit stopped it.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. Everything found so far is kept.
        ResultsError: The folder cannot be written, or holds a different search of this name.
        DataError: The images cannot be read.
        SpecError: The images are too small for the largest number of stages, or lack what the
            objective needs, or the search begins with more configurations than it can try.

    Example:
        >>> study = vaetune.run_search("hyperband", my_images)
        >>> study.winner.hyperparameters
    """
    resolved = _resolved(search, name)
    image_set = _image_set(images, resolved.spec.data, print if verbose else None)
    check_stages(resolved.spec.space, image_set.image_shape)
    check_objectives(resolved.spec, image_set)
    options = executor if isinstance(executor, ExecutorOptions) else ExecutorOptions()
    folder = Path(results)
    with ExitStack() as stack:
        chosen: Executor | None = None
        if options.needs_ray and is_unfinished(resolved, image_set, folder, overwrite, extend):
            from vaetune.search.executors.ray_executor import open_ray_executor

            # The workers import TensorFlow at the same time as this process.
            workers = open_ray_executor(options, image_set, resolved.spec.device)
            chosen = stack.enter_context(workers)
        if options.needs_ray:
            # If workers train, this process does not. It leaves the GPUs to them, and TensorFlow
            # may already run here with another number of threads.
            device = choose_device("cpu")
        else:
            device = choose_device(resolved.spec.device, threads=options.threads)
            check_precision(device, resolved.spec.training.precision)
        from vaetune.search.executors.local import local_executor
        from vaetune.search.phases import run_session
        from vaetune.search.session import open_search

        session = stack.enter_context(
            open_search(resolved, image_set, device, folder, overwrite=overwrite, extend=extend)
        )
        if callable(executor):
            chosen = stack.enter_context(executor(image_set, device))
        chosen = chosen or local_executor(image_set, device)
        follow = watch or (_printing if verbose else _silent)
        with follow(session, chosen) as watcher:
            return run_session(session, watcher, executor=chosen)


def _resolved(search: ResolvedSearch | SearchSpec | str, name: str | None) -> ResolvedSearch:
    if isinstance(search, str):
        search = load_search(search)
    if name is not None:
        check_name(name)
    if isinstance(search, SearchSpec):
        return ResolvedSearch(name or "search", search, {})
    return replace(search, name=name or search.name)


def _image_set(
    images: ImageSet | Dataset | None, data: DataSpec, announce: Callable[[str], None] | None
) -> ImageSet:
    if images is None:
        return load_prepared(data, announce)
    loaded = images if isinstance(images, ImageSet) else load_images(images, data, announce)
    return prepare_images(loaded, data)


@contextmanager
def _printing(session: "SearchSession", executor: Executor) -> Iterator[Watcher]:
    from vaetune.study import load_study

    printer = PrintingWatcher(session)
    printer.announce()
    with _stoppable(printer, executor) as watcher:
        yield watcher
    printer.conclude(load_study(session.folder))


@contextmanager
def _silent(session: "SearchSession", executor: Executor) -> Iterator[Watcher]:
    with _stoppable(NoWatcher(), executor) as watcher:
        yield watcher


def _stoppable(watcher: Watcher, executor: Executor) -> AbstractContextManager[Watcher]:
    """Waits until the executor is ready, and returns a watcher that handles Ctrl-C."""
    executor.wait_until_ready(watcher.on_wait)
    return StoppableWatcher(watcher) if StoppableWatcher.is_possible() else nullcontext(watcher)
