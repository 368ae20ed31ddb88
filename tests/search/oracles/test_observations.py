"""What the Gaussian process sees of a search, and which configurations stay paused."""

import numpy as np

from vaetune.config.space import DEFAULT_SPACE
from vaetune.search.oracles.encoding import Encoder
from vaetune.search.oracles.observations import MAX_PAUSED, MOST, Run, observe, surplus
from vaetune.search.oracles.scale import Scale

ENCODER = Encoder(DEFAULT_SPACE)
RUNGS = (1, 3, 6, 9)


def values_of(seed):
    return ENCODER.draw(np.random.default_rng(seed).random(ENCODER.dimensions).tolist())


def run(losses=(), **others):
    """A run that paused after as many rungs as it has losses."""
    seed = others.pop("seed", 0)
    return Run(values_of(seed), "0", RUNGS[: len(losses)], tuple(losses), **others)


def seen(runs):
    losses = [loss for one in runs for loss in one.losses]
    scale = Scale.of(losses, None)
    points, numbers = observe(runs, scale, ENCODER, 9)
    return list(zip(points.runs.tolist(), np.exp(points.times).round().tolist(), strict=True)), [
        round(scale.loss(number), 6) for number in numbers.tolist()
    ]


def test_every_loss_of_a_few_configurations_is_seen():
    where, losses = seen(
        [run([110, 105]), run([120]), run(running_to=1), run([130, 125, 121, 120])]
    )
    assert where == [(0, 1), (0, 3), (1, 1), (3, 3), (3, 6), (3, 9)]
    assert losses[:3] == [110, 105, 120]


def test_of_many_configurations_all_but_the_best_show_their_last_loss_alone():
    runs = [run([200 - i, 190 - i], seed=i) for i in range(30)]
    where, _ = seen(runs)
    counts = [sum(index == i for index, _ in where) for i in range(30)]
    assert counts == [1] * 18 + [2] * 12
    assert all(epoch == 3 for index, epoch in where if index < 18)


def test_of_a_very_long_search_the_best_and_some_of_the_others_are_seen():
    runs = [run([200 - i % 100], seed=i % 7) for i in range(1000)]
    where, losses = seen(runs)
    indices = {index for index, _ in where}
    assert len(indices) <= MOST
    assert {i for i in range(1000) if i % 100 == 99} <= indices
    assert np.histogram(list(indices), 4, (0, 1000))[0].min() > 25
    assert max(losses) > 150


def test_a_failed_trial_counts_as_if_it_had_ended_with_the_worst_loss():
    where, losses = seen(
        [run([110]), run([100]), run(has_failed=True), run([105], has_failed=True)]
    )
    assert where == [(0, 1), (1, 1), (2, 9), (3, 1), (3, 9)]
    assert losses[2] == losses[4] == max(losses)


def test_a_configuration_is_paused_between_its_trials_only():
    assert run([110]).is_paused(9)
    assert not run().is_paused(9)
    assert not run([110], running_to=3).is_paused(9)
    assert not run([110], has_failed=True).is_paused(9)
    assert not run([110], is_dropped=True).is_paused(9)
    assert not run([4, 3, 2, 1]).is_paused(9)


def test_only_the_paused_configurations_beyond_the_limit_are_dropped_the_worst_first():
    runs = [run([100 + i]) for i in range(MAX_PAUSED)]
    assert surplus(runs, RUNGS) == set()
    runs += [run([101.5]), run([1], running_to=3), run([90, 80, 70, 60])]
    assert surplus(runs, RUNGS) == {MAX_PAUSED - 1}


def test_a_paused_configuration_is_judged_by_the_loss_that_it_may_still_reach():
    """From the first to the second rung, configurations gain 20 nats."""
    runs = [run([130 + i, 110 + i]) for i in range(MAX_PAUSED)]
    assert surplus([*runs, run([125])], RUNGS) == {MAX_PAUSED - 1}
    assert surplus([*runs, run([145])], RUNGS) == {MAX_PAUSED}


def test_from_the_second_rung_on_a_collapsed_configuration_is_dropped_first():
    runs = [run([130, 110 + i]) for i in range(MAX_PAUSED)]
    assert surplus([*runs, run([130, 90], collapsed=True)], RUNGS) == {MAX_PAUSED}
    assert surplus([*runs, run([90], collapsed=True)], RUNGS) == {MAX_PAUSED - 1}
