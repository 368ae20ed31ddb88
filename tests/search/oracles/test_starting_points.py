"""Every algorithm begins with the starting points of its search."""

import random

import keras_tuner
import pytest

from vaetune.config.dimensions import Choice, Pinned, Range
from vaetune.config.space import Space
from vaetune.config.spec import BUDGET_KEYS, Budget, SearchSpec, single_configuration
from vaetune.errors import SpecError
from vaetune.search.oracles.bayesian import BayesianOracle
from vaetune.search.oracles.control import assignment, end_trial, make_oracle, replay, request_trial
from vaetune.search.oracles.plan import draw_configurations, dry_run, plan
from vaetune.study.events import TrialEnded, TrialStarted

ALGORITHMS = ("hyperband", "random", "bayesian", "grid")
ALL_ALGORITHMS = (*ALGORITHMS, "freeze_thaw")
"""All algorithms. The number of trials of freeze-thaw is not known in advance."""

BUDGETS = {
    "hyperband": Budget(max_epochs=9),
    "random": Budget(max_trials=8),
    "bayesian": Budget(max_trials=7, initial_trials=4),
    "grid": Budget(),
    "freeze_thaw": Budget(max_epochs=9, total_epochs=40),
}
SPACE = Space(
    latent_dim=Choice(values=(2, 4, 8)),
    activation=Pinned(value="gelu"),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(2, 4)),
    free_bits=Choice(values=(0, 0.5)),
)
POINTS = (
    {"latent_dim": 8, "levels": 2, "level_channels": 4, "free_bits": 0},
    {"latent_dim": 4, "levels": 1, "free_bits": 0.5, "activation": "gelu"},
    {"latent_dim": 2, "levels": 2},
)


WIDE = SPACE.model_copy(update={"learning_rate": Range(min=1e-3, max=1e-2, scale="log")})
"""A space with more configurations than are ever drawn."""


@pytest.fixture(autouse=True)
def quick_suggestions(monkeypatch):
    """Replaces the suggestions of a Bayesian search by random values, to save time."""

    def suggest(oracle, trial_id):
        vector = oracle._random_state.uniform(size=len(oracle._nonfixed_space()))
        return {"status": "RUNNING", "values": oracle._vector_to_values(vector)}

    monkeypatch.setattr(keras_tuner.oracles.BayesianOptimizationOracle, "populate_space", suggest)
    monkeypatch.setattr(BayesianOracle, "_fit_to_completed", lambda oracle: None)


def spec_of(algorithm, points=POINTS, space=SPACE, seed=1, **budget):
    return SearchSpec(
        algorithm=algorithm,
        seed=seed,
        space=space,
        budget=BUDGETS[algorithm].model_copy(update=budget),
        start_with=points,
    )


def walk(oracle, workers=1, order=None):
    """Yields the events of a search; trials end in a random order."""
    order, running = order or random.Random(0), []
    while True:
        trial = request_trial(oracle)
        if trial.status == "RUNNING":
            running.append(assignment(oracle, trial))
            yield TrialStarted(**dict(running[-1]))
        elif not running:
            return
        if trial.status != "RUNNING" or len(running) == workers:
            ended = running.pop(order.randrange(len(running)))
            score = random.Random(str(ended.hyperparameters)).random()
            end_trial(oracle, ended.trial_id, score)
            known = {"trial_id": ended.trial_id, "score": score, "collapsed": False}
            yield TrialEnded(**known, status="completed", duration_s=1.0)


def starts(events):
    return [event for event in events if isinstance(event, TrialStarted)]


def configurations(oracle, workers=1):
    return [one.hyperparameters for one in starts(walk(oracle, workers)) if one.parent is None]


def has(configuration, point):
    return all(configuration[name] == value for name, value in point.items())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS)
def test_starting_points_are_the_first_configurations_in_order(algorithm, workers):
    tried = configurations(make_oracle(spec_of(algorithm)), workers)
    assert all(has(one, point) for one, point in zip(tried, POINTS, strict=False))
    assert "level_channels" not in tried[1]
    assert tried[2]["level_channels"] in (2, 4)
    keys = [tuple(sorted(one.items())) for one in tried]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_starting_points_do_not_change_the_plan(algorithm):
    space = SPACE if algorithm == "grid" else WIDE
    with_points, plain = (make_oracle(spec_of(algorithm, some, space)) for some in (POINTS, None))
    assert plan(with_points) == plan(plain)
    assert sum(rung.trials for rung in plan(with_points)) == len(starts(walk(with_points)))


@pytest.mark.parametrize("algorithm", ["hyperband", "random"])
def test_starting_points_do_not_change_the_drawn_configurations(algorithm):
    points = ({"latent_dim": 8}, {"learning_rate": 0.003})
    with_points, plain = (
        configurations(make_oracle(spec_of(algorithm, some, WIDE))) for some in (points, None)
    )
    assert with_points[2:] == plain[:-2]


def test_hyperband_promotes_starting_points_like_other_configurations():
    events = list(walk(make_oracle(spec_of("hyperband"))))
    first = starts(events)[:3]
    assert {(one.bracket, one.rung, one.epoch_to) for one in first} == {(2, 0, 1)}
    scores = {event.trial_id: event.score for event in events if isinstance(event, TrialEnded)}
    rung = [one.trial_id for one in starts(events) if (one.bracket, one.rung) == (2, 0)]
    promoted = {one.parent for one in starts(events) if (one.bracket, one.rung) == (2, 1)}
    assert promoted == set(sorted(rung, key=scores.__getitem__)[:3])


def test_a_second_iteration_does_not_repeat_starting_points():
    oracle = make_oracle(spec_of("hyperband", POINTS[:1], WIDE, hyperband_iterations=2))
    keys = [tuple(sorted(one.items())) for one in configurations(oracle)]
    assert len(keys) == len(set(keys)) == 34


