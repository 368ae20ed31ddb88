"""From the second rung on, collapsed trials are promoted last; nothing else changes."""

import random
from functools import cache

import keras_tuner
import pytest
from hypothesis import given, settings, strategies as st
from long_forms import long

from vaetune.config.space import Choice, Space
from vaetune.config.spec import Budget, SearchSpec
from vaetune.search.oracles.control import assignment, end_trial, make_oracle, replay, request_trial
from vaetune.search.oracles.plan import plan
from vaetune.study.events import TrialEnded, TrialStarted

RUNNING = "RUNNING"


def spec_of(max_epochs, seed=1, **others):
    return SearchSpec(seed=seed, budget=Budget(max_epochs=max_epochs), **others)


HYPERBANDS = {
    "hyperband": spec_of(9),
    "hyperband twice": SearchSpec(seed=1, budget=Budget(max_epochs=9, hyperband_iterations=2)),
    "four rungs": spec_of(27),
    "exhausted space": spec_of(9, space=Space(latent_dim=Choice(values=tuple(range(2, 14))))),
}


def score_of(asked):
    return random.Random(f"{asked.configuration} {asked.epoch_to}").random()


def run_events(
    oracle, collapses, *, workers=1, order=None, fails=lambda asked: False, most=10**6, busy=()
):
    """Runs an oracle on workers and returns the events. Trials end in a random order.

    Scores and collapses depend only on the configuration and the epoch of a trial.
    """
    order, busy, events = order or random.Random(0), list(busy), []
    while len(events) < most:
        while len(busy) < workers and (trial := request_trial(oracle)).status == RUNNING:
            events.append(TrialStarted(**dict(assignment(oracle, trial))))
            busy.append(trial)
        if not busy:
            break
        asked = assignment(oracle, busy.pop(order.randrange(len(busy))))
        failed = fails(asked)
        events.append(
            TrialEnded(
                trial_id=asked.trial_id,
                status="failed" if failed else "completed",
                score=None if failed else score_of(asked),
                collapsed=None if failed else collapses(asked),
                duration_s=1.0,
            )
        )
        end_trial(oracle, asked.trial_id, events[-1].score, events[-1].collapsed)
    return events


def assignments_of(oracle, bracket, rung):
    """Assignments of the trials of a rung, the lowest score first."""
    found = [a for a in oracle.assignments.values() if (a.bracket, a.rung) == (bracket, rung)]
    return sorted(found, key=score_of)


def parents_of(oracle, bracket, rung):
    return {asked.parent for asked in assignments_of(oracle, bracket, rung)}


def trained(oracle):
    """Sorted assignments of all trials, without their trial IDs."""
    return sorted(
        (a.configuration, a.iteration, a.bracket, a.rung, a.epoch_from, a.epoch_to)
        for a in oracle.assignments.values()
    )


def test_the_best_trial_of_the_second_rung_is_not_promoted_if_it_has_collapsed():
    plain = make_oracle(spec_of(9))
    run_events(plain, lambda asked: False)
    best, second, _ = assignments_of(plain, bracket=2, rung=1)
    assert parents_of(plain, 2, 2) == {best.trial_id}
    oracle = make_oracle(spec_of(9))
    run_events(oracle, lambda asked: asked.trial_id == best.trial_id)
    assert parents_of(oracle, 2, 2) == {second.trial_id}


def test_the_best_trial_is_promoted_if_the_whole_rung_has_collapsed():
    oracle = make_oracle(spec_of(9))
    run_events(oracle, lambda asked: True)
    assert parents_of(oracle, 2, 2) == {assignments_of(oracle, 2, 1)[0].trial_id}


def test_remaining_promotions_go_to_the_best_collapsed_trials():
    plain, oracle = make_oracle(spec_of(27)), make_oracle(spec_of(27))
    top = max(rung.bracket for rung in plan(oracle))
    run_events(plain, lambda asked: False)
    rung, promotions = assignments_of(plain, top, 1), len(assignments_of(plain, top, 2))
    assert (len(rung), promotions) == (9, 3)
    not_collapsed = {asked.trial_id for asked in rung[-2:]}
    run_events(oracle, lambda asked: asked.rung == 1 and asked.trial_id not in not_collapsed)
    assert parents_of(oracle, top, 2) == not_collapsed | {rung[0].trial_id}


def test_collapses_in_the_first_rung_do_not_change_promotions():
    spec = spec_of(27)
    marked, plain = make_oracle(spec), make_oracle(spec)
    run_events(marked, lambda asked: asked.rung == 0 and asked.configuration % 2 == 0)
    run_events(plain, lambda asked: False)
    assert list(marked.assignments.values()) == list(plain.assignments.values())


class UnmodifiedHyperband(keras_tuner.oracles.HyperbandOracle):
    """Keras Tuner's own oracle, without its files."""

    def save(self):
        pass

    def _save_trial(self, trial):
        pass


