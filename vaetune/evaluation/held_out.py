"""Evaluation of trials and exported models on the test images."""

from pathlib import Path

from vaetune.data import ImageSet, binarized
from vaetune.device import ChosenDevice
from vaetune.errors import ResultsError
from vaetune.evaluation.images import check_images, describe_shape
from vaetune.evaluation.metrics import evaluate
from vaetune.evaluation.partial import PARTIAL_NAME, PartialSums, describe_evaluation
from vaetune.files import lock_results
from vaetune.models import VAE, load_model
from vaetune.study import (
    JOURNAL_NAME,
    EvaluationProtocol,
    Journal,
    Study,
    TrialEvaluated,
    describe_environment,
    describe_repair,
    load_study,
    pick,
)
from vaetune.training import OnProgress, restore_best


def evaluate_export(
    folder: Path,
    trial_id: str,
    epoch: int,
    images: ImageSet,
    protocol: EvaluationProtocol,
    device: ChosenDevice,
    on_progress: OnProgress | None = None,
) -> TrialEvaluated:
    """Evaluates an exported model on test images. Nothing is written.

    Args:
        folder: Folder of the export.
        trial_id: Trial that was exported.
        epoch: Epoch of its weights.
        images: Image set with the test images.
        protocol: Sample counts and other evaluation settings.
        device: Device that TensorFlow runs on.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.

    Raises:
        ResultsError: The model cannot be read, contains code to be run, or takes images of another
            shape.
    """
    vae = load_model(folder / "vae.keras")
    if vae.image_shape != images.image_shape:
        raise ResultsError(
            f"The model in {folder} takes images of {describe_shape(vae.image_shape)}, but "
            f"{images.source} has images of {describe_shape(images.image_shape)}. Choose other "
            "images with --dataset."
        )
    return _evaluate(vae, trial_id, epoch, images, protocol, device, on_progress)


def record_evaluation(
    study: Study,
    trial_id: str,
    images: ImageSet,
    protocol: EvaluationProtocol,
    device: ChosenDevice,
    on_progress: OnProgress | None = None,
) -> TrialEvaluated:
    """Evaluates the best epoch of a trial on the test images, and writes the result to the journal.

    The journal does not change before the evaluation is complete. If it is interrupted, the sums
    over the samples so far are kept in the folder of the trial, and the next call continues.

    Args:
        study: Search or baseline of the trial.
        trial_id: Trial to evaluate.
        images: Image set of the study.
        protocol: Sample counts and other evaluation settings.
        device: Device that TensorFlow runs on.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.

    Returns:
        The event that was written.

    Raises:
        ResultsError: The images are not those of the study, the checkpoint of the trial is damaged
            or was not kept, or the journal cannot be written.
        JournalError: The study is in use, or its journal is damaged.
    """
    check_images(study, images)
    with lock_results(study.folder):
        # The study may have changed, but it cannot while the folder is locked.
        current = load_study(study.folder)
        trial = pick(current, trial_id)
        vae = restore_best(current, trial)
        epoch = trial.best.epoch if trial.best else trial.epoch_to
        path = current.trial_folder(trial.trial_id) / PARTIAL_NAME
        with PartialSums(path, describe_evaluation(vae, images, protocol)) as partial:
            event = _evaluate(
                vae, trial.trial_id, epoch, images, protocol, device, on_progress, partial
            )
            _record(study, event)
    return event


def _record(study: Study, event: TrialEvaluated) -> None:
    with Journal(study.folder / JOURNAL_NAME) as journal:
        repair = describe_repair(journal)
        if repair:
            journal.append(repair)
        journal.append(event)


def _evaluate(
    vae: VAE,
    trial_id: str,
    epoch: int,
    images: ImageSet,
    protocol: EvaluationProtocol,
    device: ChosenDevice,
    on_progress: OnProgress | None,
    partial: PartialSums | None = None,
) -> TrialEvaluated:
    partial = partial or PartialSums()
    train = images.train
    if images.binarize == "stochastic":  # The pixels are still grey; each step draws them.
        train = binarized(train, images.binarize)
    return TrialEvaluated(
        trial_id=trial_id,
        epoch=epoch,
        evaluation=evaluate(vae, images.test, train, protocol, on_progress, partial=partial),
        duration_s=partial.duration_s,
        environment=describe_environment(device.name, device.threads),
    )
