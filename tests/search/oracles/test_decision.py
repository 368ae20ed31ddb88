"""Freeze-thaw decisions on simulated learning curves, without training or Keras Tuner."""

import math
import statistics
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
from curve_worlds import FLOOR, chooser_of, cost_of, loss_of, run_chooser
from long_forms import long
from scipy.integrate import quad
from scipy.stats import norm

from vaetune.config.dimensions import Choice, Range
from vaetune.config.space import DEFAULT_SPACE, Space
from vaetune.search.oracles import decision
from vaetune.search.oracles.decision import log_improvement, rungs_of
from vaetune.search.oracles.encoding import Encoder
from vaetune.search.oracles.gaussian_process import Points
from vaetune.search.oracles.observations import Run
from vaetune.search.oracles.scale import Scale

RATE = Space(learning_rate=Range(min=2e-3, max=1e-2, scale="log"))

LARGE = DEFAULT_SPACE.model_copy(
    update={"filters_1": Choice(values=(8, 16, 32)), "dense_units": Choice(values=(128, 256, 512))}
)

THREE = Space(latent_dim=Choice(values=(8, 16, 32)))


def flat_cost(values):
    return 1.0


def by_rate(values, epoch, floor=FLOOR):
    """A loss that depends on the learning rate, the latent dimension and the epoch."""
    rate = math.log(values["learning_rate"] / 5e-3)
    return floor + 40 * (1 + rate**2 + abs(math.log2(values["latent_dim"] / 16))) * (1 + 1 / epoch)


@cache
def search(space=DEFAULT_SPACE, loss=loss_of, **options):
    """Runs a search, and returns all proposals and the runs at the end."""
    budget = {"total_epochs": options.pop("total_epochs", 75), "floor": options.get("floor", FLOOR)}
    steps = list(run_chooser(chooser_of(space, **options), loss, **budget))
    return [proposal for proposal, _ in steps], steps[-1][1]


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (9, (1, 3, 6, 9)),
        (10, (2, 4, 7, 10)),
        (27, (3, 9, 18, 27)),
        (100, (12, 34, 67, 100)),
    ],
)
def test_rungs_are_a_ninth_a_third_two_thirds_and_all_of_the_epochs(epochs, rungs):
    assert rungs_of(epochs) == rungs


@pytest.mark.parametrize(("mean", "deviation"), [(0.1, 0.5), (-0.3, 0.2), (1.2, 0.4), (5, 0.6)])
def test_the_expected_improvement_equals_the_integral_of_improvements(mean, deviation):
    integral, _ = quad(
        lambda y: (0.2 - y) * norm.pdf(y, mean, deviation), mean - 12 * deviation, 0.2, epsabs=0
    )
    (found,) = log_improvement(np.array([mean]), np.array([deviation]), 0.2)
    assert found == pytest.approx(math.log(integral), abs=0.1 if mean > 3 else 1e-6)


def test_very_small_improvements_are_finite_and_ordered():
    means = np.array([5.0, 50.0, 500.0])
    found = log_improvement(means, np.full(3, 0.1), 0.0)
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) < 0)


@pytest.mark.parametrize("options", [{}, *long({"space": LARGE})])
def test_freeze_thaw_beats_random_search_of_the_same_cost(options):
    """Random search trains configurations for all epochs, until it has spent the same cost."""
    encoder, ours, theirs = Encoder(options.get("space", DEFAULT_SPACE)), [], []
    for seed in (1, 2):
        proposals, runs = search(**options, seed=seed)
        ours.append(min(min(run.losses) for run in runs))
        left = sum(cost_of(one.values) * (one.epoch_to - one.epoch_from) for one in proposals)
        rng, best = np.random.default_rng(seed), math.inf
        while left > 0:
            values = encoder.draw(rng.random(encoder.dimensions).tolist())
            left -= 9 * cost_of(values)
            best = min(best, loss_of(values, 9))
        theirs.append(best)
    assert statistics.mean(ours) < statistics.mean(theirs) - 2
    assert max(ours) < 97


def test_forecasts_begin_after_two_configurations():
    proposals, _ = search(seed=1)
    assert [one.forecast is None for one in proposals[:3]] == [True, True, False]
    assert all(one.run is None for one in proposals[:2])
    for one in proposals[2:]:
        forecast = one.forecast
        assert forecast.low < forecast.loss < forecast.high
        assert forecast.epoch >= one.epoch_to
        epochs = forecast.epoch - one.epoch_from
        assert forecast.cost_s == pytest.approx(cost_of(one.values) * epochs + 0.34)


