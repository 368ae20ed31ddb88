"""The one trial routine: build, restore, train, record."""

import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.checkpoint import (
    CHECKPOINT_NAME,
    Arrays,
    Checkpoint,
    read_variables,
    write_variables,
)
from vaetune.data import ImageSet
from vaetune.errors import VaetuneError
from vaetune.hypermodel import VAEHyperModel
from vaetune.journal import Assignment, EpochEnded, Journal, TrialEnded, TrialStarted
from vaetune.model import VAE
from vaetune.oracles import OBJECTIVE, TUNER_ID, Oracle, assignment
from vaetune.pictures import Gallery, take_pictures
from vaetune.spec import SearchSpec
from vaetune.study import Study, trial_folder
from vaetune.training import DeviceData, EpochRunner, OnProgress, image_order


@dataclass(frozen=True, eq=False)
class Workplace:
    """What the trials of a search share.

    Attributes:
        folder: Of the search's results.
        images: The image set; its test images are not looked at.
        data: The images on the device.
        gallery: The validation images that every model is shown.
    """

    folder: Path
    spec: SearchSpec
    images: ImageSet
    data: DeviceData
    gallery: Gallery


@dataclass
class _Best:
    """The epoch of a trial with the lowest validation loss so far."""

    epoch: int = 0
    val_loss: float = math.inf
    weights: Arrays = ()


class VAETuner(keras_tuner.Tuner):
    """Runs the trials that an oracle asks for, and journals them.

    A trial goes on from its own checkpoint if a session was cut off in it, else from the last
    epoch of the trial it was promoted from, optimizer and random state included.

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
        past: Study | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._workplace = workplace
        self._journal = journal
        self._past = {trial.trial_id: trial for trial in past.trials} if past else {}
        self._on_progress = on_progress
        self._parameters: int | None = None
        self._error: str | None = None
        self._began_s = 0.0
        hypermodel = VAEHyperModel(workplace.images.image_shape, workplace.spec.space)
        super().__init__(
            oracle=oracle,
            hypermodel=hypermodel,
            directory=str(workplace.folder.parent),
            project_name=workplace.folder.name,
            tuner_id=TUNER_ID,
        )

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _populate_initial_space(self) -> None:
        # Keras Tuner builds a model to learn the space; the oracle was given it.
        pass

    def on_trial_begin(self, trial: Trial) -> None:
        """Journals the trial's start, unless an earlier session has."""
        self._began_s = time.monotonic()
        self._parameters = self._error = None
        is_known = trial.trial_id in self._past
        tell = self._journal.repeat if is_known else self._journal.append
        tell(TrialStarted(**dict(assignment(self.oracle, trial))))

    def _try_run_and_update_trial(self, trial: Trial) -> None:
        # Keras Tuner's own would record a full disk as the fault of the configuration.
        try:
            self.oracle.update_trial(trial.trial_id, self.run_trial(trial))
            trial.status = TrialStatus.COMPLETED
        except VaetuneError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a trial raises is its result
            trial.status = TrialStatus.FAILED
            trial.message = traceback.format_exc()
            self._error = _in_one_line(error)

    def on_trial_end(self, trial: Trial) -> None:
        """Journals the trial's outcome, then tells the oracle."""
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
                error=self._error,
                traceback=trial.message,
            )
        )
        self.oracle.end_trial(trial)

    def run_trial(self, trial: Trial) -> Mapping[str, float]:
        """Trains one trial to its end.

        Returns:
            The score: the lowest validation loss of the trial's epochs, nats per image.

        Raises:
            keras_tuner.errors.FailedTrialError: A loss became NaN or infinite.
            ResultsError: A checkpoint cannot be written, or the parent's is gone.
        """
        asked = assignment(self.oracle, trial)
        vae = self._build(asked, trial.hyperparameters)
        reached, best = self._restore(asked, vae)
        runner = EpochRunner(vae, self._workplace.data, self._workplace.spec.training.batch_size)
        for epoch in range(reached + 1, asked.epoch_to + 1):
            ended = self._run_epoch(runner, asked, epoch)
            if ended.val_loss < best.val_loss:
                best = _Best(epoch, ended.val_loss, read_variables(vae.variables))
            self._save(asked, vae, epoch, best)
        self._take_pictures(asked, vae, best)
        return {OBJECTIVE: best.val_loss}

    def _build(self, asked: Assignment, hyperparameters: keras_tuner.HyperParameters) -> VAE:
        # The same first weights for a configuration, whichever trials came before it.
        entropy = np.random.SeedSequence([self._workplace.spec.seed, asked.configuration])
        keras.utils.set_random_seed(int(entropy.generate_state(1)[0]))
        vae: VAE = self.hypermodel.build(hyperparameters)
        self._parameters = vae.count_params()
        return vae

    def _restore(self, asked: Assignment, vae: VAE) -> tuple[int, _Best]:
        """Puts the model where training goes on; returns the last epoch behind it."""
        own = trial_folder(self._workplace.folder, asked.trial_id)
        if asked.trial_id in self._past and (own / CHECKPOINT_NAME).exists():
            checkpoint = Checkpoint.load(own)
            best = _Best(checkpoint.best_epoch, checkpoint.best_val_loss, checkpoint.best_weights)
        elif asked.parent is not None:
            checkpoint = Checkpoint.load(trial_folder(self._workplace.folder, asked.parent))
            best = _Best()
        else:
            return asked.epoch_from, _Best()
        write_variables(vae.variables, checkpoint.weights)
        write_variables(vae.optimizer.variables, checkpoint.optimizer)
        return checkpoint.epoch, best

    def _run_epoch(self, runner: EpochRunner, asked: Assignment, epoch: int) -> EpochEnded:
        spec = self._workplace.spec
        order = image_order(
            len(self._workplace.images.train), spec.seed, asked.configuration, epoch
        )
        began_s = time.monotonic()
        losses = runner.train(order, self._on_progress)
        trained_s = time.monotonic()
        validation = runner.validate()
        ended = EpochEnded(
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
        self._journal.append(ended)
        _refuse_non_finite(ended)
        return ended

    def _save(self, asked: Assignment, vae: VAE, epoch: int, best: _Best) -> None:
        checkpoint = Checkpoint(
            epoch=epoch,
            weights=read_variables(vae.variables),
            optimizer=read_variables(vae.optimizer.variables),
            best_epoch=best.epoch,
            best_val_loss=best.val_loss,
            best_weights=best.weights,
        )
        checkpoint.save(trial_folder(self._workplace.folder, asked.trial_id))

    def _take_pictures(self, asked: Assignment, vae: VAE, best: _Best) -> None:
        write_variables(vae.variables, best.weights)
        pictures = take_pictures(
            vae, self._workplace.gallery, self._workplace.images.validation.images
        )
        pictures.save(trial_folder(self._workplace.folder, asked.trial_id))


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
