"""Oracles create the same trials as Keras Tuner, and workers do not wait needlessly."""

import itertools
import random
from collections import Counter
from functools import cache

import keras_tuner
import pytest
import scipy.optimize
from blas_threads import blas_threads_in
from hypothesis import given, settings, strategies as st
from long_forms import long

from vaetune.config.space import REFERENCE, Choice, Range, Space
from vaetune.config.spec import Budget, SearchSpec, single_configuration
from vaetune.errors import JournalError
from vaetune.search.oracles.base import TUNER_ID
from vaetune.search.oracles.control import assignment, make_oracle, replay, request_trial
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.study.events import TrialEnded, TrialStarted

RUNNING, COMPLETED, FAILED, STOPPED = "RUNNING", "COMPLETED", "FAILED", "STOPPED"
THREE_CONFIGURATIONS = Space(latent_dim=Choice(values=(2, 4, 8)))


class UnmodifiedHyperband(keras_tuner.oracles.HyperbandOracle):
    """Keras Tuner's own oracle, without its files."""

    def save(self):
        pass

    def _save_trial(self, trial):
        pass


def make_unmodified(spec):
    oracle = UnmodifiedHyperband(
        objective=keras_tuner.Objective("val_loss", "min"),
        hyperparameters=make_oracle(spec).get_space(),
        seed=spec.seed,
        **spec.budget.model_dump(include={"max_epochs", "factor", "hyperband_iterations"}),
    )
    oracle.verbose = 0
    return oracle


def spec_of(max_epochs=9, factor=3, hyperband_iterations=1, seed=1, **others):
    budget = Budget(max_epochs=max_epochs, factor=factor, hyperband_iterations=hyperband_iterations)
    return SearchSpec(seed=seed, budget=budget, **others)


def run_to_the_end(oracle, fails=lambda trial_id: False):
    """Runs an oracle to its end, and returns its trials. A score depends only on the trial ID."""
    trials = []
    while (trial := oracle.create_trial(TUNER_ID)).status == RUNNING:
        trials.append(trial)
        if fails(trial.trial_id):
            trial.status = FAILED
        else:
            score = random.Random(trial.trial_id).random()
            oracle.update_trial(trial.trial_id, {"val_loss": score})
            trial.status = COMPLETED
        oracle.end_trial(trial)
    assert trial.status == STOPPED
    return trials


def epochs_of(trials):
    return Counter(trial.hyperparameters.values["tuner/epochs"] for trial in trials)


@pytest.mark.parametrize("seed", [1, *long(2, 3)])
@pytest.mark.parametrize(
    ("max_epochs", "factor", "iterations"), [(9, 3, 1), (30, 3, 1), (27, 3, 2), (16, 2, 1)]
)
def test_hyperband_creates_exactly_the_trials_of_keras_tuner(seed, max_epochs, factor, iterations):
    spec = spec_of(max_epochs, factor, iterations, seed)
    ours = run_to_the_end(make_oracle(spec))
    theirs = run_to_the_end(make_unmodified(spec))
    assert [t.trial_id for t in ours] == [t.trial_id for t in theirs]
    assert [t.hyperparameters.values for t in ours] == [t.hyperparameters.values for t in theirs]


@pytest.mark.parametrize(
    ("max_epochs", "factor", "trials", "configurations", "epochs"),
    # Numbers from runs of Keras Tuner's own oracle.
    [(9, 3, 23, 17, 75), (27, 3, 70, 49, 375), (30, 3, 90, 62, 576), (1, 3, 1, 1, 1)],
)
def test_the_plan_counts_trials_configurations_and_epochs(
    max_epochs, factor, trials, configurations, epochs
):
    rungs = plan(make_oracle(spec_of(max_epochs, factor)))
    assert sum(rung.trials for rung in rungs) == trials
    assert sum(rung.trials for rung in rungs if rung.rung == 0) == configurations
    assert sum(rung.epochs for rung in rungs) == epochs


def test_the_plan_of_two_iterations_has_twice_the_trials():
    assert sum(r.trials for r in plan(make_oracle(spec_of(hyperband_iterations=2)))) == 46


