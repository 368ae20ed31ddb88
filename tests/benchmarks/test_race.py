"""The race of search algorithms: statistics, tables, clock, control and contenders."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import race
import race_chart
from image_sets import make_split
from PIL import Image
from race_clock import RaceRun, read_race
from race_contenders import CONTENDERS, LEAST_EPOCHS, ON_RAY
from race_control import ControlChooser, ControlOracle, in_place_of_freeze_thaw
from race_tables import TITLES, median_interval, race_text, share, signed_rank
from simulated_searches import CONTROL_BEGUN, CONTROL_KEPT

from vaetune.config import DEFAULT_SPACE, Budget, SearchSpec
from vaetune.search.oracles.control import assignment, end_trial, make_oracle, request_trial

BENCHMARKS = Path(race.__file__).parent


def make_run(contender, *epochs, seed=1, ended_s=None):
    return RaceRun("letters", contender, seed, epochs, ended_s)


# Losses and times of runs


def test_losses_count_until_the_limit():
    run = make_run("hyperband", (10.0, 120.0), (20.0, 110.0), (140.0, 100.0))
    assert run.best(130.0) == 110.0
    assert run.best_of(3) == 100.0
    assert run.best(5.0) == float("inf")
    assert (run.seconds_to(115.0), run.seconds_to(90.0)) == (20.0, None)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param((20.0, 99.0), (80.0, 99.0), 0.25, id="both reach the level"),
        pytest.param((20.0, 99.0), (80.0, 101.0), 20 / 130, id="only freeze-thaw does"),
        pytest.param((20.0, 101.0), (65.0, 99.0), 2.0, id="only the rival does"),
        pytest.param((20.0, 99.0), (140.0, 99.0), 20 / 130, id="the rival does after the limit"),
        pytest.param((20.0, 101.0), (80.0, 101.0), 1.0, id="neither does"),
    ],
)
def test_a_run_that_misses_the_level_counts_with_the_limit(ours, theirs, expected):
    runs = make_run("freeze-thaw", ours), make_run("hyperband", theirs)
    assert share(*runs, level=100.0, limit_s=130.0) == pytest.approx(expected)


def test_without_a_limit_a_missed_level_counts_with_the_time_of_the_run():
    ours, theirs = make_run("freeze-thaw", (50.0, 99.0)), make_run("hyperband", (200.0, 101.0))
    assert share(ours, theirs, level=100.0, limit_s=float("inf")) == 0.25


# Statistics


@pytest.mark.parametrize(
    ("count", "low", "high"), [(3, 1, 3), (5, 1, 5), (6, 1, 6), (9, 2, 8), (20, 6, 15)]
)
def test_the_interval_of_a_median_agrees_with_the_sign_test(count, low, high):
    """The ranks `low` and `high` are those of published tables of the sign test at 5 percent."""
    values = list(range(count, 0, -1))
    assert median_interval(values)[1:] == (low, high)


def test_the_signed_rank_test_is_two_sided():
    # All nine differences have the same sign: 2 of the 512 combinations of signs.
    assert signed_rank([float(i) for i in range(1, 10)]) == pytest.approx(2 / 512)
    assert signed_rank([0.0, 0.0]) == 1.0


# Tables


def make_race(seeds=9):
    """Runs in which freeze-thaw takes half of Hyperband's time, and Optuna misses the level."""
    for seed in range(1, seeds + 1):
        # About half of the runs of Hyperband reach their median loss.
        loss = 100.0 + seed / 10
        yield make_run("freeze-thaw", (40.0, 99.0), (250.0, 98.5), seed=seed)
        yield make_run("hyperband", (80.0, loss), (250.0, loss), seed=seed)
        yield make_run("optuna-median-example", (60.0, 140.0), seed=seed)
        yield make_run("expert", (50.0, 100.2), seed=seed, ended_s=50.0)


def test_tables_show_how_many_runs_reach_the_level():
    text = race_text(list(make_race()))
    assert "lowest loss is 100.50 nats after 130 s" in text
    (hyperband,) = (
        line for line in text.splitlines() if line.startswith("| Hyperband") and " 5 " in line
    )
    assert "at most 0.50" in hyperband
    assert "freeze-thaw 9, rival 5" in hyperband
    (example,) = (
        line for line in text.splitlines() if "Keras example" in line and "rival 0" in line
    )
    assert "at most 0.31" in example
    assert "freeze-thaw (vaetune) has a lower loss with 9 of 9 seeds (-1.20 nats, median)" in text
    assert "Hyperband (vaetune) has a lower loss with 0 of 9 seeds" in text


def test_a_share_is_no_upper_bound_if_freeze_thaw_misses_the_level():
    runs = [*make_race(3), make_run("freeze-thaw", (40.0, 120.0), seed=3)]
    runs = list({run.key: run for run in runs}.values())
    assert "at most" not in race_text(runs).split("Lowest losses")[0]


def test_there_is_no_table_without_freeze_thaw_and_hyperband():
    assert race_text([]) == "Not run yet."
    assert race_text([make_run("control", (1.0, 100.0))]) == "Not run yet."


