"""A trial measured on the test images, for scripts and notebooks.

It imports no TensorFlow itself: the device is chosen before anything else touches it.
"""

from vaetune.data import Dataset, ImageSet, load_images, load_prepared, prepare_images
from vaetune.device import exact_device
from vaetune.errors import ResultsError
from vaetune.study import EvaluationProtocol, Study, Trial, TrialEvaluated, load_study, pick


def evaluate_trial(
    study: Study,
    trial: Trial | str | None = None,
    images: ImageSet | Dataset | None = None,
    *,
    protocol: EvaluationProtocol | None = None,
    again: bool = False,
) -> TrialEvaluated:
    """Measures a trial on the test images, and records the result in the study's journal.

    A result that is recorded already is returned at once.

    Args:
        study: A search or a baseline.
        trial: The trial, or its id. Default: the winner.
        images: The images of the study, or what `load_images` takes. Default: the data set that
            the search names.
        protocol: Sample counts and other settings. Default: those of `vaetune evaluate`. The seed
            and the binarization are the study's.
        again: Whether to measure again what is recorded.

    Returns:
        The event, whose `evaluation` holds the numbers.

    Raises:
        ResultsError: There is no such trial, its weights were not kept, or the images are not
            those of the study.
        DataError: The images cannot be read.
        JournalError: The study is in use, or its journal is damaged.

    Example:
        >>> evaluation = vaetune.evaluate_trial(study).evaluation
        >>> evaluation.negative_elbo.mean
    """
    current = load_study(study.folder)  # evaluations may have been recorded since
    picked = pick(current, trial.trial_id if isinstance(trial, Trial) else trial)
    complete = current.complete_protocol(protocol or EvaluationProtocol(seed=0))
    recorded = current.evaluation(picked, complete)
    if recorded and not again:
        return recorded
    prepared = _find_images(current, images)
    with exact_device() as device:
        from vaetune.evaluation.held_out import record_evaluation  # it imports TensorFlow

        return record_evaluation(current, picked.trial_id, prepared, complete, device)


def _find_images(study: Study, images: ImageSet | Dataset | None) -> ImageSet:
    """Loads the images of a study, given ones or those that its search names."""
    data, source = study.search.data, study.started.data.source
    if images is not None:
        loaded = images if isinstance(images, ImageSet) else load_images(images, data)
        return prepare_images(loaded, data)
    if source != data.dataset:
        raise ResultsError(
            f'"{study.name}" was run on images that its search does not name ({source}). Pass the '
            "same images again, as the argument `images`."
        )
    return load_prepared(data)
