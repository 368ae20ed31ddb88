"""What a search came to, to be held against another."""

import numpy as np

from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.study.events import EpochEnded, TrialEnded, TrialStarted
from vaetune.study.journal import read_journal


def told(study):
    """What a journal tells of trials and epochs, without times; the last of equals."""
    events = {}
    for event in read_journal(study.folder / "journal.jsonl"):
        if isinstance(event, TrialStarted | EpochEnded | TrialEnded):
            timeless = event.model_dump(exclude={"time", "train_s", "validation_s", "duration_s"})
            key = (event.event, event.trial_id, timeless.get("epoch"))
            events[key] = timeless
    return events


def events_of(study, kind):
    """The events of a kind in a study's journal, in order."""
    return [e for e in read_journal(study.folder / "journal.jsonl") if isinstance(e, kind)]


def kept(study):
    """The trials that have a checkpoint."""
    return {path.parent.name for path in study.folder.glob(f"trials/*/{CHECKPOINT_NAME}")}


def checkpoint_of(study, trial_id):
    return Checkpoint.load(study.trial_folder(trial_id))


def assert_same_weights(left, right):
    for group in ("weights", "optimizer", "best_weights"):
        for one, other in zip(getattr(left, group), getattr(right, group), strict=True):
            np.testing.assert_array_equal(one, other)


def assert_same_search(ours, theirs):
    """The same trials, scores, winner and kept weights."""
    assert told(ours) == told(theirs)
    assert ours.winner.trial_id == theirs.winner.trial_id
    assert kept(ours) == kept(theirs)
    for trial_id in kept(theirs):
        assert_same_weights(checkpoint_of(ours, trial_id), checkpoint_of(theirs, trial_id))


def place_of(trial):
    """What a trial is in its search, whenever it began and whoever trained it."""
    return (trial.iteration, trial.configuration, trial.bracket, trial.rung)


def trained(study):
    """What was trained and what it gave, by `place_of`; without times and numbers of trials."""
    return {place_of(trial): _outcome(study, trial) for trial in study.trials}


def _outcome(study, trial):
    times = {"time", "trial_id", "train_s", "validation_s"}
    return {
        "parent": trial.parent and place_of(study.trial(trial.parent)),
        "epochs asked": (trial.epoch_from, trial.epoch_to),
        "hyperparameters": dict(trial.hyperparameters),
        "epochs": [epoch.model_dump_json(exclude=times) for epoch in trial.epochs],  # NaN is NaN
        "parameters": trial.parameters,
        "score": trial.score,
        "end": (trial.status, trial.failed_in, trial.error),
    }


def judged(study):
    """How the finalists were judged again, the best first, by `place_of`."""
    rescored = study.rescored.rescoring.finalists if study.rescored else ()
    retrained = study.retrained.retraining.finalists if study.retrained else ()
    losses = [(one.epoch, one.negative_elbo, one.reconstruction, one.kl) for one in rescored]
    places = [place_of(study.trial(one.trial_id)) for one in (*rescored, *retrained)]
    seeds = [(one.trainings, one.losses) for one in retrained]
    return list(zip(places, losses + seeds, strict=True))


def assert_same_trials(ours, theirs):
    """The same trials, losses, winner and best weights, bit for bit, by any number of workers."""
    assert len(ours.trials) == len(trained(ours)), "a trial was run twice"
    assert trained(ours) == trained(theirs)
    assert judged(ours) == judged(theirs)
    winners = [study.winner and place_of(study.winner) for study in (ours, theirs)]
    assert winners[0] == winners[1]
    weights, expected = _best_weights(ours), _best_weights(theirs)
    assert weights.keys() & expected.keys() or not expected, "no trial has weights in both"
    for place in weights.keys() & expected.keys():
        for one, other in zip(weights[place], expected[place], strict=True):
            np.testing.assert_array_equal(one, other)


def _best_weights(study):
    return {
        place_of(study.trial(trial_id)): checkpoint_of(study, trial_id).best_weights
        for trial_id in kept(study)
    }