def test_forecast_errors_agree_with_their_uncertainty():
    errors = []
    for seed in (1, 2):
        proposals, _ = search(seed=seed)
        for one in proposals[10:]:
            reached = loss_of(one.values, one.forecast.epoch)
            width = (one.forecast.high - one.forecast.low) / 2
            errors.append(abs(reached - one.forecast.loss) / width)
    assert 0.2 < statistics.median(errors) < 2


def test_trials_train_from_rung_to_rung_and_stay_within_the_budget():
    proposals, runs = search(seed=1)
    assert sum(one.epoch_to - one.epoch_from for one in proposals) <= 75
    assert {(one.epoch_from, one.epoch_to) for one in proposals} <= {(0, 1), (1, 3), (3, 6), (6, 9)}
    continued = [one for one in proposals if one.run is not None]
    assert continued
    assert all(one.values == runs[one.run].values for one in continued)
    assert 9 in {one.epoch_to for one in proposals}


def test_no_configuration_begins_twice():
    encoder = Encoder(DEFAULT_SPACE)
    proposals, _ = search(seed=1)
    keys = [encoder.key(one.values) for one in proposals if one.run is None]
    assert len(keys) == len(set(keys))


def test_equal_seeds_give_equal_decisions_and_another_seed_does_not():
    steps = islice(run_chooser(chooser_of(DEFAULT_SPACE, seed=1)), 15)
    again = [proposal for proposal, _ in steps]
    assert again == search(seed=1)[0][:15]
    assert again != search(seed=2)[0][:15]


def test_a_decision_depends_only_on_its_arguments():
    proposals, _ = search(seed=1)
    *_, (_, runs) = islice(run_chooser(chooser_of(DEFAULT_SPACE)), 20)
    spent = sum(one.epoch_to - one.epoch_from for one in proposals[:20])
    assert chooser_of(DEFAULT_SPACE).choose(runs, 20, 75 - spent) == proposals[20]


def test_cheaper_configurations_are_preferred_if_losses_are_equal():
    def expensive_below(values):
        return 30.0 if values["learning_rate"] < 4.5e-3 else 1.0

    def expensive_above(values):
        return 1.0 if values["learning_rate"] < 4.5e-3 else 30.0

    def low_rates(cost):
        proposals, _ = search(RATE, loss=lambda *a: 100.0, cost=cost, total_epochs=30)
        chosen = [one for one in proposals[3:13] if one.run is None]
        return sum(one.values["learning_rate"] < 4.5e-3 for one in chosen), len(chosen)

    below, count = low_rates(expensive_below)
    above, others = low_rates(expensive_above)
    assert below < count / 2
    assert above > others / 2


@pytest.mark.parametrize(("floor", "shift"), [(FLOOR, 0.0), (None, -4000.0), *long((None, 0.0))])
def test_the_best_learning_rate_is_found_even_with_negative_losses(floor, shift):
    base = FLOOR if floor is not None else shift

    def loss(values, epoch, _):
        return by_rate(values, epoch, base)

    proposals, runs = search(RATE, floor=floor, loss=loss, cost=flat_cost)
    best = min(runs, key=lambda run: min(run.losses))
    assert abs(math.log(best.values["learning_rate"] / 5e-3)) < 0.12
    assert len(best.ends) == 4
    assert len(proposals) > 20


def test_all_configurations_of_a_tiny_space_are_trained_to_their_end():
    proposals, runs = search(THREE, loss=by_rate, cost=flat_cost, total_epochs=75)
    assert {one.values["latent_dim"] for one in proposals} == {8, 16, 32}
    assert len(runs) == 3
    assert sum(one.epoch_to - one.epoch_from for one in proposals) == 27


def test_the_only_configuration_of_a_space_is_trained_to_its_end():
    space = Space.pinned_at({"latent_dim": 16})
    proposals, runs = search(space, loss=by_rate, cost=flat_cost)
    assert [one.epoch_to for one in proposals] == [1, 3, 6, 9]
    assert len(runs) == 1


def runs_of(losses, space=RATE):
    """Runs with evenly spaced values of one hyperparameter.

    Args:
        losses: Losses of each run at the rungs of nine epochs, nats per image.
        space: Search space with one hyperparameter.
    """
    encoder = Encoder(space)
    return [
        Run(encoder.draw([(1 + i) / (1 + len(losses))]), str(i), rungs_of(9)[: len(one)], one)
        for i, one in enumerate(map(tuple, losses))
    ]


FIRST_IS_BEST = [(100.0, 80.0), (140.0,), (141.0,), (142.0,)]


def choose(runs, space=RATE, left=100):
    return chooser_of(space, cost=flat_cost).choose(runs, 9, left)


def test_the_best_paused_configuration_continues():
    proposal = choose(runs_of(FIRST_IS_BEST))
    assert (proposal.run, proposal.epoch_from, proposal.epoch_to) == (0, 3, 6)


