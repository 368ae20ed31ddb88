"""Freeze-thaw decisions on invented curves: no training, no Keras Tuner."""

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
    """Curves of a space with one searched hyperparameter: the learning rate or the latent size."""
    rate = math.log(values["learning_rate"] / 5e-3)
    return floor + 40 * (1 + rate**2 + abs(math.log2(values["latent_dim"] / 16))) * (1 + 1 / epoch)


@cache
def search(space=DEFAULT_SPACE, loss=loss_of, **options):
    """All proposals, and the runs at the end."""
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
def test_the_expected_improvement_is_the_integral_over_improvements(mean, deviation):
    integral, _ = quad(
        lambda y: (0.2 - y) * norm.pdf(y, mean, deviation), mean - 12 * deviation, 0.2, epsabs=0
    )
    (found,) = log_improvement(np.array([mean]), np.array([deviation]), 0.2)
    assert found == pytest.approx(math.log(integral), abs=0.1 if mean > 3 else 1e-6)


def test_the_smallest_improvements_still_have_an_order():
    means = np.array([5.0, 50.0, 500.0])
    found = log_improvement(means, np.full(3, 0.1), 0.0)
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) < 0)


@pytest.mark.parametrize("options", [{}, *long({"space": LARGE})])
def test_it_is_much_better_than_random_search_of_the_same_cost(options):
    """Random search trains as long, all epochs each, as the counted seconds allow."""
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


def test_it_begins_with_two_configurations_and_then_forecasts():
    proposals, _ = search(seed=1)
    assert [one.forecast is None for one in proposals[:3]] == [True, True, False]
    assert all(one.run is None for one in proposals[:2])
    for one in proposals[2:]:
        forecast = one.forecast
        assert forecast.low < forecast.loss < forecast.high
        assert forecast.epoch >= one.epoch_to
        epochs = forecast.epoch - one.epoch_from
        assert forecast.cost_s == pytest.approx(cost_of(one.values) * epochs + 0.34)


def test_forecasts_come_true_within_their_uncertainty():
    errors = []
    for seed in (1, 2):
        proposals, _ = search(seed=seed)
        for one in proposals[10:]:
            reached = loss_of(one.values, one.forecast.epoch)
            width = (one.forecast.high - one.forecast.low) / 2
            errors.append(abs(reached - one.forecast.loss) / width)
    assert 0.2 < statistics.median(errors) < 2


def test_a_trial_continues_at_its_rung_and_nothing_runs_beyond_the_budget():
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


def test_the_same_seed_decides_alike_and_another_one_otherwise():
    begun = islice(run_chooser(chooser_of(DEFAULT_SPACE, seed=1)), 15)
    again = [proposal for proposal, _ in begun]
    assert again == search(seed=1)[0][:15]
    assert again != search(seed=2)[0][:15]


def test_a_decision_depends_on_nothing_but_its_arguments():
    proposals, _ = search(seed=1)
    *_, (_, runs) = islice(run_chooser(chooser_of(DEFAULT_SPACE)), 20)
    spent = sum(one.epoch_to - one.epoch_from for one in proposals[:20])
    assert chooser_of(DEFAULT_SPACE).choose(runs, 20, 75 - spent) == proposals[20]


def test_of_two_equal_prospects_the_cheaper_one_is_trained():
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
def test_one_hyperparameter_is_enough_and_losses_may_be_negative(floor, shift):
    base = FLOOR if floor is not None else shift

    def loss(values, epoch, _):
        return by_rate(values, epoch, base)

    proposals, runs = search(RATE, floor=floor, loss=loss, cost=flat_cost)
    best = min(runs, key=lambda run: min(run.losses))
    assert abs(math.log(best.values["learning_rate"] / 5e-3)) < 0.12
    assert len(best.ends) == 4
    assert len(proposals) > 20


def test_a_tiny_space_is_exhausted_and_then_only_continued():
    proposals, runs = search(THREE, loss=by_rate, cost=flat_cost, total_epochs=75)
    assert {one.values["latent_dim"] for one in proposals} == {8, 16, 32}
    assert len(runs) == 3
    assert sum(one.epoch_to - one.epoch_from for one in proposals) == 27


def test_a_space_of_one_configuration_is_trained_to_its_end():
    space = Space.pinned_at({"latent_dim": 16})
    proposals, runs = search(space, loss=by_rate, cost=flat_cost)
    assert [one.epoch_to for one in proposals] == [1, 3, 6, 9]
    assert len(runs) == 1


def runs_of(losses, space=RATE):
    """Runs at spread rates with these losses at the rungs of nine epochs."""
    encoder = Encoder(space)
    return [
        Run(encoder.draw([(1 + i) / (1 + len(losses))]), str(i), rungs_of(9)[: len(one)], one)
        for i, one in enumerate(map(tuple, losses))
    ]


GOOD = [(100.0, 80.0), (140.0,), (141.0,), (142.0,)]