def test_the_plan_lists_brackets_and_rungs_in_their_order():
    rungs = plan(make_oracle(spec_of(9)))
    shown = [(r.bracket, r.rung, r.trials, r.epoch_from, r.epoch_to) for r in rungs]
    assert shown == [
        (2, 0, 9, 0, 1),
        (2, 1, 3, 1, 3),
        (2, 2, 1, 3, 9),
        (1, 0, 5, 0, 3),
        (1, 1, 2, 3, 9),
        (0, 0, 3, 0, 9),
    ]


def test_seed_0_gives_reproducible_trials():
    first, second = (run_to_the_end(make_oracle(spec_of(seed=0))) for _ in range(2))
    assert [t.hyperparameters.values for t in first] == [t.hyperparameters.values for t in second]
    other = run_to_the_end(make_oracle(spec_of(seed=1)))
    assert [t.hyperparameters.values for t in first] != [t.hyperparameters.values for t in other]


def test_failures_do_not_prevent_promotions():
    # A third of all trials fails. With these failures, Keras Tuner's own oracle never reaches 30
    # epochs in its first bracket.
    spec = spec_of(30)
    fails = {f"{number:04d}" for number in range(1, 90, 3)}
    planned = epochs_of(run_to_the_end(make_oracle(spec)))
    ours = epochs_of(run_to_the_end(make_oracle(spec), fails.__contains__))
    assert ours == planned


def test_a_rung_promotes_only_completed_trials():
    only_survivor = "0004"
    trials = run_to_the_end(make_oracle(spec_of(9)), lambda i: i < "0009" and i != only_survivor)
    parents = [t.hyperparameters.values.get("tuner/trial_id") for t in trials[9:11]]
    assert parents == [only_survivor, "0009"]
    assert trials[10].hyperparameters.values["tuner/epochs"] == 9


def test_a_search_in_which_every_trial_fails_ends():
    trials = run_to_the_end(make_oracle(spec_of(9)), lambda trial_id: True)
    assert all(trial.status == FAILED for trial in trials)
    assert len(trials) == 9 + 5 + 3  # The first rung of every bracket, and no promotion.


def test_rungs_smaller_than_planned_still_promote_trials():
    trials = run_to_the_end(make_oracle(spec_of(9, space=THREE_CONFIGURATIONS)))
    assert epochs_of(trials) == {1: 3, 3: 3, 9: 1}


def test_the_only_configuration_of_a_space_is_promoted_to_all_epochs():
    trials = run_to_the_end(make_oracle(spec_of(9, space=Space())))
    assert epochs_of(trials) == {1: 1, 3: 1, 9: 1}


def test_the_plan_of_a_small_space_counts_its_trials():
    spec = spec_of(9, space=THREE_CONFIGURATIONS)
    trials = run_to_the_end(make_oracle(spec))
    assert sum(rung.trials for rung in plan(make_oracle(spec))) == len(trials)


def test_a_promotion_names_its_parent_and_keeps_its_configuration():
    oracle = make_oracle(spec_of(9))
    run_to_the_end(oracle)
    asked = {trial_id: assignment(oracle, trial) for trial_id, trial in oracle.trials.items()}
    promotions = [a for a in asked.values() if a.parent is not None]
    assert len(promotions) == 6
    for promotion in promotions:
        parent = asked[promotion.parent]
        assert promotion.configuration == parent.configuration
        assert promotion.hyperparameters == parent.hyperparameters
        assert promotion.epoch_from == parent.epoch_to
        assert (promotion.bracket, promotion.rung) == (parent.bracket, parent.rung + 1)
    roots = [a.configuration for a in asked.values() if a.parent is None]
    assert roots == list(range(17))


def test_hyperparameters_contain_no_control_data_of_keras_tuner():
    oracle = make_oracle(spec_of(9))
    for trial in run_to_the_end(oracle):
        assert set(assignment(oracle, trial).hyperparameters) == set(REFERENCE)


