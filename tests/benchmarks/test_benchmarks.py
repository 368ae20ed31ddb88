"""Benchmarks of whole searches: side by side, with two workers, and with many workers."""

import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import exports
import many_workers
import numpy as np
import pytest
import tables
import two_workers
from contenders import CONTENDERS
from image_sets import make_images, make_split
from journals import PLAN, VALUES, JournalBuilder
from prepared_commands import PreparedCommand
from sleeper import Sleeper, Speed, simulate_curve, sleeper_class
from torture import SEARCH_FILE
from two_workers import Command, ratios, read_commands
from workloads import (
    LEARNING_RATES,
    SPACE,
    STEPS_ALONE,
    WORKLOADS,
    Run,
    describe,
    read_runs,
    write_run,
)

from vaetune.config.space import EARLIER_SPACE
from vaetune.config.spec import SearchSpec
from vaetune.study.records import Assignment
from vaetune.training.tasks import Began, Completed, EpochDone, Progressed, Task

BENCHMARKS = Path(two_workers.__file__).parent


def run_script(name, *arguments, timeout=900, cwd=None):
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / name), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
    )


def test_the_space_of_the_comparison_is_the_space_of_vaetune_0_1():
    for name, dimension in EARLIER_SPACE.dimensions():
        expected = LEARNING_RATES if name == "learning_rate" else tuple(SPACE[name])
        assert dimension.listed() == expected


