"""The test images, once: a trial is judged by them, and the answer journaled."""

import time
from pathlib import Path

from vaetune.data import ImageSet, binarized
from vaetune.device import ChosenDevice
from vaetune.errors import ResultsError
from vaetune.evaluation.metrics import evaluate
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
    """Evaluates an exported model on test images; nothing is written.

    Args:
        folder: Folder of the export.
        trial_id: The trial that it holds.
        epoch: The epoch of its weights.
        images: Image set with the test images.
        protocol: Sample counts and other evaluation settings.
        device: The device that TensorFlow was brought up on.
        on_progress: Called with the share that is done; may raise.

    Raises:
        ResultsError: The model cannot be read, asks for code of its own to be run, or takes images
            of another shape.
    """
    vae = load_model(folder / "vae.keras")
    if vae.image_shape != images.image_shape:
        raise ResultsError(
            f"The model in {folder} takes images of {_shape(vae.image_shape)}, those of "
            f"{images.source} are of {_shape(images.image_shape)}. Name others with --dataset."
        )
    return _evaluated(vae, trial_id, epoch, images, protocol, device, on_progress)


def record_evaluation(
    study: Study,
    trial_id: str,
    images: ImageSet,
    protocol: EvaluationProtocol,
    device: ChosenDevice,
    on_progress: OnProgress | None = None,
) -> TrialEvaluated:
    """Evaluates the best epoch of a trial on the test images, and journals the result.

    Nothing is written before the evaluation is done.

    Args:
        study: A search or a baseline.
        trial_id: One of its trials.
        images: The image set of the study.
        protocol: Sample counts and other evaluation settings.
        device: The device that TensorFlow was brought up on.
        on_progress: Called with the share that is done; may raise.

    Raises:
        ResultsError: The images are others than the study's, the trial's checkpoint is damaged
            or was not kept, or the journal cannot be written.
        JournalError: The study is in use, or its journal is damaged.
    """
    check_images(study, images)
    with lock_results(study.folder):
        present = load_study(study.folder)  # it does not change while the lock is held
        trial = pick(present, trial_id)
        vae = restore_best(present, trial)
        epoch = trial.best.epoch if trial.best else trial.epoch_to
        event = _evaluated(vae, trial.trial_id, epoch, images, protocol, device, on_progress)
        with Journal(study.folder / JOURNAL_NAME) as journal:
            repair = describe_repair(journal)
            if repair:
                journal.append(repair)
            journal.append(event)
    return event


def check_images(study: Study, images: ImageSet) -> None:
    """Lets only the images pass that the study was made with.

    Raises:
        ResultsError: They are others; the message says in what.
    """
    data = study.started.data
    if data.fingerprint == images.fingerprint:
        return
    pairs = {
        "data fingerprint": (data.fingerprint[:12], images.fingerprint[:12]),
        "shape": (_shape(data.image_shape), _shape(images.image_shape)),
        "training images": (data.train_images, len(images.train)),
        "validation images": (data.validation_images, len(images.validation)),
        "test images": (data.test_images, len(images.test)),
        "classes": (len(data.class_names or ()), len(images.class_names or ())),
    }
    changes = [f"{what}: {old} -> {new}" for what, (old, new) in pairs.items() if old != new]
    raise ResultsError(
        f'"{study.name}" was made with other images than {images.source} holds now: '
        f"{'; '.join(changes)}. Put the former ones back there, or search again under another "
        "name."
    )


def _evaluated(
    vae: VAE,
    trial_id: str,
    epoch: int,
    images: ImageSet,
    protocol: EvaluationProtocol,
    device: ChosenDevice,
    on_progress: OnProgress | None,
) -> TrialEvaluated:
    began_s = time.monotonic()
    train = images.train
    if images.binarize == "stochastic":  # its pixels are drawn as they are seen
        train = binarized(train, images.binarize)
    return TrialEvaluated(
        trial_id=trial_id,
        epoch=epoch,
        evaluation=evaluate(vae, images.test, train, protocol, on_progress),
        duration_s=time.monotonic() - began_s,
        environment=describe_environment(device),
    )


def _shape(image_shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, image_shape))