def test_a_promotion_has_the_bracket_of_its_parent():
    # The fourth worker opens the next bracket while the trials of the first one still run.
    oracle = make_oracle(spec_of(3))
    first = [oracle.create_trial(f"worker {number}") for number in range(3)]
    other = oracle.create_trial("worker 3")
    assert [assignment(oracle, trial).bracket for trial in (*first, other)] == [1, 1, 1, 0]
    for trial in first:
        oracle.update_trial(trial.trial_id, {"val_loss": 1.0})
        trial.status = COMPLETED
        oracle.end_trial(trial)
    promoted = assignment(oracle, oracle.create_trial("worker 0"))
    assert (promoted.bracket, promoted.rung) == (1, 1)


def journal_of(oracle, trials_to_end, trials_to_start):
    """Events of an interrupted search. Every fourth trial fails.

    Args:
        oracle: A new oracle.
        trials_to_end: Number of the trial that does not end, from 0.
        trials_to_start: Number of trials that start.
    """
    events = []
    for number in itertools.count():
        if number == trials_to_start:
            return events
        trial = oracle.create_trial(TUNER_ID)
        events.append(TrialStarted(**dict(assignment(oracle, trial))))
        if number == trials_to_end:
            continue
        score = None if number % 4 == 1 else random.Random(trial.trial_id).random()
        trial.status = FAILED
        if score is not None:
            oracle.update_trial(trial.trial_id, {"val_loss": score})
            trial.status = COMPLETED
        oracle.end_trial(trial)
        status = trial.status.lower()
        events.append(
            TrialEnded(trial_id=trial.trial_id, status=status, score=score, duration_s=1.0)
        )
    raise AssertionError


@pytest.mark.parametrize("ended", [0, 1, 8, 9, 13, 16])
def test_a_replayed_hyperband_search_continues_exactly(ended):
    spec = spec_of(9)
    original = make_oracle(spec)
    events = journal_of(original, trials_to_end=ended, trials_to_start=ended)
    replayed = make_oracle(spec)
    replay(replayed, events)
    rest = [run_to_the_end(oracle) for oracle in (original, replayed)]
    assert len(rest[0]) > 0
    first, second = ([t.hyperparameters.values for t in trials] for trials in rest)
    assert first == second


def test_a_replay_assigns_the_unfinished_trial_again():
    spec = spec_of(9)
    events = journal_of(make_oracle(spec), trials_to_end=3, trials_to_start=4)
    replayed = make_oracle(spec)
    replay(replayed, events)
    (trial,) = replayed.ongoing_trials.values()
    assert TrialStarted(**dict(assignment(replayed, trial)), time=events[-1].time) == events[-1]


def run_on_workers(oracle, workers, order, fails=lambda asked: False, most=10**6):
    """Runs an oracle with several workers; their trials end in a random order.

    A score depends on configuration and epochs only. Returns the events and the largest number
    of trials that ran at once.
    """
    events, busy, busiest = [], [], 0
    while len(events) < most:
        while len(busy) < workers and (trial := request_trial(oracle)).status == RUNNING:
            events.append(TrialStarted(**dict(assignment(oracle, trial))))
            busy.append(trial)
        busiest = max(busiest, len(busy))
        if not busy:
            break
        trial = busy.pop(order.randrange(len(busy)))
        asked = assignment(oracle, trial)
        key = f"{asked.configuration} {asked.epoch_to}"
        score = None if fails(asked) else random.Random(key).random()
        end(oracle, trial, score)
        status = trial.status.lower()
        events.append(
            TrialEnded(trial_id=trial.trial_id, status=status, score=score, duration_s=1.0)
        )
    return events, busiest


def end(oracle, trial, score):
    trial.status = FAILED
    if score is not None:
        oracle.update_trial(trial.trial_id, {"val_loss": score})
        trial.status = COMPLETED
    oracle.end_trial(trial)


def trained(oracle):
    """Sorted assignments of all trials, without their trial IDs."""
    asked = oracle.assignments.values()
    assert len(asked) == len(oracle.trials)
    return sorted(
        (a.configuration, a.iteration, a.bracket, a.rung, a.epoch_from, a.epoch_to, str(values))
        for a in asked
        for values in [sorted(a.hyperparameters.items())]
    )