@pytest.mark.parametrize(
    ("seed", "collapsed"), [(1, False), (2, None), *long((2, False), (1, None))]
)
def test_without_collapses_the_trials_equal_those_of_keras_tuner(seed, collapsed):
    ours = make_oracle(spec_of(27, seed))
    theirs = UnmodifiedHyperband(
        objective=keras_tuner.Objective("val_loss", "min"),
        hyperparameters=make_oracle(spec_of(27, seed)).get_space(),
        max_epochs=27,
        seed=seed,
    )
    theirs.verbose = 0
    while (trial := request_trial(ours)).status == RUNNING:
        other = theirs.create_trial("tuner0")
        assert trial.hyperparameters.values == other.hyperparameters.values
        score = random.Random(trial.trial_id).random()
        end_trial(ours, trial.trial_id, score, collapsed)
        theirs.update_trial(other.trial_id, {"val_loss": score})
        other.status = "COMPLETED"
        theirs.end_trial(other)
    assert theirs.create_trial("tuner0").status == "STOPPED"


def some_collapse(asked):
    return (asked.configuration * 7 + asked.epoch_to) % 3 > 0


def some_fail(asked):
    return (asked.configuration + asked.epoch_to) % 4 == 0


def never(asked):
    return False


@cache
def trained_alone(name, fails):
    """Sorted assignments of a run with one worker."""
    oracle = make_oracle(HYPERBANDS[name])
    run_events(oracle, some_collapse, fails=fails)
    return trained(oracle)


@pytest.mark.parametrize("name", HYPERBANDS)
@pytest.mark.parametrize("fails", [never, some_fail])
@given(workers=st.integers(2, 9), seed=st.integers(0, 10**6))
@settings(max_examples=8)
def test_many_workers_promote_the_same_trials_as_one(name, fails, workers, seed):
    oracle = make_oracle(HYPERBANDS[name])
    order = random.Random(seed)
    run_events(oracle, some_collapse, workers=workers, order=order, fails=fails)
    assert trained(oracle) == trained_alone(name, fails)


@given(workers=st.integers(1, 9), seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_a_collapsed_trial_is_promoted_after_all_others_of_its_rung(workers, seed):
    oracle = make_oracle(spec_of(27))
    order = random.Random(seed)
    ended, parents = {}, set()
    for event in run_events(oracle, some_collapse, workers=workers, order=order):
        if isinstance(event, TrialEnded):
            ended[event.trial_id] = event
        elif event.parent is not None:
            if event.rung > 1 and ended[event.parent].collapsed:
                place = (event.bracket, event.rung - 1)
                not_promoted = {a.trial_id for a in assignments_of(oracle, *place)} & set(
                    ended
                ) - parents
                assert all(ended[trial_id].collapsed for trial_id in not_promoted)
            parents.add(event.parent)


@pytest.mark.parametrize("name", HYPERBANDS)
@given(workers=st.integers(1, 9), seed=st.integers(0, 10**6), cut=st.integers(1, 90))
@settings(max_examples=8)
def test_an_interrupted_journal_with_collapses_is_replayed(name, workers, seed, cut):
    original, replayed = make_oracle(HYPERBANDS[name]), make_oracle(HYPERBANDS[name])
    order = random.Random(seed)
    replay(replayed, run_events(original, some_collapse, workers=workers, order=order, most=cut))
    assert replayed.assignments == original.assignments
    assert replayed.promotable() == original.promotable()
    for oracle in (original, replayed):
        run_events(oracle, some_collapse, busy=oracle.ongoing_trials.values())
    assert trained(replayed) == trained(original)


def test_the_plan_does_not_depend_on_collapses():
    oracle = make_oracle(spec_of(27))
    planned = plan(oracle)
    run_events(oracle, some_collapse, most=100)
    assert plan(oracle) == planned


@given(workers=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(max_examples=8)
def test_promoted_trials_were_promotable_and_none_remain_at_the_end(workers, seed):
    oracle, order = make_oracle(spec_of(27)), random.Random(seed)
    busy, kept = [], set()
    while True:
        while len(busy) < workers and (trial := request_trial(oracle)).status == RUNNING:
            parent = assignment(oracle, trial).parent
            assert parent is None or parent in kept
            busy.append(trial)
        if not busy:
            break
        asked = assignment(oracle, busy.pop(order.randrange(len(busy))))
        end_trial(oracle, asked.trial_id, score_of(asked), some_collapse(asked))
        kept = oracle.promotable()
    assert oracle.promotable() == set()


@pytest.mark.parametrize("cut", [2, 20, 40])
def test_a_search_of_an_earlier_version_ignores_collapses_to_its_end(cut):
    spec = spec_of(9)
    plain, continued = make_oracle(spec), make_oracle(spec)
    run_events(plain, lambda asked: False)
    events = run_events(make_oracle(spec), lambda asked: None, most=cut)
    replay(continued, events)
    run_events(continued, lambda asked: True, busy=continued.ongoing_trials.values())
    assert trained(continued) == trained(plain)
    best, *_ = assignments_of(plain, 2, 1)
    marked = make_oracle(spec)
    run_events(marked, lambda asked: asked.trial_id == best.trial_id)
    assert trained(marked) != trained(plain)
