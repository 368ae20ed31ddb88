"""The one trial routine: start or continue, train, take pictures.

It runs in the process of a search, or in a worker elsewhere. What it does it tells in messages;
whoever reads them keeps the record.
"""

import math
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from vaetune.config import REFERENCE, Precision
from vaetune.data import ImageSet
from vaetune.models import build_vae, draw_variables
from vaetune.study import Arrays, Artifacts, Assignment, Checkpoint, EpochEnded, ProbeImages
from vaetune.training.restore import read_variables
from vaetune.training.runner import DeviceData, EpochLosses, EpochRunner, put_on_device
from vaetune.training.schedule import plan_epoch
from vaetune.training.snapshot import choose_probe_images, take_snapshot
from vaetune.training.tasks import (
    Began,
    Completed,
    EpochDone,
    Failed,
    Message,
    Progressed,
    Task,
    TimeUp,
)

# The framework's errors that another attempt may not meet.
_TRANSIENT = (
    MemoryError,
    OSError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
    tf.errors.UnknownError,
)


class NotFiniteError(Exception):
    """A loss became NaN or infinite."""


class _TimeUpError(Exception):
    pass


@dataclass(frozen=True, eq=False)
class TrainingContext:
    """Where a process trains: the images on its device, and what it compiled for them.

    Attributes:
        images: The image set; its test images are not looked at.
    """

    images: ImageSet
    _runners: dict[Precision, EpochRunner] = field(default_factory=dict)

    @cached_property
    def data(self) -> DeviceData:
        """The images on the device."""
        return put_on_device(self.images)

    @cached_property
    def probe_images(self) -> ProbeImages:
        """The validation images that every model is shown."""
        return choose_probe_images(self.images.validation.images, self.images.validation.labels)

    def any_runner(self) -> EpochRunner:
        """Any of the compiled runners: validation is the same in all of them."""
        return next(iter(self._runners.values()), None) or self.runner("float32")

    def runner(self, precision: Precision) -> EpochRunner:
        """Compiled once for all configurations, when the first one begins to train."""
        if precision not in self._runners:
            template = build_vae(self.images.image_shape, REFERENCE)
            self._runners[precision] = EpochRunner(template, self.data, precision)
        return self._runners[precision]


def train_task(task: Task, context: TrainingContext) -> Iterator[Message]:
    """Does a task; the last message is how it ended."""
    epoch = None
    try:
        for message in _Routine(task, context).run():
            if isinstance(message, Progressed):
                epoch = message.epoch
            yield message
    except _TimeUpError:
        yield TimeUp()
    except Exception as error:  # noqa: BLE001  whatever a trial raises is its result
        is_transient = isinstance(error, _TRANSIENT)
        yield Failed(_in_one_line(error), traceback.format_exc(), epoch, is_transient)


