"""The phases of a session: the Keras example, the trials, and the choice among the finalists."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vaetune.config import (
    REFERENCE,
    REFERENCE_TRAINING,
    Likelihood,
    SearchSpec,
    list_references,
    single_configuration,
)
from vaetune.errors import InUseError, StoppedEarly
from vaetune.search.executors.base import Executor, PendingSearch
from vaetune.search.executors.local import local_executor
from vaetune.search.finalists import rescore, retrain
from vaetune.search.limits import check_time
from vaetune.search.resume import is_decided, is_rescored, is_retrained
from vaetune.search.session import SearchSession, open_baseline
from vaetune.search.tuner import VAETuner
from vaetune.search.watcher import NoWatcher, Watcher, run_of_reference
from vaetune.study import (
    FinalistsRescored,
    FinalistsRetrained,
    Study,
    find_baseline,
    load_study,
)


def run_session(
    session: SearchSession,
    watcher: Watcher | None = None,
    deadline_s: float | None = None,
    executor: Executor | None = None,
) -> Study:
    """Runs what is left of a search: its trials and the Keras example, then the finalists.

    Args:
        session: The open search or baseline.
        watcher: Receives events and progress.
        deadline_s: Time at which to stop, in seconds of `time.monotonic`. Default: the end of the
            time budget of the search.
        executor: Trains the trials. Default: this process.

    Returns:
        The study as it is now. Its `last_end` says whether a limit stopped it.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. The journal records it, and the next session
            continues.
        VaetuneError: A file cannot be written.
    """
    if deadline_s is None:
        deadline_s = time.monotonic() + session.spec.limits.time_budget_s
    executor = executor or local_executor(session.images, session.device)
    phases = _Phases(session, executor, watcher or NoWatcher(), deadline_s)
    session.listen(phases.watcher)
    if session.past and session.is_done:
        return session.past
    with suppress(StoppedEarly), session.journaled(executor):
        phases.run_trials()
        if not is_decided(load_study(session.folder), session.spec):
            phases.decide_winner()
    return load_study(session.folder)


@dataclass(frozen=True, eq=False)
class _Phases:
    """A session with its executor and its watcher.

    Attributes:
        session: The open search or baseline.
        executor: Trains the trials.
        watcher: Receives events and progress.
        deadline_s: Time at which to stop, in seconds of `time.monotonic`.
    """

    session: SearchSession
    executor: Executor
    watcher: Watcher
    deadline_s: float

    def run_trials(self) -> None:
        """Runs the trials of the search, and the Keras example next to them."""
        tuner = self.session.tuner(self.watcher, self.deadline_s)
        trials, references = nullcontext(tuner), self._references()
        # With several workers they come last, for workers that have no trial left.
        is_alone = self.executor.workers == 1
        self._train([*references, trials] if is_alone else [trials, *references])
        # Another process may have trained them before, and may have been stopped since.
        if again := self._references():
            self._train(again)

    def decide_winner(self) -> None:
        """Ranks the finalists by better measurements, unless the journal holds them already."""
        session = self.session
        check_time(session.spec, self.deadline_s)
        study, seeds = load_study(session.folder), session.spec.limits.final_seeds
        measure = session.spec.chosen_by
        if not is_rescored(study, measure):
            began_s = time.monotonic()
            on_progress = partial(self.watcher.on_progress, session.started.kind, None)
            rescoring = rescore(study, self.executor, measure, on_progress)
            took_s = time.monotonic() - began_s
            session.journal.append(FinalistsRescored(rescoring=rescoring, duration_s=took_s))
        # After a rescoring, trainings that were ranked by another measure do not count.
        if not is_retrained(load_study(session.folder), seeds):
            began_s = time.monotonic()
            retraining = retrain(study, seeds, self.executor, measure, self._train_singles)
            took_s = time.monotonic() - began_s
            session.journal.append(FinalistsRetrained(retraining=retraining, duration_s=took_s))

    def _train(self, searches: Sequence[PendingSearch]) -> None:
        self.executor.run(searches, self.watcher.on_wait)

    def _references(self) -> list[PendingSearch]:
        """Returns the Keras example, and its network with the likelihood of the search."""
        spec = self.session.spec
        if not spec.baseline:
            return []
        return [self._open_reference(one) for one in list_references(spec.data.likelihood)]

    @contextmanager
    def _open_reference(self, likelihood: Likelihood) -> Iterator[VAETuner | None]:
        """Opens the Keras example with the search's largest number of epochs.

        Args:
            likelihood: Likelihood of the pixels.

        Yields None if it was trained before, or if another search in the same results folder
        trains it now.
        """
        session = self.session
        if find_baseline(load_study(session.folder), session.results, likelihood):
            yield None
            return
        training = {"training": REFERENCE_TRAINING}
        single = single_configuration(
            REFERENCE,
            session.spec.budget.max_epochs,
            like=session.spec.with_likelihood(likelihood).model_copy(update=training),
        )
        run = run_of_reference(likelihood)
        with ExitStack() as stack:
            pending = open_baseline(single, session.images, session.device, session.results)
            try:
                reference = stack.enter_context(pending)
            except InUseError:
                yield None
                return
            yield stack.enter_context(self._source_of(reference, run))

    def _train_singles(self, singles: Sequence[tuple[SearchSpec, str]]) -> list[Study]:
        """Trains single configurations as baselines, unless that was done before.

        Args:
            singles: Configurations, each with a label for its folder, such as "3-seed-1".
        """
        folders: list[Path] = []

        @contextmanager
        def open_single(spec: SearchSpec, label: str) -> Iterator[VAETuner | None]:
            session = self.session
            stem = f"{session.started.name}-{label}"
            run = f"configuration {label.replace('-', ' ')}"
            with open_baseline(
                spec.with_compile(session.spec.training.compile),
                session.images,
                session.device,
                session.results,
                stem=stem,
                programs_of=session.spec,
            ) as single:
                folders.append(single.folder)
                with self._source_of(single, run) as tuner:
                    yield tuner

        self._train([open_single(spec, label) for spec, label in singles])
        return [load_study(folder) for folder in folders]

    @contextmanager
    def _source_of(
        self, baseline: SearchSession, run: str | None = None
    ) -> Iterator[VAETuner | None]:
        """Yields the trials of a baseline that this search trains, or None if it is complete.

        Args:
            baseline: The open baseline.
            run: Label of the baseline for the watcher; see `Watcher.on_event`.
        """
        baseline.listen(self.watcher, run)
        if baseline.is_done:
            yield None
            return
        with baseline.journaled(self.executor):
            yield baseline.tuner(self.watcher, self.deadline_s, run)