def test_running_failed_and_dropped_configurations_do_not_continue():
    for change in ({"running_to": 6}, {"has_failed": True}, {"is_dropped": True}):
        first, *others = runs_of(FIRST_IS_BEST)
        assert choose([replace(first, **change), *others]).run != 0


def test_a_collapsed_configuration_continues_only_if_no_other_can():
    first, *others = runs_of(FIRST_IS_BEST)
    assert choose([replace(first, collapsed=True), *others]).run != 0
    early = replace(first, ends=first.ends[:1], losses=(100.0,))
    assert choose([replace(early, collapsed=True), *others]) == choose([early, *others])
    assert choose([early, *others]).run == 0, "in the first rung only the losses count"
    space = Space(latent_dim=Choice(values=(8, 16)))
    left = [
        replace(first, values=Encoder(space).draw([0.1]), collapsed=True),
        Run(Encoder(space).draw([0.9]), "1", (1, 3, 6, 9), (140.0, 130.0, 120.0, 110.0)),
    ]
    assert choose([replace(left[0], collapsed=True), left[1], left[1]], space).run == 0


def test_a_running_trial_influences_the_next_choice():
    runs = [replace(runs_of(FIRST_IS_BEST)[0], running_to=6), *runs_of(FIRST_IS_BEST)[1:]]
    with_running = choose(runs)
    assert with_running is not None
    without_running = [replace(runs[0], running_to=None, is_dropped=True), *runs[1:]]
    assert with_running.forecast != choose(without_running).forecast


def test_a_running_trial_counts_as_ended_with_its_predicted_loss():
    first, *others = runs_of(FIRST_IS_BEST)
    chooser, scale = chooser_of(RATE), Scale.of([100.0, 80.0, 140.0, 141.0, 142.0], FLOOR)
    asked = Points(chooser.encoder.points([first.values] * 2), np.log([6.0, 9.0]), np.array([0, 0]))
    unsure, sure = (
        chooser._fit([replace(first, running_to=to), *others], scale).predict(asked)
        for to in (None, 6)
    )
    assert sure[0] == pytest.approx(unsure[0], abs=0.02)
    assert np.all(sure[1] < 0.8 * unsure[1])


def test_workers_get_distinct_configurations_before_the_first_loss():
    chooser, runs, keys = chooser_of(DEFAULT_SPACE), [], set()
    for number in range(6):
        proposal = chooser.choose(runs, number, 75 - number)
        assert proposal.forecast is None
        keys.add(chooser.encoder.key(proposal.values))
        runs.append(Run(proposal.values, str(number), running_to=1))
    assert len(keys) == 6


def test_if_all_trials_fail_new_configurations_begin():
    runs = [replace(run, ends=(), losses=(), has_failed=True) for run in runs_of(FIRST_IS_BEST)]
    assert choose(runs).run is None


def test_few_configurations_near_failures_are_tried():
    """Learning rates above 0.003 fail; all others have the same losses."""
    space = Space(learning_rate=Range(min=1e-4, max=1e-1, scale="log"))
    encoder, chooser = Encoder(space), chooser_of(space, cost=flat_cost)
    runs, failures = [], []
    for number in range(30):
        proposal = chooser.choose(runs, number, 100)
        if proposal.run is not None:
            break
        failed = proposal.values["learning_rate"] > 3e-3
        failures.append(failed)
        ends, losses = ((), ()) if failed else ((1, 3, 6, 9), (120.0, 110.0, 105.0, 100.0))
        runs.append(Run(proposal.values, "0", ends, losses, has_failed=failed))
    assert len(failures) == 30
    assert sum(failures[15:]) < 5
    assert encoder.dimensions == 1


def test_choices_are_limited_to_the_epochs_left():
    runs = runs_of([(100.0, 95.0, 90.0), *FIRST_IS_BEST[1:]])
    proposal = choose(runs, left=3)
    assert (proposal.run, proposal.epoch_to) == (0, 9)
    assert choose(runs, left=2).forecast.epoch <= 3
    assert choose(runs[:1], left=0) is None


def test_the_cost_of_new_configurations_can_be_ignored(monkeypatch):
    def expensive(values):
        return 1.0 if values["learning_rate"] < 4.5e-3 else 1e9

    runs = runs_of([(100.0,), (100.0,), (100.0,), (100.0,), (100.0,)])
    chooser = chooser_of(RATE, cost=expensive)
    assert chooser.choose(runs, 5, 75).values["learning_rate"] < 4.5e-3
    monkeypatch.setattr(decision, "WITHOUT_COST_EVERY", 5)
    free = [chooser.choose(runs, number, 75).values["learning_rate"] for number in range(5, 15)]
    assert max(free) > 4.5e-3
