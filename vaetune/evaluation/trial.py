"""A trial measured on the test images, for scripts and notebooks."""

from dataclasses import replace

from vaetune.data import Dataset, ImageSet, load_images, load_prepared, prepare_images
from vaetune.device import exact_device
from vaetune.study import EvaluationProtocol, Study, Trial, TrialEvaluated, pick


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
        ResultsError: The images are not those of the study, or the trial's weights were not kept.
        JournalError: The study is in use, or its journal is damaged.

    Example:
        >>> evaluation = vaetune.evaluate_trial(study).evaluation
        >>> evaluation.negative_elbo.mean
    """
    picked = trial if isinstance(trial, Trial) else pick(study, trial)
    data = study.search.data
    protocol = replace(
        protocol or EvaluationProtocol(seed=0), seed=study.search.seed, binarize=data.binarize
    ).limited_to(study.started.data.test_images)
    recorded = study.evaluation(picked, protocol)
    if recorded and not again:
        return recorded
    if images is None:
        prepared = load_prepared(data)
    else:
        loaded = images if isinstance(images, ImageSet) else load_images(images)
        prepared = prepare_images(loaded, data)
    with exact_device() as device:
        from vaetune.evaluation.held_out import record_evaluation  # it imports TensorFlow

        return record_evaluation(study, picked.trial_id, prepared, protocol, device)
