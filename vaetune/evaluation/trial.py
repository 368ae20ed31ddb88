"""Evaluates a trial on the test images, for scripts and notebooks.

This module does not import TensorFlow, because the device is chosen before TensorFlow uses one.
"""

from vaetune.data import ImageSet, load_prepared
from vaetune.device import exact_device
from vaetune.errors import MissingImagesError, ResultsError
from vaetune.evaluation.images import StudyImages, prepare_given
from vaetune.study import EvaluationProtocol, Study, Trial, TrialEvaluated, load_study, pick


def evaluate_trial(
    study: Study,
    trial: Trial | str | None = None,
    images: StudyImages | None = None,
    *,
    protocol: EvaluationProtocol | None = None,
    again: bool = False,
) -> TrialEvaluated:
    """Evaluates a trial on the test images, and records the result in the study's journal.

    A result that is recorded already is returned at once.

    Args:
        study: Search or baseline of the trial.
        trial: Trial or its id. Default: the winner.
        images: Image set of the study, or any source that `load_images` accepts. Default: the data
            set of the search.
        protocol: Sample counts and other settings. Default: those of `vaetune evaluate`. The seed
            and the binarization are those of the study.
        again: Whether to evaluate a trial again that has been evaluated with these settings.

    Returns:
        The recorded event. Its `evaluation` holds the numbers.

    Raises:
        ResultsError: There is no such trial, its weights were not kept, or the images are not
            those of the study.
        DataError: The images cannot be read.
        JournalError: The study is in use, or its journal is damaged.

    Example:
        >>> evaluation = vaetune.evaluate_trial(study).evaluation
        >>> evaluation.negative_elbo.mean
    """
    current = load_study(study.folder)  # Evaluations may have been added since `study` was loaded.
    picked = pick(current, trial.trial_id if isinstance(trial, Trial) else trial)
    complete = current.complete_protocol(protocol or EvaluationProtocol(seed=0))
    given = None if images is None else prepare_given(current, images)
    recorded = current.evaluation(picked, complete)
    if recorded and not again:
        return recorded
    prepared = given or _load_named(current)
    with exact_device() as device:
        from vaetune.evaluation.held_out import record_evaluation  # It imports TensorFlow.

        return record_evaluation(current, picked.trial_id, prepared, complete, device)


def _load_named(study: Study) -> ImageSet:
    """Loads the data set of a study."""
    if not study.names_images:
        raise ResultsError(
            f'"{study.name}" was run on images that its search does not name '
            f"({study.started.data.source}). Pass the same images again, as the argument `images`."
        )
    try:
        return load_prepared(study.search.data)
    except MissingImagesError as error:
        advice = "If the images have moved, pass their new place as the argument `images`."
        raise MissingImagesError(f"{error} {advice}") from error
