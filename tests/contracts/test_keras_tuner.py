"""The oracles of vaetune behave as the tests of Keras Tuner require of its oracles.

The tests have the names of the published tests of Keras Tuner (Apache License 2.0) and check the
same behaviour with our own code. `LEFT_OUT` gives a reason for each test that does not apply.
"""

import math

import pytest

from vaetune.config.space import REFERENCE, Choice, Range, Space
from vaetune.config.spec import Budget, SearchSpec
from vaetune.search.oracles.control import make_oracle

ORIGINALS = {
    "hyperband_test": (
        "test_hyperband_oracle_bracket_configs",
        "test_hyperband_oracle_one_sweep_single_thread",
        "test_hyperband_oracle_one_sweep_parallel",
        "test_hyperband_integration",
        "test_hyperband_save_and_restore",
        "test_hyperband_load_weights",
        "test_factor_less_than_2_error",
        "test_exhausted_values_during_init_bracket",
    ),
    "oracle_test": (
        "test_hp_not_provided_for_tune_new_entry_error",
        "test_hp_not_provided_for_allow_new_entry_error",
        "test_objective_not_found_error",
        "test_multi_objective_found",
        "test_private_populate_space_deprecated_and_call_public",
        "test_private_score_trial_deprecated_and_call_public",
        "test_import_objective_from_oracle",
        "test_duplicate",
        "test_end_trial_backward_compatible",
        "test_not_duplicate",
        "test_new_hp_duplicate",
        "test_default_no_retry",
        "test_retry_invalid_trial",
        "test_is_nan_mark_as_invalid",
        "test_no_retry_for_failed_trial",
        "test_consecutive_failures_in_limit",
        "test_too_many_consecutive_failures",
        "test_synchronized_functions_in_same_oracle_same_function",
        "test_synchronized_functions_in_same_oracle_diff_function",
        "test_synchronized_functions_in_different_oracle_doesnt_block",
        "test_oracle_return_same_trial_if_same_tuner",
        "test_oracle_reload_ongoing_trials_to_retry",
        "test_get_best_trial_with_nans",
        "test_overwrite_false_resume",
        "test_display_format_duration_large_d",
    ),
    "gridsearch_test": (
        "test_that_exhaustive_space_is_explored",
        "test_int_and_float",
        "test_new_hp",
        "test_hp_in_fit",
        "test_conditional_scope",
        "test_exhaust_trials_in_between_before_the_latter_finishes",
        "test_linked_list",
    ),
    "randomsearch_test": ("test_update_space", "test_exhausted_search_space"),
    "bayesian_test": (
        "test_scipy_not_install_error",
        "test_sklearn_not_install_error",
        "test_bayesian_oracle",
        "test_bayesian_oracle_with_zero_y",
        "test_bayesian_dynamic_space",
        "test_bayesian_save_reload",
        "test_bayesian_optimization_tuner",
        "test_bayesian_optimization_tuner_set_alpha_beta",
        "test_save_before_result",
        "test_bayesian_oracle_maximize",
        "test_hyperparameters_added",
        "test_step_respected",
        "test_float_optimization",
        "test_distributed_optimization",
        "test_interleaved_distributed_optimization",
        "test_exhausted_search_space",
        "test_skip_failed_trials",
    ),
}

_SAVING = "oracles of vaetune are not saved but rebuilt from the journal (test_oracles.py)"
_SPACE = "the space comes from the search file and never grows"
_RETRIES = "the tuner retries, and the search counts its failures (test_tuner.py)"
_INSIDE = "tests a private or deprecated name"
_TUNER = "trains a model through Keras Tuner's own tuner, which vaetune replaces"
_OBJECTIVE = "the objective is always val_loss, minimised"
_INSTALLED = "vaetune declares scipy and scikit-learn as dependencies"

