"""Trains the path from the Keras example to the winner of a search."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import chain

from vaetune.config import Value
from vaetune.data import ImageSet
from vaetune.device import ChosenDevice
from vaetune.models import Architecture
from vaetune.search.executors.local import local_executor
from vaetune.search.oracles.cost import batch_size_of, epoch_cost
from vaetune.search.phases import run_session
from vaetune.search.session import SearchSession, open_baseline
from vaetune.search.watcher import Watcher
from vaetune.study import Explanation, Study, Trial, configuration, list_baselines


def train_path(
    path: Explanation,
    images: ImageSet,
    device: ChosenDevice,
    watch: Callable[[SearchSession], AbstractContextManager[Watcher]],
    on_trained: Callable[[str, Study], None],
) -> Explanation:
    """Trains what a path needs, and returns the complete path.

    Each training is a baseline in the results folder. What was trained before is not trained again,
    so the path continues after an interruption.

    Args:
        path: The path of a complete search.
        images: Its image set.
        device: The device that TensorFlow was started on.
        watch: Returns the watcher of a training.
        on_trained: Called after each training with its difference from the Keras example, and with
            the baseline.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. Everything trained so far is kept.
    """
    study, executor = path.study, local_executor(images, device)
    while not path.is_complete:
        for one in path.missing:
            stem = f"{study.name}-{one.label}"
            pending = open_baseline(
                one.spec, images, device, study.results, stem=stem, programs_of=path.all_programs
            )
            with pending as session, watch(session) as watcher:
                trained = run_session(session, watcher, executor=executor)
            on_trained(one.title, trained)
        path = path.updated(list_baselines(study.results))
    return path


def estimate_path_s(explanation: Explanation) -> float:
    """Returns about how many seconds all trainings of a path take, at most.

    A configuration on the way may take longer than both ends, such as three levels with the widths
    of the Keras example. So the measured time of the winner is scaled by the counted cost of all
    combinations of groups, on average. It includes the objective of the search, which is measured
    after each epoch, but not another measure that chose among the finalists.

    The first training of each network also takes what the slowest trial of the search took besides
    its epochs, which may include compilation, and the others what its median trial took.
    """
    study, values = explanation.study, explanation.values
    measured_s = _epoch_s(study, explanation.trial.trial_id) / _counted(study, values)
    combinations = chain.from_iterable(
        itertools.combinations(explanation.groups, count)
        for count in range(len(explanation.groups) + 1)
    )
    costs = [_counted(study, configuration(values, frozenset(one))) for one in combinations]
    trainings = explanation.most_trainings
    epochs_s = measured_s * statistics.fmean(costs) * trainings * explanation.epochs
    besides = [trial.duration_s - _epochs_s(trial) for trial in study.trials if trial.duration_s]
    networks = trainings // len(explanation.seeds)
    again_s = (trainings - networks) * statistics.median(besides)
    return epochs_s + networks * max(besides) + again_s


def _counted(study: Study, values: Mapping[str, Value]) -> float:
    """Returns the counted cost of an epoch of a configuration."""
    data = study.started.data
    batch_size = min(batch_size_of(values, None), data.train_images)
    return epoch_cost(Architecture.of(data.image_shape, values), data.train_images, batch_size)


def _epoch_s(study: Study, trial_id: str) -> float:
    """Returns the median seconds of an epoch of a trial."""
    epochs = study.trial(trial_id).epochs
    return statistics.median(epoch.train_s + epoch.validation_s for epoch in epochs)


def _epochs_s(trial: Trial) -> float:
    return sum(epoch.train_s + epoch.validation_s for epoch in trial.epochs)
