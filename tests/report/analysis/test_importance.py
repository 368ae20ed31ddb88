"""Importances of hyperparameters, computed from losses after equal numbers of epochs."""

import json
import logging
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from journals import VALUES, make_study, make_trial_events
from stories import NOW, ParsedPage

from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import SearchSpec
from vaetune.report.analysis.importance import compute_importance, explain_missing_importance
from vaetune.report.page import render_report

SPACE = Space(
    latent_dim=Choice(values=(2, 4, 8, 16)),
    dense_units=Range(min=16, max=256, scale="log"),
    learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
)


def draw_configurations(count, seed=0):
    """Configurations drawn at random from `SPACE`."""
    chance = random.Random(seed)
    return [
        VALUES
        | {
            "latent_dim": chance.choice(SPACE.latent_dim.values),
            "dense_units": round(16 * 16 ** chance.random()),
            "learning_rate": 1e-4 * 100 ** chance.random(),
        }
        for _ in range(count)
    ]


def search(*events, space=SPACE):
    return make_study(*events, search=SearchSpec(space=space))


def measure(configurations, loss, epochs=1):
    """One trial per configuration. Losses fall by 1 per epoch to `loss` of the configuration."""
    return [
        event
        for number, values in enumerate(configurations)
        for event in make_trial_events(
            f"{number:04d}",
            [loss(values) + epochs - epoch for epoch in range(1, epochs + 1)],
            configuration=number,
            hyperparameters=values,
        )
    ]


def promote(configurations, numbers, loss, epoch_from=1, epochs=2):
    """Promotions of the configurations with these numbers."""
    return [
        event
        for number in numbers
        for event in make_trial_events(
            f"1{number:03d}",
            [loss(configurations[number])] * epochs,
            configuration=number,
            parent=f"{number:04d}",
            rung=1,
            epoch_from=epoch_from,
            hyperparameters=configurations[number],
        )
    ]


def by_latent_dim(values):
    """A loss that is lowest for 8 latent dimensions, with noise below 0.5."""
    chance = 1e6 * values["learning_rate"] % 1
    return 200.0 + abs(math.log2(values["latent_dim"]) - 3) + chance / 2


def by_learning_rate(values):
    return 200.0 + abs(math.log10(values["learning_rate"]) + 3.5)


@pytest.mark.parametrize(
    ("loss", "name"), [(by_latent_dim, "latent_dim"), (by_learning_rate, "learning_rate")]
)
def test_the_hyperparameter_that_decides_the_loss_has_the_largest_share(loss, name):
    found = compute_importance(search(*measure(draw_configurations(60), loss)))
    assert found.shares[0][0] == name
    assert found.shares[0][1] > 0.5
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert [share for _, share in found.shares] == sorted(dict(found.shares).values())[::-1]
    assert (found.epoch, found.configurations, found.best) == (1, 60, 6)
    assert not found.uncertain


def test_a_constant_hyperparameter_has_no_share():
    found = compute_importance(search(*measure(draw_configurations(30), by_latent_dim)))
    assert {name for name, _ in found.shares} == {"latent_dim", "dense_units", "learning_rate"}


def test_the_same_study_has_the_same_shares():
    study = search(*measure(draw_configurations(30), by_latent_dim))
    assert compute_importance(study) == compute_importance(study)


def test_shuffled_losses_reach_the_shares_of_irrelevant_hyperparameters_only():
    configurations = draw_configurations(60)
    decided = compute_importance(search(*measure(configurations, by_learning_rate)))
    assert decided.shuffles == 20
    by_name = dict(zip(dict(decided.shares), decided.chances, strict=True))
    assert by_name["learning_rate"] == 0
    assert by_name["latent_dim"] >= 5
    noise = random.Random(0)
    noisy = compute_importance(search(*measure(configurations, lambda _: noise.uniform(90, 110))))
    assert noisy.shares[0][1] > 0.5, "a large share alone is no evidence"
    assert min(noisy.chances) >= 3