LEFT_OUT = {
    "test_hyperband_integration": _TUNER,
    "test_hyperband_save_and_restore": _SAVING,
    "test_hyperband_load_weights": _TUNER,
    "test_hp_not_provided_for_tune_new_entry_error": _SPACE,
    "test_hp_not_provided_for_allow_new_entry_error": _SPACE,
    "test_multi_objective_found": _OBJECTIVE,
    "test_private_populate_space_deprecated_and_call_public": _INSIDE,
    "test_private_score_trial_deprecated_and_call_public": _INSIDE,
    "test_import_objective_from_oracle": _INSIDE,
    "test_duplicate": _INSIDE,
    "test_end_trial_backward_compatible": _INSIDE,
    "test_not_duplicate": _INSIDE,
    "test_new_hp_duplicate": _SPACE,
    "test_retry_invalid_trial": _RETRIES,
    "test_consecutive_failures_in_limit": _RETRIES,
    "test_too_many_consecutive_failures": _RETRIES,
    "test_synchronized_functions_in_same_oracle_same_function": "tests the decorator, unchanged",
    "test_synchronized_functions_in_same_oracle_diff_function": "tests the decorator, unchanged",
    "test_synchronized_functions_in_different_oracle_doesnt_block": "tests the decorator",
    "test_oracle_reload_ongoing_trials_to_retry": _SAVING,
    "test_overwrite_false_resume": _SAVING,
    "test_display_format_duration_large_d": "vaetune has a display of its own",
    "test_new_hp": _SPACE,
    "test_hp_in_fit": _SPACE,
    "test_conditional_scope": _SPACE,
    "test_linked_list": _INSIDE,
    "test_update_space": _SPACE,
    "test_scipy_not_install_error": _INSTALLED,
    "test_sklearn_not_install_error": _INSTALLED,
    "test_bayesian_dynamic_space": _SPACE,
    "test_bayesian_save_reload": _SAVING,
    "test_bayesian_optimization_tuner": _TUNER,
    "test_bayesian_optimization_tuner_set_alpha_beta": _TUNER,
    "test_save_before_result": _SAVING,
    "test_bayesian_oracle_maximize": _OBJECTIVE,
    "test_hyperparameters_added": _SPACE,
    "test_step_respected": "a range of a search file has no step",
}

FOUR = Space(filters_1=Choice(values=(16, 32)), latent_dim=Choice(values=(2, 4)))
RATES = Space(learning_rate=Range(min=1e-4, max=1e-2, scale="log"))


def make(algorithm, space=None, seed=1, **budget):
    options = {} if space is None else {"space": space}
    return make_oracle(
        SearchSpec(algorithm=algorithm, seed=seed, budget=Budget(**budget), **options)
    )


def end(oracle, trial, score=1.0):
    oracle.update_trial(trial.trial_id, {"val_loss": score})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)


def fail(oracle, trial):
    trial.status = "FAILED"
    oracle.end_trial(trial)


def run_all(oracle, score=lambda trial: 1.0):
    """Runs all trials of an oracle with one worker; returns the trials."""
    trials = []
    while (trial := oracle.create_trial("a")).status == "RUNNING":
        trials.append(trial)
        end(oracle, trial, score(trial))
    assert trial.status == "STOPPED"
    return trials


def values_of(trials):
    names = REFERENCE
    return [tuple(trial.hyperparameters.values[name] for name in names) for trial in trials]


def test_every_original_is_adapted_or_left_out_with_a_reason():
    adapted = {name for name in globals() if name.startswith("test_")}
    for file, names in ORIGINALS.items():
        for name in names:
            algorithm = file.removesuffix("_test").removesuffix("search")
            is_adapted = name in adapted or f"{name}_{algorithm}" in adapted
            assert is_adapted != (name in LEFT_OUT), f"{file}: {name}"


# Hyperband


