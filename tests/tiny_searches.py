"""Searches over tiny images and models, run in this process."""

import numpy as np
import pytest

from image_sets import make_images
from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.device import ChosenDevice
from vaetune.journal import EpochEnded, TrialEnded, TrialStarted, read_journal
from vaetune.search import open_search
from vaetune.spec import Budget, Choice, Range, ResolvedSearch, SearchSpec, Space, Training
from vaetune.study import load_study

IMAGES = make_images()
DEVICE = ChosenDevice("CPU", 2)
TINY_SPACE = Space(
    filters_1=Choice(values=(2, 3)),
    filters_2=Choice(values=(3, 4)),
    dense_units=Choice(values=(4, 5)),
    latent_dim=Choice(values=(2, 3)),
    learning_rate=Range(min=1e-3, max=1e-1, scale="log"),
)
TINY = SearchSpec(
    seed=3,
    baseline=False,
    budget=Budget(max_epochs=3),
    training=Training(batch_size=8),
    space=TINY_SPACE,
)
"""Hyperband of 6 trials, 5 configurations and 11 epochs."""

TINY_REFERENCE = {"filters_1": 2, "filters_2": 3, "dense_units": 4}


def changed(spec, **values):
    """A spec with other values, validated."""
    return SearchSpec.model_validate(dict(spec) | values)


def run(results, spec=TINY, name="tiny", images=IMAGES, watcher=None, **options):
    """Runs a search, or goes on with it; `options` are those of `open_search`."""
    resolved = ResolvedSearch(name, spec, {})
    with open_search(resolved, images, DEVICE, results, **options) as opened:
        return opened.run(watcher)


def stop(results, events, spec=TINY):
    """Presses Ctrl-C after so many events of a search, and returns what it left."""
    with pytest.raises(KeyboardInterrupt):
        run(results, spec, watcher=StopAfter(events))
    return load_study(results / "tiny")


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


class StopAfter:
    """Presses Ctrl-C after so many events."""

    def __init__(self, events):
        self.left = events

    def on_event(self, kind, event):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_progress(self, share):
        pass
