"""Searches over categories and conditional hyperparameters never repeat a configuration."""

import random

import pytest

from vaetune.config.dimensions import Choice, Pinned, Range
from vaetune.config.family import value_of
from vaetune.config.space import Space
from vaetune.config.spec import Budget, SearchSpec
from vaetune.search.oracles.control import assignment, end_trial, make_oracle, replay, request_trial
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.study.events import TrialEnded, TrialStarted

SPACE = Space(
    filters_1=Choice(values=(4, 8)),
    latent_dim=Choice(values=(2, 4, 8)),
    encoder=Choice(values=("conv", "dense")),
    decoder=Choice(values=("conv", "dense"), when={"latent_dim": (2, 4)}),
    dense_layers=Choice(values=(1, 2)),
    levels=Range(min=1, max=3),
    level_channels=Choice(values=(2, 4), when={"levels": (2,)}),
)
"""A space with every kind of condition."""

SMALL = Space(
    encoder=Choice(values=("conv", "dense")),
    decoder=Pinned(value="dense"),
    dense_layers=Choice(values=(1, 2), when={"encoder": ("dense",)}),
)
"""Three configurations. Without its condition, the space would have four."""

BUDGETS = {
    "hyperband": Budget(max_epochs=9),
    "random": Budget(max_trials=30),
    "bayesian": Budget(max_trials=14, initial_trials=6),
    "grid": Budget(),
}


def make_spec(algorithm, space=SPACE, seed=1, **budget):
    spec = {"algorithm": algorithm, "seed": seed, "space": space}
    return SearchSpec(**spec, budget=BUDGETS[algorithm].model_copy(update=budget))


def walk(oracle, workers=1):
    """Yields the assignments of an oracle; trials end in a random order."""
    generator, running = random.Random(0), []
    while True:
        trial = request_trial(oracle)
        if trial.status == "RUNNING":
            running.append(trial.trial_id)
            yield assignment(oracle, trial)
        elif not running:
            return
        if trial.status != "RUNNING" or len(running) == workers:
            ended = running.pop(generator.randrange(len(running)))
            end_trial(oracle, ended, random.Random(ended).random())


def key_of(hyperparameters):
    return tuple(sorted(hyperparameters.items()))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("algorithm", ["hyperband", "random", "grid"])
def test_configurations_are_distinct_and_have_no_unused_values(algorithm, workers):
    spec = make_spec(algorithm)
    asked = list(walk(make_oracle(spec), workers))
    drawn = [key_of(one.hyperparameters) for one in asked if one.parent is None]
    assert len(drawn) == len(set(drawn))
    complete = {name: value_of({}, name) for name in Space.model_fields}
    for one in asked:
        values = dict(one.hyperparameters)
        assert SPACE.used({**complete, **values}) == values
    parents = {one.trial_id: one.hyperparameters for one in asked}
    assert all(one.hyperparameters == parents[one.parent] for one in asked if one.parent)


@pytest.mark.long
@pytest.mark.slow
def test_bayesian_optimization_repeats_no_configuration():
    drawn = [key_of(one.hyperparameters) for one in walk(make_oracle(make_spec("bayesian")))]
    assert len(drawn) == len(set(drawn)) == 14


def test_a_grid_tries_every_distinct_configuration():
    drawn = [one.hyperparameters for one in walk(make_oracle(make_spec("grid")))]
    assert len(drawn) == SPACE.size()
    small = list(walk(make_oracle(make_spec("grid", SMALL))))
    assert len(small) == SMALL.size() == 3


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "grid"])
@pytest.mark.parametrize("space", [SPACE, SMALL])
def test_plan_and_drawn_configurations_agree_with_the_search(algorithm, space):
    spec = make_spec(algorithm, space)
    oracle = make_oracle(spec)
    planned = plan(oracle)
    drawn = [one for part in draw_configurations(oracle).values() for one in part]
    asked = list(walk(make_oracle(spec)))
    assert sum(rung.trials for rung in planned) == len(asked)
    first = [one.hyperparameters for one in asked if one.parent is None]
    assert sorted(map(key_of, drawn)) == sorted(map(key_of, first))
    assert len(set(map(key_of, drawn))) == len(drawn) <= space.size()


def test_points_drawn_from_a_large_grid_have_no_unused_values():
    oracle = make_oracle(make_spec("grid"))
    (drawn,) = draw_configurations(oracle, max_points=20).values()
    assert len(drawn) == 20
    assert all(SPACE.used(dict.fromkeys(Space.model_fields, 0) | one) == one for one in drawn)
    assert len({frozenset(one) for one in drawn}) > 3


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "grid"])
def test_a_journal_with_categories_is_replayed(algorithm):
    spec = make_spec(algorithm)
    oracle, events = make_oracle(spec), []
    for asked in walk(oracle):
        text = TrialStarted(**asked.model_dump()).model_dump_json()
        events.append(TrialStarted.model_validate_json(text))
        score = random.Random(asked.trial_id).random()
        ended = {"trial_id": asked.trial_id, "status": "completed", "score": score}
        ended |= {"parameters": 1, "duration_s": 1.0}
        events.append(TrialEnded(**ended, failed_in=None, error=None, traceback=None))
        if len(events) == 24:
            break
    replayed = make_oracle(spec)
    replay(replayed, events)
    whole = [key_of(one.hyperparameters) for one in walk(make_oracle(spec))]
    rest = [key_of(one.hyperparameters) for one in walk(replayed)]
    assert rest == whole[12:]
