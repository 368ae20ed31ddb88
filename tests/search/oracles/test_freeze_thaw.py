"""The freeze-thaw oracle: budgets, workers, failures, and a replay without a Gaussian process."""

import math
import random

import pytest
from curve_worlds import FLOOR, loss_of
from journals import make_data
from long_forms import long

from vaetune.config.dimensions import Choice, Range
from vaetune.config.space import DEFAULT_SPACE, Space
from vaetune.config.spec import Budget, SearchSpec
from vaetune.errors import JournalError
from vaetune.search.oracles import freeze_thaw as module
from vaetune.search.oracles.control import assignment, end_trial, make_oracle, replay, request_trial
from vaetune.search.oracles.observations import MAX_PAUSED
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.study.events import TrialEnded, TrialStarted
from vaetune.study.records import is_open

RUNNING = "RUNNING"

SMALL = Space(latent_dim=Choice(values=(8, 16, 32)), filters_1=Choice(values=(8, 16)))
"""Six configurations."""

RATE = Space(learning_rate=Range(min=2e-3, max=1e-2, scale="log"))

DATA = make_data(entropy_floor=FLOOR)


def spec_of(space=DEFAULT_SPACE, seed=1, **budget):
    budget = Budget(**{"max_epochs": 9} | budget)
    return SearchSpec(algorithm="freeze_thaw", seed=seed, space=space, budget=budget)


def oracle_of(*arguments, **options):
    return make_oracle(spec_of(*arguments, **options), DATA)


def loss(asked):
    values = {"batch_size": 64, "levels": 1, **asked.hyperparameters}
    return loss_of(values, asked.epoch_to)


def never(asked):
    return False


def run(oracle, *, workers=1, fails=never, collapses=never, most=10**6, order=None, busy=()):
    """Runs an oracle and returns its events. With several workers, trials end in a random order."""
    order, busy, events = order or random.Random(0), list(busy), []
    while len(events) < most:
        while len(busy) < workers and (trial := request_trial(oracle)).status == RUNNING:
            asked = assignment(oracle, trial)
            made = TrialStarted(**dict(asked), decision=oracle.decision(trial.trial_id))
            events.append(TrialStarted.model_validate_json(made.model_dump_json()))
            busy.append(trial)
        if not busy:
            break
        asked = assignment(oracle, busy.pop(order.randrange(len(busy))))
        score = None if fails(asked) else loss(asked)
        ended = {"trial_id": asked.trial_id, "score": score, "duration_s": 1.0}
        ended |= {"status": "failed" if score is None else "completed"}
        ended |= {"collapsed": None if score is None else collapses(asked)}
        events.append(TrialEnded.model_validate_json(TrialEnded(**ended).model_dump_json()))
        end_trial(oracle, asked.trial_id, score, events[-1].collapsed)
    return events


def assignments_of(oracle):
    return list(oracle.assignments.values())


def epochs_of(oracle):
    return sum(asked.epoch_to - asked.epoch_from for asked in assignments_of(oracle))


@pytest.mark.parametrize("epochs", [1, 3, 9, 10, 27, 28, *long(2, 5, 26, 81, 100, 243)])
def test_the_default_number_of_epochs_equals_that_of_hyperband(epochs):
    hyperband = make_oracle(SearchSpec(budget=Budget(max_epochs=epochs)))
    scheduled = sum(rung.epochs for rung in plan(hyperband))
    assert spec_of(max_epochs=epochs).budget.total_epochs == scheduled


@pytest.mark.parametrize("workers", [1, 3])
def test_a_search_uses_nearly_all_its_epochs_and_no_more(workers):
    oracle = oracle_of(total_epochs=40)
    run(oracle, workers=workers)
    assert 38 <= epochs_of(oracle) <= 40
    asked = assignments_of(oracle)
    assert {(one.rung, one.epoch_from, one.epoch_to) for one in asked} == {
        (0, 0, 1),
        (1, 1, 3),
        (2, 3, 6),
        (3, 6, 9),
    }
    by_id = {one.trial_id: one for one in asked}
    for one in asked:
        if one.parent is not None:
            parent = by_id[one.parent]
            assert (parent.epoch_to, parent.configuration) == (one.epoch_from, one.configuration)
            assert parent.hyperparameters == one.hyperparameters
    parents = [one.parent for one in asked if one.parent]
    assert len(parents) == len(set(parents))


def test_the_number_of_trials_can_be_limited():
    oracle = oracle_of(max_trials=7)
    run(oracle)
    assert len(oracle.trials) == 7