def test_losses_are_compared_at_the_latest_epoch_that_enough_configurations_reached():
    configurations = draw_configurations(40)
    rungs = [
        *measure(configurations, by_latent_dim),
        *promote(configurations, range(20), by_latent_dim),
        *promote(configurations, range(20, 23), by_latent_dim, epochs=8),
    ]
    found = compute_importance(search(*rungs))
    assert (found.epoch, found.configurations, found.uncertain) == (3, 23, False)


def test_epochs_after_the_compared_epoch_do_not_count():
    """With later epochs, the five promoted configurations with low learning rates would lead."""
    configurations = draw_configurations(40)
    by_rate = sorted(range(40), key=lambda number: configurations[number]["learning_rate"])
    study = search(
        *measure(configurations, by_latent_dim),
        *promote(configurations, by_rate[:5], lambda _: 1.0),
    )
    found = compute_importance(study)
    assert (found.epoch, found.configurations) == (1, 40)
    assert found == compute_importance(search(*measure(configurations, by_latent_dim)))


def test_the_lowest_loss_up_to_the_compared_epoch_counts():
    """Losses differ in the first epoch and are equal in the second."""
    configurations = draw_configurations(30)
    events = [
        event
        for number, values in enumerate(configurations)
        for event in make_trial_events(
            f"{number:04d}",
            [by_learning_rate(values), 300.0],
            configuration=number,
            hyperparameters=values,
        )
    ]
    found = compute_importance(search(*events))
    assert found.epoch == 2
    assert found.shares[0][0] == "learning_rate"


def test_with_few_configurations_the_most_reached_epoch_is_compared():
    configurations = draw_configurations(12)
    study = search(
        *measure(configurations, by_latent_dim),
        *promote(configurations, range(5), by_latent_dim),
    )
    found = compute_importance(study)
    assert (found.epoch, found.configurations, found.best, found.uncertain) == (1, 12, 5, True)


def test_the_latest_of_equally_reached_epochs_is_compared():
    configurations = draw_configurations(6)
    study = search(
        *measure(configurations, by_latent_dim),
        *promote(configurations, range(6), by_latent_dim),
    )
    found = compute_importance(study)
    assert (found.epoch, found.configurations, found.best) == (3, 6, 5)


@pytest.mark.parametrize("count", [4, 5])
def test_in_small_searches_all_configurations_except_one_count_as_best(count):
    found = compute_importance(search(*measure(draw_configurations(count), by_learning_rate)))
    assert (found.configurations, found.best, found.uncertain) == (count, count - 1, True)


def test_a_configuration_with_a_nan_loss_is_left_out():
    configurations = draw_configurations(25)

    def loss(values):
        return math.nan if values is configurations[3] else by_latent_dim(values)

    study = search(*measure(configurations, loss))
    assert compute_importance(study).configurations == 24


def test_ties_with_the_last_of_the_best_are_among_the_best():
    configurations = draw_configurations(40)
    found = compute_importance(search(*measure(configurations, lambda v: float(v["latent_dim"]))))
    smallest = sum(values["latent_dim"] == 2 for values in configurations)
    assert found.best == smallest > 5


@pytest.mark.parametrize(
    ("configurations", "loss", "reason"),
    [
        ([], by_latent_dim, "the same number of epochs; there are 0."),
        (draw_configurations(3), by_latent_dim, "the same number of epochs; there are 3."),
        ([VALUES] * 9, lambda _: 200.0, "All configurations have the same hyperparameters."),
        (draw_configurations(9), lambda _: 200.0, "Too many configurations have the same loss"),
        (draw_configurations(9), lambda _: math.nan, "the same number of epochs; there are 0."),
    ],
)
def test_missing_importances_are_explained(configurations, loss, reason):
    study = search(*measure(configurations, loss))
    assert compute_importance(study) is None
    assert reason in explain_missing_importance(study)


def test_values_outside_the_space_are_accepted():
    configurations = draw_configurations(20)
    configurations[0] |= {"learning_rate": math.nextafter(1e-2, 1), "latent_dim": 3}
    study = search(*measure(configurations, by_latent_dim))
    assert compute_importance(study).configurations == 20
    assert explain_missing_importance(study) == ""


