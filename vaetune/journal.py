"""The append-only record of a search: one JSON object a line, one writer.

Everything a person reads is folded from it, and a search goes on from it after a crash. An
event is on the disk before anything that follows from it happens.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from vaetune.errors import InUseError, JournalError, ResultsError
from vaetune.evaluation import Evaluation
from vaetune.rescoring import Rescoring, Retraining
from vaetune.search_file import Origin
from vaetune.space import Number
from vaetune.spec import SearchSpec

FORMAT = 1
JOURNAL_NAME = "journal.jsonl"

_LOCK_NAME = ".lock"
_LOCK_WAIT_S = 0.2
"""Longer than `is_in_use` holds a lock, shorter than a person minds."""

Kind = Literal["search", "baseline"]
EndStatus = Literal["completed", "failed"]


class _Record(BaseModel):
    # Infinities and NaN are no JSON: they are written as strings.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


def _as_unicode(text: object) -> object:
    """Escapes what UTF-8 cannot say, such as a path or an argument in Latin-1."""
    return text.encode(errors="backslashreplace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_as_unicode)]


def _now() -> datetime:
    return datetime.now(UTC)


class DataSummary(_Record):
    """The image set of a search.

    Attributes:
        fingerprint: SHA-256 of all arrays, hexadecimal.
        image_shape: Height, width, channels.
        entropy_floor: Nats per validation image that no model's reconstruction goes below.
    """

    name: Text
    source: Text
    fingerprint: str
    image_shape: tuple[int, int, int]
    train_images: int
    validation_images: int
    test_images: int
    class_names: tuple[Text, ...] | None
    entropy_floor: float


class Rung(_Record):
    """Trials of one budget, those of a bracket's first rung new, the others promoted."""

    iteration: int = 0
    bracket: int
    rung: int
    trials: int
    epoch_from: int
    epoch_to: int

    @property
    def epochs(self) -> int:
        """Epochs that the rung's trials train together."""
        return self.trials * (self.epoch_to - self.epoch_from)


class Environment(_Record):
    """Where a session ran.

    Attributes:
        device: The device that trains, such as "CPU" or a GPU's name.
        threads: Threads that one operation may use.
        versions: Package versions by name.
        revision: Git revision of the working directory, if it is a checkout.
        command: The command line.
    """

    python: str
    platform: str
    cpu: str
    cores: int
    threads: int
    device: str
    versions: Mapping[str, str]
    revision: str | None
    command: tuple[Text, ...]


class Assignment(_Record):
    """What a trial is to do: train a configuration over the epochs (epoch_from, epoch_to].

    Attributes:
        configuration: Its number in the order drawn; promotions share it.
        parent: The trial that this one goes on from, if it is a promotion.
        iteration: Which run of Hyperband's whole schedule it belongs to, from 0.
    """

    trial_id: str
    configuration: int
    parent: str | None
    iteration: int = 0
    bracket: int
    rung: int
    epoch_from: int
    epoch_to: int
    hyperparameters: Mapping[str, Number]


class _Event(_Record):
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
        environment: Where its trials run; if there are several workers, the first one's device
            and threads.
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
        trial_id: What it trained; it goes on elsewhere from its last finished epoch.
    """

    event: Literal["worker_lost"] = "worker_lost"
    worker: int
    trial_id: str | None
    error: Text


class TrialStarted(Assignment, _Event):
    """A trial began.

    Attributes:
        worker: Which trains it; None is the process of the search itself.
    """

    event: Literal["trial_started"] = "trial_started"
    worker: int | None = None


class TrialResumed(_Event):
    """A trial was taken up that an earlier session, or a worker that was lost, had begun.

    Attributes:
        epoch: The last epoch, absolute, whose outcome was found.
        worker: Which trains it now; None is the process of the search itself.
    """

    event: Literal["trial_resumed"] = "trial_resumed"
    trial_id: str
    epoch: int
    worker: int | None = None


class TrialRetried(_Event):
    """A trial met an error that may pass, and is tried again from its last finished epoch.

    Attributes:
        attempt: How often that has happened to this trial in its session.
    """

    event: Literal["trial_retried"] = "trial_retried"
    trial_id: str
    attempt: int
    error: Text
    traceback: Text


class EpochEnded(_Event):
    """One epoch's losses, all in nats per image; the validation's are at beta = 1.

    An epoch that is trained again after a crash is not told again; should one stand twice, the
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
        score: What the oracle was told: the lowest validation loss, nats per image.
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
        aside: What it is called now; None if it was gone.
        remedy: How it comes back.
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
        epoch: That epoch, absolute; a trial that went on may have a better one by now.
        environment: Where it was judged.
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
    """They were trained anew from other seeds, and judged in the same way."""

    event: Literal["finalists_retrained"] = "finalists_retrained"
    retraining: Retraining
    duration_s: float


EndReason = Literal["completed", "interrupted", "time_budget", "failures", "error"]