def test_hyperband_oracle_bracket_configs():
    trials = run_all(make("hyperband", max_epochs=8, factor=2))
    positions = [
        tuple(
            trial.hyperparameters.values[f"tuner/{key}"] for key in ("bracket", "round", "epochs")
        )
        for trial in trials
    ]
    assert {bracket for bracket, _, _ in positions} == {0, 1, 2, 3}
    assert positions.count((3, 0, 1)) == 8
    assert positions.count((3, 3, 8)) == 1
    assert positions.count((0, 0, 8)) == 4


def test_hyperband_oracle_one_sweep_single_thread():
    oracle = make("hyperband", max_epochs=9)
    scores = iter(range(100, 0, -1))
    trials = run_all(oracle, lambda trial: next(scores))
    rungs = [
        (trial.hyperparameters.values["tuner/bracket"], trial.hyperparameters.values["tuner/round"])
        for trial in trials
    ]
    assert rungs == sorted(rungs, key=lambda rung: (-rung[0], rung[1])), "one rung at a time"
    assert oracle.ongoing_trials == {}
    assert oracle.get_best_trials()[0].trial_id == trials[-1].trial_id


def test_hyperband_oracle_one_sweep_parallel():
    oracle = make("hyperband", max_epochs=4, factor=2)
    first = [oracle.create_trial(f"worker {number}") for number in range(10)]
    assert {trial.status for trial in first} == {"RUNNING"}, "first rungs need no results"
    assert oracle.create_trial("late").status == "IDLE"
    for trial in first:
        end(oracle, trial)
    second = [oracle.create_trial(f"worker {number}") for number in range(4)]
    assert {trial.hyperparameters.values["tuner/round"] for trial in second} == {1}
    assert oracle.create_trial("late").status == "IDLE"
    for trial in second:
        end(oracle, trial)
    last = oracle.create_trial("worker 0")
    assert last.hyperparameters.values["tuner/round"] == 2
    assert oracle.create_trial("late").status == "IDLE"
    end(oracle, last)
    assert oracle.create_trial("late").status == "STOPPED"


def test_factor_less_than_2_error():
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        make("hyperband", factor=1)


def test_exhausted_values_during_init_bracket():
    oracle = make("hyperband", Space(latent_dim=Choice(values=(2, 4))), max_epochs=8)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    assert oracle.create_trial("c").status == "IDLE", "there is no third configuration"
    end(oracle, first, 2.0)
    end(oracle, second, 1.0)
    # Keras Tuner stops in this case. vaetune promotes the configurations that exist.
    assert oracle.create_trial("a").hyperparameters.values["tuner/trial_id"] == second.trial_id


# All oracles

