"""A search, as recorded in its journal: trials, learning curves, the winner."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.config import (
    BASELINES,
    REPORT_NAME,
    Likelihood,
    Objective,
    SearchSpec,
    Space,
    bits_per_dimension,
    example_name,
)
from vaetune.errors import ResultsError
from vaetune.study.events import (
    EpochEnded,
    FileSetAside,
    Kind,
    SearchExtended,
    SearchStarted,
    SessionEnded,
    SessionStarted,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.finalists import (
    FINALISTS,
    FinalistScore,
    SeedScores,
    count_samples,
    measured_again,
)
from vaetune.study.measurements import FinalistsRescored, FinalistsRetrained, TrialEvaluated
from vaetune.study.notebook import describe_trial, study_as_html
from vaetune.study.records import Environment, Rung, is_open
from vaetune.study.scores import EvaluationProtocol
from vaetune.study.trial import TRIAL_COLUMNS, Trial, trial_folder, use_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Study:
    """A search or a baseline, as recorded in its journal.

    Attributes:
        folder: Folder with the journal, the checkpoints and the artifacts.
        started: First event of the journal: the experiment as it was begun.
        sessions: Processes that ran the search, in order.
        trials: Trials, in the order in which they started.
        last_end: End of the latest session; None if it is running or was killed.
        extensions: Extensions of the budget, in order.
        plan: Trials of the whole search: as planned, extended, and corrected for failures.
        set_aside: Files that were damaged or missing, and were recreated.
        evaluations: Evaluations of trials on the test images, in order.
        rescorings: Measurements of the finalists with many posterior samples, in order; see
            `rescored`.
        retrainings: Trainings of the finalists from other seeds, in order; see `retrained`.
        workers_joined: Workers that became ready to train, in order. A worker that replaces a
            lost one has its number. Empty if the search's own process trains.
        workers_lost: Workers that were lost, in order.
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
            measured_again(
                self.rescored.rescoring if self.rescored else None,
                self.retrained.retraining if self.retrained else None,
            ),
            self.results / REPORT_NAME,
        )

    @property
    def search(self) -> SearchSpec:
        """The experiment, with the budget of the latest extension."""
        return self.extensions[-1].search if self.extensions else self.started.search

    @property
    def objective(self) -> Objective:
        """Objective of the search, which ranks the trials."""
        return self.search.ranked_by

    @property
    def likelihood(self) -> Likelihood:
        """Likelihood of the pixels. Losses of two likelihoods cannot be compared."""
        return self.search.data.likelihood

    @property
    def entropy_floor(self) -> float | None:
        """Lower bound on the reconstruction loss, nats per image; None if there is none."""
        return self.started.data.entropy_floor if self.likelihood == "bernoulli" else None

    @property
    def reference_name(self) -> str:
        """Name of the baseline that its losses can be compared with; see `find_baseline`."""
        return example_name(self.likelihood)

    def bits(self, nats: float) -> float | None:
        """Returns a loss in bits per dimension; None for the Bernoulli likelihood.

        Args:
            nats: Loss in nats per image.
        """
        return bits_per_dimension(nats, self.started.data.image_shape, self.likelihood)

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.started.name

    @property
    def address(self) -> str:
        """Name on a command line, such as "hyperband" or "baselines/reference"."""
        return f"{BASELINES}/{self.name}" if self.started.kind == "baseline" else self.name

    @property
    def results(self) -> Path:
        """Folder of all results."""
        return shared_folder(self.folder, self.started.kind)

    @property
    def names_images(self) -> bool:
        """Whether the images can be loaded from the search; False for arrays of a script."""
        return self.started.data.source == self.search.data.dataset

    @property
    def environment(self) -> Environment | None:
        """Machine and software of the latest session; None before the first one."""
        return self.sessions[-1].environment if self.sessions else None

    @property
    def is_complete(self) -> bool:
        """Whether all trials have ended and the winner is chosen."""
        return self.last_end is not None and self.last_end.reason == "completed"

    @property
    def state(self) -> str:
        """Progress of the study, such as "complete, 23 trials, 1 failed"."""
        ended, planned = sum(trial.ended is not None for trial in self.trials), self.trials_planned
        failed = f", {len(self.failures):,} failed" if self.failures else ""
        total = ended if self.is_complete or is_open(self.plan) else planned
        trials = f"{total:,} trial{'s' * (total != 1)}{failed}"
        if self.is_complete:
            return f"complete, {trials}"
        if is_open(self.plan):
            epochs = f"{self.epochs_trained:,} of at most {self.epochs_planned:,} epochs"
            return f"not complete, {trials}, {epochs}"
        return f"not complete, {ended:,} of {trials}"

    @property
    def trials_planned(self) -> int:
        """Number of trials of the whole search; an upper bound if the plan is open."""
        return sum(rung.trials for rung in self.plan)

    @cached_property
    def ranking(self) -> tuple[Trial, ...]:
        """Completed trials with any number of epochs, best objective first.

        Ties are broken by the validation loss, then by the id.
        """
        scored = [trial for trial in self.trials if trial.status == "completed" and trial.best]
        return tuple(sorted(scored, key=lambda trial: (trial.rank, trial.trial_id)))

    @cached_property
    def finalists(self) -> tuple[Trial, ...]:
        """Best trial of each of the `FINALISTS` best configurations, best objective first."""
        best: dict[int, Trial] = {}
        for trial in self.ranking:
            best.setdefault(trial.configuration, trial)
        return tuple(best.values())[:FINALISTS]

    @cached_property
    def rescored(self) -> FinalistsRescored | None:
        """Latest rescoring; None if it is not of the present finalists and their best epochs."""
        latest = self.rescorings[-1] if self.rescorings else None
        if latest is None:
            return None
        epochs = {trial.trial_id: trial.best and trial.best.epoch for trial in self.finalists}
        measured = {score.trial_id: score.epoch for score in latest.rescoring.finalists}
        skipped = {trial_id: epochs.get(trial_id) for trial_id in latest.rescoring.left_out}
        return latest if measured | skipped == epochs else None

    @cached_property
    def retrained(self) -> FinalistsRetrained | None:
        """Latest training from other seeds; None if it is not of the present finalists.

        Nor if the rescoring decides by another measure, because the user chose that one later.
        """
        latest = self.retrainings[-1] if self.retrainings else None
        if latest is None:
            return None
        present = {trial.trial_id for trial in self.finalists}
        retrained = {scores.trial_id for scores in latest.retraining.finalists}
        decides = self.rescored.rescoring.measure if self.rescored else latest.retraining.measure
        return latest if (retrained, latest.retraining.measure) == (present, decides) else None

    @cached_property
    def preference(self) -> tuple[Trial, ...]:
        """Completed trials, the winner first.

        The finalists are ordered by the training from other seeds, or else by the rescoring. The
        other trials follow by score.
        """
        finalists: tuple[SeedScores | FinalistScore, ...] = ()
        if self.retrained:
            finalists = self.retrained.retraining.finalists
        elif self.rescored:
            finalists = self.rescored.rescoring.finalists
        first = [self.trial(finalist.trial_id) for finalist in finalists]
        ids = {trial.trial_id for trial in first}
        return (*first, *(trial for trial in self.ranking if trial.trial_id not in ids))

    @property
    def winner(self) -> Trial | None:
        """Best trial, see `preference`; None before a trial has completed."""
        return next(iter(self.preference), None)

    @property
    def measure(self) -> Objective:
        """What decides the winner: of the finalists as measured, or else the objective."""
        decided = self.rescored.rescoring.measure if self.rescored else None
        return decided or self.objective

    @property
    def failures(self) -> tuple[Trial, ...]:
        """Failed trials, in the order in which they started."""
        return tuple(trial for trial in self.trials if trial.status == "failed")

    def trial(self, trial_id: str) -> Trial:
        """Returns the trial of an id, with or without leading zeros.

        Raises:
            ResultsError: There is no such trial.
        """
        for trial in self.trials:
            if trial.trial_id in (trial_id, trial_id.zfill(len(trial.trial_id))):
                return trial
        raise ResultsError(
            f'"{self.name}" has no trial {trial_id}. `vaetune trials {self.address}` lists them.'
        )

    def evaluation(
        self, trial: Trial, protocol: EvaluationProtocol | None = None
    ) -> TrialEvaluated | None:
        """Returns the latest evaluation of a trial's best epoch, or None if there is none.

        Args:
            trial: A trial of this study.
            protocol: Settings that the evaluation must have. None: any.
        """
        epoch = trial.best.epoch if trial.best else None
        for event in reversed(self.evaluations):
            matches = (event.trial_id, event.epoch) == (trial.trial_id, epoch)
            if matches and protocol in (None, event.evaluation.protocol):
                return event
        return None

    def complete_protocol(self, protocol: EvaluationProtocol) -> EvaluationProtocol:
        """Returns a protocol with the seed, the binarization and the image count of this study."""
        data = self.search.data
        own = replace(protocol, seed=self.search.seed, binarize=data.binarize)
        return own.limited_to(self.started.data.test_images)

    def lineage(self, trial: Trial) -> tuple[Trial, ...]:
        """Returns the trials that trained a configuration up to this trial, oldest first."""
        lineage = [trial]
        while lineage[0].parent is not None:
            lineage.insert(0, self.trial(lineage[0].parent))
        return tuple(lineage)

    def curve(self, trial: Trial) -> tuple[EpochEnded, ...]:
        """Returns all epochs of a configuration up to this trial's last, across promotions."""
        return tuple(epoch for ancestor in self.lineage(trial) for epoch in ancestor.epochs)

    def trial_folder(self, trial_id: str) -> Path:
        """Returns the folder of a trial's checkpoint and artifacts."""
        return trial_folder(self.folder, trial_id)

    def trials_table(self) -> "pd.DataFrame":
        """Returns a table with one row per trial, in the order they started.

        Its columns are `TRIAL_COLUMNS`, and the `use_columns` of the objective.
        """
        # Pandas takes half of this module's import time, and a report does not need it.
        import pandas as pd

        rows = [trial.as_row() for trial in self.trials]
        columns = [*TRIAL_COLUMNS, *use_columns(self.objective)]
        table = pd.DataFrame(rows, columns=columns)
        # Nullable integers stay integers where values are missing.
        return table.astype({"parameters": "Int64", "best_epoch": "Int64"})

    @property
    def space(self) -> Space:
        """Search space of the experiment."""
        return self.search.space

    @property
    def samples_due(self) -> int:
        """Number of posterior samples per image for rescoring the present finalists."""
        data = self.started.data
        images_trained = self.epochs_trained * data.train_images
        return count_samples(images_trained, data.validation_images, len(self.finalists))

    @property
    def epochs_planned(self) -> int:
        """Number of epochs that all planned trials train together, or an upper bound."""
        return sum(rung.epochs for rung in self.plan)

    @property
    def epochs_trained(self) -> int:
        """Number of epochs trained so far by all trials together."""
        return sum(len(trial.epochs) for trial in self.trials)


def shared_folder(folder: Path, kind: Kind) -> Path:
    """Returns the folder of all results.

    Args:
        folder: Folder of a study.
        kind: "search" or "baseline".
    """
    return folder.parents[1 if kind == "baseline" else 0]