def test_the_plan_does_not_depend_on_the_order_of_workers():
    oracle = make_oracle(spec_of(9))
    planned = plan(oracle)
    run_on_workers(oracle, 5, random.Random(3))
    begun = [(asked.bracket, asked.rung) for asked in oracle.assignments.values()]
    assert begun.index((1, 0)) < begun.index((2, 1)), "a later bracket begins first"
    assert plan(oracle) == planned


PARALLEL = {
    "hyperband": spec_of(9),
    "hyperband twice": spec_of(9, hyperband_iterations=2),
    "small space": spec_of(9, space=THREE_CONFIGURATIONS),
    "exhausted space": spec_of(9, space=Space(latent_dim=Choice(values=tuple(range(2, 14))))),
    "random": SearchSpec(algorithm="random", budget=Budget(max_epochs=2, max_trials=20)),
    "grid": SearchSpec(
        algorithm="grid",
        budget=Budget(max_epochs=2),
        space=Space(latent_dim=Choice(values=(2, 4)), filters_1=Choice(values=(8, 16, 32))),
    ),
}


def a_third_fails(asked):
    return (asked.configuration + asked.epoch_to) % 3 == 0


def none_fails(asked):
    return False


@cache
def trained_alone(name, fails):
    """Sorted assignments of a run with one worker."""
    oracle = make_oracle(PARALLEL[name])
    run_on_workers(oracle, 1, random.Random(0), fails)
    return trained(oracle)


@pytest.mark.parametrize("name", PARALLEL)
@pytest.mark.parametrize("fails", [none_fails, a_third_fails])
@given(workers=st.integers(2, 9), seed=st.integers(0, 10**6))
@settings(max_examples=8)
def test_many_workers_train_the_same_trials_as_one(name, fails, workers, seed):
    oracle = make_oracle(PARALLEL[name])
    run_on_workers(oracle, workers, random.Random(seed), fails)
    assert trained(oracle) == trained_alone(name, fails)


@pytest.mark.parametrize("name", PARALLEL)
@given(workers=st.integers(2, 9), seed=st.integers(0, 10**6), cut=st.integers(1, 60))
@settings(max_examples=8)
def test_an_interrupted_journal_of_many_workers_is_replayed(name, workers, seed, cut):
    original, replayed = make_oracle(PARALLEL[name]), make_oracle(PARALLEL[name])
    events, _ = run_on_workers(original, workers, random.Random(seed), most=cut)
    replay(replayed, events)
    assert set(replayed.assignments) == set(original.assignments)
    unfinished = [{t.trial_id for t in o.ongoing_trials.values()} for o in (original, replayed)]
    assert unfinished[0] == unfinished[1]
    for oracle in (original, replayed):
        for trial in list(oracle.ongoing_trials.values()):
            end(oracle, trial, random.Random(trial.trial_id).random())
        run_on_workers(oracle, 3, random.Random(1))
    assert trained(replayed) == trained(original)


@pytest.mark.usefixtures("quick_suggestions")
def test_an_interrupted_bayesian_journal_of_many_workers_is_replayed():
    budget = Budget(max_epochs=2, max_trials=7, initial_trials=3)
    space = Space(learning_rate=Range(min=1e-4, max=1e-2, scale="log"))
    spec = SearchSpec(algorithm="bayesian", budget=budget, space=space)
    original, replayed = make_oracle(spec), make_oracle(spec)
    events, busiest = run_on_workers(original, 3, random.Random(1), most=9)
    assert busiest == 3
    replay(replayed, events)
    assert replayed.assignments == original.assignments
    for oracle in (original, replayed):
        run_on_workers(oracle, 1, random.Random(1))
    assert trained(replayed) == trained(original)


@pytest.mark.parametrize(("name", "busiest"), [("grid", 6), ("random", 20), ("hyperband", 17)])
def test_workers_do_not_wait_while_trials_can_start(name, busiest):
    # Hyperband's 17 configurations begin in three brackets at once: 9, 5 and 3.
    assert run_on_workers(make_oracle(PARALLEL[name]), 32, random.Random(0))[1] == busiest


def test_a_journal_of_another_search_is_refused():
    events = journal_of(make_oracle(spec_of(9, seed=1)), trials_to_end=3, trials_to_start=4)
    with pytest.raises(JournalError, match=r"trial 0000 differs from the one that the algorithm"):
        replay(make_oracle(spec_of(9, seed=2)), events)


