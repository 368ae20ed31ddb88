"""Comparisons of the results of searches."""

import numpy as np

from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.study.events import EpochEnded, TrialEnded, TrialStarted
from vaetune.study.journal import read_journal


def recorded_events(study):
    """The last event of each trial and epoch in a journal, without times.

    Returns:
        Fields of the events, by kind of event, trial id and epoch.
    """
    events = {}
    for event in read_journal(study.folder / "journal.jsonl"):
        if isinstance(event, TrialStarted | EpochEnded | TrialEnded):
            timeless = event.model_dump(exclude={"time", "train_s", "validation_s", "duration_s"})
            key = (event.event, event.trial_id, timeless.get("epoch"))
            events[key] = timeless
    return events


def events_of(study, kind):
    """The events of a class in a study's journal, in order."""
    return [e for e in read_journal(study.folder / "journal.jsonl") if isinstance(e, kind)]


def trials_with_checkpoints(study):
    """The ids of the trials that have a checkpoint."""
    return {path.parent.name for path in study.folder.glob(f"trials/*/{CHECKPOINT_NAME}")}


def checkpoint_of(study, trial_id):
    return Checkpoint.load(study.trial_folder(trial_id))


def assert_same_weights(left, right):
    groups = ("weights", "optimizer", "average", "best_weights", "best_raw_weights")
    for group in (*groups, "best_optimizer"):
        for one, other in zip(getattr(left, group), getattr(right, group), strict=True):
            np.testing.assert_array_equal(one, other)


def assert_same_search(ours, theirs):
    """Checks that two searches have the same trials, scores, winner and kept weights."""
    assert recorded_events(ours) == recorded_events(theirs)
    assert ours.winner.trial_id == theirs.winner.trial_id
    assert trials_with_checkpoints(ours) == trials_with_checkpoints(theirs)
    for trial_id in trials_with_checkpoints(theirs):
        assert_same_weights(checkpoint_of(ours, trial_id), checkpoint_of(theirs, trial_id))


def position_of(trial):
    """The position of a trial in its search, which does not depend on the order or the worker."""
    return (trial.iteration, trial.configuration, trial.bracket, trial.rung)


def trained_trials(study):
    """The results of all trials by `position_of`, without times and trial ids."""
    return {position_of(trial): _outcome(study, trial) for trial in study.trials}


def _outcome(study, trial):
    times = {"time", "trial_id", "train_s", "validation_s"}
    return {
        "parent": trial.parent and position_of(study.trial(trial.parent)),
        "epochs asked": (trial.epoch_from, trial.epoch_to),
        "hyperparameters": dict(trial.hyperparameters),
        # As JSON, because NaN does not equal NaN.
        "epochs": [epoch.model_dump_json(exclude=times) for epoch in trial.epochs],
        "parameters": trial.parameters,
        "score": trial.score,
        "end": (trial.status, trial.failed_in, trial.error),
        "collapse": (trial.active_units, trial.collapsed),
    }


def finalist_losses(study):
    """The results of the rescored and retrained finalists, each with `position_of`."""
    rescored = study.rescored.rescoring.finalists if study.rescored else ()
    retrained = study.retrained.retraining.finalists if study.retrained else ()
    losses = [
        (one.epoch, one.negative_elbo, one.reconstruction, one.kl, one.use) for one in rescored
    ]
    positions = [position_of(study.trial(one.trial_id)) for one in (*rescored, *retrained)]
    seeds = [(one.trainings, one.losses, one.uses) for one in retrained]
    return list(zip(positions, losses + seeds, strict=True))


def assert_same_trials(ours, theirs):
    """Checks that trials, losses, winner and best weights are equal, with any number of workers."""
    assert len(ours.trials) == len(trained_trials(ours)), "a trial ran twice"
    assert trained_trials(ours) == trained_trials(theirs)
    assert finalist_losses(ours) == finalist_losses(theirs)
    winners = [study.winner and position_of(study.winner) for study in (ours, theirs)]
    assert winners[0] == winners[1]
    weights, expected = _best_weights(ours), _best_weights(theirs)
    assert weights.keys() & expected.keys() or not expected, "no trial has weights in both searches"
    for position in weights.keys() & expected.keys():
        for one, other in zip(weights[position], expected[position], strict=True):
            np.testing.assert_array_equal(one, other)


def _best_weights(study):
    return {
        position_of(study.trial(trial_id)): checkpoint_of(study, trial_id).best_weights
        for trial_id in trials_with_checkpoints(study)
    }