ALGORITHMS = ["hyperband", "random", "grid", "bayesian"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_objective_not_found_error(algorithm):
    oracle = make(algorithm)
    trial = oracle.create_trial("a")
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle.update_trial(trial.trial_id, {"loss": 0.5})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_default_no_retry(algorithm):
    oracle = make(algorithm)
    trial = oracle.create_trial("a")
    trial.status = "INVALID"
    oracle.end_trial(trial)
    assert oracle.get_trial(trial.trial_id).status == "FAILED"
    assert oracle.create_trial("a").trial_id != trial.trial_id


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_is_nan_mark_as_invalid(algorithm):
    oracle = make(algorithm)
    trial = oracle.create_trial("a")
    end(oracle, trial, math.nan)
    assert oracle.get_trial(trial.trial_id).status == "FAILED"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_retry_for_failed_trial(algorithm):
    oracle = make(algorithm)
    trial = oracle.create_trial("a")
    fail(oracle, trial)
    assert oracle.get_trial(trial.trial_id).status == "FAILED"
    assert oracle.create_trial("a").trial_id != trial.trial_id


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_oracle_return_same_trial_if_same_tuner(algorithm):
    oracle = make(algorithm)
    assert oracle.create_trial("a").trial_id == oracle.create_trial("a").trial_id
    assert oracle.create_trial("b").trial_id != oracle.create_trial("a").trial_id


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_get_best_trial_with_nans(algorithm):
    oracle = make(algorithm)
    for score in (3.0, 1.0, 2.0, math.nan):
        end(oracle, oracle.create_trial("a"), score)
    assert oracle.get_best_trials()[0].score == 1.0


# Grid


def test_that_exhaustive_space_is_explored():
    trials = run_all(make("grid", FOUR))
    names = ("filters_1", "latent_dim")
    tried = [tuple(trial.hyperparameters.values[name] for name in names) for trial in trials]
    assert sorted(tried) == [(16, 2), (16, 4), (32, 2), (32, 4)]


def test_int_and_float():
    space = Space(latent_dim=Range(min=1, max=99), learning_rate=Range(min=1e-4, max=1e-2))
    trials = run_all(make("grid", space, max_trials=40))
    assert len(set(values_of(trials))) == 40
    assert all(isinstance(trial.hyperparameters.values["latent_dim"], int) for trial in trials)


def test_exhaust_trials_in_between_before_the_latter_finishes():
    # In Keras Tuner's test, a third worker waits. Here it receives the remaining point.
    oracle = make("grid", Space(latent_dim=Choice(values=(2, 4, 8))))
    first, second, third = (oracle.create_trial(name) for name in "abc")
    assert len(set(values_of([first, second, third]))) == 3
    assert oracle.create_trial("d").status == "IDLE", "there is no fourth point"
    for trial in (first, second, third):
        end(oracle, trial)
    assert oracle.create_trial("a").status == "STOPPED"


# Random


def test_exhausted_search_space_random():
    assert len(set(values_of(run_all(make("random", FOUR, max_trials=15))))) == 4


# Bayesian


def test_bayesian_oracle():
    scores = iter(range(5))
    trials = run_all(
        make("bayesian", FOUR.model_copy(update=dict(RATES)), max_trials=5, initial_trials=2),
        lambda trial: float(next(scores)),
    )
    assert len(trials) == 5


def test_bayesian_oracle_with_zero_y():
    oracle = make("bayesian", RATES, max_trials=5, initial_trials=2)
    assert len(set(values_of(run_all(oracle, lambda trial: 0.0)))) == 5


def test_float_optimization():
    def above_optimum(trial):
        return abs(math.log10(trial.hyperparameters.values["learning_rate"] / 1.5e-3))

    oracle = make("bayesian", RATES, max_trials=12, initial_trials=4)
    run_all(oracle, above_optimum)
    assert above_optimum(oracle.get_best_trials()[0]) < 0.1


@pytest.mark.long
def test_distributed_optimization():
    def above_optimum(trial):
        return abs(math.log10(trial.hyperparameters.values["learning_rate"] / 1.5e-3))

    oracle = make("bayesian", RATES, max_trials=12, initial_trials=4)
    for _ in range(4):
        trials = [oracle.create_trial(f"worker {number}") for number in range(3)]
        assert len(set(values_of(trials))) == 3
        for trial in trials:
            end(oracle, trial, above_optimum(trial))
    assert oracle.create_trial("worker 0").status == "STOPPED"
    assert above_optimum(oracle.get_best_trials()[0]) < 0.1


def test_interleaved_distributed_optimization():
    oracle = make("bayesian", RATES, max_trials=6, initial_trials=2)
    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    end(oracle, first, 2.0)
    third = oracle.create_trial("a")
    end(oracle, second, 1.0)
    fourth = oracle.create_trial("b")  # The third trial is still running.
    end(oracle, third, 3.0)
    end(oracle, fourth, 4.0)
    assert len(set(values_of([first, second, third, fourth]))) == 4


def test_exhausted_search_space_bayesian():
    trials = run_all(make("bayesian", FOUR, max_trials=15, initial_trials=2))
    assert len(set(values_of(trials))) == 4


def test_skip_failed_trials():
    oracle = make("bayesian", RATES, max_trials=6, initial_trials=2)
    fail(oracle, oracle.create_trial("a"))
    assert len(run_all(oracle)) == 5
