"""Tasks for training processes, and the messages with which they report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from vaetune.config import Likelihood, ObjectiveName, SearchSpec, Value
from vaetune.study import Arrays, Artifacts, Assignment, Checkpoint, EpochEnded, LatentUse

MAX_CRASHES = 5
"""A trial fails after this many consecutive crashes of processes in the same epoch."""


@dataclass(frozen=True, eq=False)
class Task:
    """A trial to train, and the checkpoint to start from.

    Attributes:
        spec: Specification of the search or baseline.
        lineage: Trials to train one after the other, each from the end of the one before. The
            last one is the actual trial; the others are ancestors with a lost checkpoint. If
            empty, only pictures are taken, of the weights in `start`.
        start: Checkpoint from which the first trial starts. None: a new model.
        continues_trial: True if `start` belongs to the first trial itself, False if it is the
            final checkpoint of its parent.
        seconds_left: Seconds after the start of the task at which to stop.
        hyperparameters: Configuration of the weights in `start`, if `lineage` is empty.
        programs_of: Another search whose compiled programs train the trials. None: those of
            `spec`.
    """

    spec: SearchSpec
    lineage: tuple[Assignment, ...]
    start: Checkpoint | None
    continues_trial: bool = False
    seconds_left: float = math.inf
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    programs_of: SearchSpec | None = None


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The weights of a model and its configuration.

    Attributes:
        hyperparameters: The configuration.
        weights: Variables of the model, in the order of `VAE.ordered_variables`.
        likelihood: Likelihood of the pixels.
        chosen_by: Measure that is taken besides the losses. None: none.
    """

    hyperparameters: Mapping[str, Value]
    weights: Arrays
    likelihood: Likelihood = "bernoulli"
    chosen_by: ObjectiveName | None = None


@dataclass(frozen=True)
class Began:
    """The model of a trial is ready to be trained.

    Attributes:
        trial_id: The trial.
        parameters: Number of trainable parameters.
    """

    trial_id: str
    parameters: int


@dataclass(frozen=True)
class Compiling:
    """The training steps of a trial are compiled, which can take a minute.

    Attributes:
        trial_id: The trial. Others use the same program.
    """

    trial_id: str


@dataclass(frozen=True)
class Progressed:
    """A part of an epoch was trained, or the epoch has started or waits for its compiled steps.

    Attributes:
        trial_id: The trial.
        epoch: Epoch, counted from the start of the configuration.
        share: Completed share of the epoch, in [0, 1]; 0 at its start.
    """

    trial_id: str
    epoch: int
    share: float


@dataclass(frozen=True, eq=False)
class EpochDone:
    """An epoch was trained.

    Attributes:
        ended: Losses and durations of the epoch.
        checkpoint: Checkpoint of the trial after the epoch; None if a loss is not finite.
    """

    ended: EpochEnded
    checkpoint: Checkpoint | None


@dataclass(frozen=True, eq=False)
class Completed:
    """A task was completed.

    Attributes:
        score: Lowest cost of the trial, see `Objective.cost`.
        pictures: Pictures of the trial's best epoch.
        latent_use: Active units and KL divergence after the trial's last epoch; None if the task
            trained no trial.
        best_val_loss: Validation loss of the best epoch, nats per image; None if it is the score.
    """

    score: float
    pictures: Artifacts
    latent_use: LatentUse | None = None
    best_val_loss: float | None = None


@dataclass(frozen=True)
class Failed:
    """A task failed.

    Attributes:
        error: Error in one line.
        traceback: Traceback of the error.
        epoch: Epoch in which the error occurred; None if no epoch had started.
        is_transient: Whether another attempt may succeed.
    """

    error: str
    traceback: str
    epoch: int | None
    is_transient: bool


@dataclass(frozen=True)
class TimeUp:
    """The time of the task was over, so no further epoch was started."""


Message = Began | Compiling | Progressed | EpochDone | Completed | Failed | TimeUp
