"""Runs one search: oracle, tuner and journal are in this process, whoever trains."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

from vaetune.data import ImageSet, entropy_floor
from vaetune.device import ChosenDevice
from vaetune.errors import InUseError, JournalError, StoppedEarly, VaetuneError
from vaetune.finals import rescore, retrain
from vaetune.folding import load_study
from vaetune.journal import (
    JOURNAL_NAME,
    DataSummary,
    Event,
    FileSetAside,
    FinalistsRescored,
    FinalistsRetrained,
    Journal,
    Rung,
    SearchExtended,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    describe_repair,
    lock_results,
    read_journal,
)
from vaetune.oracles import Oracle, make_oracle, plan, replay
from vaetune.pictures import make_gallery
from vaetune.resumption import (
    DISCARDED,
    discard,
    is_done,
    is_judged,
    is_rescored,
    is_retrained,
    past_of,
    refuse_changes,
    refuse_foreign_files,
    set_orphans_aside,
)
from vaetune.routine import Bench
from vaetune.search_file import ResolvedSearch
from vaetune.shelf import find_baseline
from vaetune.space import REFERENCE
from vaetune.spec import (
    SearchSpec,
    differences,
    is_larger,
    reference_training,
    single_configuration,
)
from vaetune.study import BASELINES, Study, refuse_reserved_name, shared_folder
from vaetune.tuner import VAETuner, check_time
from vaetune.workforce import InProcess, Opening, Workforce


class Watcher(Protocol):
    """Is told how a search goes."""

    def on_event(self, whose: str, event: Event) -> None:
        """Called with each event once it is journaled.

        Args:
            whose: It is: "search", "baseline" for the Keras example beside it, or in a word what
                else is trained beside it.
            event: What happened.
        """

    def on_progress(self, whose: str, trial_id: str | None, share: float) -> None:
        """Called within each epoch, and while finalists are measured again.

        Args:
            whose: As for `on_event`.
            trial_id: Whose epoch it is; None of the finalists.
            share: How much of it is done.
        """

    def on_wait(self) -> None:
        """Called a few times a second while workers train and tell of nothing."""


class _NoWatcher:
    def on_event(self, whose: str, event: Event) -> None:
        pass

    def on_progress(self, whose: str, trial_id: str | None, share: float) -> None:
        pass

    def on_wait(self) -> None:
        pass


@dataclass(frozen=True, eq=False)
class OpenSearch:
    """A search whose folder is locked and whose journal is open.

    Attributes:
        started: The search as its first event tells it.
        spec: The experiment as it is to be run, with the limits of this session.
        past: What earlier sessions left; None for a new search.
        damage: What was found wrong with the journal when it was opened; it is journaled.
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
    def is_judged(self) -> bool:
        """Whether earlier sessions left nothing to judge of the trials that they ran."""
        return self.past is None or is_judged(self.past, self.spec.limits.final_seeds)

    def run(
        self,
        watcher: Watcher | None = None,
        deadline_s: float | None = None,
        workforce: Workforce | None = None,
    ) -> Study:
        """Runs what is left of the search: its baseline first, the judging of finalists last.

        Args:
            watcher: Is told how it goes.
            deadline_s: When to stop, as `time.monotonic` counts; by default when the time that
                the search file gives a session is up.
            workforce: Who trains; by default this process alone.

        Returns:
            The study as it is now. Its last end tells whether a limit stopped it.

        Raises:
            KeyboardInterrupt: Journaled as an interruption; the next session goes on.
            VaetuneError: The disk is full.
        """
        if deadline_s is None:
            deadline_s = time.monotonic() + self.spec.limits.time_budget_s
        watcher = watcher or _NoWatcher()
        workforce = workforce or InProcess(Bench(self.images), self.device)
        self._listen(watcher)
        if self.past and self.is_done:
            return self.past
        stage = _Stage(workforce, watcher, deadline_s)
        with suppress(StoppedEarly), self._session(workforce):
            self._run_trials(stage)
            if not is_judged(load_study(self.folder), self.spec.limits.final_seeds):
                self._judge_finalists(stage)
        return load_study(self.folder)

    @property
    def is_done(self) -> bool:
        """Whether earlier sessions left nothing to do, and nothing of it is damaged."""
        return self.past is not None and is_done(self.past, self.spec.limits)

    def _listen(self, watcher: Watcher, whose: str | None = None) -> None:
        self.journal.listener = partial(watcher.on_event, whose or self.started.kind)
        if self.damage:
            self.journal.repeat(self.damage)

    @contextmanager
    def _session(self, workforce: Workforce) -> Iterator[None]:
        """Journals that this process takes the search up, and how it lets go of it."""
        started = SessionStarted(environment=workforce.environment, workers=workforce.workers)
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

    def _run_trials(self, stage: "_Stage") -> None:
        searches: list[Opening] = [nullcontext(self._tuner(stage))]
        if self.spec.baseline:
            # Among several workers last: it is what those do that have no trial left.
            place = 0 if stage.workforce.workers == 1 else 1
            searches.insert(place, self._reference(stage))
        stage.run(searches)
        if self.spec.baseline:  # another process may have been at it, and been stopped
            stage.run([self._reference(stage)])

    def _tuner(self, stage: "_Stage", whose: str | None = None) -> VAETuner:
        validation = self.images.validation
        # In every folder whose trials are trained: the pictures of each are of these images.
        make_gallery(validation.images, validation.labels).save(self.folder)
        return VAETuner(
            _oracle_of(self.spec, self.journal),
            self.folder,
            self.spec,
            self.journal,
            load_study(self.folder),  # with this session, after which others were killed
            stage.deadline_s,
            partial(stage.watcher.on_progress, whose or self.started.kind),
        )

    @contextmanager
    def _lent(self, stage: "_Stage", whose: str | None = None) -> Iterator[VAETuner | None]:
        """Lends out the trials of a baseline that is trained beside a search."""
        self._listen(stage.watcher, whose)
        if self.is_done:
            yield None
            return
        with self._session(stage.workforce):
            yield self._tuner(stage, whose)

    @contextmanager
    def _reference(self, stage: "_Stage") -> Iterator[VAETuner | None]:
        """Lends out the reference at the search's largest budget, unless that was trained before.

        Another search of these results may be at it: then there is nothing to lend out.
        """
        if find_baseline(load_study(self.folder), self.results):
            yield None
            return
        alike = self.spec.model_copy(update={"training": reference_training(self.spec.training)})
        single = single_configuration(REFERENCE, self.spec.budget.max_epochs, like=alike)
        with ExitStack() as stack:
            opening = open_baseline(single, self.images, self.device, self.results)
            try:
                baseline = stack.enter_context(opening)
            except InUseError:
                yield None
                return
            yield stack.enter_context(baseline._lent(stage))

    def _judge_finalists(self, stage: "_Stage") -> None:
        """Chooses the winner a second time; what was judged before stays as it was."""
        check_time(self.spec, stage.deadline_s)
        study, seeds = load_study(self.folder), self.spec.limits.final_seeds
        if not is_rescored(study):
            began_s = time.monotonic()
            tell = partial(stage.watcher.on_progress, self.started.kind, None)
            rescoring = rescore(study, stage.workforce, tell)
            took_s = time.monotonic() - began_s
            self.journal.append(FinalistsRescored(rescoring=rescoring, duration_s=took_s))
        if not is_retrained(study, seeds):
            began_s = time.monotonic()
            retraining = retrain(study, seeds, stage.workforce, partial(self._train_beside, stage))
            took_s = time.monotonic() - began_s
            self.journal.append(FinalistsRetrained(retraining=retraining, duration_s=took_s))

    def _train_beside(
        self, stage: "_Stage", singles: Sequence[tuple[SearchSpec, str]]
    ) -> list[Study]:
        """Trains configurations of this search once more, unless that was done before."""
        folders: list[Path] = []

        @contextmanager
        def lend(spec: SearchSpec, what: str) -> Iterator[VAETuner | None]:
            stem, whose = f"{self.started.name}-{what}", f"configuration {what.replace('-', ' ')}"
            opening = open_baseline(spec, self.images, self.device, self.results, stem=stem)
            with opening as baseline:
                folders.append(baseline.folder)
                with baseline._lent(stage, whose) as tuner:
                    yield tuner

        stage.run([lend(spec, what) for spec, what in singles])
        return [load_study(folder) for folder in folders]


