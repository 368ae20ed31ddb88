"""Opens a search: locks its folder, opens its journal and restores its state."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vaetune.config import (
    BASELINES,
    ResolvedSearch,
    SearchSpec,
    check_folder_name,
    check_not_reserved,
    check_stages,
    is_larger,
    with_settings_of,
)
from vaetune.data import ImageSet
from vaetune.device import ChosenDevice
from vaetune.errors import StoppedEarly, VaetuneError
from vaetune.files import lock_results
from vaetune.search.baseline import configuration_name, free_name
from vaetune.search.executors.base import Executor
from vaetune.search.objectives import check_objectives
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import make_oracle, replay
from vaetune.search.oracles.plan import plan
from vaetune.search.results_folder import (
    DISCARDED,
    check_usable,
    discard,
    set_orphans_aside,
)
from vaetune.search.resume import (
    check_same_experiment,
    find_past,
    is_decided,
    is_done,
    space_exhausted,
)
from vaetune.search.summary import summarise
from vaetune.search.tuner import VAETuner
from vaetune.search.watcher import Watcher
from vaetune.study import (
    JOURNAL_NAME,
    FileSetAside,
    Journal,
    Rung,
    SearchExtended,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    Study,
    describe_repair,
    load_study,
    read_journal,
    shared_folder,
)
from vaetune.training import choose_probe_images


@dataclass(frozen=True, eq=False)
class SearchSession:
    """A search with a locked folder and an open journal.

    Attributes:
        started: First event of the journal: the experiment as it was begun.
        spec: The experiment as this session runs it, with the limits of this session.
        past: The study as earlier sessions left it; None for a new search.
        folder: Folder of the search.
        journal: The open journal.
        images: The image set.
        device: The device that TensorFlow was started on.
        damage: Event about damage that was found when the journal was opened. The journal holds
            it already.
        programs_of: As for `Task`.
    """

    started: SearchStarted
    spec: SearchSpec
    past: Study | None
    folder: Path
    journal: Journal
    images: ImageSet
    device: ChosenDevice
    damage: FileSetAside | None = None
    programs_of: SearchSpec | None = None

    @property
    def results(self) -> Path:
        """Folder of all results."""
        return shared_folder(self.folder, self.started.kind)

    @property
    def plan(self) -> tuple[Rung, ...]:
        """Trials of the whole search, including those of earlier sessions."""
        return self.past.plan if self.past else self.started.plan

    @property
    def is_decided(self) -> bool:
        """Whether nothing is left to measure of the trials that earlier sessions ran."""
        return self.past is None or is_decided(self.past, self.spec)

    @property
    def is_done(self) -> bool:
        """Whether earlier sessions finished the search, and none of its files is damaged."""
        return self.past is not None and is_done(self.past, self.spec)

    def listen(self, watcher: Watcher, run: str | None = None) -> None:
        """Passes the events of this session to a watcher.

        Args:
            watcher: Receives the events.
            run: Label of the run; see `Watcher.on_event`. Default: "search" or "baseline".
        """
        self.journal.listener = partial(watcher.on_event, run or self.started.kind)
        if self.damage:
            self.journal.publish(self.damage)

    @contextmanager
    def journaled(self, executor: Executor) -> Iterator[None]:
        """Records the start of a session, and its end.

        Args:
            executor: Trains the trials.
        """
        started = SessionStarted(
            environment=executor.environment,
            workers=executor.workers,
            compile=self.spec.training.compile,
        )
        try:
            self.journal.append(started)
            yield
        except KeyboardInterrupt:
            self.journal.append(SessionEnded(reason="interrupted"))
            raise
        except StoppedEarly as stop:
            self.journal.append(SessionEnded(reason=stop.reason, message=str(stop)))
            raise
        except Exception as error:
            # If the disk is full, the end cannot be recorded either.
            with suppress(VaetuneError):
                self.journal.append(SessionEnded(reason="error", message=str(error)))
            raise
        else:
            self.journal.append(SessionEnded(reason="completed"))

    def tuner(self, watcher: Watcher, deadline_s: float, run: str | None = None) -> VAETuner:
        """Returns the trials of the search, as a source for an executor.

        Args:
            watcher: Receives the progress within epochs.
            deadline_s: Time at which to stop, in seconds of `time.monotonic`.
            run: As for `listen`.
        """
        validation = self.images.validation
        # The artifacts of each trial are made from these images, so a report needs them too.
        choose_probe_images(validation.images, validation.labels).save(self.folder)
        return VAETuner(
            _restore_oracle(self.spec, self.journal),
            self.folder,
            self.spec,
            self.journal,
            # It is read again: the start of this session ends an earlier one that was killed.
            load_study(self.folder),
            deadline_s,
            partial(watcher.on_progress, run or self.started.kind),
            self.programs_of,
        )


@contextmanager
def open_search(
    resolved: ResolvedSearch,
    images: ImageSet,
    device: ChosenDevice,
    results: Path,
    *,
    overwrite: bool = False,
    extend: bool = False,
) -> Iterator[SearchSession]:
    """Opens a search, new or begun by an earlier session.

    Args:
        resolved: The search.
        images: The image set of the search.
        device: The device that TensorFlow was started on.
        results: Folder of all results.
        overwrite: Whether to discard earlier results of this name.
        extend: Whether to continue to a larger budget than the search was started with.

    Yields:
        The open search. Its folder is locked until the context is left.

    Raises:
        ResultsError: The folder cannot be written, holds files of another program, or holds a
            different search of this name.
        JournalError: The journal is damaged or in use.
        SpecError: The images are too small for the largest number of stages, or lack what the
            objective needs, or the search begins with more configurations than it can try.
    """
    name = resolved.name
    check_not_reserved(name)
    origins, start_from = dict(resolved.origins), resolved.start_from
    begin = partial(SearchStarted, kind="search", name=name, origins=origins, start_from=start_from)
    folder = results / name
    with _open(folder, resolved.spec, begin, images, device, overwrite, extend) as search:
        yield search


@contextmanager
def open_baseline(
    spec: SearchSpec,
    images: ImageSet,
    device: ChosenDevice,
    results: Path,
    *,
    name: str | None = None,
    stem: str | None = None,
    overwrite: bool = False,
    programs_of: SearchSpec | None = None,
) -> Iterator[SearchSession]:
    """Opens a baseline: a single configuration that is trained outside any search.

    Args:
        spec: A search with a single configuration, from `single_configuration` or
            `resolve_single`.
        images: The image set.
        device: The device that TensorFlow was started on.
        results: Folder of all results.
        name: Name of its folder in `results/baselines/`. Default: a free name.
        stem: Beginning of the free name. Default: a description of the configuration.
        overwrite: Whether to discard earlier results of this name.
        programs_of: Search with whose compiled programs the configuration is trained. Default:
            programs of its own widths.

    Yields:
        The open baseline. Its folder is locked until the context is left.

    Raises:
        ResultsError, JournalError, SpecError: As for `open_search`.
    """
    if name is not None:
        check_folder_name(name)
    name = name or free_name(stem or configuration_name(spec), spec, images, results)
    begin = partial(SearchStarted, kind="baseline", name=name, origins={})
    folder = results / BASELINES / name
    with _open(folder, spec, begin, images, device, overwrite) as baseline:
        yield replace(baseline, programs_of=programs_of)


@contextmanager
def _open(
    folder: Path,
    spec: SearchSpec,
    begin: "partial[SearchStarted]",
    images: ImageSet,
    device: ChosenDevice,
    overwrite: bool,
    extend: bool = False,
) -> Iterator[SearchSession]:
    check_stages(spec.space, images.image_shape)
    check_objectives(spec, images)
    oracle = make_oracle(spec)  # It checks the starting points.
    check_usable(folder)
    with lock_results(folder):
        if overwrite:
            discard(folder)
        past = find_past(folder)
        damage = None
        if past:
            check_same_experiment(past, spec, images, folder, extend)
        elif (folder / DISCARDED).exists():
            discard(folder)  # An earlier session was interrupted while it discarded the search.
        else:
            damage = set_orphans_aside(folder)
        with Journal(folder / JOURNAL_NAME) as journal:
            if past is None:
                journal.append(begin(search=spec, data=summarise(images), plan=plan(oracle)))
            elif extend and is_larger(spec.budget, past.search.budget):
                extended = past.search.model_copy(update={"budget": spec.budget})
                extended_plan = plan(_restore_oracle(extended, journal))
                if past.is_complete and _size(extended_plan) == _size(past.plan):
                    raise space_exhausted(past)
                journal.append(SearchExtended(search=extended, plan=extended_plan))
            damage = damage or describe_repair(journal)
            if damage:
                journal.write(damage)
            study = load_study(folder)
            yield SearchSession(
                started=study.started,
                spec=with_settings_of(spec, study.search),
                past=study if past else None,
                folder=folder,
                journal=journal,
                images=images,
                device=device,
                damage=damage,
            )


def _size(rungs: Sequence[Rung]) -> tuple[int, int]:
    """Returns the numbers of trials and epochs of a plan."""
    return sum(rung.trials for rung in rungs), sum(rung.epochs for rung in rungs)


def _restore_oracle(spec: SearchSpec, journal: Journal) -> Oracle:
    """Returns the oracle of a search in its state at the end of the journal."""
    events = list(read_journal(journal.path))
    started = next(event for event in events if isinstance(event, SearchStarted))
    oracle = make_oracle(spec, started.data)
    replay(oracle, events)
    return oracle
