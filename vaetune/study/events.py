"""The events that a journal records."""

from collections.abc import Mapping
from typing import Literal

from vaetune.config import Compile, Origin, SearchSpec
from vaetune.study.measurements import FinalistsRescored, FinalistsRetrained, TrialEvaluated
from vaetune.study.records import (
    Assignment,
    DataSummary,
    Decision,
    Environment,
    Rung,
    SparseRecord,
    Text,
    TimedRecord,
)

FORMAT = 2
"""Version of the journal's format. Format 1, of vaetune 0.1, is read as well."""

Kind = Literal["search", "baseline"]

EndStatus = Literal["completed", "failed"]


class SearchStarted(TimedRecord):
    """First event of a journal: the experiment and its planned trials.

    Attributes:
        format: Version of the journal's format.
        kind: "search", or "baseline" for a single configuration that is trained alone.
        name: Name of the search's folder.
        search: The experiment.
        origins: Source of each setting, such as "file" or "flag", by its key.
        start_from: Earlier searches that the starting points came from, as the command line named
            them, such as "best:hyperband".
        data: The image set.
        plan: Planned trials.
    """

    event: Literal["search_started"] = "search_started"
    format: int = FORMAT
    kind: Kind = "search"
    name: Text
    search: SearchSpec
    origins: Mapping[str, Origin]
    start_from: tuple[Text, ...] = ()
    data: DataSummary
    plan: tuple[Rung, ...]


class SessionStarted(TimedRecord):
    """A process began to run the search, or continued it.

    Attributes:
        environment: Machine and software on which the trials run. With several workers: those of
            the first worker.
        workers: Number of models trained in parallel.
        compile: Value of `training.compile` in this session; None in earlier journals.
    """

    event: Literal["session_started"] = "session_started"
    environment: Environment
    workers: int = 1
    compile: Compile | None = None


class WorkerJoined(TimedRecord):
    """A worker is ready to train.

    Attributes:
        worker: Number of the worker, from 1. A worker that replaces a lost one has its number.
        host: Name of its machine.
        environment: Machine and software on which it trains.
    """

    event: Literal["worker_joined"] = "worker_joined"
    worker: int
    host: Text
    environment: Environment


class WorkerLost(TimedRecord):
    """A worker was lost: it was killed or ran out of memory, or its machine is gone.

    Attributes:
        worker: Number of the worker, from 1.
        trial_id: Id of the trial that it trained, which continues on another worker from its last
            finished epoch; None if the worker was idle.
        error: Reason, in one line.
    """

    event: Literal["worker_lost"] = "worker_lost"
    worker: int
    trial_id: str | None
    error: Text


class TrialStarted(Assignment, TimedRecord, SparseRecord):
    """A trial began.

    Attributes:
        worker: Number of the worker that trains it, from 1; None for the process of the search.
        decision: Expectation with which the algorithm chose the trial; None if it has none.
    """

    optional = ("decision",)

    event: Literal["trial_started"] = "trial_started"
    worker: int | None = None
    decision: Decision | None = None


class TrialResumed(TimedRecord):
    """A trial continues that an earlier session or a lost worker had begun.

    Attributes:
        epoch: Last epoch, absolute, that the journal holds of the trial.
        worker: Number of the worker that trains it now, from 1; None for the process of the
            search.
    """

    event: Literal["trial_resumed"] = "trial_resumed"
    trial_id: str
    epoch: int
    worker: int | None = None


class CompilationBegan(TimedRecord):
    """The training steps of a trial are compiled. A journal does not record this event.

    Attributes:
        trial_id: Id of the trial. Later trials of its structure use the same program.
    """

    event: Literal["compilation_began"] = "compilation_began"
    trial_id: str


class TrialRetried(TimedRecord):
    """A trial met a transient error, and is tried again from its last finished epoch.

    Attributes:
        attempt: Number of errors of this trial so far in its session, from 1.
        error: The error, in one line.
    """

    event: Literal["trial_retried"] = "trial_retried"
    trial_id: str
    attempt: int
    error: Text
    traceback: Text