def test_the_readme_pages_agree_with_the_results(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    tables.main()


def configurations_of(run):
    return {tuple(sorted(values.items())) for values, _ in run.trained}


@pytest.mark.slow
@pytest.mark.long
def test_every_contender_searches_in_its_own_process(tmp_path):
    results = tmp_path / "runs.jsonl"
    arguments = ("--seeds", "1", "--results", str(results))
    for workload in ("glimpse", "smoke"):
        done = run_script("side_by_side.py", "--workload", workload, *arguments)
        assert done.returncode == 0, done.stderr
    runs = {run.contender: run for run in read_runs(results)}
    assert runs.keys() == {*CONTENDERS, STEPS_ALONE}
    assert_fair(runs, WORKLOADS["smoke"])
    # Two workers draw the same configurations, in another order.
    assert configurations_of(runs["vaetune-workers"]) == configurations_of(runs["vaetune"])
    assert runs["vaetune-workers"].training_s is None


def assert_fair(runs, workload):
    """Asserts that Hyperband has the size of the workload and draws the same configurations."""
    for name in {"vaetune", "vaetune-workers", "keras-tuner"} & runs.keys():
        assert (runs[name].trials, runs[name].epochs) == (workload.trials, workload.epochs)
    for name in runs.keys() - {STEPS_ALONE}:
        assert runs[name].wall_s > 0
        losses = [loss for _, loss in runs[name].curve]
        assert losses == sorted(losses, reverse=True)
        assert losses
    drawn = [[values for values, _ in runs[name].trained] for name in ("vaetune", "keras-tuner")]
    assert drawn[0][:4] == [pytest.approx(values) for values in drawn[1][:4]]
    assert runs["vaetune"].training_s is not None


SHORT_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from pathlib import Path
from side_by_side import run_here
from workloads import WORKLOADS
WORKLOADS["short"] = replace(WORKLOADS["smoke"], max_epochs=1, trials=1, epochs=1)
for name in sys.argv[3:]:
    run_here("short", name, 1, Path(sys.argv[2]))
"""
"""A program in which contenders train one trial of one epoch each, one after the other."""


@pytest.mark.long
def test_vaetune_and_keras_tuner_draw_the_same_first_configuration(tmp_path):
    results, program = tmp_path / "runs.jsonl", tmp_path / "program.py"
    program.write_text(SHORT_PROGRAM)
    names = ("vaetune", "keras-tuner", "optuna", STEPS_ALONE)
    with PreparedCommand((BENCHMARKS, results, *names), tmp_path, program=program) as process:
        code, _, error = process.finish()
    assert code == 0, error
    runs = {run.contender: run for run in read_runs(results)}
    assert runs.keys() == set(names)
    assert_fair(runs, replace(WORKLOADS["smoke"], trials=1, epochs=1))


def test_results_of_this_machine_are_not_measured_again(tmp_path):
    results = tmp_path / "runs.jsonl"
    for name in WORKLOADS["smoke"].contenders:
        write_run(results, Run("smoke", name, 1, environment=describe(), curve=[(1.0, 200.0)]))
    before = results.read_text()
    arguments = ("--workload", "smoke", "--seeds", "1", "--results", str(results))
    done = run_script("side_by_side.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert results.read_text() == before
    assert done.stdout.count("best 200.00 nats") == len(WORKLOADS["smoke"].contenders)


def test_only_the_incomplete_line_of_a_results_file_is_lost(tmp_path):
    path = tmp_path / "runs.jsonl"
    for seed in (1, 2):
        write_run(path, Run("digits", "vaetune", seed, curve=[(1.0, 200.0)]))
    path.write_text(path.read_text()[:-20])
    assert [run.seed for run in read_runs(path)] == [1]
    write_run(path, Run("digits", "vaetune", 3))
    assert [run.seed for run in read_runs(path)] == [1, 3]


def test_the_last_run_of_a_search_counts(tmp_path):
    path = tmp_path / "runs.jsonl"
    for trials in (1, 2):
        write_run(path, Run("digits", "vaetune", 1, trials=trials))
    assert [run.trials for run in read_runs(path)] == [2]


def test_a_run_records_improvements_and_counts_every_epoch():
    run = Run("digits", "vaetune", 1)
    for second, loss in enumerate([300.0, 310.0, 250.0, 250.0, float("nan"), 249.0]):
        run.add_epoch(second, loss)
    assert run.curve == [(0, 300.0), (2, 250.0), (5, 249.0)]
    assert run.epochs == 6


def test_contenders_of_workloads_are_known_and_steps_alone_follow_vaetune():
    for workload in WORKLOADS.values():
        assert {*CONTENDERS, STEPS_ALONE} >= set(workload.contenders)
        if STEPS_ALONE in workload.contenders:
            order = [workload.contenders.index(name) for name in ("vaetune", STEPS_ALONE)]
            assert order == sorted(order)
    workers, digits = WORKLOADS["workers"], WORKLOADS["digits"]
    assert (workers.train, workers.validation) == (digits.train, digits.validation)


# Two workers on the command line


def make_command(repeat, workers, wall_s, environment=None):
    here = environment or two_workers.describe()
    return Command("hyperband-0.1", repeat, workers, wall_s, 23, 75, 130.0, 0.5, here)


def test_two_workers_are_compared_with_one_worker_of_the_same_repeat():
    walls_s = {(1, 1): 200.0, (1, 2): 150.0, (2, 1): 100.0, (2, 2): 90.0, (3, 1): 100.0}
    assert ratios([make_command(*key, wall_s) for key, wall_s in walls_s.items()]) == [0.75, 0.9]
    assert ratios([]) == []


@pytest.fixture
def fake_commands(monkeypatch, tmp_path):
    """The results file of `two_workers.py`, and a function that runs it with fake commands.

    The function interrupts the script after `limit` commands, and returns the repeat and the number
    of workers of each command. The commands take no time.
    """
    path = tmp_path / "two_workers.jsonl"

    def measure(limit):
        started = []

        def run(search, repeat, workers):
            if len(started) == limit:
                raise KeyboardInterrupt
            started.append((repeat, workers))
            return make_command(repeat, workers, 100.0 * repeat - 10 * workers)

        monkeypatch.setattr(two_workers, "run", run)
        monkeypatch.setattr(sys, "argv", ["two_workers.py", "--results", str(path)])
        with suppress(KeyboardInterrupt):
            two_workers.main()
        return started

    return path, measure


def test_commands_alternate_and_continue_after_an_interruption(fake_commands, capsys):
    _, measure = fake_commands
    assert measure(3) == [(1, 1), (1, 2), (2, 1)]
    assert measure(99) == [(2, 2), (3, 1), (3, 2)]
    capsys.readouterr()
    assert measure(99) == []
    # 80 / 90, 180 / 190 and 280 / 290.
    assert capsys.readouterr().out.splitlines()[-1].endswith("0.947 (0.889 to 0.966)")


def test_results_of_another_machine_are_measured_again(fake_commands):
    path, measure = fake_commands
    measure(99)
    elsewhere = {"environment": {"processor": "another"}}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    changed = [line | elsewhere if line["repeat"] == 2 else line for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert measure(99) == [(2, 1), (2, 2)]
    assert len(read_commands(path)) == 6


@pytest.fixture
def small_search(tmp_path, monkeypatch):
    """A folder with a small search file and its images; returns the name of the file."""
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    np.savez(tmp_path / "squares.npz", x_train=train.images, x_test=test.images)
    (tmp_path / "squares.toml").write_text(SEARCH_FILE)
    monkeypatch.chdir(tmp_path)
    return "./squares.toml"


def run_here(command, **options):
    """Runs a vaetune command in this process, in place of `subprocess.run`.

    The long form of the test starts processes.
    """
    assert command[:3] == [sys.executable, "-m", "vaetune"]
    return subprocess.CompletedProcess(command, *exports.vaetune(*command[3:]))


@pytest.mark.slow
@pytest.mark.usefixtures("without_charts")
def test_a_small_search_is_timed(small_search, monkeypatch):
    monkeypatch.setattr(two_workers, "subprocess", SimpleNamespace(run=run_here))
    command = two_workers.run(small_search, 1, 1)
    assert command.key == (small_search, 1, 1)
    assert (command.trials, command.epochs) == (6, 11)
    assert command.wall_s > 0
    assert np.isfinite(command.best)


@pytest.mark.slow
@pytest.mark.long
def test_a_small_search_is_timed_with_one_worker_and_with_two(small_search, tmp_path):
    path = tmp_path / "measured.jsonl"
    arguments = ("--search", small_search, "--repeats", "1", "--results", str(path))
    done = run_script("two_workers.py", *arguments)
    assert done.returncode == 0, done.stderr
    commands = read_commands(path)
    assert [key[1:] for key in commands] == [(1, 1), (1, 2)]
    assert {(one.trials, one.epochs) for one in commands.values()} == {(6, 11)}
    assert done.stdout.splitlines()[-1].startswith(
        "2 workers, as a share of one worker's wall time"
    )


# Many workers that sleep


SPEED = Speed(epoch_s=0.0, spread=0.0, workers=1, folder=Path())


def make_assignment(trial_id, epoch_from, epoch_to, parent=None):
    return Assignment(
        trial_id=trial_id,
        configuration=3,
        parent=parent,
        bracket=0,
        rung=0,
        epoch_from=epoch_from,
        epoch_to=epoch_to,
        hyperparameters=VALUES,
    )


def sleep_through(*lineage, **options):
    """The messages of a sleeper about a task, without progress messages."""
    sleeper = sleeper_class(SPEED)(make_images(), "cpu", 1)
    messages = sleeper.run(Task(SearchSpec(), lineage, **options))
    return [message for message in messages if not isinstance(message, Progressed)]


def test_a_sleeper_sends_the_messages_of_a_trial():
    trial = make_assignment("0000", 0, 3)
    began, *epochs, completed = sleep_through(trial, start=None)
    curve = simulate_curve(SPEED, SearchSpec().seed, configuration=3)
    assert began == Began("0000", 100)
    assert [type(one) for one in epochs] == [EpochDone] * 3
    assert [one.ended.epoch for one in epochs] == [one.checkpoint.epoch for one in epochs]
    assert [one.ended.val_loss for one in epochs] == [curve.loss(n) for n in (1, 2, 3)]
    assert isinstance(completed, Completed)
    assert completed.score == curve.loss(3)  # The loss falls from epoch to epoch.
    assert epochs[-1].checkpoint.is_trainable


def test_a_sleeper_continues_from_checkpoints_and_repeats_lost_ancestors():
    *_, first, _ = sleep_through(make_assignment("0000", 0, 1), start=None)
    promoted = make_assignment("0001", 1, 3, parent="0000")
    _, *epochs, _ = sleep_through(promoted, start=first.checkpoint)
    assert [one.ended.epoch for one in epochs] == [2, 3]
    _, *epochs, _ = sleep_through(promoted, start=epochs[0].checkpoint, continues_trial=True)
    assert [one.ended.epoch for one in epochs] == [3]
    # An ancestor with a lost checkpoint is trained first.
    lineage = (make_assignment("0000", 0, 1), promoted)
    done = [one for one in sleep_through(*lineage, start=None) if isinstance(one, EpochDone)]
    assert [(one.ended.trial_id, one.ended.epoch) for one in done] == [
        ("0000", 1),
        ("0001", 2),
        ("0001", 3),
    ]


def test_epoch_times_of_configurations_vary_around_the_mean():
    speed = replace(SPEED, epoch_s=2.0, spread=0.6)
    seconds = [simulate_curve(speed, 0, number).epoch_s for number in range(4000)]
    assert statistics.mean(seconds) == pytest.approx(2.0, rel=0.03)
    logarithms = [np.log(one) for one in seconds]
    assert statistics.stdev(logarithms) == pytest.approx(0.6, rel=0.03)
    assert simulate_curve(speed, 0, 7) == simulate_curve(speed, 0, 7) != simulate_curve(speed, 1, 7)


def test_a_sleeper_is_ready_when_all_workers_are(tmp_path):
    sleeper = sleeper_class(replace(SPEED, workers=2, folder=tmp_path))(make_images(), "cpu", 1)
    with ThreadPoolExecutor() as pool:
        description = pool.submit(sleeper.describe)
        with pytest.raises(TimeoutError):
            description.result(timeout=0.3)
        (tmp_path / "another").touch()
        _, environment = description.result()
    assert (environment.device, environment.threads) == ("CPU", 1)


def test_a_sleeper_imports_no_tensorflow():
    program = "import sys, sleeper; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=BENCHMARKS
    )
    assert done.stdout == "[]\n"
    assert Sleeper.__module__ == "sleeper"


class FakeClocks:
    """The three clocks of `many_workers`, which tests set."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(many_workers, "_clocks", lambda: np.full(3, self.now))


def test_the_time_of_the_driver_excludes_waits_and_time_outside_trials(monkeypatch):
    import ray

    clocks, watch = FakeClocks(monkeypatch), many_workers.Stopwatch()
    builder = JournalBuilder().begin(0, "0000", 1).epoch(1, "0000").finish(2, "0000", score=200.0)
    started, ended, finished = builder.events[-3:]
    monkeypatch.setattr(ray, "wait", lambda seconds: setattr(clocks, "now", clocks.now + seconds))
    with watch.excluding_waits():
        ray.wait(100.0)  # before the first trial
        for event, seconds in ((started, 3.0), (ended, 4.0), (finished, 0.0)):
            clocks.now += 1.0
            watch.on_event("search", event)
            ray.wait(seconds)
    watch.on_event("search", builder.events[0])  # not about a trial
    assert watch.events == 3
    # One second before each of the two events after the first one, and seven seconds of waiting.
    assert watch.seconds()["wall_s"] == 9.0
    assert watch.seconds()["driver_s"] == watch.seconds()["driver_cpu_s"] == 2.0
    assert watch.seconds()["process_cpu_s"] == 9.0


def test_sleep_is_counted_until_the_last_rung_begins():
    builder = JournalBuilder(workers=2).begin(0, "0000", 1).begin(0, "0001", 2)
    # Each epoch takes two seconds. That of trial 0001 ends one second after the last rung begins.
    builder.epoch(4, "0000").finish(4, "0000", score=200.0)
    builder.begin(4, "0002", 1, rung=1, epoch_from=1, epoch_to=2, parent="0000", configuration=0)
    builder.epoch(5, "0001").finish(5, "0001", score=210.0)
    builder.epoch(7, "0002", epoch=2).finish(7, "0002", score=190.0)
    found = many_workers.summarise(builder.study(), many_workers.Stopwatch(), workers=2)
    # Two seconds and one second, of the eight seconds that two workers had.
    assert found["slept_until_last_rung"] == 3 / 8
    # Both workers had trials until then. The second one had none in the last two of seven seconds.
    assert found["utilisation_until_last_rung"] == 1.0
    assert found["utilisation"] == 12 / 14
    assert (found["trials"], found["epochs"], found["one_worker_s"]) == (3, 3, 6.0)
    assert PLAN[-1].rung == 1


SMALL = ("--workers", "2", "--max-epochs", "3", "--iterations", "1", "--epoch-s", "0.05")


@pytest.mark.long
def test_a_search_with_sleepers_is_not_measured_twice(tmp_path):
    path = tmp_path / "many.json"
    done = run_script("many_workers.py", *SMALL, "--results", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert (found["trials"], found["epochs"], found["events"]) == (6, 11, 23)
    assert found["settings"]["workers"] == 2
    assert 0 < found["driver_s"] < found["wall_s"]
    assert 0 < found["utilisation"] <= 1
    written = path.stat().st_mtime_ns
    again = run_script("many_workers.py", *SMALL, "--results", str(path))
    # The second call does not print the line about the start of the workers.
    assert again.stdout == done.stdout.split("\n", 1)[1]
    assert path.stat().st_mtime_ns == written


# The goals of several workers

MANY = {
    "settings": {"workers": 32},
    "utilisation_until_last_rung": 0.95,
    "driver_s": 60.0,
    "events": 10_000,
}


def test_goals_of_workers_are_shown_after_they_are_measured():
    assert "workers" not in tables.goals_table([], None, [], None)
    runs = [
        Run("workers", name, seed, wall_s=wall_s)
        for name, walls_s in (("vaetune-workers", (70, 66, 90)), ("keras-tuner", (100, 110, 100)))
        for seed, wall_s in enumerate(walls_s, start=1)
    ]
    commands = [make_command(1, 1, 200.0), make_command(1, 2, 190.0)]
    shown = tables.goals_table(runs, None, commands, MANY).splitlines()[-4:]
    assert shown == [
        "| default search, 2 workers: wall time, as a share of one worker's "
        "| at most 0.9 | 0.95 | **no** |",
        "| default search, 2 workers: wall time, as a share of Keras Tuner's "
        "| at most 0.72 | 0.7 (0.6 to 0.9) | yes |",
        "| 32 simulated workers: utilisation until the last rung | at least 0.9 | 0.95 | yes |",
        "| ... driver time per trial event | at most 5 ms | 6 ms | **no** |",
    ]
