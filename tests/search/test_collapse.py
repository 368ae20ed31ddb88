"""A search with collapsed models: marks, promotions and interrupts."""

import json

import pytest
import tensorflow as tf
from comparisons import assert_same_search
from tiny_searches import TINY, changed, run, stop

from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import Budget, Training
from vaetune.study.journal import JOURNAL_NAME

COLLAPSING = changed(
    TINY,
    budget=Budget(max_epochs=4, factor=2),
    training=Training(batch_size=4),
    space=Space.pinned_at({"filters_1": 4, "filters_2": 4, "dense_units": 8}).model_copy(
        update={
            "learning_rate": Range(min=0.02, max=0.03),
            "beta": Choice(values=(0.1, 1000)),
        }
    ),
)
"""A large beta leaves no KL divergence, and has the lower loss on these few images."""

AFTER_THE_FIRST_RUNG = 13
"""Events until the first rung of the longest bracket has ended."""

AFTER_A_RUNG = 19
"""Events until the second rung of the longest bracket has ended, before its first promotion."""

AFTER_THE_LAST_EPOCH_OF_A_RUNG = 18
"""Events until the last epoch of that second rung, without the end of its last trial."""

MARKS = ("active_units", "val_kl_loss", "collapsed")


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"), COLLAPSING)


def trials_of_rung(study, rung):
    """The trials of a rung of the longest bracket, the lowest score first."""
    bracket = max(trial.bracket for trial in study.trials)
    found = [t for t in study.trials if (t.bracket, t.rung) == (bracket, rung)]
    return sorted(found, key=lambda trial: trial.score)


def promoted_from(study, rung):
    """The ids of the trials that were promoted from a rung of the longest bracket."""
    return {trial.parent for trial in trials_of_rung(study, rung + 1)}


@pytest.mark.slow
def test_collapsed_trials_are_marked_and_not_promoted_after_the_first_rung(uninterrupted):
    assert {t.collapsed for t in uninterrupted.trials if t.hyperparameters["beta"] == 1000} == {
        True
    }
    assert {t.collapsed for t in uninterrupted.trials if t.hyperparameters["beta"] == 0.1} == {
        True,  # after the first rung
        False,
    }
    for trial in uninterrupted.trials:
        assert trial.collapsed == (trial.active_units == 0 or trial.last_kl_loss < 0.5)
    best, *others = trials_of_rung(uninterrupted, 1)
    assert best.collapsed
    not_collapsed = [trial.trial_id for trial in others if not trial.collapsed]
    places = len(trials_of_rung(uninterrupted, 2))
    assert promoted_from(uninterrupted, 1) == set(not_collapsed[:places])
    first = [trial.trial_id for trial in trials_of_rung(uninterrupted, 0)]
    assert promoted_from(uninterrupted, 0) == set(first[: 1 + len(others)]), (
        "the first rung is promoted by losses alone"
    )


@pytest.mark.long  # tests/search/oracles/test_collapse.py replays marks without training.
@pytest.mark.parametrize("events", [10, AFTER_THE_LAST_EPOCH_OF_A_RUNG, AFTER_A_RUNG, 22])
def test_an_interrupted_search_continues_to_the_same_marks_and_promotions(
    uninterrupted, tmp_path, events
):
    stop(tmp_path, events, COLLAPSING)
    assert_same_search(run(tmp_path, COLLAPSING), uninterrupted)


@pytest.mark.long
def test_a_search_of_an_earlier_version_continues_by_losses_alone(uninterrupted, tmp_path):
    study = stop(tmp_path, AFTER_THE_FIRST_RUNG, COLLAPSING)
    assert {(trial.rung, trial.status) for trial in study.trials} == {(0, "completed")}
    journal = study.folder / JOURNAL_NAME
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    for event in events:
        for mark in MARKS if event["event"] == "trial_ended" else ():
            del event[mark]
    journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    study = run(tmp_path, COLLAPSING)
    assert study.is_complete
    by_loss = [trial.trial_id for trial in trials_of_rung(study, 1)]
    assert promoted_from(study, 1) == set(by_loss[: len(trials_of_rung(study, 2))])
    assert promoted_from(study, 1) != promoted_from(uninterrupted, 1)
    assert trials_of_rung(study, 0)[0].collapsed is None
    assert trials_of_rung(study, 1)[0].collapsed is True