class EpochEnded(TimedRecord, SparseRecord):
    """A trial finished an epoch.

    All losses are in nats per image; the validation losses are those at beta = 1. An epoch that
    is trained again after a crash is not recorded again. If an epoch is recorded twice, the last
    record counts.

    Attributes:
        epoch: Number of the epoch, absolute, from 1.
        train_s: Duration of the training, in seconds.
        validation_s: Duration of the validation, in seconds.
        objective: Value of the objective; None if it is the validation loss.
    """

    optional = ("objective",)

    event: Literal["epoch_ended"] = "epoch_ended"
    trial_id: str
    epoch: int
    loss: float
    reconstruction_loss: float
    kl_loss: float
    val_loss: float
    val_reconstruction_loss: float
    val_kl_loss: float
    train_s: float
    validation_s: float
    objective: float | None = None

    @property
    def value(self) -> float:
        """Value of the objective."""
        return self.val_loss if self.objective is None else self.objective


class TrialEnded(TimedRecord, SparseRecord):
    """A trial completed or failed.

    Attributes:
        score: Lowest cost, which the oracle receives, see `Objective.cost`: by default the
            validation loss, nats per image. None if the trial failed.
        best_val_loss: Validation loss of the best epoch, which breaks ties; None if it is the
            score.
        parameters: Number of trainable parameters; None if the model could not be built.
        active_units: Number of active units of all levels after the last epoch, see `LatentUse`;
            None if the trial failed or an earlier version ran it. So are the next two.
        val_kl_loss: KL divergence of the validation images after the last epoch, nats per image.
        collapsed: Whether the model had collapsed after the last epoch. Promotions depend on it.
        duration_s: Wall time in seconds, over all sessions.
        failed_in: Epoch, absolute, in which the trial failed; None if it failed before its first
            epoch, or did not fail.
        error: Reason of the failure, in one line.
    """

    optional = ("best_val_loss",)

    event: Literal["trial_ended"] = "trial_ended"
    trial_id: str
    status: EndStatus
    score: float | None = None
    parameters: int | None = None
    active_units: int | None = None
    val_kl_loss: float | None = None
    collapsed: bool | None = None
    duration_s: float
    failed_in: int | None = None
    error: Text | None = None
    traceback: Text | None = None
    best_val_loss: float | None = None


class PlanCorrected(TimedRecord):
    """The planned trials changed because a trial failed."""

    event: Literal["plan_corrected"] = "plan_corrected"
    plan: tuple[Rung, ...]


class SearchExtended(TimedRecord):
    """The user extended the search to a larger budget.

    Attributes:
        search: The experiment with its larger budget, otherwise unchanged.
        plan: Planned trials, including those of the smaller budget.
    """

    event: Literal["search_extended"] = "search_extended"
    search: SearchSpec
    plan: tuple[Rung, ...]


class FileSetAside(TimedRecord):
    """A file of the search was damaged or missing, and is recreated.

    Attributes:
        file: Path of the file, relative to the folder of the search.
        aside: Path of the damaged file now, relative to the same folder; None if it was missing.
        remedy: A sentence that says how it is recreated.
    """

    event: Literal["file_set_aside"] = "file_set_aside"
    file: Text
    aside: Text | None
    remedy: Text


def describe_loss(event: FileSetAside) -> str:
    """Says in a sentence or two what happened to a damaged or missing file."""
    happened = f"was damaged, see {event.aside}" if event.aside else "was missing"
    return f"{event.file} {happened}. {event.remedy}"


EndReason = Literal["completed", "interrupted", "time_budget", "failures", "error"]


class SessionEnded(TimedRecord):
    """A session ended.

    Attributes:
        reason: "completed" if nothing is left to do; otherwise the reason why it stopped.
        message: Details of the reason.
    """

    event: Literal["session_ended"] = "session_ended"
    reason: EndReason
    message: Text | None = None


Event = (
    SearchStarted
    | SessionStarted
    | WorkerJoined
    | WorkerLost
    | TrialStarted
    | TrialResumed
    | CompilationBegan
    | TrialRetried
    | EpochEnded
    | TrialEnded
    | PlanCorrected
    | SearchExtended
    | FileSetAside
    | TrialEvaluated
    | FinalistsRescored
    | FinalistsRetrained
    | SessionEnded
)