def test_a_single_configuration_trains_all_epochs_in_one_trial():
    spec = single_configuration({"latent_dim": 7}, epochs=5, like=spec_of())
    oracle = make_oracle(spec)
    (trial,) = run_to_the_end(oracle)
    asked = assignment(oracle, trial)
    assert (asked.epoch_from, asked.epoch_to, asked.parent) == (0, 5, None)
    assert asked.hyperparameters["latent_dim"] == 7
    assert asked.hyperparameters["filters_2"] == 64


def test_an_oracle_writes_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_to_the_end(make_oracle(spec_of(3)))
    assert list(tmp_path.iterdir()) == []


# Other settings of Hyperband


def test_trials_have_the_number_of_their_iteration():
    rungs = plan(make_oracle(spec_of(9, hyperband_iterations=2)))
    assert Counter(rung.iteration for rung in rungs) == {0: 6, 1: 6}
    oracle = make_oracle(spec_of(9, hyperband_iterations=2))
    asked = [assignment(oracle, trial) for trial in walk(oracle)]
    assert Counter(a.iteration for a in asked) == {0: 23, 1: 23}
    iterations = {a.trial_id: a.iteration for a in asked}
    assert all(a.iteration == iterations[a.parent] for a in asked if a.parent is not None)


def walk(oracle):
    """Yields each trial of an oracle when it is created, and completes it afterwards."""
    while (trial := oracle.create_trial(TUNER_ID)).status == RUNNING:
        yield trial
        oracle.update_trial(trial.trial_id, {"val_loss": random.Random(trial.trial_id).random()})
        trial.status = COMPLETED
        oracle.end_trial(trial)


@pytest.mark.parametrize(
    ("max_epochs", "min_epochs", "shortest", "brackets"),
    [(9, 1, 1, 3), (9, 2, 3, 2), (9, 3, 3, 2), (9, 4, 9, 1), (9, 9, 9, 1), (30, 3, 4, 3)],
)
def test_no_rung_has_fewer_than_the_minimum_number_of_epochs(
    max_epochs, min_epochs, shortest, brackets
):
    spec = SearchSpec(seed=1, budget=Budget(max_epochs=max_epochs, min_epochs=min_epochs))
    rungs = plan(make_oracle(spec))
    assert min(rung.epoch_to for rung in rungs) == shortest
    assert max(rung.epoch_to for rung in rungs) == max_epochs
    assert len({rung.bracket for rung in rungs}) == brackets


def test_a_plan_does_not_change_the_oracle():
    oracle, untouched = make_oracle(spec_of(9)), make_oracle(spec_of(9))
    plan(oracle)
    first, second = (run_to_the_end(each) for each in (oracle, untouched))
    assert [t.hyperparameters.values for t in first] == [t.hyperparameters.values for t in second]


def test_the_plan_stays_the_same_during_the_search():
    oracle = make_oracle(spec_of(9))
    whole = plan(oracle)
    for number, trial in enumerate(walk(oracle)):
        assignment(oracle, trial)
        if number in (3, 8, 11, 20):
            assert plan(oracle) == whole


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "grid"])
@pytest.mark.parametrize("space", [SearchSpec().space, THREE_CONFIGURATIONS])
def test_drawn_configurations_are_those_that_the_search_tries(algorithm, space):
    budget = (
        Budget(max_epochs=9) if algorithm == "hyperband" else Budget(max_epochs=9, max_trials=12)
    )
    oracle = make_oracle(SearchSpec(seed=1, algorithm=algorithm, budget=budget, space=space))
    drawn = draw_configurations(oracle)
    begun = {}
    for trial in run_to_the_end(oracle):
        asked = assignment(oracle, trial)
        if asked.parent is None:
            begun.setdefault((asked.iteration, asked.bracket), []).append(asked.hyperparameters)
    assert drawn == begun
    assert set(drawn) == {(rung.iteration, rung.bracket) for rung in plan(oracle)}