class _Routine:
    """Does one task."""

    def __init__(self, task: Task, context: TrainingContext) -> None:
        self._task = task
        self._spec = task.spec
        self._context = context
        self._runner = context.runner(task.spec.training.precision)
        self._deadline_s = time.monotonic() + task.seconds_left

    def run(self) -> Iterator[Message]:
        state, continues_trial = self._task.start, self._task.continues_trial
        for asked in self._task.lineage:
            yield Began(asked.trial_id, self._restore(asked, state, continues_trial))
            state = yield from self._train(asked, state if continues_trial else None)
            continues_trial = False
        if state is None:
            raise ValueError("a task without a trial has nothing to show")
        yield Completed(state.best_val_loss, self._take_pictures(state.best_weights))

    def _restore(self, asked: Assignment, state: Checkpoint | None, continues_trial: bool) -> int:
        """Restores the state that a trial continues from, and counts the model's parameters."""
        if state is None:
            weights = self._draw_weights(asked)
            self._runner.begin(weights, float(asked.hyperparameters["learning_rate"]))
        elif not continues_trial and self._spec.budget.promote_from == "best":
            weights = state.best_weights
            self._runner.restore(weights, state.best_optimizer)
        else:
            weights = state.weights
            self._runner.restore(weights, state.optimizer)
        return sum(array.size for array in weights if array.dtype == np.float32)

    def _draw_weights(self, asked: Assignment) -> Arrays:
        """The variables of a new model."""
        # The same for a configuration, whichever trials came before it.
        entropy = np.random.SeedSequence([self._spec.seed, asked.configuration])
        keras.utils.set_random_seed(int(entropy.generate_state(1)[0]))
        shape = self._context.images.image_shape
        return read_variables(draw_variables(shape, asked.hyperparameters))

    def _train(
        self, asked: Assignment, own: Checkpoint | None
    ) -> Generator[Message, None, Checkpoint | None]:
        """Trains a trial to its end, from a checkpoint of its own or from where it begins.

        Returns:
            The trial after its last epoch.
        """
        reached = own.epoch if own else asked.epoch_from
        for epoch in range(reached + 1, asked.epoch_to + 1):
            if self._is_past_patience(epoch - 1, own):
                break
            if time.monotonic() >= self._deadline_s:
                raise _TimeUpError
            ended = yield from self._run_epoch(asked, epoch)
            if not (math.isfinite(ended.loss) and math.isfinite(ended.val_loss)):
                yield EpochDone(ended, None)
                _refuse_non_finite(ended)
            own = self._after(ended, own)
            yield EpochDone(ended, own)
        return own

    def _is_past_patience(self, epoch: int, own: Checkpoint | None) -> bool:
        patience = self._spec.budget.patience
        return patience is not None and epoch - (own.best_epoch if own else 0) >= patience

    def _run_epoch(self, asked: Assignment, epoch: int) -> Generator[Message, None, EpochEnded]:
        yield Progressed(asked.trial_id, epoch, 0.0)
        images, number = len(self._context.images.train), asked.configuration
        plan = plan_epoch(self._spec, asked.hyperparameters, images, number, epoch)
        began_s = time.monotonic()
        parts = self._runner.train_in_parts(plan)
        losses = yield from _told(parts, asked.trial_id, epoch)
        trained_s = time.monotonic()
        validation = self._runner.validate()
        return EpochEnded(
            trial_id=asked.trial_id,
            epoch=epoch,
            loss=losses.loss,
            reconstruction_loss=losses.reconstruction_loss,
            kl_loss=losses.kl_loss,
            val_loss=validation.loss,
            val_reconstruction_loss=validation.reconstruction_loss,
            val_kl_loss=validation.kl_loss,
            train_s=trained_s - began_s,
            validation_s=time.monotonic() - trained_s,
        )

    def _after(self, ended: EpochEnded, before: Checkpoint | None) -> Checkpoint:
        """The trial after an epoch."""
        weights, optimizer = self._runner.read()
        latest = Checkpoint(
            epoch=ended.epoch,
            weights=weights,
            optimizer=optimizer,
            best_epoch=ended.epoch,
            best_val_loss=ended.val_loss,
            best_weights=weights,
            best_optimizer=optimizer if self._spec.budget.promote_from == "best" else (),
        )
        if before is None or ended.val_loss < before.best_val_loss:
            return latest
        return replace(
            latest,
            best_epoch=before.best_epoch,
            best_val_loss=before.best_val_loss,
            best_weights=before.best_weights,
            best_optimizer=before.best_optimizer,
        )

    def _take_pictures(self, best_weights: Arrays) -> Artifacts:
        self._runner.restore(best_weights)
        validation = self._context.images.validation.images
        return take_snapshot(self._runner, self._context.probe_images, validation)


def _told(
    parts: Generator[float, None, EpochLosses], trial_id: str, epoch: int
) -> Generator[Message, None, EpochLosses]:
    """Tells how far an epoch is."""
    while True:
        try:
            share = next(parts)
        except StopIteration as done:
            losses: EpochLosses = done.value
            return losses
        yield Progressed(trial_id, epoch, share)


def _refuse_non_finite(ended: EpochEnded) -> None:
    for name, value in (("training loss", ended.loss), ("validation loss", ended.val_loss)):
        if not math.isfinite(value):
            raise NotFiniteError(f"The {name} became {value} in epoch {ended.epoch}.")


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, NotFiniteError) else f"{type(error).__name__}: {text}"
