"""Searches over tiny images and models, run in this process."""

import pytest
from image_sets import make_images

from vaetune.config.search_file import ResolvedSearch
from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import Budget, SearchSpec, Training
from vaetune.device import ChosenDevice
from vaetune.search.phases import run_session
from vaetune.search.session import open_search
from vaetune.study.builder import load_study

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
    training=Training(batch_size=32),
    space=TINY_SPACE,
)
"""Hyperband with 6 trials, 5 configurations and 11 epochs of two steps, with 32 and 8 images."""

TINY_REFERENCE = {"filters_1": 2, "filters_2": 3, "dense_units": 4}


def changed(spec, **values):
    """A validated copy of a spec with other values."""
    return SearchSpec.model_validate(dict(spec) | values)


GRID = changed(
    TINY,
    algorithm="grid",
    budget=Budget(max_epochs=1, max_trials=2),
    space=Space.pinned_at(TINY_REFERENCE).model_copy(
        update={"latent_dim": Choice(values=(2, 3)), "filters_1": Choice(values=(2, 3))}
    ),
)
"""Grid search with two trials of one epoch; the whole grid has four points."""


def run(results, spec=TINY, name="tiny", images=IMAGES, watcher=None, **options):
    """Runs or continues a search; `options` are arguments of `open_search`."""
    resolved = ResolvedSearch(name, spec, {})
    with open_search(resolved, images, DEVICE, results, **options) as opened:
        return run_session(opened, watcher)


def stop(results, events, spec=TINY):
    """Interrupts a search after a number of events, and returns the study."""
    with pytest.raises(KeyboardInterrupt):
        run(results, spec, watcher=StopAfter(events))
    return load_study(results / "tiny")


class StopAfter:
    """A watcher that interrupts a search after a number of events, like Ctrl-C."""

    def __init__(self, events):
        self.left = events

    def on_event(self, kind, event):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_progress(self, run, trial_id, share):
        pass

    def on_wait(self):
        pass
