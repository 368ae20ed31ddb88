"""The benchmarks run, their simulated clock is right, and their README says what was measured."""

import subprocess
import sys
from pathlib import Path

import pytest

import simulate
from contenders import CONTENDERS, STEPS_ALONE
from curves import NAMES, Curve, configurations, read_curves, write_curve
from vaetune.spec import DEFAULT_SPACE
from workloads import LEARNING_RATES, SPACE, WORKLOADS, Run, read_runs, write_run

BENCHMARKS = Path(simulate.__file__).parent


def run_script(name, *arguments, timeout=400):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_the_space_is_the_default_one_of_vaetune():
    for name, dimension in DEFAULT_SPACE.dimensions():
        expected = LEARNING_RATES if name == "learning_rate" else tuple(SPACE[name])
        assert dimension.numbers() == expected


def test_the_readme_is_made_of_what_was_measured():
    done = run_script("tables.py", "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_every_contender_searches_and_a_second_call_has_nothing_to_do(tmp_path):
    results = tmp_path / "runs.jsonl"
    arguments = ("--workload", "smoke", "--seeds", "1", "--results", str(results))
    for _ in range(2):
        done = run_script("side_by_side.py", *arguments)
        assert done.returncode == 0, done.stderr
    runs = {run.contender: run for run in read_runs(results)}
    assert list(runs) == [*CONTENDERS, STEPS_ALONE]
    assert len(results.read_text().splitlines()) == len(runs)
    smoke = WORKLOADS["smoke"]
    for name in ("vaetune", "keras-tuner"):
        assert (runs[name].trials, runs[name].epochs) == (smoke.trials, smoke.epochs)
    for name in CONTENDERS:
        assert runs[name].wall_s > 0
        losses = [loss for _, loss in runs[name].curve]
        assert losses == sorted(losses, reverse=True)
        assert losses
    # The same seed asks both for the same configurations.
    drawn = [[values for values, _ in runs[name].trained] for name in ("vaetune", "keras-tuner")]
    assert drawn[0][:4] == [pytest.approx(values) for values in drawn[1][:4]]


def test_a_results_file_forgets_a_torn_line_alone(tmp_path):
    path = tmp_path / "runs.jsonl"
    for seed in (1, 2):
        write_run(path, Run("digits", "vaetune", seed, curve=[(1.0, 200.0)]))
    path.write_text(path.read_text()[:-20])
    assert [run.seed for run in read_runs(path)] == [1]
    write_run(path, Run("digits", "vaetune", 3))
    assert [run.seed for run in read_runs(path)] == [1, 3]


def test_of_the_same_search_the_last_run_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    for trials in (1, 2):
        write_run(path, Run("digits", "vaetune", 1, trials=trials))
    assert [run.trials for run in read_runs(path)] == [2]


def test_a_run_keeps_what_became_lower_and_counts_every_epoch():
    run = Run("digits", "vaetune", 1)
    for second, loss in enumerate([300.0, 310.0, 250.0, 250.0, float("nan"), 249.0]):
        run.saw(second, loss)
    assert run.curve == [(0, 300.0), (2, 250.0), (5, 249.0)]
    assert run.epochs == 6


def test_the_table_holds_the_sequence_that_it_names():
    curves = list(read_curves())
    drawn = configurations(max(curve.number for curve in curves) + 1)
    for curve in curves:
        assert curve.values == pytest.approx(drawn[curve.number])
        assert len(curve.val_loss) == len(curve.cpu_s) == 27
        assert simulate.look_up(curve.values) == curve


def test_a_curve_is_read_as_it_was_written(tmp_path):
    values = dict.fromkeys(NAMES, 16) | {"learning_rate": 1.25e-3}
    curve = Curve(3, values, (300.125, 250.5), (1.25, 1.5))
    write_curve(curve, tmp_path / "curves.jsonl")
    assert list(read_curves(tmp_path / "curves.jsonl")) == [curve]


@pytest.fixture
def two_curves(monkeypatch):
    """A table of two configurations, three epochs each of one second."""
    values = dict(simulate.table()[0].values)
    good = Curve(0, values, (250.0, 201.0, 200.0), (1.0, 1.0, 1.0))
    bad = Curve(1, values | {"latent_dim": 2}, (300.0, 300.0, 300.0), (1.0, 1.0, 1.0))
    monkeypatch.setattr(simulate, "table", lambda: [good, bad])
    return good, bad


def test_the_clock_counts_trials_and_epochs_until_the_best_is_near(two_curves):
    good, bad = two_curves
    clock = simulate.Clock(per_trial_s=0.5)
    for curve in (bad, good):
        clock.begin()
        for epoch in (1, 2, 3):
            clock.train(curve, epoch)
    # The bad trial's 3.5 s, 0.5 s to begin the good one, and its two epochs.
    assert clock.reached_s == {5.0: 6.0, 2.0: 6.0, 1.0: 6.0}
    assert clock.is_over


@pytest.mark.parametrize("title", simulate.ALGORITHMS)
def test_every_algorithm_comes_near_the_best_of_the_table_and_repeats_itself(title):
    reached = simulate.simulate(title, per_trial_s=0.5, seed=1)
    assert reached[5.0] <= reached[2.0] <= reached[1.0]
    assert simulate.simulate(title, per_trial_s=0.5, seed=1) == reached
    assert simulate.simulate(title, per_trial_s=50.0, seed=1)[5.0] > reached[5.0]
