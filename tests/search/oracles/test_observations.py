"""Losses that the Gaussian process observes, and the limit of paused configurations."""

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


def observed(runs):
    """Pairs of run and epoch that the Gaussian process observes, and their losses."""
    losses = [loss for one in runs for loss in one.losses]
    scale = Scale.of(losses, None)
    points, numbers = observe(runs, scale, ENCODER, 9)
    return list(zip(points.runs.tolist(), np.exp(points.times).round().tolist(), strict=True)), [
        round(scale.loss(number), 6) for number in numbers.tolist()
    ]


def test_up_to_three_losses_of_a_few_configurations_are_observed():
    where, losses = observed(
        [run([110, 105]), run([120]), run(running_to=1), run([130, 125, 121, 120])]
    )
    assert where == [(0, 1), (0, 3), (1, 1), (3, 3), (3, 6), (3, 9)]
    assert losses[:3] == [110, 105, 120]


def test_only_the_best_of_many_configurations_have_several_losses():
    runs = [run([200 - i, 190 - i], seed=i) for i in range(30)]
    where, _ = observed(runs)
    counts = [sum(index == i for index, _ in where) for i in range(30)]
    assert counts == [1] * 18 + [2] * 12
    assert all(epoch == 3 for index, epoch in where if index < 18)


def test_a_long_search_is_reduced_to_the_best_and_a_sample_of_the_others():
    runs = [run([200 - i % 100], seed=i % 7) for i in range(1000)]
    where, losses = observed(runs)
    indices = {index for index, _ in where}
    assert len(indices) <= MOST
    assert {i for i in range(1000) if i % 100 == 99} <= indices
    assert np.histogram(list(indices), 4, (0, 1000))[0].min() > 25
    assert max(losses) > 150


def test_a_failed_trial_counts_with_the_worst_loss_after_the_last_epoch():
    where, losses = observed(
        [run([110]), run([100]), run(has_failed=True), run([105], has_failed=True)]
    )
    assert where == [(0, 1), (1, 1), (2, 9), (3, 1), (3, 9)]
    assert losses[2] == losses[4] == max(losses)


def test_a_configuration_is_paused_only_between_its_trials():
    assert run([110]).is_paused(9)
    assert not run().is_paused(9)
    assert not run([110], running_to=3).is_paused(9)
    assert not run([110], has_failed=True).is_paused(9)
    assert not run([110], is_dropped=True).is_paused(9)
    assert not run([4, 3, 2, 1]).is_paused(9)


def test_the_worst_paused_configurations_beyond_the_limit_are_dropped():
    runs = [run([100 + i]) for i in range(MAX_PAUSED)]
    assert surplus(runs, RUNGS) == set()
    runs += [run([101.5]), run([1], running_to=3), run([90, 80, 70, 60])]
    assert surplus(runs, RUNGS) == {MAX_PAUSED - 1}


def test_paused_configurations_are_ranked_by_their_projected_loss():
    """Configurations improve by 20 nats from the first rung to the second."""
    runs = [run([130 + i, 110 + i]) for i in range(MAX_PAUSED)]
    assert surplus([*runs, run([125])], RUNGS) == {MAX_PAUSED - 1}
    assert surplus([*runs, run([145])], RUNGS) == {MAX_PAUSED}


def test_from_the_second_rung_on_a_collapsed_configuration_is_dropped_first():
    runs = [run([130, 110 + i]) for i in range(MAX_PAUSED)]
    assert surplus([*runs, run([130, 90], collapsed=True)], RUNGS) == {MAX_PAUSED}
    assert surplus([*runs, run([90], collapsed=True)], RUNGS) == {MAX_PAUSED - 1}
