"""Freeze-thaw searches that train real models: paused configurations and interrupts."""

import shutil

import pytest
import tensorflow as tf
from comparisons import assert_same_search, trials_with_checkpoints
from long_forms import long
from tiny_searches import TINY, changed, run, stop

from vaetune.config.spec import Budget
from vaetune.errors import ResultsError

THAW = changed(TINY, algorithm="freeze_thaw", budget=Budget(max_epochs=3, total_epochs=9))


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"), THAW)


def test_a_freeze_thaw_search_stays_within_its_epochs_and_continues_trials(uninterrupted):
    assert uninterrupted.is_complete
    assert uninterrupted.epochs_trained <= uninterrupted.epochs_planned == 9
    assert any(trial.parent for trial in uninterrupted.trials)
    for trial in uninterrupted.trials:
        assert (trial.decision is None) == (trial.configuration < 2 and trial.parent is None)


def test_paused_configurations_keep_their_checkpoints(uninterrupted):
    continued = {trial.parent for trial in uninterrupted.trials}
    paused = [t for t in uninterrupted.trials if t.epoch_to < 3 and t.trial_id not in continued]
    assert {trial.trial_id for trial in paused} <= trials_with_checkpoints(uninterrupted)


# Interrupted in the first trial, after the first decision, and in a promotion of another trial.
@pytest.mark.parametrize("events", [12, *long(3, 8, 16)])
def test_an_interrupted_search_continues_to_the_same_results(uninterrupted, tmp_path, events):
    assert stop(tmp_path, events, THAW).last_end.reason == "interrupted"
    assert_same_search(run(tmp_path, THAW), uninterrupted)


def test_a_search_is_extended_by_epochs(uninterrupted, tmp_path):
    larger = changed(THAW, budget=Budget(max_epochs=3, total_epochs=11))
    shutil.copytree(uninterrupted.folder.parent, tmp_path, dirs_exist_ok=True)
    with pytest.raises(ResultsError, match="Use --extend"):
        run(tmp_path, larger)
    with pytest.raises(ResultsError, match=r"raise budget\.total_epochs above 9"):
        run(tmp_path, THAW, extend=True)
    study = run(tmp_path, larger, extend=True)
    assert study.is_complete
    assert uninterrupted.epochs_trained < study.epochs_trained <= 11
    before = [trial.trial_id for trial in uninterrupted.trials]
    assert [trial.trial_id for trial in study.trials][: len(before)] == before
