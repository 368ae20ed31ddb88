"""Trains the path from the Keras example to the winner of a search."""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager

from vaetune.data import ImageSet
from vaetune.device import ChosenDevice
from vaetune.search.phases import run_session
from vaetune.search.session import SearchSession, open_baseline
from vaetune.search.watcher import Watcher
from vaetune.study import Explanation, Study, explain, find_baseline, list_baselines


def train_path(
    study: Study,
    images: ImageSet,
    device: ChosenDevice,
    seeds: int,
    watch: Callable[[SearchSession], AbstractContextManager[Watcher]],
    on_trained: Callable[[str, Study], None],
) -> Explanation | None:
    """Trains what the path to the winner needs, and returns the path.

    Each training is a baseline in the results folder. What was trained before is not trained again,
    so the path continues after an interruption.

    Args:
        study: A complete search.
        images: Its image set.
        device: The device that TensorFlow was started on.
        seeds: Number of seeds from which each configuration is trained.
        watch: Returns the watcher of a training.
        on_trained: Called after each training with what differs from the Keras example, and with
            the baseline.

    Returns:
        None if the search has no winner.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. Everything trained so far is kept.
    """
    while found := explain(study, list_baselines(study.results), seeds):
        if found.is_complete:
            return found
        for one in found.missing:
            stem = f"{study.name}-{one.label}"
            pending = open_baseline(one.spec, images, device, study.results, stem=stem)
            with pending as session, watch(session) as watcher:
                trained = run_session(session, watcher)
            on_trained(one.title, trained)
    return None


def estimate_path_s(explanation: Explanation) -> float:
    """Returns about how many seconds all trainings of a path take, at most.

    An epoch is taken to last as long as the mean of one of the winner and one of the Keras example,
    if that was trained.
    """
    study = explanation.study
    example = find_baseline(study, study.results)
    measured = [_epoch_s(study, explanation.trial.trial_id)]
    if example and example.winner:
        measured.append(_epoch_s(example, example.winner.trial_id))
    epochs = explanation.most_trainings * explanation.epochs
    return statistics.fmean(measured) * epochs


def _epoch_s(study: Study, trial_id: str) -> float:
    """Returns the median seconds of an epoch of a trial."""
    epochs = study.trial(trial_id).epochs
    return statistics.median(epoch.train_s + epoch.validation_s for epoch in epochs)
