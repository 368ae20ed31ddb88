"""A search in which models really collapse: its marks, its promotions, and what follows a stop."""

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
"""Events until the second rung of the longest bracket has ended, and none is promoted from it."""

AFTER_THE_LAST_EPOCH_OF_A_RUNG = 18
"""The end of the rung's last trial is not among these events."""

MARKS = ("active_units", "val_kl_loss", "collapsed")


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"), COLLAPSING)


def rung_of(study, rung):
    """The trials of a rung of the longest bracket, the lowest score first."""
    bracket = max(trial.bracket for trial in study.trials)
    found = [t for t in study.trials if (t.bracket, t.rung) == (bracket, rung)]
    return sorted(found, key=lambda trial: trial.score)


def promoted(study, rung):
    return {trial.parent for trial in rung_of(study, rung + 1)}


@pytest.mark.slow
def test_what_collapses_is_marked_and_left_behind(undisturbed):
    assert {t.collapsed for t in undisturbed.trials if t.hyperparameters["beta"] == 1000} == {True}
    assert {t.collapsed for t in undisturbed.trials if t.hyperparameters["beta"] == 0.1} == {
        True,  # after the first rung
        False,
    }
    for trial in undisturbed.trials:
        assert trial.collapsed == (trial.active_units == 0 or trial.last_kl_loss < 0.5)
    best, *others = rung_of(undisturbed, 1)
    assert best.collapsed
    sound = [trial.trial_id for trial in others if not trial.collapsed]
    places = len(rung_of(undisturbed, 2))
    assert promoted(undisturbed, 1) == set(sound[:places])
    first = [trial.trial_id for trial in rung_of(undisturbed, 0)]
    assert promoted(undisturbed, 0) == set(first[: 1 + len(others)]), "by the losses alone"


@pytest.mark.long  # tests/search/oracles/test_collapse.py replays marks without training.
@pytest.mark.parametrize("events", [10, AFTER_THE_LAST_EPOCH_OF_A_RUNG, AFTER_A_RUNG, 22])
def test_a_stopped_search_goes_on_to_the_same_marks_and_promotions(undisturbed, tmp_path, events):
    stop(tmp_path, events, COLLAPSING)
    assert_same_search(run(tmp_path, COLLAPSING), undisturbed)


@pytest.mark.long
def test_a_search_of_an_earlier_version_goes_on_by_the_losses_alone(undisturbed, tmp_path):
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
    by_loss = [trial.trial_id for trial in rung_of(study, 1)]
    assert promoted(study, 1) == set(by_loss[: len(rung_of(study, 2))])
    assert promoted(study, 1) != promoted(undisturbed, 1)
    assert rung_of(study, 0)[0].collapsed is None
    assert rung_of(study, 1)[0].collapsed is True
