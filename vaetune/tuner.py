"""The one trial routine: begin or restore, train, record."""

import math
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Literal

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.checkpoint import Arrays, Checkpoint, read_variables
from vaetune.data import ImageSet
from vaetune.errors import VaetuneError
from vaetune.hypermodel import VAEHyperModel
from vaetune.journal import (
    Assignment,
    EpochEnded,
    Journal,
    PlanCorrected,
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
)
from vaetune.model import build_vae
from vaetune.oracles import OBJECTIVE, TUNER_ID, Oracle, assignment, plan
from vaetune.pictures import Gallery, Pictures, take_pictures
from vaetune.retention import CheckpointKeeper, Standing, leaders
from vaetune.spec import REFERENCE, SearchSpec
from vaetune.study import Study, trial_folder
from vaetune.training import DeviceData, EpochRunner, OnProgress, plan_epoch

ENOUGH_TRIALS = 10
"""Only after so many ended trials does the share of failures stop a search."""

MOST_DEATHS = 5
"""A trial in whose same epoch the process died this often is a failed one."""

# The framework's errors that another attempt may not meet.
_MAY_PASS = (
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


class StoppedEarly(VaetuneError):  # noqa: N818  it is no error: the search was told to
    """A limit of the search is reached; the next session can go on.

    Attributes:
        reason: Which one.
    """

    def __init__(self, reason: Literal["time_budget", "failures"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Workplace:
    """What the trials of a search share.

    Attributes:
        folder: Of the search's results.
        images: The image set; its test images are not looked at.
        data: The images on the device.
        gallery: The validation images that every model is shown.
        deadline_s: When to stop, as `time.monotonic` counts.
        runner: Trains; None stands for one of its own, compiled when it is needed.
    """

    folder: Path
    spec: SearchSpec
    images: ImageSet
    data: DeviceData
    gallery: Gallery
    deadline_s: float = math.inf
    runner: EpochRunner | None = None


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """A trial after one of its epochs."""

    epoch: int = 0
    val_loss: float = math.inf
    weights: Arrays = ()
    optimizer: Arrays = ()


class VAETuner(keras_tuner.Tuner):
    """Runs the trials that an oracle asks for, and journals them.

    A trial goes on from its own checkpoint if a session was cut off in it, else from where the
    trial ended that it was promoted from, optimizer and random state included. A checkpoint
    that is lost is made again by training again.

    Args:
        oracle: Which trials to run, at the point where the journal leaves off.
        workplace: What the trials share.
        journal: Where every event is recorded before anything follows from it.
        past: The search as earlier sessions left it.
        on_progress: Called within each epoch with the share of it that is done.
    """

    def __init__(
        self,
        oracle: Oracle,
        workplace: Workplace,
        journal: Journal,
        past: Study,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._workplace = workplace
        self._limits = workplace.spec.limits
        self._journal = journal
        self._past = {trial.trial_id: trial for trial in past.trials}
        self._plan = past.plan
        self._last_told = {t.trial_id: t.epochs[-1].epoch for t in past.trials if t.epochs}
        self._keeper = CheckpointKeeper(workplace.folder, journal)
        self._on_progress = on_progress
        self._parameters: int | None = None
        self._error: str | None = None
        self._epoch: int | None = None
        self._began_s = 0.0
        hypermodel = VAEHyperModel(workplace.images.image_shape, workplace.spec.space)
        super().__init__(
            oracle=oracle,
            hypermodel=hypermodel,
            directory=str(workplace.folder.parent),
            project_name=workplace.folder.name,
            tuner_id=TUNER_ID,
        )
        self._leaders: list[Standing] = []
        self._rank(oracle.trials.values())

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _populate_initial_space(self) -> None:
        # Keras Tuner builds a model to learn the space; the oracle was given it.
        pass

    @cached_property
    def runner(self) -> EpochRunner:
        """Compiled once for all configurations, when the first one begins to train."""
        if self._workplace.runner:
            return self._workplace.runner
        template = build_vae(self._workplace.images.image_shape, REFERENCE)
        return EpochRunner(template, self._workplace.data, self._workplace.spec.training.precision)

    def on_search_begin(self) -> None:
        """Corrects the plan, should an earlier session have been cut off before it could."""
        self._correct_plan()

    def on_trial_begin(self, trial: Trial) -> None:
        """Journals the trial's start, or that an earlier session's is taken up.

        Raises:
            StoppedEarly: A limit of the search is reached.
        """
        self._check_failures()
        self.check_time()
        self._began_s = time.monotonic()
        self._parameters = self._error = self._epoch = None
        asked = assignment(self.oracle, trial)
        started = TrialStarted(**dict(asked))
        if trial.trial_id in self._past:
            self._journal.repeat(started)
            reached = self._last_told.get(trial.trial_id, asked.epoch_from)
            self._journal.append(TrialResumed(trial_id=trial.trial_id, epoch=reached))
        else:
            self._journal.append(started)
            self._keeper.forget(trial.trial_id)

    def _try_run_and_update_trial(self, trial: Trial) -> None:
        # Keras Tuner's own would record a full disk as the fault of the configuration, and try
        # a NaN again.
        for attempt in count(1):
            try:
                self.oracle.update_trial(trial.trial_id, self.run_trial(trial))
                trial.status = TrialStatus.COMPLETED
                return
            except VaetuneError:
                raise
            except Exception as error:  # noqa: BLE001  whatever a trial raises is its result
                self._error, trial.message = _in_one_line(error), traceback.format_exc()
                may_pass = isinstance(error, _MAY_PASS)
            if not may_pass or attempt > self._limits.max_retries:
                trial.status = TrialStatus.FAILED
                return
            self._journal.append(
                TrialRetried(
                    trial_id=trial.trial_id,
                    attempt=attempt,
                    error=self._error,
                    traceback=trial.message,
                )
            )

    def on_trial_end(self, trial: Trial) -> None:
        """Journals the trial's outcome, then tells the oracle, then removes what is done with."""
        earlier = self._past.get(trial.trial_id)
        completed = trial.status == TrialStatus.COMPLETED
        before_s = earlier.duration_s if earlier else 0.0
        self._journal.append(
            TrialEnded(
                trial_id=trial.trial_id,
                status="completed" if completed else "failed",
                score=trial.metrics.get_best_value(OBJECTIVE) if completed else None,
                parameters=self._parameters,
                duration_s=before_s + time.monotonic() - self._began_s,
                failed_in=None if completed else self._epoch,
                error=None if completed else self._error,
                traceback=None if completed else trial.message,
            )
        )
        self.oracle.end_trial(trial)
        if not completed:
            self._correct_plan()
        self._rank([self.oracle.get_trial(trial.trial_id)])
        self._tidy()

    def run_trial(self, trial: Trial) -> Mapping[str, float]:
        """Trains one trial to its end.

        Returns:
            The score: the lowest validation loss of the trial's epochs, nats per image.

        Raises:
            keras_tuner.errors.FailedTrialError: A loss became NaN or infinite, or the process
                died too often in this trial.
            StoppedEarly: The time is up; the epoch in progress was ended and kept.
            ResultsError: A checkpoint cannot be written.
        """
        asked = assignment(self.oracle, trial)
        self._refuse_deadly(asked)
        own = self._find_checkpoint(asked, has_ended=False)
        best = self._train(asked, own)
        self._take_pictures(asked, best.weights)
        return {OBJECTIVE: best.val_loss}

    def mend(self) -> None:
        """Makes again what is damaged or lost of what the search keeps."""
        for leader in self._leaders:
            trial_id = leader.trial_id
            folder = trial_folder(self._workplace.folder, trial_id)
            asked = assignment(self.oracle, self.oracle.get_trial(trial_id))
            if self._keeper.is_lost(trial_id, self._last_epoch(asked)):
                self._end_of(asked)
            checkpoint = self._keeper.best_of(trial_id)
            if checkpoint and Pictures.load(folder) is None:
                self._take_pictures(asked, checkpoint.best_weights)
        self._tidy()

    def _find_checkpoint(self, asked: Assignment, has_ended: bool) -> Checkpoint | None:
        last_told = self._last_told.get(asked.trial_id)
        return self._keeper.find(asked.trial_id, last_told, has_ended) if last_told else None

    def _restore(self, asked: Assignment, own: Checkpoint | None) -> None:
        """Brings a trial back where its own checkpoint or its parent left off."""
        checkpoint = own
        if checkpoint is None and asked.parent is not None:
            parent = assignment(self.oracle, self.oracle.get_trial(asked.parent))
            checkpoint = self._end_of(parent)
            if self._workplace.spec.budget.promote_from == "best":
                weights, optimizer = checkpoint.best_weights, checkpoint.best_optimizer
                checkpoint = replace(checkpoint, weights=weights, optimizer=optimizer)
        if checkpoint is None:
            weights = self._draw_weights(asked)
            self.runner.begin(weights, float(asked.hyperparameters["learning_rate"]))
        else:
            weights = checkpoint.weights
            self.runner.restore(weights, checkpoint.optimizer)
        self._parameters = sum(array.size for array in weights if array.dtype == np.float32)

    def _draw_weights(self, asked: Assignment) -> Arrays:
        """The variables of a new model."""
        # The same for a configuration, whichever trials came before it.
        entropy = np.random.SeedSequence([self._workplace.spec.seed, asked.configuration])
        keras.utils.set_random_seed(int(entropy.generate_state(1)[0]))
        hyperparameters = self.oracle.get_trial(asked.trial_id).hyperparameters
        return read_variables(self.hypermodel.draw_variables(hyperparameters))

    def _end_of(self, asked: Assignment) -> Checkpoint:
        """What an ended trial left; if that is lost, its epochs are trained again.

        They give the same again on one machine, and the journal tells of them already.
        """
        found = self._find_checkpoint(asked, has_ended=True)
        if found is None or found.epoch < self._last_epoch(asked):
            self._train(asked, found)
            found = Checkpoint.load(trial_folder(self._workplace.folder, asked.trial_id))
        return found

    def _train(self, asked: Assignment, own: Checkpoint | None) -> _Snapshot:
        """Trains a trial to its end, from a checkpoint of its own or from where it begins.

        Epochs that the journal tells of already, whose checkpoint is lost or was not written
        yet, are trained without a word.

        Returns:
            The trial after its best epoch.
        """
        self._restore(asked, own)
        reached, best = asked.epoch_from, _Snapshot()
        if own is not None:
            reached = own.epoch
            best = _Snapshot(
                own.best_epoch, own.best_val_loss, own.best_weights, own.best_optimizer
            )
        told = self._last_told.get(asked.trial_id, 0)
        try:
            for epoch in range(reached + 1, asked.epoch_to + 1):
                if self._is_past_patience(epoch - 1, best.epoch):
                    break
                self.check_time()
                self._epoch = epoch
                ended = self._run_epoch(asked, epoch)
                if epoch > told:
                    self._journal.write(ended)
                    self._last_told[asked.trial_id] = epoch
                if _is_finite(ended):
                    latest = _Snapshot(epoch, ended.val_loss, *self.runner.read())
                    best = min(best, latest, key=lambda one: one.val_loss)
                    self._save(asked, latest, best)
                if epoch > told:
                    self._journal.repeat(ended)  # Ctrl-C is heard in it
                _refuse_non_finite(ended)
        finally:
            self._keeper.flush()
        return best

    def _last_epoch(self, asked: Assignment) -> int:
        """The last epoch of an ended trial, which may have lost patience before its budget."""
        return self._last_told.get(asked.trial_id, asked.epoch_to)

    def _is_past_patience(self, epoch: int, best_epoch: int) -> bool:
        patience = self._workplace.spec.budget.patience
        return patience is not None and epoch - best_epoch >= patience

    def _run_epoch(self, asked: Assignment, epoch: int) -> EpochEnded:
        plan = plan_epoch(
            self._workplace.spec,
            asked.hyperparameters,
            len(self._workplace.images.train),
            asked.configuration,
            epoch,
        )
        began_s = time.monotonic()
        losses = self.runner.train(plan, self._on_progress)
        trained_s = time.monotonic()
        validation = self.runner.validate()
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

    def _save(self, asked: Assignment, latest: _Snapshot, best: _Snapshot) -> None:
        from_best = self._workplace.spec.budget.promote_from == "best"
        self._keeper.save(
            asked.trial_id,
            Checkpoint(
                epoch=latest.epoch,
                weights=latest.weights,
                optimizer=latest.optimizer,
                best_epoch=best.epoch,
                best_val_loss=best.val_loss,
                best_weights=best.weights,
                best_optimizer=best.optimizer if from_best else (),
            ),
        )

    def _take_pictures(self, asked: Assignment, best_weights: Arrays) -> None:
        self.runner.restore(best_weights)
        validation = self._workplace.images.validation.images
        pictures = take_pictures(self.runner, self._workplace.gallery, validation)
        pictures.save(trial_folder(self._workplace.folder, asked.trial_id))

    def _rank(self, trials: Iterable[Trial]) -> None:
        """Lets trials that ended take their place among the leaders."""
        standings = [
            Standing(
                trial.trial_id,
                trial.score,
                trial.hyperparameters.values["latent_dim"],
                self.oracle.assignments[trial.trial_id].configuration,
            )
            for trial in trials
            if trial.status == TrialStatus.COMPLETED
        ]
        self._leaders = leaders([*self._leaders, *standings], self._limits.keep_best)

    def _tidy(self) -> None:
        going_on = {trial.trial_id for trial in self.oracle.ongoing_trials.values()}
        parents = {self.oracle.assignments[trial_id].parent for trial_id in going_on}
        needed = self.oracle.promotable() | going_on | parents
        self._keeper.tidy(needed, {leader.trial_id for leader in self._leaders})

    def _correct_plan(self) -> None:
        corrected = plan(self.oracle)
        if corrected != self._plan:
            self._plan = corrected
            self._journal.append(PlanCorrected(plan=corrected))

    def check_time(self) -> None:
        """Stops the search if its time is up.

        Raises:
            StoppedEarly: It is.
        """
        if time.monotonic() >= self._workplace.deadline_s:
            raise StoppedEarly("time_budget", f"The time of {self._limits.time_budget} is up.")

    def _check_failures(self) -> None:
        statuses = [trial.status for trial in self.oracle.trials.values()]
        failed = statuses.count(TrialStatus.FAILED)
        ended = failed + statuses.count(TrialStatus.COMPLETED)
        if ended >= ENOUGH_TRIALS and failed > self._limits.max_failure_rate * ended:
            raise StoppedEarly(
                "failures",
                f"{failed} of {ended} trials failed, more than the share of "
                f"{self._limits.max_failure_rate:g} that a search may lose.",
            )

    def _refuse_deadly(self, asked: Assignment) -> None:
        past = self._past.get(asked.trial_id)
        if past and past.deaths >= MOST_DEATHS:
            self._epoch = self._last_told.get(asked.trial_id, asked.epoch_from) + 1
            raise keras_tuner.errors.FailedTrialError(
                f"The process died {past.deaths} times in epoch {self._epoch} of this trial, "
                "perhaps for lack of memory."
            )


def _is_finite(ended: EpochEnded) -> bool:
    return math.isfinite(ended.loss) and math.isfinite(ended.val_loss)


def _refuse_non_finite(ended: EpochEnded) -> None:
    for name, value in (("training loss", ended.loss), ("validation loss", ended.val_loss)):
        if not math.isfinite(value):
            raise keras_tuner.errors.FailedTrialError(
                f"The {name} became {value} in epoch {ended.epoch}."
            )


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, keras_tuner.errors.FailedTrialError):
        return text
    return f"{type(error).__name__}: {text}"
