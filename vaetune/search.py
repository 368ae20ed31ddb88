"""Runs one search: oracle, tuner and journal, in this process."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

from vaetune.archive import is_whole
from vaetune.checkpoint import CHECKPOINT_NAME
from vaetune.data import ImageSet, entropy_floor
from vaetune.device import ChosenDevice
from vaetune.environment import describe_environment
from vaetune.errors import InUseError, JournalError, ResultsError, VaetuneError
from vaetune.finals import (
    Rescorer,
    is_judged,
    is_rescored,
    is_retrained,
    rescore,
    retrain,
    samples_due,
)
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
from vaetune.pictures import PICTURES_NAME, make_gallery
from vaetune.retention import leaders, standings
from vaetune.spec import (
    REFERENCE,
    ResolvedSearch,
    SearchSpec,
    differences,
    is_larger,
    reference_training,
    single_configuration,
)
from vaetune.study import (
    BASELINES,
    Study,
    find_baseline,
    has_begun,
    load_study,
    refuse_reserved_name,
    shared_folder,
)
from vaetune.training import put_on_device
from vaetune.tuner import StoppedEarly, VAETuner, Workplace

_DISCARDED = "journal.discarded"
_TRIALS = "trials"
_ORPHANS = "trials.orphaned"
_TORN = "journal.torn-*"
_OWN_FILES = (
    JOURNAL_NAME,
    _DISCARDED,
    _TORN,
    PICTURES_NAME,
    _TRIALS,
    f"{_ORPHANS}*",
    ".lock",
    ".holder",
)


class Watcher(Protocol):
    """Is told how a search goes."""

    def on_event(self, whose: str, event: Event) -> None:
        """Called with each event once it is journaled.

        Args:
            whose: It is: "search", "baseline" for the Keras example beside it, or in a word what
                else is trained beside it.
            event: What happened.
        """

    def on_progress(self, share: float) -> None:
        """Called within each epoch with the share of it that is done."""


class _NoWatcher:
    def on_event(self, whose: str, event: Event) -> None:
        pass

    def on_progress(self, share: float) -> None:
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
        beside: Workplace | None = None,
    ) -> Study:
        """Runs what is left of the search: its baseline first, the judging of finalists last.

        Args:
            watcher: Is told how it goes.
            deadline_s: When to stop, as `time.monotonic` counts; by default when the time that
                the search file gives a session is up.
            beside: Of another search of the same images, whose compiled training is used too.

        Returns:
            The study as it is now. Its last end tells whether a limit stopped it.

        Raises:
            KeyboardInterrupt: Journaled as an interruption; the next session goes on.
            VaetuneError: The disk is full.
        """
        if deadline_s is None:
            deadline_s = time.monotonic() + self.spec.limits.time_budget_s
        watcher = watcher or _NoWatcher()
        self.journal.listener = partial(watcher.on_event, self.started.kind)
        if self.damage:
            self.journal.repeat(self.damage)
        is_done = self.past and self.past.is_complete and self.is_judged
        if self.past and is_done and not self._is_damaged(self.past):
            return self.past
        environment = describe_environment(self.device)
        try:
            self.journal.append(SessionStarted(environment=environment))
            self._run_trials(watcher, deadline_s, beside)
        except KeyboardInterrupt:
            self.journal.append(SessionEnded(reason="interrupted"))
            raise
        except StoppedEarly as stop:
            self.journal.append(SessionEnded(reason=stop.reason, message=str(stop)))
        except Exception as error:
            with suppress(VaetuneError):  # a full disk takes no last word
                self.journal.append(SessionEnded(reason="error", message=str(error)))
            raise
        else:
            self.journal.append(SessionEnded(reason="completed"))
        return load_study(self.folder)

    def _run_trials(self, watcher: Watcher, deadline_s: float, beside: Workplace | None) -> None:
        is_under_way = self.spec.baseline and not self._ensure_baseline(watcher, deadline_s)
        workplace = self._workplace(deadline_s, beside)
        workplace.gallery.save(self.folder)
        oracle = _oracle_of(self.spec, self.journal)
        past = load_study(self.folder)  # with this session, after which others were killed
        tuner = VAETuner(oracle, workplace, self.journal, past, watcher.on_progress)
        tuner.search()
        tuner.mend()
        if is_under_way:  # should the other process have been stopped in it
            self._ensure_baseline(watcher, deadline_s)
        if not is_judged(load_study(self.folder), self.spec.limits.final_seeds):
            self._judge_finalists(tuner, workplace, watcher)

    def _workplace(self, deadline_s: float, beside: Workplace | None) -> Workplace:
        if beside:
            return replace(beside, folder=self.folder, spec=self.spec, deadline_s=deadline_s)
        return Workplace(
            folder=self.folder,
            spec=self.spec,
            images=self.images,
            data=put_on_device(self.images),
            gallery=make_gallery(self.images.validation.images, self.images.validation.labels),
            deadline_s=deadline_s,
        )

    def _judge_finalists(self, tuner: VAETuner, workplace: Workplace, watcher: Watcher) -> None:
        """Chooses the winner a second time; what was judged before stays as it was."""
        tuner.check_time()
        study, seeds = load_study(self.folder), self.spec.limits.final_seeds
        rescorer = Rescorer(
            tuner.runner, workplace.data.validation, samples_due(study), study.search.seed
        )
        if not is_rescored(study):
            began_s = time.monotonic()
            rescoring = rescore(study, rescorer, watcher.on_progress)
            took_s = time.monotonic() - began_s
            self.journal.append(FinalistsRescored(rescoring=rescoring, duration_s=took_s))
        if not is_retrained(study, seeds):
            began_s = time.monotonic()
            beside = replace(workplace, runner=tuner.runner)
            train = partial(self._train_beside, watcher, beside)
            retraining = retrain(study, seeds, rescorer, train)
            took_s = time.monotonic() - began_s
            self.journal.append(FinalistsRetrained(retraining=retraining, duration_s=took_s))

    def _train_beside(
        self, watcher: Watcher, beside: Workplace, spec: SearchSpec, what: str
    ) -> Study:
        """Trains a configuration of this search once more, unless that was done before."""
        stem = f"{self.started.name}-{what}"
        named = _Named(watcher, f"configuration {what.replace('-', ' ')}")
        with open_baseline(spec, self.images, self.device, self.results, stem=stem) as baseline:
            study = baseline.run(named, beside.deadline_s, beside)
        _stop_with(study)
        return study

    def _is_damaged(self, past: Study) -> bool:
        """Whether a file of what the search keeps is damaged or gone."""
        kept = leaders(standings(past), self.spec.limits.keep_best)
        folders = [past.trial_folder(leader.trial_id) for leader in kept]
        names = (CHECKPOINT_NAME, PICTURES_NAME)
        files = [self.folder / PICTURES_NAME, *(f / name for f in folders for name in names)]
        return not all(is_whole(file) for file in files)

    def _ensure_baseline(self, watcher: Watcher, deadline_s: float) -> bool:
        """Trains the reference at the search's largest budget, unless that was done before.

        Returns:
            Whether it is trained; another search of these results may be at it.
        """
        if find_baseline(load_study(self.folder), self.results):
            return True
        alike = self.spec.model_copy(update={"training": reference_training(self.spec.training)})
        single = single_configuration(REFERENCE, self.spec.budget.max_epochs, like=alike)
        try:
            with open_baseline(single, self.images, self.device, self.results) as baseline:
                study = baseline.run(watcher, deadline_s)
        except InUseError:
            return False
        _stop_with(study)
        return True


class _Named:
    """Tells a watcher of a training by another name than "baseline"."""

    def __init__(self, watcher: Watcher, name: str) -> None:
        self._watcher = watcher
        self._name = name

    def on_event(self, whose: str, event: Event) -> None:
        self._watcher.on_event(self._name, event)

    def on_progress(self, share: float) -> None:
        self._watcher.on_progress(share)


def _stop_with(baseline: Study) -> None:
    """Stops a search whose time was up while something was trained beside it."""
    if baseline.last_end and baseline.last_end.reason == "time_budget":
        raise StoppedEarly("time_budget", baseline.last_end.message or "")


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
        spec: Of `spec.single_configuration` or `spec.resolve_single`.
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
    _refuse_foreign_files(folder)
    with lock_results(folder):
        if overwrite:
            _discard(folder)
        past = _past_of(folder)
        damage = None
        if past:
            _refuse_changes(past, spec, images, folder, extend)
        elif (folder / _DISCARDED).exists():
            _discard(folder)  # an overwriting that was cut off
        else:
            damage = _set_orphans_aside(folder)
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


def _past_of(folder: Path) -> Study | None:
    return load_study(folder) if has_begun(folder) else None


def _refuse_changes(
    past: Study, spec: SearchSpec, images: ImageSet, folder: Path, extend: bool
) -> None:
    """Lets the experiment go on that was begun, or its extension; refuses any other."""
    before, now = past.started.data.fingerprint, images.fingerprint
    changes = differences(spec, past.search)
    other_data = [f"data fingerprint: {before[:12]} -> {now[:12]}"] if before != now else []
    ways = "--overwrite discards what is there; to keep both, copy the search file to another "
    ways += "name or use --results."
    if not other_data:
        earlier = [past.started.search, *(extension.search for extension in past.extensions)]
        if any(not differences(spec, known) for known in earlier):
            if extend and past.is_complete and not past.extensions:
                raise ResultsError(_nothing_to_extend(past))
            return
        same_else = spec.model_copy(update={"budget": past.search.budget})
        if not differences(same_else, past.search) and is_larger(spec.budget, past.search.budget):
            if extend:
                return
            ways = f"--extend goes on to the larger budget; {ways}"
    raise ResultsError(
        f"{folder} holds another experiment: {'; '.join(changes + other_data)}. {ways}"
    )


def _nothing_to_extend(past: Study) -> str:
    budget = past.search.budget
    more = {
        "--hyperband-iterations": budget.hyperband_iterations,
        "--max-trials": budget.max_trials,
    }
    ways = [f"a larger {flag} than {value}" for flag, value in more.items() if value is not None]
    return (
        f'"{past.name}" is complete, and --extend says not how far: '
        f"{'give ' + ways[0] if ways else 'a whole grid has no more trials'}."
    )


def _refuse_foreign_files(folder: Path) -> None:
    try:
        present = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"{folder} cannot be used for results: {error.strerror}.") from error
    foreign = [name for name in present if not any(fnmatch(name, own) for own in _OWN_FILES)]
    if foreign and JOURNAL_NAME not in present:
        raise ResultsError(
            f"{folder} holds files of another program, such as {foreign[0]}. "
            "Name the search otherwise, or write elsewhere with --results."
        )


def _discard(folder: Path) -> None:
    """Removes a search; from the first step on it is gone, wherever the rest is cut off."""
    journal = folder / JOURNAL_NAME
    if journal.exists():
        journal.replace(folder / _DISCARDED)
    for path in (folder / _TRIALS, *folder.glob(f"{_ORPHANS}*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in (*folder.glob(_TORN), folder / PICTURES_NAME, folder / _DISCARDED):
        path.unlink(missing_ok=True)


def _set_orphans_aside(folder: Path) -> FileSetAside | None:
    """Keeps trials whose journal is gone, or lacks its first line, out of the way."""
    trials, orphans = folder / _TRIALS, sorted(folder.glob(f"{_ORPHANS}*"))
    if trials.is_dir():
        orphans.append(folder / f"{_ORPHANS}-{len(orphans) + 1}")
        try:
            trials.replace(orphans[-1])
        except OSError as error:
            raise ResultsError(f"{trials} cannot be moved: {error.strerror}.") from error
    if not orphans:
        return None
    torn = folder / JOURNAL_NAME
    has_piece = torn.exists() and torn.stat().st_size > 0
    return FileSetAside(
        file=JOURNAL_NAME,
        aside="journal.torn-0" if has_piece else None,
        remedy="What it told of the trials is lost with it: the search begins anew. The trials' "
        f"files are in {orphans[-1].name}/ until --overwrite removes them.",
    )


def _free_name(stem: str, spec: SearchSpec, images: ImageSet, results: Path) -> str:
    """The first free name, or the one that this very experiment has already."""
    stem = f"{stem}-{images.name}-{spec.budget.max_epochs}"
    for attempt in count(1):
        name = stem if attempt == 1 else f"{stem}-{attempt}"
        try:
            past = _past_of(results / BASELINES / name)
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