def choose(runs, space=RATE, left=100):
    return chooser_of(space, cost=flat_cost).choose(runs, 9, left)


def test_the_best_paused_configuration_continues():
    proposal = choose(runs_of(GOOD))
    assert (proposal.run, proposal.epoch_from, proposal.epoch_to) == (0, 3, 6)


def test_what_runs_has_failed_or_is_dropped_does_not_continue():
    for change in ({"running_to": 6}, {"has_failed": True}, {"is_dropped": True}):
        first, *others = runs_of(GOOD)
        assert choose([replace(first, **change), *others]).run != 0


def test_from_the_second_rung_on_a_collapsed_configuration_continues_only_if_nothing_else_is_left():
    first, *others = runs_of(GOOD)
    assert choose([replace(first, collapsed=True), *others]).run != 0
    early = replace(first, ends=first.ends[:1], losses=(100.0,))
    assert choose([replace(early, collapsed=True), *others]) == choose([early, *others])
    assert choose([early, *others]).run == 0, "in the first rung the losses alone decide"
    space = Space(latent_dim=Choice(values=(8, 16)))
    left = [
        replace(first, values=Encoder(space).draw([0.1]), collapsed=True),
        Run(Encoder(space).draw([0.9]), "1", (1, 3, 6, 9), (140.0, 130.0, 120.0, 110.0)),
    ]
    assert choose([replace(left[0], collapsed=True), left[1], left[1]], space).run == 0


def test_while_a_trial_runs_others_are_chosen_and_its_end_is_assumed():
    runs = [replace(runs_of(GOOD)[0], running_to=6), *runs_of(GOOD)[1:]]
    waiting = choose(runs)
    assert waiting is not None
    blind = [replace(runs[0], running_to=None, is_dropped=True), *runs[1:]]
    assert waiting.forecast != choose(blind).forecast


def test_a_running_trial_counts_as_if_it_ended_as_predicted():
    waiting, *others = runs_of(GOOD)
    chooser, scale = chooser_of(RATE), Scale.of([100.0, 80.0, 140.0, 141.0, 142.0], FLOOR)
    asked = Points(
        chooser.encoder.points([waiting.values] * 2), np.log([6.0, 9.0]), np.array([0, 0])
    )
    unsure, sure = (
        chooser._fit([replace(waiting, running_to=to), *others], scale).predict(asked)
        for to in (None, 6)
    )
    assert sure[0] == pytest.approx(unsure[0], abs=0.02)
    assert np.all(sure[1] < 0.8 * unsure[1])


def test_before_the_first_loss_every_worker_gets_a_configuration():
    chooser, runs, keys = chooser_of(DEFAULT_SPACE), [], set()
    for number in range(6):
        proposal = chooser.choose(runs, number, 75 - number)
        assert proposal.forecast is None
        keys.add(chooser.encoder.key(proposal.values))
        runs.append(Run(proposal.values, str(number), running_to=1))
    assert len(keys) == 6


def test_if_all_trials_fail_new_configurations_begin():
    runs = [replace(run, ends=(), losses=(), has_failed=True) for run in runs_of(GOOD)]
    assert choose(runs).run is None


def test_around_a_failure_nothing_is_tried():
    """Rates above the middle fail; below, all are alike."""
    space = Space(learning_rate=Range(min=1e-4, max=1e-1, scale="log"))
    encoder, chooser = Encoder(space), chooser_of(space, cost=flat_cost)
    runs, tried = [], []
    for number in range(30):
        proposal = chooser.choose(runs, number, 100)
        if proposal.run is not None:
            break
        failed = proposal.values["learning_rate"] > 3e-3
        tried.append(failed)
        ends, losses = ((), ()) if failed else ((1, 3, 6, 9), (120.0, 110.0, 105.0, 100.0))
        runs.append(Run(proposal.values, "0", ends, losses, has_failed=failed))
    assert len(tried) == 30
    assert sum(tried[15:]) < 5
    assert encoder.dimensions == 1


def test_near_the_end_of_the_budget_what_can_still_be_finished_counts():
    runs = runs_of([(100.0, 95.0, 90.0), *GOOD[1:]])
    proposal = choose(runs, left=3)
    assert (proposal.run, proposal.epoch_to) == (0, 9)
    assert choose(runs, left=2).forecast.epoch <= 3
    assert choose(runs[:1], left=0) is None


def test_a_new_configuration_may_be_chosen_whatever_it_costs(monkeypatch):
    def expensive(values):
        return 1.0 if values["learning_rate"] < 4.5e-3 else 1e9

    runs = runs_of([(100.0,), (100.0,), (100.0,), (100.0,), (100.0,)])
    chooser = chooser_of(RATE, cost=expensive)
    assert chooser.choose(runs, 5, 75).values["learning_rate"] < 4.5e-3
    monkeypatch.setattr(decision, "WITHOUT_COST_EVERY", 5)
    free = [chooser.choose(runs, number, 75).values["learning_rate"] for number in range(5, 15)]
    assert max(free) > 4.5e-3
