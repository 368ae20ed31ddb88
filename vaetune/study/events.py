"""The events of a journal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field

from vaetune.config import Origin, SearchSpec
from vaetune.study.records import Assignment, DataSummary, Environment, Record, Rung, Text
from vaetune.study.scores import Evaluation, Rescoring, Retraining

FORMAT = 1

Kind = Literal["search", "baseline"]

EndStatus = Literal["completed", "failed"]


def _now() -> datetime:
    return datetime.now(UTC)


class _Event(Record):
    time: datetime = Field(default_factory=_now)


class SearchStarted(_Event):
    """The first line: the experiment and what it will take."""

    event: Literal["search_started"] = "search_started"
    format: int = FORMAT
    kind: Kind = "search"
    name: Text
    search: SearchSpec
    origins: Mapping[str, Origin]
    data: DataSummary
    plan: tuple[Rung, ...]


class SessionStarted(_Event):
    """A process took the search up, for the first time or again.

    Attributes:
        environment: Environment of the training; with several workers, device and threads are those
            of the first one.
        workers: Processes that train at the same time.
    """

    event: Literal["session_started"] = "session_started"
    environment: Environment
    workers: int = 1


class WorkerJoined(_Event):
    """A worker is ready to train, for the first time or in the place of one that was lost.

    Attributes:
        worker: Its number, from 1; a worker has that of the one whose place it takes.
        host: The machine that it runs on.
    """

    event: Literal["worker_joined"] = "worker_joined"
    worker: int
    host: Text
    environment: Environment


class WorkerLost(_Event):
    """A worker is gone: killed, out of memory, or its machine is.

    Attributes:
        trial_id: The trial that it trained, which continues elsewhere from its last finished epoch.
    """

    event: Literal["worker_lost"] = "worker_lost"
    worker: int
    trial_id: str | None
    error: Text


class TrialStarted(Assignment, _Event):
    """A trial began.

    Attributes:
        worker: Number of the worker that trains it; None for the process of the search.
    """

    event: Literal["trial_started"] = "trial_started"
    worker: int | None = None


class TrialResumed(_Event):
    """A trial continues that an earlier session or a lost worker had begun.

    Attributes:
        epoch: The last epoch, absolute, whose outcome was found.
        worker: Number of the worker that trains it now; None for the process of the search.
    """

    event: Literal["trial_resumed"] = "trial_resumed"
    trial_id: str
    epoch: int
    worker: int | None = None


class TrialRetried(_Event):
    """A trial met an error that may pass, and is tried again from its last finished epoch.

    Attributes:
        attempt: Number of retries of this trial in its session.
    """

    event: Literal["trial_retried"] = "trial_retried"
    trial_id: str
    attempt: int
    error: Text
    traceback: Text


class EpochEnded(_Event):
    """One epoch's losses, all in nats per image; the validation's are at beta = 1.

    An epoch that is trained again after a crash is not recorded again; if one is there twice, the
    last one counts.
    """

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


class TrialEnded(_Event):
    """A trial completed or failed.

    Attributes:
        score: Lowest validation loss, nats per image, as reported to the oracle.
        parameters: Trainable parameters of the model, if it could be built.
        duration_s: Wall time in seconds over all sessions.
        failed_in: The epoch, absolute, that a failed trial was in; None if it had not begun one.
    """

    event: Literal["trial_ended"] = "trial_ended"
    trial_id: str
    status: EndStatus
    score: float | None = None
    parameters: int | None = None
    duration_s: float
    failed_in: int | None = None
    error: Text | None = None
    traceback: Text | None = None


class PlanCorrected(_Event):
    """Other trials than announced are to come, since some failed."""

    event: Literal["plan_corrected"] = "plan_corrected"
    plan: tuple[Rung, ...]


class SearchExtended(_Event):
    """The user asked for more of the same search.

    Attributes:
        search: The experiment with its larger budget; all else is as it was.
    """

    event: Literal["search_extended"] = "search_extended"
    search: SearchSpec
    plan: tuple[Rung, ...]


class FileSetAside(_Event):
    """A file of the search was damaged or gone, and is made again.

    Attributes:
        file: Its name, relative to the search's folder.
        aside: New name of the file; None if it was missing.
        remedy: Statement of how it is recreated.
    """

    event: Literal["file_set_aside"] = "file_set_aside"
    file: Text
    aside: Text | None
    remedy: Text


def describe_loss(event: FileSetAside) -> str:
    """What happened to a file, in a sentence or two."""
    happened = f"was damaged, see {event.aside}" if event.aside else "was gone"
    return f"{event.file} {happened}. {event.remedy}"


class TrialEvaluated(_Event):
    """A trial's best epoch was judged on the test images.

    Attributes:
        epoch: Epoch of the evaluated weights, absolute. A promoted trial may have a better one by
            now.
        environment: Environment of the evaluation.
    """

    event: Literal["trial_evaluated"] = "trial_evaluated"
    trial_id: str
    epoch: int
    evaluation: Evaluation
    duration_s: float
    environment: Environment


class FinalistsRescored(_Event):
    """The best configurations of the search were judged again, by many posterior samples."""

    event: Literal["finalists_rescored"] = "finalists_rescored"
    rescoring: Rescoring
    duration_s: float


class FinalistsRetrained(_Event):
    """The finalists were trained again from other seeds, and measured in the same way."""

    event: Literal["finalists_retrained"] = "finalists_retrained"
    retraining: Retraining
    duration_s: float


EndReason = Literal["completed", "interrupted", "time_budget", "failures", "error"]


class SessionEnded(_Event):
    """A session ended: the search is complete, or can be continued."""

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