def test_a_grid_does_not_repeat_starting_points():
    points = ({"latent_dim": 4, "free_bits": 0.5}, {"levels": 2, "level_channels": 4})
    with_points, plain = (
        configurations(make_oracle(spec_of("grid", some))) for some in (points, None)
    )
    # Hyperparameters that the starting point does not set have the first values of the grid.
    assert with_points[0] == plain[0] | {"latent_dim": 4, "free_bits": 0.5}
    assert with_points[2:] == [one for one in plain if one not in with_points[:2]]
    assert len(with_points) == len(plain)


def test_a_starting_point_between_grid_steps_adds_a_trial():
    space = SPACE.model_copy(update={"free_bits": Range(min=0.0, max=1.0)})
    points = ({"free_bits": 0.123}, {"free_bits": 0.0})
    with_points, plain = (
        make_oracle(spec_of("grid", points, space)),
        make_oracle(spec_of("grid", None, space)),
    )
    number = sum(rung.trials for rung in plan(plain))
    assert sum(rung.trials for rung in plan(with_points)) == number + 1
    assert len(configurations(with_points)) == number + 1


def test_starting_points_count_as_initial_trials_of_a_bayesian_search(monkeypatch):
    suggested = []
    monkeypatch.setattr(
        keras_tuner.oracles.BayesianOptimizationOracle,
        "populate_space",
        lambda oracle, trial_id: suggested.append(trial_id) or {"status": "STOPPED", "values": {}},
    )
    list(walk(make_oracle(spec_of("bayesian"))))
    assert suggested == ["0004"]


def test_a_bayesian_search_tries_all_starting_points_before_suggestions():
    points = [{"latent_dim": dim, "levels": 1} for dim in (2, 4, 8)]
    spec = spec_of("bayesian", points, initial_trials=1)
    tried = configurations(make_oracle(spec))
    assert [one["latent_dim"] for one in tried[:3]] == [2, 4, 8]


@pytest.mark.parametrize("algorithm", ALL_ALGORITHMS)
@pytest.mark.parametrize("cut", [1, 4, 9])
def test_an_interrupted_search_with_starting_points_continues_exactly(algorithm, cut):
    spec = spec_of(algorithm)
    whole = list(walk(make_oracle(spec)))
    replayed = make_oracle(spec)
    replay(replayed, whole[:cut])
    for trial in list(replayed.ongoing_trials.values()):
        score = next(
            e.score for e in whole if isinstance(e, TrialEnded) and e.trial_id == trial.trial_id
        )
        end_trial(replayed, trial.trial_id, score)
    rest = [one.hyperparameters for one in starts(walk(replayed))]
    assert rest == [one.hyperparameters for one in starts(whole)][len(starts(whole[:cut])) :]


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_a_longer_search_begins_with_the_configurations_of_a_shorter_one(algorithm):
    short, long = (
        configurations(make_oracle(spec_of(algorithm, max_trials=number))) for number in (5, 8)
    )
    assert long[:5] == short


def test_values_missing_from_a_starting_point_depend_on_the_seed():
    drawn = [
        make_oracle(spec_of("random", ({"latent_dim": 8},), WIDE, seed)).starting_points[0]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0]["learning_rate"] != drawn[2]["learning_rate"]


@pytest.mark.parametrize("seed", range(12))
def test_two_partial_starting_points_give_two_configurations(seed):
    space = Space(latent_dim=Choice(values=(2, 4)), dense_units=Choice(values=(8, 16)))
    points = ({"latent_dim": 2}, {"dense_units": 8})
    first, second = make_oracle(
        spec_of("random", points, space, seed, max_trials=4)
    ).starting_points
    assert first != second


def test_values_of_starting_points_have_the_types_of_the_space():
    space = SPACE.model_copy(
        update={"learning_rate": Range(min=1, max=2), "beta": Range(min=1, max=3)}
    )
    points = ({"free_bits": 0, "beta": 2}, {"free_bits": 0.0, "beta": 1})
    first, second = make_oracle(spec_of("random", points, space)).starting_points
    assert [str(first["free_bits"]), str(second["free_bits"])] == ["0.0", "0.0"]
    assert str(first["beta"]) == "2.0"


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        (spec_of("random", max_trials=2), 2),
        (spec_of("grid", max_trials=1), 1),
        (spec_of("hyperband", max_epochs=1), 1),
        (spec_of("hyperband", max_epochs=1, hyperband_iterations=2), 2),
    ],
)
def test_more_starting_points_than_configurations_are_refused(spec, most):
    with pytest.raises(SpecError, match=rf"tries, {most}, received 3\. Remove some of them"):
        make_oracle(spec)


def test_hyperband_accepts_as_many_starting_points_as_it_draws():
    oracle = make_oracle(spec_of("hyperband", None))
    assert oracle.most_configurations() == sum(one.trials for one in plan(oracle) if one.rung == 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_dry_run_includes_starting_points_and_keeps_the_oracle_unchanged(algorithm):
    oracle = make_oracle(spec_of(algorithm))
    drawn = next(iter(draw_configurations(oracle, max_points=4).values()))
    assert all(has(one, point) for one, point in zip(drawn, POINTS, strict=False))
    assert len(list(dry_run(oracle.dry_run_copy()))) == sum(rung.trials for rung in plan(oracle))
    assert has(configurations(oracle)[0], POINTS[0])


def test_the_training_of_a_single_configuration_has_no_starting_points():
    values = {"latent_dim": 2}
    assert single_configuration(values, 3, like=spec_of("random")).start_with is None


def test_every_algorithm_is_tested():
    assert {*ALL_ALGORITHMS, "single"} == set(BUDGET_KEYS)