def test_a_limited_number_of_configurations_is_drawn_from_a_large_grid():
    oracle = make_oracle(SearchSpec(algorithm="grid", budget=Budget(max_epochs=9)))
    (drawn,) = draw_configurations(oracle, max_points=50).values()
    assert len(drawn) == 50
    for name, dimension in SearchSpec().space.dimensions():
        values = {one[name] for one in drawn}
        assert len(values) > 1
        assert all(dimension.contains(value) for value in values)


def test_as_many_configurations_are_drawn_as_a_bayesian_search_has_trials():
    budget = Budget(max_epochs=9, max_trials=6, initial_trials=3)
    oracle = make_oracle(SearchSpec(algorithm="bayesian", budget=budget))
    assert len(draw_configurations(oracle)[0, 0]) == 6


def test_promotable_trials_fit_into_the_next_rungs():
    oracle = make_oracle(spec_of(9))
    seen = []
    for trial in walk(oracle):
        parent = trial.hyperparameters.values.get("tuner/trial_id")
        assert parent is None or parent in seen[-1], "only promotable trials are promoted"
        seen.append(oracle.promotable() | {trial.trial_id})
    assert max(map(len, seen)) <= 4, "at most three promotable trials and the running one"
    assert oracle.promotable() == set()


# The other algorithms

SMALL_SPACE = Space(latent_dim=Choice(values=(2, 4, 8)), filters_1=Choice(values=(16, 32)))


def spec_with(algorithm, seed=1, space=None, **budget):
    others = {} if space is None else {"space": space}
    return SearchSpec(algorithm=algorithm, seed=seed, budget=Budget(**budget), **others)


def values_of(trials):
    return [trial.hyperparameters.values for trial in trials]


def make_unmodified_of(oracle_class, spec, **settings):
    class Unmodified(oracle_class):
        def save(self):
            pass

        def _save_trial(self, trial):
            pass

    oracle = Unmodified(
        objective=keras_tuner.Objective("val_loss", "min"),
        hyperparameters=make_oracle(spec).get_space(),
        seed=spec.seed,
        **settings,
    )
    oracle.verbose = 0
    return oracle


@pytest.mark.parametrize("seed", [1, 2])
def test_random_search_draws_the_configurations_of_keras_tuner(seed):
    spec = spec_with("random", seed, max_trials=30)
    theirs = make_unmodified_of(keras_tuner.oracles.RandomSearchOracle, spec, max_trials=30)
    ours = run_to_the_end(make_oracle(spec))
    assert len(ours) == 30
    assert values_of(ours) == values_of(run_to_the_end(theirs))


def test_grid_search_tries_the_grid_of_keras_tuner_in_its_order():
    spec = spec_with("grid", space=SMALL_SPACE)
    theirs = make_unmodified_of(keras_tuner.oracles.GridSearchOracle, spec)
    ours = run_to_the_end(make_oracle(spec))
    assert len(ours) == 6
    assert values_of(ours) == values_of(run_to_the_end(theirs))


def test_a_grid_begins_at_the_reference():
    first = run_to_the_end(make_oracle(spec_with("grid", space=SMALL_SPACE)))[0]
    assert (first.hyperparameters["latent_dim"], first.hyperparameters["filters_1"]) == (2, 32)


@pytest.mark.parametrize(
    ("algorithm", "budget", "space", "trials"),
    [
        ("random", {"max_trials": 7}, None, 7),
        ("random", {"max_trials": 7}, THREE_CONFIGURATIONS, 3),
        ("grid", {}, SMALL_SPACE, 6),
        ("grid", {"max_trials": 4}, SMALL_SPACE, 4),
        ("grid", {}, Space(learning_rate=Range(min=1e-4, max=1e-2)), 11),
        *long(("bayesian", {"max_trials": 7, "initial_trials": 6}, None, 7)),
        ("bayesian", {"max_trials": 9, "initial_trials": 2}, THREE_CONFIGURATIONS, 3),
    ],
)
def test_the_plan_equals_the_trials_of_random_grid_and_bayesian_search(
    algorithm, budget, space, trials
):
    spec = spec_with(algorithm, space=space, max_epochs=4, **budget)
    (rung,) = plan(make_oracle(spec))
    assert (rung.trials, rung.epoch_from, rung.epoch_to) == (trials, 0, 4)
    oracle = make_oracle(spec)
    ran = run_to_the_end(oracle)
    assert len(ran) == trials
    assert {assignment(oracle, trial).epoch_to for trial in ran} == {4}