def test_the_plan_has_upper_bounds_that_never_change():
    oracle = oracle_of(total_epochs=30)
    (bound,) = planned = plan(oracle)
    assert is_open(planned)
    assert (bound.trials, bound.epochs, bound.epoch_to) == (30, 30, 9)
    run(oracle, fails=lambda asked: asked.configuration == 4)
    assert plan(oracle) == planned
    assert len(oracle.trials) <= bound.trials
    (small,) = plan(oracle_of(SMALL))
    assert (small.trials, small.epochs) == (24, 54)
    (limited,) = plan(oracle_of(max_trials=5))
    assert limited.trials == 5
    assert not is_open(plan(make_oracle(SearchSpec())))
    assert type(bound).model_validate_json(bound.model_dump_json()) == bound


def test_a_check_draws_more_configurations_than_the_search_needs():
    ((key, drawn),) = draw_configurations(oracle_of(total_epochs=12)).items()
    assert key == (0, 0)
    assert len(drawn) == 36
    (few,) = draw_configurations(oracle_of(SMALL)).values()
    assert len(few) == 6


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_all_configurations_of_a_small_space_are_trained_to_their_end(workers):
    oracle = oracle_of(SMALL, total_epochs=100)
    run(oracle, workers=workers)
    ends = [one.configuration for one in assignments_of(oracle) if one.epoch_to == 9]
    assert sorted(ends) == list(range(6))
    assert epochs_of(oracle) == 54
    assert oracle.promotable() == set()


def test_the_only_configuration_of_a_space_is_trained_once():
    oracle = oracle_of(Space.pinned_at({"latent_dim": 4}))
    run(oracle, workers=2)
    assert [one.epoch_to for one in assignments_of(oracle)] == [1, 3, 6, 9]


def test_no_worker_waits_while_new_configurations_exist():
    oracle = oracle_of()
    trials = [request_trial(oracle) for _ in range(6)]
    assert {trial.status for trial in trials} == {RUNNING}
    for trial in trials:
        end_trial(oracle, trial.trial_id, 100.0)
        assert request_trial(oracle).status == RUNNING
    configurations = [assignment(oracle, trial).hyperparameters for trial in trials]
    assert len({tuple(one.items()) for one in configurations}) == 6


def test_an_idle_worker_of_an_exhausted_space_waits_and_then_stops():
    oracle = oracle_of(Space.pinned_at({"latent_dim": 4}))
    trial = request_trial(oracle)
    assert request_trial(oracle).status == "IDLE"
    end_trial(oracle, trial.trial_id, None)
    assert request_trial(oracle).status == "STOPPED"


def test_two_trials_of_a_configuration_never_run_at_the_same_time():
    for workers in (2, 4):
        oracle, running = oracle_of(total_epochs=40), {}
        for event in run(oracle, workers=workers, order=random.Random(workers)):
            if isinstance(event, TrialStarted):
                assert event.configuration not in running.values()
                running[event.trial_id] = event.configuration
            else:
                del running[event.trial_id]


def some_fail(asked):
    return asked.configuration % 3 == 1 and asked.epoch_to >= 3


@pytest.fixture(scope="module")
def completed():
    """A completed search with failures and one worker, and its events."""
    oracle = oracle_of(total_epochs=40)
    return oracle, run(oracle, fails=some_fail)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failed_configuration_is_never_continued(workers, completed):
    oracle, _ = completed
    if workers > 1:
        oracle = oracle_of(total_epochs=40)
        run(oracle, workers=workers, fails=some_fail)
    failed = {one.trial_id for one in assignments_of(oracle) if some_fail(one)}
    assert failed
    assert not failed & {one.parent for one in assignments_of(oracle)}


def test_if_all_trials_fail_all_epochs_go_to_new_configurations():
    oracle = oracle_of(total_epochs=20)
    run(oracle, fails=lambda asked: True)
    assert len(oracle.trials) == 20
    assert {one.parent for one in assignments_of(oracle)} == {None}


def test_a_non_finite_loss_counts_as_a_failure():
    oracle = oracle_of()
    trial = request_trial(oracle)
    end_trial(oracle, trial.trial_id, math.inf)
    assert oracle.promotable() == set()
    assert request_trial(oracle).status == RUNNING


def test_a_collapsed_configuration_is_not_continued_from_the_second_rung_on():
    oracle = oracle_of(total_epochs=40)
    run(oracle, collapses=lambda asked: asked.configuration % 2 == 0)
    by_id = {one.trial_id: one for one in assignments_of(oracle)}
    rungs = {
        by_id[one.parent].rung for one in by_id.values() if one.parent and not one.configuration % 2
    }
    assert rungs == {0}


def have_equal_state(one, other):
    return assignments_of(one) == assignments_of(other) and one.promotable() == other.promotable()


