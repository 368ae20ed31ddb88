"""Objectives: which values are better, how values are written, and how a search records them."""

import json

import pytest

from vaetune.config.comparison import differences, experiment_key, with_settings_of
from vaetune.config.objectives import OBJECTIVES, VALIDATION_LOSS
from vaetune.config.spec import SearchSpec

SHARES = [one for name, one in OBJECTIVES.items() if name != "val_loss"]
"""Objectives with values between 0 and 1. Higher values are better."""


def test_the_cost_of_a_loss_is_the_loss_and_a_lower_loss_is_better():
    assert VALIDATION_LOSS.cost(101.25) == 101.25
    assert VALIDATION_LOSS.lead(100.0, 103.0) == 3.0
    assert VALIDATION_LOSS.best_title == "lowest validation loss"


@pytest.mark.parametrize("objective", SHARES, ids=lambda one: one.name)
def test_a_higher_share_is_better(objective):
    assert objective.cost(0.75) == 0.25
    assert objective.value(objective.cost(0.75)) == 0.75
    assert objective.lead(0.75, 0.5) == 0.25
    assert objective.lowest_cost(80.0) == 0.0
    assert objective.best_title.startswith("highest ")


@pytest.mark.parametrize(
    ("name", "value", "number", "short", "text", "difference"),
    [
        ("val_loss", 101.234, "101.23", "101.23 nats", "101.23 nats per image", "101.23 nats"),
        ("knn_accuracy", 0.9424, "94.2 %", "94.2 %", "94.2 %", "94.2 points"),
        ("probe_accuracy", 0.5, "50.0 %", "50.0 %", "50.0 %", "50.0 points"),
        ("auroc", 0.98765, "0.988", "0.988", "0.988", "0.988"),
    ],
)
def test_a_value_is_written_with_its_unit(name, value, number, short, text, difference):
    one = OBJECTIVES[name]
    assert (one.number(value), one.short(value)) == (number, short)
    assert (one.text(value), one.difference(-value)) == (text, difference)


def test_the_default_objective_is_not_recorded():
    assert not {"objective", "choose_by"} & SearchSpec().model_dump().keys()
    assert not {"objective", "choose_by"} & json.loads(SearchSpec().model_dump_json()).keys()
    assert "objective" not in experiment_key(SearchSpec())


def test_an_objective_is_recorded_and_read_back():
    spec = SearchSpec(objective="knn_accuracy", choose_by="auroc")
    assert SearchSpec.model_validate_json(spec.model_dump_json()) == spec
    assert (spec.ranked_by.name, spec.chosen_by.name) == ("knn_accuracy", "auroc")


def test_the_objective_decides_among_the_finalists_by_default():
    assert SearchSpec(objective="knn_accuracy").chosen_by.name == "knn_accuracy"


def test_another_objective_is_another_experiment():
    loss, accuracy = SearchSpec(), SearchSpec(objective="knn_accuracy")
    assert differences(accuracy, loss) == ["objective: val_loss -> knn_accuracy"]
    assert differences(loss, accuracy) == ["objective: knn_accuracy -> val_loss"]
    assert experiment_key(loss) != experiment_key(accuracy)


def test_the_choice_among_finalists_may_change_between_sessions():
    loss, use = SearchSpec(), SearchSpec(choose_by="knn_accuracy")
    assert differences(use, loss) == []
    assert with_settings_of(use, loss).choose_by == "knn_accuracy"
