"""A search as its journal tells it: trials, their curves, the winner."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.config import BASELINES, REPORT_NAME, SearchSpec, Space
from vaetune.errors import ResultsError
from vaetune.study.events import (
    EpochEnded,
    FileSetAside,
    FinalistsRescored,
    FinalistsRetrained,
    Kind,
    SearchExtended,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    TrialEvaluated,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.notebook import describe_trial, study_as_html
from vaetune.study.records import Environment, Rung
from vaetune.study.scores import FINALISTS, EvaluationProtocol, FinalistScore, SeedScores
from vaetune.study.trial import TRIAL_COLUMNS, Trial, trial_folder, trial_row

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Study:
    """A search or a baseline as its journal tells it.

    Attributes:
        folder: Folder of its journal, checkpoints and pictures.
        sessions: The processes that ran it, in order.
        last_end: End of the latest session; None if it is running or was killed.
        extensions: Extensions of its budget, in order.
        plan: The trials of the whole search: as announced, extended, and corrected for failures.
        set_aside: Files that were damaged or gone, and made again.
        evaluations: Evaluations on the test images, in order.
        rescorings: Rescorings of finalists, in order; see `rescored`.
        retrainings: Trainings of finalists from other seeds, in order; see `retrained`.
        workers_joined: Workers that were ready to train, in order; one that takes the place of a
            lost one has its number. There are none where a process trains alone.
        workers_lost: Workers that were gone, in order.
    """

    folder: Path
    started: SearchStarted
    sessions: tuple[SessionStarted, ...]
    trials: tuple[Trial, ...]
    last_end: SessionEnded | None
    extensions: tuple[SearchExtended, ...] = ()
    plan: tuple[Rung, ...] = ()
    set_aside: tuple[FileSetAside, ...] = ()
    evaluations: tuple[TrialEvaluated, ...] = ()
    rescorings: tuple[FinalistsRescored, ...] = ()
    retrainings: tuple[FinalistsRetrained, ...] = ()
    workers_joined: tuple[WorkerJoined, ...] = ()
    workers_lost: tuple[WorkerLost, ...] = ()

    def __repr__(self) -> str:
        winner = f", winner: {describe_trial(self.winner)}" if self.winner else ""
        return f"<Study {self.address} in {self.folder}: {self.state}{winner}>"

    def _repr_html_(self) -> str:
        """Shows the study in a notebook: winner, best trials, path of the report."""
        return study_as_html(
            f"{self.address}: {self.state}",
            self.preference,
            self._measured_again(),
            self.results / REPORT_NAME,
        )

    @property
    def search(self) -> SearchSpec:
        """The experiment, as the last extension left it."""
        return self.extensions[-1].search if self.extensions else self.started.search

    @property
    def name(self) -> str:
        return self.started.name

    @property
    def address(self) -> str:
        """How a command line names it."""
        return f"{BASELINES}/{self.name}" if self.started.kind == "baseline" else self.name

    @property
    def results(self) -> Path:
        """Folder of all results."""
        return shared_folder(self.folder, self.started.kind)

    @property
    def environment(self) -> Environment | None:
        """Where the latest session ran."""
        return self.sessions[-1].environment if self.sessions else None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return self.last_end is not None and self.last_end.reason == "completed"

    @property
    def state(self) -> str:
        """How far the study is, such as "complete, 23 trials, 1 failed"."""
        ended, planned = sum(trial.ended is not None for trial in self.trials), self.trials_planned
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        of = ended if self.is_complete else planned
        trials = f"{of:,} trial{'s' * (of != 1)}{failed}"
        return f"complete, {trials}" if self.is_complete else f"not complete, {ended:,} of {trials}"

    @property
    def trials_planned(self) -> int:
        """Trials of the whole search."""
        return sum(rung.trials for rung in self.plan)

    @cached_property
    def ranking(self) -> tuple[Trial, ...]:
        """The completed trials of any budget, lowest score first, ties by id."""
        scored = [(t.score, t.trial_id, t) for t in self.trials if t.status == "completed"]
        return tuple(t for score, _, t in sorted(scored, key=_rank) if score is not None)

    @cached_property
    def finalists(self) -> tuple[Trial, ...]:
        """The best trial of each of the best configurations, lowest score first."""
        best: dict[int, Trial] = {}
        for trial in self.ranking:
            best.setdefault(trial.configuration, trial)
        return tuple(best.values())[:FINALISTS]

    @cached_property
    def rescored(self) -> FinalistsRescored | None:
        """The latest rescoring, if it was of the finalists that there are now."""
        latest = self.rescorings[-1] if self.rescorings else None
        if latest is None:
            return None
        epochs = {trial.trial_id: trial.best and trial.best.epoch for trial in self.finalists}
        judged = {one.trial_id: one.epoch for one in latest.rescoring.finalists}
        known = judged | {one: epochs.get(one) for one in latest.rescoring.left_out}
        return latest if known == epochs else None

    @cached_property
    def retrained(self) -> FinalistsRetrained | None:
        """The latest training from other seeds, if it was of the finalists that there are now."""
        latest = self.retrainings[-1] if self.retrainings else None
        present = {trial.trial_id for trial in self.finalists}
        of = {one.trial_id for one in latest.retraining.finalists} if latest else set()
        return latest if of == present else None

    @cached_property
    def preference(self) -> tuple[Trial, ...]:
        """The completed trials, the winner first.

        The finalists come as they did when they were retrained, else as they were rescored; the
        others by score.
        """
        judged: tuple[SeedScores | FinalistScore, ...] = ()
        if self.retrained:
            judged = self.retrained.retraining.finalists
        elif self.rescored:
            judged = self.rescored.rescoring.finalists
        first = [self.trial(one.trial_id) for one in judged]
        ids = {trial.trial_id for trial in first}
        return (*first, *(trial for trial in self.ranking if trial.trial_id not in ids))

    @property
    def winner(self) -> Trial | None:
        """The trial to take: see `preference`."""
        return next(iter(self.preference), None)

    @property
    def failures(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if trial.status == "failed")

    def trial(self, trial_id: str) -> Trial:
        """The trial of that id.

        Raises:
            ResultsError: There is none.
        """
        for trial in self.trials:
            if trial.trial_id in (trial_id, trial_id.zfill(len(trial.trial_id))):
                return trial
        raise ResultsError(f'"{self.name}" has no trial {trial_id}. See `vaetune trials`.')

    def evaluation(
        self, trial: Trial, protocol: EvaluationProtocol | None = None
    ) -> TrialEvaluated | None:
        """The latest evaluation of a trial's best epoch, by this protocol or by any."""
        epoch = trial.best.epoch if trial.best else None
        for event in reversed(self.evaluations):
            is_of_it = (event.trial_id, event.epoch) == (trial.trial_id, epoch)
            if is_of_it and protocol in (None, event.evaluation.protocol):
                return event
        return None

    def complete_protocol(self, protocol: EvaluationProtocol) -> EvaluationProtocol:
        """Returns a protocol with the seed, the binarization and the image count of this study."""
        data = self.search.data
        own = replace(protocol, seed=self.search.seed, binarize=data.binarize)
        return own.limited_to(self.started.data.test_images)

    def lineage(self, trial: Trial) -> tuple[Trial, ...]:
        """The trials that trained a configuration up to this one, oldest first."""
        line = [trial]
        while line[0].parent is not None:
            line.insert(0, self.trial(line[0].parent))
        return tuple(line)

    def curve(self, trial: Trial) -> tuple[EpochEnded, ...]:
        """Every epoch of a configuration up to this trial's last, through its promotions."""
        return tuple(epoch for part in self.lineage(trial) for epoch in part.epochs)

    def trial_folder(self, trial_id: str) -> Path:
        """Where the checkpoint and the pictures of a trial are."""
        return trial_folder(self.folder, trial_id)

    def trials_table(self) -> "pd.DataFrame":
        """One row a trial, in the order they started, with `TRIAL_COLUMNS`."""
        import pandas as pd  # half the time of an import of this module; a report needs no table

        rows = [trial_row(trial) for trial in self.trials]
        table = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
        # Whole numbers stay whole where some are missing.
        return table.astype({"parameters": "Int64", "best_epoch": "Int64"})

    def _measured_again(self) -> dict[str, dict[str, float]]:
        """Returns the losses that decided between the finalists, in nats per image."""
        found: dict[str, dict[str, float]] = {}
        if self.rescored:
            scores = self.rescored.rescoring.finalists
            found["rescored"] = {one.trial_id: one.negative_elbo.mean for one in scores}
        if self.retrained:
            means = self.retrained.retraining.finalists
            found["other seeds"] = {
                one.trial_id: one.mean.mean for one in means if None not in one.losses
            }
        return found

    @property
    def space(self) -> Space:
        return self.search.space

    @property
    def epochs_planned(self) -> int:
        """Epochs that the whole schedule trains."""
        return sum(rung.epochs for rung in self.plan)

    @property
    def epochs_trained(self) -> int:
        """Epochs that were trained so far."""
        return sum(len(trial.epochs) for trial in self.trials)


def _rank(entry: tuple[float | None, str, Trial]) -> tuple[float, str]:
    score, trial_id, _ = entry
    return (math.inf if score is None else score, trial_id)


def shared_folder(folder: Path, kind: Kind) -> Path:
    """Returns the folder of all results.

    Args:
        folder: Folder of one study.
        kind: Kind of the study.
    """
    return folder.parents[1 if kind == "baseline" else 0]