@pytest.mark.parametrize("cut", [7, 30, 41, *long(1, 2, 8)])
def test_an_interrupted_search_continues_exactly(cut, completed):
    (completed, events), replayed = completed, oracle_of(total_epochs=40)
    replay(replayed, events[:cut])
    run(replayed, fails=some_fail, busy=replayed.ongoing_trials.values())
    assert have_equal_state(replayed, completed)
    assert [oracle.decision("0039") for oracle in (completed, replayed)] == [None, None]
    late = [one.trial_id for one in assignments_of(completed)][-1]
    assert replayed.decision(late) == completed.decision(late) is not None


@pytest.mark.parametrize("seed", [0, *long(1, 2)])
def test_a_journal_of_several_workers_is_replayed_without_new_decisions(monkeypatch, seed):
    original, replayed = oracle_of(SMALL), oracle_of(SMALL)
    order = random.Random(seed)
    events = run(original, workers=3, order=order, fails=some_fail, most=20)
    monkeypatch.setattr(module.FreezeThawOracle, "_chooser", None)
    replay(replayed, events)
    assert have_equal_state(replayed, original)
    assert set(replayed.ongoing_trials) == set(original.ongoing_trials)
    monkeypatch.undo()
    for oracle in (original, replayed):
        run(oracle, busy=oracle.ongoing_trials.values())
    assert have_equal_state(replayed, original)


def test_a_search_continues_with_a_larger_budget():
    small, large = oracle_of(total_epochs=20), oracle_of(total_epochs=30)
    events = run(small)
    replay(large, events)
    run(large)
    assert assignments_of(large)[: len(small.trials)] == assignments_of(small)
    assert 20 < epochs_of(large) <= 30


def test_a_journal_with_a_missing_or_running_parent_is_refused():
    first, ended, *_ = run(oracle_of(), most=4)
    changes = {"trial_id": "0001", "epoch_from": 1, "epoch_to": 3, "rung": 1}
    for parent in ("0007", "0000"):
        wrong = first.model_copy(update=changes | {"parent": parent})
        with pytest.raises(JournalError, match="trial 0001 differs"):
            replay(oracle_of(), [first, wrong] if parent == "0000" else [first, ended, wrong])


def test_at_most_twelve_paused_configurations_keep_their_weights():
    """Each new configuration has a lower loss than all earlier ones, and none is continued."""
    oracle, most = oracle_of(RATE, total_epochs=60), 0
    for number in range(40):
        oracle.recorded = TrialStarted(
            trial_id=f"{number:04d}",
            configuration=number,
            parent=None,
            bracket=0,
            rung=0,
            epoch_from=0,
            epoch_to=1,
            hyperparameters={"learning_rate": 2e-3 + number * 1e-4},
        )
        trial = request_trial(oracle)
        before = oracle.promotable()
        end_trial(oracle, trial.trial_id, 200.0 - number)
        most = max(most, len(oracle.promotable()))
        assert len(oracle.promotable() - before) <= 1, "a dropped configuration stays dropped"
    assert most == MAX_PAUSED
    assert oracle.promotable() == {f"{number:04d}" for number in range(28, 40)}


def test_continued_trials_were_promotable():
    oracle, busy, kept = oracle_of(total_epochs=40), [], set()
    while True:
        while len(busy) < 2 and (trial := request_trial(oracle)).status == RUNNING:
            parent = assignment(oracle, trial).parent
            assert parent is None or parent in kept
            busy.append(trial)
        if not busy:
            break
        asked = assignment(oracle, busy.pop(0))
        end_trial(oracle, asked.trial_id, loss(asked))
        kept = oracle.promotable()


def test_losses_have_a_floor_only_with_the_bernoulli_likelihood():
    spec = spec_of()
    plain = make_oracle(spec, DATA)
    other = make_oracle(spec.with_likelihood("gaussian"), DATA)
    assert plain._chooser.floor == FLOOR
    assert other._chooser.floor is None
    assert make_oracle(spec)._chooser.floor is None


def test_the_cost_depends_on_the_size_and_number_of_images():
    values = {"latent_dim": 8, "batch_size": 64}
    small, large = (
        make_oracle(spec_of(), make_data(image_shape=(side, side, 1), train_images=count))
        for side, count in ((28, 1000), (64, 4000))
    )
    assert large._cost(values) > 12 * small._cost(values)


def test_a_decision_is_recorded_with_its_trial():
    events = [one for one in run(oracle_of(total_epochs=12)) if isinstance(one, TrialStarted)]
    assert [one.decision is None for one in events[:3]] == [True, True, False]
    decision = events[2].decision
    assert decision.low < decision.expected_loss < decision.high
    assert "decision" not in events[0].model_dump_json()
    assert '"decision"' in events[2].model_dump_json()
