"""What is asked of who trains, and what is answered: it crosses from process to process."""

import math
from dataclasses import dataclass

from vaetune.config import SearchSpec
from vaetune.study import Artifacts, Assignment, Checkpoint, EpochEnded

MAX_CRASHES = 5
"""So often in a row processes may die of a thing; a trial in whose epoch it was fails then."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be trained, and where from.

    Attributes:
        spec: The search, or the baseline.
        lineage: Trials to train one after the other, each going on from the one before: the last
            one is what is wanted, those before it are of its lineage and were lost. If there are
            none, pictures are taken of what `start` has.
        start: What the first part goes on from; None if that is a new model.
        continues_trial: Whether `start` is of the first part itself; else its parent ended with it.
        seconds_left: When to stop, from the moment that the task is begun.
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
    """A share of an epoch, absolute, is done; none of it when the epoch begins."""

    trial_id: str
    epoch: int
    share: float


@dataclass(frozen=True, eq=False)
class EpochDone:
    """An epoch was trained.

    Attributes:
        ended: What it measured.
        checkpoint: The trial after it; None if a loss is not finite.
    """

    ended: EpochEnded
    checkpoint: Checkpoint | None


@dataclass(frozen=True, eq=False)
class Completed:
    """A task was done.

    Attributes:
        score: The lowest validation loss of the trial's epochs, nats per image.
        pictures: What the trial's best epoch shows.
    """

    score: float
    pictures: Artifacts


@dataclass(frozen=True)
class Failed:
    """A task was not done.

    Attributes:
        error: Why, in a line.
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