def test_the_chart_needs_freeze_thaw_and_has_a_colour_for_each_contender(monkeypatch, tmp_path):
    monkeypatch.setattr(race_chart, "PICTURE", tmp_path / "race.png")
    race_chart.draw_race([make_run("hyperband", (1.0, 100.0))], "letters")
    assert not race_chart.PICTURE.exists()
    race_chart.draw_race(list(make_race(3)), "letters")
    with Image.open(race_chart.PICTURE) as picture:
        assert picture.size == (1200, 540)
    colours = {*race_chart.COLOURS}
    assert {name.removesuffix(race_chart.EXAMPLE) for name in CONTENDERS} == colours


def test_every_contender_has_a_title():
    assert TITLES.keys() == CONTENDERS.keys()
    assert {*ON_RAY, *LEAST_EPOCHS} <= CONTENDERS.keys()


# The order of runs


def test_only_missing_runs_are_listed_in_an_order_that_rotates(tmp_path):
    path = tmp_path / "race.jsonl"
    with path.open("w") as file:
        row = {"images": "digits", "contender": "control", "seed": 1, "epochs": [[1.5, 100.0]]}
        file.write(json.dumps(row) + "\n")
    arguments = race.argparse.Namespace(images=None, build=tmp_path, results=path)
    wanted = ["hyperband", "control", "ray"]
    first, second = (race.missing_keys(seed, wanted, arguments) for seed in (1, 2))
    assert [name for _, name, _ in first] == ["ray", "hyperband"]
    assert [name for _, name, _ in second] == ["ray", "hyperband", "control"]
    assert read_race(path)[0].epochs == [(1.5, 100.0)]


CLOCK_PROGRAM = """
import sys, time
from pathlib import Path
from race_clock import Clock, RaceRun
clock = Clock(Path(sys.argv[1]), RaceRun("digits", "control", 1, ()), 0.2, int(sys.argv[2]))
clock.start()
for loss in range(9, 0, -1):
    time.sleep(0.1)
    clock.add_epoch(loss)
time.sleep(60)
"""


@pytest.mark.parametrize(("least", "expected"), [(0, {1, 2}), (4, {4, 5})])
def test_the_clock_ends_the_process_after_limit_and_minimum_epochs(tmp_path, least, expected):
    path = tmp_path / "race.jsonl"
    command = [sys.executable, "-c", CLOCK_PROGRAM, str(path), str(least)]
    subprocess.run(command, check=True, timeout=30, cwd=BENCHMARKS)
    (run,) = read_race(path)
    assert len(run.epochs) in expected
    assert run.ended_s is None
    assert run.environment["numpy"] == np.__version__


# The control


@pytest.fixture
def control():
    """The oracle of the control."""
    with in_place_of_freeze_thaw():
        budget = Budget(max_epochs=9, total_epochs=1000)
        spec = SearchSpec(algorithm="freeze_thaw", budget=budget, space=DEFAULT_SPACE)
        yield make_oracle(spec)


def test_the_control_continues_the_best_three_of_each_round(control):
    assert isinstance(control, ControlOracle)
    rng = np.random.default_rng(0)
    for _ in range(2):
        begun = {}
        for _ in range(CONTROL_BEGUN):
            trial = request_trial(control)
            assigned = assignment(control, trial)
            assert (assigned.epoch_from, assigned.epoch_to) == (0, 1)
            begun[assigned.configuration] = float(rng.random() + 100)
            end_trial(control, trial.trial_id, begun[assigned.configuration])
        best = sorted(begun, key=begun.__getitem__)[:CONTROL_KEPT]
        for expected in best:
            trial = request_trial(control)
            assigned = assignment(control, trial)
            assert (assigned.epoch_from, assigned.epoch_to) == (1, 9)
            assert assigned.configuration == expected
            end_trial(control, trial.trial_id, 90.0)


def test_the_control_prefers_cheap_configurations(control):
    chooser = control._chooser
    assert isinstance(chooser, ControlChooser)
    drawn = [values for number in range(5) for values in chooser._draw_round(number)]
    levels = [values["levels"] for values in drawn]
    assert levels.count(1) > 1.5 * levels.count(3)


# Contenders


@pytest.mark.long
@pytest.mark.slow
def test_every_contender_trains_until_the_time_limit(tmp_path):
    results, images = tmp_path / "race.jsonl", tmp_path / "small.npz"
    train, test = make_split(5040, (28, 28, 1), 1), make_split(40, (28, 28, 1), 2)
    np.savez(
        images, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels
    )
    arguments = ("--seeds", "1", "--seconds", "45", "--results", results, "--images", images)
    # Drawn images are kept by file name, so this test uses its own folder.
    arguments += ("--build", tmp_path / "build")
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "race.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = {run.contender: run for run in read_race(results)}
    assert runs.keys() == CONTENDERS.keys()
    assert all(run.epochs for run in runs.values())
    assert max(run.epochs[-1][0] for run in runs.values()) < 60, "epochs after the limit"
