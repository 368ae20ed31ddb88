"""Training of a trial: restore or initialise the model, train its epochs, take pictures.

The code runs in the process of the search or in a worker. It reports with messages; the reader of
the messages writes the journal and the checkpoints.
"""

import math
import random
import time
import traceback
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from vaetune.config import Objective, value_of
from vaetune.data import to_unit_interval
from vaetune.errors import DataError, one_line
from vaetune.study import (
    LATENT_POINTS,
    Arrays,
    Artifacts,
    Assignment,
    Checkpoint,
    EpochEnded,
    LatentUse,
)
from vaetune.training.context import TrainingContext
from vaetune.training.objectives import measure_use
from vaetune.training.runner import EpochLosses
from vaetune.training.schedule import plan_epoch
from vaetune.training.snapshot import take_snapshot
from vaetune.training.tasks import (
    Began,
    Compiling,
    Completed,
    EpochDone,
    Failed,
    Message,
    Progressed,
    Task,
    TimeUp,
)

# After these errors, another attempt may succeed.
_TRANSIENT_ERRORS = (
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

_WAIT_S = 0.1
"""Seconds between two messages while steps are compiled."""


class NotFiniteError(Exception):
    """A loss is NaN or infinite."""


class _TimeUpError(Exception):
    """The time of the task is over."""


def train_task(task: Task, context: TrainingContext) -> Iterator[Message]:
    """Trains the trials of a task and yields messages.

    Args:
        task: Trials to train.
        context: Images on the device and the compiled steps.

    Yields:
        `Compiling`, `Began`, `Progressed` and `EpochDone` messages, and at the end `Completed`,
        `Failed` or `TimeUp`.

    Raises:
        DataError: The file of the images has changed or is gone.
    """
    epoch = None
    try:
        for message in _TaskTrainer(task, context).run():
            if isinstance(message, Progressed):
                epoch = message.epoch
            yield message
    except _TimeUpError:
        yield TimeUp()
    except DataError:  # The file of the images changed, which is no result of the trial.
        raise
    except Exception as error:  # noqa: BLE001  Any error of a trial is its result.
        is_transient = isinstance(error, _TRANSIENT_ERRORS)
        yield Failed(_describe_error(error), traceback.format_exc(), epoch, is_transient)


class _TaskTrainer:
    """Trains the trials of one task."""

    def __init__(self, task: Task, context: TrainingContext) -> None:
        self._task = task
        self._spec = task.spec
        self._context = context
        self._likelihood = task.spec.data.likelihood
        self._objective = task.spec.ranked_by
        self._deadline_s = time.monotonic() + task.seconds_left
        self._last_ended: EpochEnded | None = None

    def run(self) -> Iterator[Message]:
        state, continues_trial = self._task.start, self._task.continues_trial
        for trial in self._task.lineage:
            self._use(trial.hyperparameters)
            yield from self._wait_for_programs(trial)
            yield Began(trial.trial_id, self._prepare(trial, state, continues_trial))
            state = yield from self._train(trial, state if continues_trial else None)
            continues_trial = False
        if state is None:
            raise ValueError("A task without trials needs a checkpoint to take pictures of.")
        if not self._task.lineage:
            self._use(self._task.hyperparameters)
        # The pictures come last, because they replace the weights of the last epoch.
        use = self._measure_latent_use(state) if self._task.lineage else None
        pictures = self._take_pictures(state.best_weights)
        cost = self._objective.cost(state.best_value)
        ties = None if state.best_objective is None else state.best_val_loss
        yield Completed(cost, pictures, use, ties)

    def _use(self, hyperparameters: Mapping[str, Any]) -> None:
        self._runner = self._context.training_runner(
            self._spec, hyperparameters, self._task.programs_of
        )

    def _wait_for_programs(self, trial: Assignment) -> Iterator[Message]:
        """Waits until threads have compiled the steps. Ctrl-C takes effect at each message."""
        if self._runner.is_compiling:
            yield Compiling(trial.trial_id)
        while self._runner.is_compiling:
            time.sleep(_WAIT_S)
            yield Progressed(trial.trial_id, trial.epoch_from + 1, 0.0)

    def _prepare(self, trial: Assignment, state: Checkpoint | None, continues_trial: bool) -> int:
        """Puts the starting point of a trial into the runner, and counts the parameters."""
        if state is None:
            weights = self._draw_weights(trial)
            self._runner.begin(weights, float(value_of(trial.hyperparameters, "learning_rate")))
        elif not continues_trial and self._spec.budget.promote_from == "best":
            average = state.best_weights if state.best_raw_weights else ()
            raw = state.best_raw_weights or state.best_weights
            self._runner.restore(raw, state.best_optimizer, average)
        else:
            self._runner.restore(state.weights, state.optimizer, state.average)
        return self._runner.parameters

    def _draw_weights(self, trial: Assignment) -> Arrays:
        """Returns the variables of a new model. They do not depend on earlier trials."""
        entropy = np.random.SeedSequence([self._spec.seed, trial.configuration])
        # Keras draws its seeds from the random numbers of Python. `keras.utils.set_random_seed`
        # would seed TensorFlow too, which would then optimise all functions once more.
        random.seed(int(entropy.generate_state(1)[0]))
        return self._context.draw_weights(trial.hyperparameters, self._likelihood)

    def _train(
        self, trial: Assignment, checkpoint: Checkpoint | None
    ) -> Generator[Message, None, Checkpoint | None]:
        """Trains the remaining epochs of a trial.

        Args:
            trial: The trial.
            checkpoint: Checkpoint of the trial itself; None before its first epoch.

        Returns:
            The checkpoint after the last epoch.
        """
        last_epoch = checkpoint.epoch if checkpoint else trial.epoch_from
        for epoch in range(last_epoch + 1, trial.epoch_to + 1):
            if self._is_past_patience(epoch - 1, checkpoint):
                break
            if time.monotonic() >= self._deadline_s:
                raise _TimeUpError
            ended = self._last_ended = yield from self._run_epoch(trial, epoch)
            if not all(map(math.isfinite, (ended.loss, ended.val_loss, ended.value))):
                yield EpochDone(ended, None)
                _check_finite(ended, self._objective)
            averages = bool(trial.hyperparameters.get("weight_average"))
            checkpoint = self._make_checkpoint(ended, checkpoint, averages)
            yield EpochDone(ended, checkpoint)
        return checkpoint

    def _is_past_patience(self, epoch: int, checkpoint: Checkpoint | None) -> bool:
        patience = self._spec.budget.patience
        best_epoch = checkpoint.best_epoch if checkpoint else 0
        return patience is not None and epoch - best_epoch >= patience

    def _run_epoch(self, trial: Assignment, epoch: int) -> Generator[Message, None, EpochEnded]:
        yield Progressed(trial.trial_id, epoch, 0.0)
        images, number = len(self._context.images.train), trial.configuration
        plan = plan_epoch(self._spec, trial.hyperparameters, images, number, epoch)
        began_s = time.monotonic()
        parts = self._runner.train_in_parts(plan)
        losses = yield from _report_progress(parts, trial.trial_id, epoch)
        trained_s = time.monotonic()
        validation = self._runner.validate()
        objective = None
        if not self._objective.is_loss:
            use = self._objective.name, self._runner, self._context.images
            objective = float(measure_use(*use).mean())
        return EpochEnded(
            trial_id=trial.trial_id,
            epoch=epoch,
            loss=losses.loss,
            reconstruction_loss=losses.reconstruction_loss,
            kl_loss=losses.kl_loss,
            val_loss=validation.loss,
            val_reconstruction_loss=validation.reconstruction_loss,
            val_kl_loss=validation.kl_loss,
            train_s=trained_s - began_s,
            validation_s=time.monotonic() - trained_s,
            objective=objective,
        )

    def _make_checkpoint(
        self, ended: EpochEnded, before: Checkpoint | None, averages: bool
    ) -> Checkpoint:
        """Returns the checkpoint after an epoch, given the one before it."""
        weights, optimizer = self._runner.read()
        average = self._runner.read_average() if averages else ()
        from_best = self._spec.budget.promote_from == "best"
        latest = Checkpoint(
            epoch=ended.epoch,
            weights=weights,
            optimizer=optimizer,
            best_epoch=ended.epoch,
            best_val_loss=ended.val_loss,
            best_weights=average or weights,
            best_optimizer=optimizer if from_best else (),
            average=average,
            best_raw_weights=weights if from_best and average else (),
            best_objective=ended.objective,
        )
        if before is None or self._costs(latest) < self._costs(before):
            return latest
        return replace(
            latest,
            best_epoch=before.best_epoch,
            best_val_loss=before.best_val_loss,
            best_weights=before.best_weights,
            best_optimizer=before.best_optimizer,
            best_raw_weights=before.best_raw_weights,
            best_objective=before.best_objective,
        )

    def _costs(self, checkpoint: Checkpoint) -> tuple[float, float]:
        """Returns a key that compares best epochs: cost and validation loss."""
        return self._objective.cost(checkpoint.best_value), checkpoint.best_val_loss

    def _measure_latent_use(self, last: Checkpoint) -> LatentUse:
        """Measures how much the model of the last epoch uses its latent variables.

        The active units are those of the first `LATENT_POINTS` validation images. If the last
        epoch was trained by an earlier task, the model is validated again, with the same result.

        Args:
            last: Checkpoint after the last epoch.
        """
        self._runner.restore(last.average or last.weights)
        ended = self._last_ended
        if ended is not None and ended.epoch == last.epoch:
            val_kl_loss = ended.val_kl_loss
        else:
            val_kl_loss = self._runner.validate().kl_loss
        images = self._context.images.validation.images[:LATENT_POINTS]
        return LatentUse.measure(self._runner.encode_levels(to_unit_interval(images)), val_kl_loss)

    def _take_pictures(self, best_weights: Arrays) -> Artifacts:
        self._runner.restore(best_weights)
        validation = self._context.images.validation.images
        return take_snapshot(self._runner, self._context.probe_images, validation)


def _report_progress(
    parts: Generator[float, None, EpochLosses], trial_id: str, epoch: int
) -> Generator[Message, None, EpochLosses]:
    """Yields the progress of an epoch as messages, and returns its losses."""
    while True:
        try:
            share = next(parts)
        except StopIteration as done:
            losses: EpochLosses = done.value
            return losses
        yield Progressed(trial_id, epoch, share)


def _check_finite(ended: EpochEnded, objective: Objective) -> None:
    """Checks the losses and the objective of an epoch.

    Raises:
        NotFiniteError: One of them is NaN or infinite.
    """
    values = {
        "training loss": ended.loss,
        "validation loss": ended.val_loss,
        objective.title: ended.value,
    }
    for name, value in values.items():
        if not math.isfinite(value):
            raise NotFiniteError(f"The {name} became {value} in epoch {ended.epoch}.")


def _describe_error(error: Exception) -> str:
    text = one_line(error)
    return text if isinstance(error, NotFiniteError) else f"{type(error).__name__}: {text}"
