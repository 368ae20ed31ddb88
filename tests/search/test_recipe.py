"""A killed search with the full recipe and several structures ends with the same results."""

import shutil

import pytest
import tensorflow as tf
from comparisons import assert_same_search, checkpoint_of
from long_forms import long
from tiny_searches import IMAGES, TINY, TINY_REFERENCE, changed, run

from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import Budget
from vaetune.search import checkpoints
from vaetune.training.context import TrainingContext

SPACE = Space.pinned_at(
    TINY_REFERENCE
    | {
        "batch_size": 32,
        "activation": "gelu",
        "output_stride": 2,
        "output_bias": "mean",
        "learning_rate_warmup": 1.5,
        "kl_warmup": 0.5,
        "weight_average": 0.9,
        "normalization": "batch",
        "clip_norm": 50.0,
        "weight_decay": 0.01,
        "free_bits": 0.01,
    }
).model_copy(
    update={
        "levels": Choice(values=(1, 2)),
        "level_channels": Choice(values=(1, 2)),
        "learning_rate": Range(min=0.1, max=1.0, scale="log"),
    }
)


def spec(promote_from):
    budget = Budget(max_epochs=4, factor=2, promote_from=promote_from)
    return changed(TINY, budget=budget, space=SPACE)


class KillAt:
    """A watcher that copies the results after some events, as a kill would leave them."""

    def __init__(self, results, copies, events):
        self._results, self._copies, self._events = results, copies, set(events)
        self.seen = 0

    def on_event(self, kind, event):
        self.seen += 1
        if self.seen in self._events:
            shutil.copytree(self._results, self._copies / str(self.seen))

    def on_progress(self, run, trial_id, share):
        pass

    def on_wait(self):
        pass


FEW, MANY = (21,), (2, 3, 5, 9, 12, 15, 17, 20, 23, 26, 29, 32, 35, 38, 41, 44)
"""Numbers of events. Among them are the first epoch of a trial and the middle of a promotion."""


@pytest.fixture(scope="module", params=["best", *long("last")])
def uninterrupted(request, tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    folder = tmp_path_factory.mktemp(request.param)
    watcher = KillAt(folder / "results", folder, (*FEW, *MANY))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "INTERVAL_S", 0.0)  # A checkpoint after every epoch.
        study = run(folder / "results", spec(request.param), watcher=watcher)
    assert watcher.seen > max(MANY)
    return study


def test_the_search_has_promotions_two_structures_and_early_best_epochs(uninterrupted):
    trials = uninterrupted.trials
    assert len({trial.rung for trial in trials}) >= 3
    assert len({trial.hyperparameters["levels"] for trial in trials}) == 2
    parents = {trial.parent for trial in trials if trial.parent}
    assert any(
        uninterrupted.trial(one).best.epoch < uninterrupted.trial(one).epoch_to for one in parents
    )


@pytest.mark.parametrize("event", [*FEW, *long(*MANY)])
def test_a_killed_search_continues_to_the_same_results(uninterrupted, tmp_path, event, monkeypatch):
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 0.0)
    copy = uninterrupted.folder.parents[1] / str(event)
    shutil.copytree(copy, tmp_path / "results")
    promote_from = uninterrupted.search.budget.promote_from
    assert_same_search(run(tmp_path / "results", spec(promote_from)), uninterrupted)


def test_the_saved_weights_are_the_average(uninterrupted):
    winner = checkpoint_of(uninterrupted, uninterrupted.winner.trial_id)
    context = TrainingContext(IMAGES)
    runner = context.runner(uninterrupted.winner.hyperparameters)
    runner.restore(winner.best_weights)
    assert runner.validate().loss == uninterrupted.winner.best.val_loss