class SessionEnded(_Event):
    """A process let go of the search: for good ("completed"), or to be gone on with."""

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
Listener = Callable[[Event], None]

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class Journal:
    """Writes a journal. One process at a time holds it: open it inside `lock_results`.

    Args:
        path: The journal's file; it is created with its first event.

    Attributes:
        listener: Called with each event once it is on the disk.
        repaired: Where a torn last line was set aside when the journal was opened, if it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener: Listener | None = None
        self.repaired = _set_torn_line_aside(path)
        with _written_to(path):
            # Unbuffered: nothing of a line that failed is left to be written later.
            self._file = path.open("ab", buffering=0)

    def append(self, event: Event) -> None:
        """Writes an event through to the disk, then tells the listener.

        Raises:
            ResultsError: See `write`.
        """
        self.write(event)
        self.repeat(event)

    def write(self, event: Event) -> None:
        """Writes an event through to the disk; the listener is yet to be told, by `repeat`.

        Raises:
            ResultsError: The disk is full or the file cannot be written. The journal then ends
                with the event before.
        """
        line = event.model_dump_json().encode() + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        try:
            with _written_to(self.path):
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
        except ResultsError:
            os.truncate(self.path, end)
            raise

    def repeat(self, event: Event) -> None:
        """Tells the listener of an event that is recorded already."""
        if self.listener:
            self.listener(event)

    def close(self) -> None:
        """Closes the file; every event is on the disk already."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def describe_repair(journal: Journal) -> FileSetAside | None:
    """What was found torn when the journal was opened, to be journaled."""
    if journal.repaired is None:
        return None
    return FileSetAside(
        file=JOURNAL_NAME,
        aside=journal.repaired.name,
        remedy="Its last line was torn: what that told is done again.",
    )


def read_journal(path: Path) -> Iterator[Event]:
    """Yields the events of a journal, without a last line that is still being written.

    Raises:
        JournalError: There is none, its format is unknown, or a line is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise JournalError(f"There is no journal at {path}.") from None
    except OSError as error:
        raise JournalError(f"The journal {path} cannot be read: {error.strerror}.") from error
    whole_lines = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole_lines.splitlines(), start=1):
        if number == 1:
            _check_format(line, path)
        yield _parsed(line, number, path)


@contextmanager
def lock_results(folder: Path) -> Iterator[None]:
    """Keeps a folder of results to one process; the lock goes when the process does.

    Raises:
        InUseError: Another process holds it; the message names the process.
        ResultsError: The folder cannot be written.
    """
    with _written_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_NAME)
        try:
            lock.acquire(timeout=_LOCK_WAIT_S)
        except Timeout:
            raise InUseError(
                f"{folder} is in use by {_holder(folder)}. Wait for it or stop it, "
                "or write elsewhere with --results."
            ) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now().isoformat()}
        with _written_to(folder):
            (folder / ".holder").write_text(json.dumps(holder))
        yield
    finally:
        (folder / ".holder").unlink(missing_ok=True)
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process holds a folder of results, or that cannot be known.

    Where none does, asking holds the lock for an instant: do not ask again and again.
    """
    path = folder / _LOCK_NAME
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / ".holder").read_text())
        return f"process {holder['pid']} on {holder['host']} since {holder['since'][:16]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


@contextmanager
def _written_to(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write into one clear line."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written: {error.strerror}. What was recorded before is unharmed: "
            "mend that, then give the same command again."
        ) from error


def _set_torn_line_aside(path: Path) -> Path | None:
    """Moves what follows the last line break into a file of its own."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end == len(content):
        return None
    aside = path.with_name(f"journal.torn-{end}")
    with _written_to(path):
        aside.write_bytes(content[end:])
        os.truncate(path, end)
    return aside


def _check_format(line: bytes, path: Path) -> None:
    try:
        first = json.loads(line)
        version = first.get("format") if isinstance(first, dict) else None
    except (ValueError, RecursionError):
        version = None
    if version is None:
        raise JournalError(f"{path} is not a journal of vaetune: its first line names no format.")
    if version != FORMAT:
        raise JournalError(
            f"{path} has format {version}, this vaetune reads format {FORMAT}. "
            "Read it with the version that wrote it, or search again under another name."
        )


def _parsed(line: bytes, number: int, path: Path) -> Event:
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "extra_forbidden":
            raise JournalError(
                f"{path}, line {number} holds {first['loc'][-1]!r}, which this vaetune does not "
                "know: a later version wrote it. Read it with that one, or search again under "
                "another name."
            ) from error
        if first["type"] == "union_tag_invalid":
            raise JournalError(
                f"{path}, line {number} tells of {first['ctx']['tag']!r}, which this vaetune does "
                "not know: a later version wrote it, or it is damaged. Read it with that one, "
                "restore the file from a copy, or search again with --overwrite."
            ) from error
        what = first["msg"]
        raise JournalError(
            f"{path}, line {number} is damaged ({what}). Restore the file from a copy, "
            "or search again with --overwrite."
        ) from error