def test_the_plan_of_a_large_grid_is_computed():
    (rung,) = plan(make_oracle(spec_with("grid")))
    assert rung.trials == 3 * 3 * 5 * 5 * 11


@pytest.fixture
def quick_suggestions(monkeypatch):
    """Shortens the optimization of a suggestion in Keras Tuner, which otherwise takes a second."""
    minimize = scipy.optimize.minimize

    def stop_early(function, x0, **options):
        return minimize(function, x0, options={"maxiter": 2}, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", stop_early)


BAYESIAN = spec_with(
    "bayesian", space=SMALL_SPACE.model_copy(update={"learning_rate": Range(min=1e-4, max=1e-2)}),
    max_trials=6, initial_trials=4,
)  # fmt: skip


@pytest.mark.usefixtures("quick_suggestions")
def test_bayesian_suggestions_follow_the_measured_losses():
    def run(sign):
        oracle = make_oracle(BAYESIAN)
        trials = []
        while (trial := oracle.create_trial(TUNER_ID)).status == RUNNING:
            rate = trial.hyperparameters["learning_rate"]
            oracle.update_trial(trial.trial_id, {"val_loss": sign * rate * 1e4})
            trial.status = COMPLETED
            oracle.end_trial(trial)
            trials.append(rate)
        return trials

    low, high = run(1), run(-1)
    assert low[:4] == high[:4], "initial trials do not depend on losses"
    assert low[-1] < high[-1]


def test_bayesian_suggestions_are_computed_by_one_thread(monkeypatch):
    oracle = make_oracle(BAYESIAN)
    journal_of(oracle, trials_to_end=9, trials_to_start=4)

    def run():
        run_to_the_end(oracle)

    assert blas_threads_in(monkeypatch, oracle.gpr, "fit", run) == {1}


@pytest.mark.usefixtures("quick_suggestions")
def test_bayesian_search_repeats_no_configuration():
    trials = run_to_the_end(
        make_oracle(spec_with("bayesian", space=SMALL_SPACE, max_trials=6, initial_trials=2))
    )
    assert len({tuple(values.items()) for values in values_of(trials)}) == len(trials) >= 5


@pytest.mark.usefixtures("quick_suggestions")
def test_a_replayed_bayesian_search_continues_exactly():
    original = make_oracle(BAYESIAN)
    events = journal_of(original, trials_to_end=9, trials_to_start=5)
    replayed = make_oracle(BAYESIAN)
    replay(replayed, events)
    first, second = (values_of(run_to_the_end(oracle)) for oracle in (original, replayed))
    assert len(first) == 1
    assert first == second


def test_a_replay_computes_no_suggestions(monkeypatch):
    events = journal_of(make_oracle(BAYESIAN), trials_to_end=9, trials_to_start=6)
    replayed = make_oracle(BAYESIAN)
    monkeypatch.setattr(
        replayed.gpr, "fit", lambda *given: pytest.fail("the Gaussian process was fitted")
    )
    replay(replayed, events)
    assert len(replayed.trials) == 6


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_a_replayed_random_or_grid_search_continues_exactly(algorithm):
    spec = spec_with(algorithm, space=SMALL_SPACE, max_trials=6)
    original = make_oracle(spec)
    events = journal_of(original, trials_to_end=9, trials_to_start=3)
    replayed = make_oracle(spec)
    replay(replayed, events)
    first, second = (values_of(run_to_the_end(oracle)) for oracle in (original, replayed))
    assert len(first) == 3
    assert first == second


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_a_longer_search_begins_with_the_trials_of_a_shorter_one(algorithm):
    short, long = (run_to_the_end(make_oracle(spec_with(algorithm, max_trials=n))) for n in (9, 11))
    assert values_of(long)[:9] == values_of(short)
    assert [t.trial_id for t in long][:9] == [t.trial_id for t in short]
