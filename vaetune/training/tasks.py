"""What is asked of who trains, and what is answered: it crosses from process to process."""

import math
from dataclasses import dataclass

from vaetune.config import SearchSpec
from vaetune.study import Artifacts, Assignment, Checkpoint, EpochEnded

MAX_CRASHES = 5
"""A trial fails after this many consecutive crashes in the same epoch."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be trained, and where from.

    Attributes:
        spec: The search, or the baseline.
        lineage: Trials to train one after the other, each continuing the one before: the last
            one is what is wanted, those before it are of its lineage and were lost. If there are
            none, pictures are taken of what `start` has.
        start: Checkpoint that the first trial continues from; None for a new model.
        continues_trial: Whether `start` is of the first part itself; else its parent ended with it.
        seconds_left: Seconds until the time budget ends, from the start of the task.
    """

    spec: SearchSpec
    lineage: tuple[Assignment, ...]
    start: Checkpoint | None
    continues_trial: bool = False
    seconds_left: float = math.inf


@dataclass(frozen=True)
class Began:
    """The variables of a trial's model are in place."""

    trial_id: str
    parameters: int


@dataclass(frozen=True)
class Progressed:
    """A share of an epoch, absolute, is done; 0 when the epoch begins."""

    trial_id: str
    epoch: int
    share: float


@dataclass(frozen=True, eq=False)
class EpochDone:
    """An epoch was trained.

    Attributes:
        ended: Losses of the epoch.
        checkpoint: The trial after it; None if a loss is not finite.
    """

    ended: EpochEnded
    checkpoint: Checkpoint | None


@dataclass(frozen=True, eq=False)
class Completed:
    """A task was done.

    Attributes:
        score: The lowest validation loss of the trial's epochs, nats per image.
        pictures: Pictures of the trial's best epoch.
    """

    score: float
    pictures: Artifacts


@dataclass(frozen=True)
class Failed:
    """A task was not done.

    Attributes:
        error: Reason, in one line.
        epoch: The epoch that it was in; None if it had not begun one.
        is_transient: Whether another attempt may not meet the same.
    """

    error: str
    traceback: str
    epoch: int | None
    is_transient: bool


@dataclass(frozen=True)
class TimeUp:
    """The time is up: no further epoch was begun."""


Message = Began | Progressed | EpochDone | Completed | Failed | TimeUp