@dataclass(frozen=True, eq=False)
class _Stage:
    """Who trains, who watches, and until when."""

    workforce: Workforce
    watcher: Watcher
    deadline_s: float

    def run(self, openings: Sequence[Opening]) -> None:
        self.workforce.run(openings, self.watcher.on_wait)


@contextmanager
def open_search(
    resolved: ResolvedSearch,
    images: ImageSet,
    device: ChosenDevice,
    results: Path,
    *,
    overwrite: bool = False,
    extend: bool = False,
) -> Iterator[OpenSearch]:
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
    refuse_reserved_name(name)
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
) -> Iterator[OpenSearch]:
    """Begins the training of one configuration outside any search, or takes it up.

    Args:
        spec: Of `spec.single_configuration` or `search_file.resolve_single`.
        name: Its folder in `results/baselines/`; a free one is made up if None.
        stem: What a made-up name begins with; the configuration if None.

    The other arguments and the errors are those of `open_search`.
    """
    name = name or _free_name(stem or _configuration_name(spec), spec, images, results)
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
) -> Iterator[OpenSearch]:
    refuse_foreign_files(folder)
    with lock_results(folder):
        if overwrite:
            discard(folder)
        past = past_of(folder)
        damage = None
        if past:
            refuse_changes(past, spec, images, folder, extend)
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
            yield OpenSearch(
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


def _free_name(stem: str, spec: SearchSpec, images: ImageSet, results: Path) -> str:
    """The first free name, or the one that this very experiment has already."""
    stem = f"{stem}-{images.name}-{spec.budget.max_epochs}"
    for attempt in count(1):
        name = stem if attempt == 1 else f"{stem}-{attempt}"
        try:
            past = past_of(results / BASELINES / name)
        except JournalError:
            continue  # it is damaged, and stays for who wants to mend it
        if past is None or _is_same(past, spec, images):
            return name
    raise AssertionError("unreachable: count() does not end")


def _is_same(past: Study, spec: SearchSpec, images: ImageSet) -> bool:
    same_data = past.started.data.fingerprint == images.fingerprint
    return same_data and not differences(spec, past.started.search)


def _configuration_name(spec: SearchSpec) -> str:
    values = {name: dimension.numbers()[0] for name, dimension in spec.space.dimensions()}
    if values == REFERENCE:
        return "reference"
    name = (
        f"filters-{values['filters_1']}-{values['filters_2']}-dense-{values['dense_units']}"
        f"-latent-{values['latent_dim']}-rate-{values['learning_rate']:g}"
    )
    named = {"batch_size": "batch", "beta": "beta"}
    return name + "".join(f"-{named[key]}-{values[key]:g}" for key in named if key in values)
