"""Runs one search: oracle, tuner and journal are in this process, whoever trains."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vaetune.config import (
    BASELINES,
    ResolvedSearch,
    SearchSpec,
    check_not_reserved,
    is_larger,
)
from vaetune.data import ImageSet, entropy_floor
from vaetune.device import ChosenDevice
from vaetune.errors import StoppedEarly, VaetuneError
from vaetune.files import lock_results
from vaetune.search.baseline import configuration_name, free_name
from vaetune.search.executors.base import Executor
from vaetune.search.oracles.base import Oracle
from vaetune.search.oracles.control import make_oracle, replay
from vaetune.search.oracles.plan import plan
from vaetune.search.results_folder import (
    DISCARDED,
    check_own_folder,
    discard,
    set_orphans_aside,
)
from vaetune.search.resume import (
    check_same_experiment,
    find_past,
    is_decided,
    is_done,
)
from vaetune.search.tuner import VAETuner
from vaetune.search.watcher import Watcher
from vaetune.study import (
    JOURNAL_NAME,
    DataSummary,
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
    """A search whose folder is locked and whose journal is open.

    Attributes:
        started: The search as its first event tells it.
        spec: The experiment as it is to be run, with the limits of this session.
        past: The search as earlier sessions left it; None for a new one.
        damage: Damage found in the journal when it was opened; it is journaled.
    """

    started: SearchStarted
    spec: SearchSpec
    past: Study | None
    folder: Path
    journal: Journal
    images: ImageSet
    device: ChosenDevice
    damage: FileSetAside | None = None

    @property
    def results(self) -> Path:
        """The folder that all searches share."""
        return shared_folder(self.folder, self.started.kind)

    @property
    def plan(self) -> tuple[Rung, ...]:
        """The trials of the whole search, those of earlier sessions included."""
        return self.past.plan if self.past else self.started.plan

    @property
    def is_decided(self) -> bool:
        """Whether earlier sessions left nothing to judge of the trials that they ran."""
        return self.past is None or is_decided(self.past, self.spec.limits.final_seeds)

    @property
    def is_done(self) -> bool:
        """Whether earlier sessions left nothing to do, and no file is damaged."""
        return self.past is not None and is_done(self.past, self.spec.limits)

    def listen(self, watcher: Watcher, run: str | None = None) -> None:
        """Passes the events of this session on to a watcher.

        Args:
            watcher: Receives them.
            run: Label of the run for the watcher. Default: "search" or "baseline".
        """
        self.journal.listener = partial(watcher.on_event, run or self.started.kind)
        if self.damage:
            self.journal.publish(self.damage)

    @contextmanager
    def journaled(self, executor: Executor) -> Iterator[None]:
        """Journals that a session begins, and how it ends."""
        started = SessionStarted(environment=executor.environment, workers=executor.workers)
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
            with suppress(VaetuneError):  # a full disk takes no last word
                self.journal.append(SessionEnded(reason="error", message=str(error)))
            raise
        else:
            self.journal.append(SessionEnded(reason="completed"))

    def tuner(self, watcher: Watcher, deadline_s: float, run: str | None = None) -> VAETuner:
        """Returns the trials of the search, as a source for an executor.

        Args:
            watcher: Receives the progress within epochs.
            deadline_s: Time to stop, as `time.monotonic` counts.
            run: As for `listen`.
        """
        validation = self.images.validation
        # Saved wherever trials are trained: the pictures of each trial are of these images.
        choose_probe_images(validation.images, validation.labels).save(self.folder)
        return VAETuner(
            _oracle_of(self.spec, self.journal),
            self.folder,
            self.spec,
            self.journal,
            load_study(self.folder),  # includes this session, which ends the ones before
            deadline_s,
            partial(watcher.on_progress, run or self.started.kind),
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
    """Begins a search, or takes it up where an earlier session left it.

    Args:
        resolved: The search.
        images: The image set that it names.
        device: The device that TensorFlow was brought up on.
        results: The folder of all results.
        overwrite: Discard what earlier sessions found.
        extend: Go on to a larger budget than the search was begun with.

    Raises:
        ResultsError: The folder cannot be written, holds files of another program, or holds
            another search of this name.
        JournalError: The journal is damaged or in use.
    """
    name = resolved.name
    check_not_reserved(name)
    begin = partial(SearchStarted, kind="search", name=name, origins=dict(resolved.origins))
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
) -> Iterator[SearchSession]:
    """Begins the training of one configuration outside any search, or takes it up.

    Args:
        spec: Specification made by `single_configuration` or `resolve_single`.
        name: Its folder in `results/baselines/`; a free one is made up if None.
        stem: Beginning of a name that is made up. Default: the configuration.

    The other arguments and the errors are those of `open_search`.
    """
    name = name or free_name(stem or configuration_name(spec), spec, images, results)
    begin = partial(SearchStarted, kind="baseline", name=name, origins={})
    folder = results / BASELINES / name
    with _open(folder, spec, begin, images, device, overwrite) as baseline:
        yield baseline


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
    check_own_folder(folder)
    with lock_results(folder):
        if overwrite:
            discard(folder)
        past = find_past(folder)
        damage = None
        if past:
            check_same_experiment(past, spec, images, folder, extend)
        elif (folder / DISCARDED).exists():
            discard(folder)  # an overwriting that was cut off
        else:
            damage = set_orphans_aside(folder)
        with Journal(folder / JOURNAL_NAME) as journal:
            if past is None:
                journal.append(
                    begin(search=spec, data=summarise(images), plan=plan(make_oracle(spec)))
                )
            elif extend and is_larger(spec.budget, past.search.budget):
                extended = past.search.model_copy(update={"budget": spec.budget})
                to_come = plan(_oracle_of(extended, journal))
                journal.append(SearchExtended(search=extended, plan=to_come))
            damage = damage or describe_repair(journal)
            if damage:
                journal.write(damage)
            study = load_study(folder)
            now = {"limits": spec.limits, "baseline": spec.baseline, "device": spec.device}
            yield SearchSession(
                started=study.started,
                spec=study.search.model_copy(update=now),
                past=study if past else None,
                folder=folder,
                journal=journal,
                images=images,
                device=device,
                damage=damage,
            )


def _oracle_of(spec: SearchSpec, journal: Journal) -> Oracle:
    """The oracle of a search where its journal leaves off."""
    oracle = make_oracle(spec)
    replay(oracle, read_journal(journal.path))
    return oracle


def summarise(images: ImageSet) -> DataSummary:
    """Describes an image set for the record."""
    return DataSummary(
        name=images.name,
        source=images.source,
        fingerprint=images.fingerprint,
        image_shape=images.image_shape,
        train_images=len(images.train),
        validation_images=len(images.validation),
        test_images=len(images.test),
        class_names=images.class_names,
        entropy_floor=entropy_floor(images.validation.images),
    )
