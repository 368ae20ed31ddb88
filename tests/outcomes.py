"""What a search came to, to be held against another."""

import numpy as np

from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.journal import EpochEnded, TrialEnded, TrialStarted, read_journal


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