numbers = st.sampled_from([1e-4, 2e-4, 1e-3, 1e-2])
drawn = st.tuples(st.sampled_from([2, 4, 8, 16]), st.integers(16, 256), numbers)
measured = st.lists(st.tuples(drawn, st.floats(-10, 1e6) | st.just(math.nan)), max_size=30)


@settings(deadline=None, max_examples=50)
@given(measured)
def test_any_search_has_shares_or_a_reason(rows):
    names = ("latent_dim", "dense_units", "learning_rate")
    configurations = [VALUES | dict(zip(names, values, strict=True)) for values, _ in rows]
    losses = iter([loss for _, loss in rows])
    study = search(*measure(configurations, lambda _: next(losses)))
    found = compute_importance(study)
    assert (found is None) == bool(explain_missing_importance(study))
    if found:
        assert 0 < found.best < found.configurations
        assert sum(share for _, share in found.shares) == pytest.approx(1)


def test_optuna_logs_and_prints_nothing(caplog, capfd):
    import optuna

    shown = optuna.logging.get_verbosity()
    with caplog.at_level(logging.DEBUG):
        assert compute_importance(search(*measure(draw_configurations(30), by_latent_dim)))
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == shown


IMPORTS_PROGRAM = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from test_importance import *
study = search(*measure(draw_configurations(30), by_latent_dim))
before = set(sys.modules)
assert not {"sklearn", "optuna"} & before, "already imported"
found = compute_importance(study)
assert found == compute_importance(study), "not reproducible"
found_values = {"sklearn": "sklearn" in sys.modules}
import optuna
from sklearn.ensemble import RandomForestRegressor
asked = optuna.create_study()
asked.add_trials(
    optuna.trial.create_trial(
        params={"x": x}, distributions={"x": optuna.distributions.IntDistribution(0, 9)}, value=x
    )
    for x in range(10)
)
evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
found_values["fanova"] = optuna.importance.get_param_importances(asked, evaluator=evaluator)
found_values["again"] = compute_importance(study) == found
print(json.dumps(found_values))
"""


def test_importances_need_no_scikit_learn_and_do_not_block_its_import():
    """Importing scikit-learn costs a second. Optuna must still find it for its own evaluator."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            IMPORTS_PROGRAM,
            json.dumps([str(Path(__file__).parent), *sys.path]),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert not shown["sklearn"]
    assert shown["fanova"] == {"x": 1.0}
    assert shown["again"], "the result changes when scikit-learn is imported"


@pytest.mark.usefixtures("without_charts")
def test_the_page_shows_a_bar_for_each_hyperparameter_without_a_script():
    study = search(*measure(draw_configurations(30), by_latent_dim))
    page = render_report([study], {}, NOW)
    found = compute_importance(study)
    words = ParsedPage(page).words
    assert words.index("How was the winner found?") < words.index("Which hyperparameters mattered?")
    assert words.index("Which hyperparameters mattered?") < words.index(
        "What does a low loss cost?"
    )
    assert "being among the best 5 of 30 configurations, by the losses after epoch 1" in words
    assert "importances are uncertain" not in words
    for name, share in found.shares:
        assert f"{name} {100 * share:.0f} %" in words
        assert f'<rect width="{100 * share:.1f}" height="8"/>' in page


@pytest.mark.usefixtures("without_charts")
def test_the_page_marks_uncertain_importances():
    study = search(*measure(draw_configurations(10), by_latent_dim))
    assert "The importances are uncertain" in ParsedPage(render_report([study], {}, NOW)).words


@pytest.mark.usefixtures("without_charts")
def test_the_page_explains_missing_importances():
    study = search(*measure(draw_configurations(2), by_latent_dim))
    words = ParsedPage(render_report([study], {}, NOW)).words
    assert "The importance of hyperparameters cannot be computed. This needs at least 4" in words


@pytest.mark.usefixtures("without_charts")
def test_importances_are_not_mentioned_before_the_first_epoch():
    study = search(*make_trial_events("0000", status=None, hyperparameters=VALUES))
    assert "<h3>Which hyperparameters mattered" not in render_report([study], {}, NOW)
