"""Kills small searches repeatedly, damages their files, and compares the results.

    python tests/stress/torture.py --kills 30 --worker-kills 30 --driver-kills 5 --seed 0

A search in one process is killed at random times, then one of its files may be cut off at a random
position, then the same command continues it, until the search ends. It must end with the trials,
scores, weights and winner of an undisturbed search.

The workers of a search on two workers are killed at random times, most of them while they train,
and sometimes their driver, after which the workers must end. The search must end with the trials,
scores, weights and winner of an undisturbed search in one process. By design, a trial fails if five
workers are killed in the same epoch of it. Epochs are short compared with the time between two
kills, so this is rare. If it happens, the script says so, and another seed kills at other times.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import IO, NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # where pytest is not

import numpy as np
from comparisons import assert_same_search, assert_same_trials, events_of
from image_sets import make_split

from vaetune.study.builder import load_study
from vaetune.study.events import WorkerLost
from vaetune.study.study import Study

SEARCH_FILE = """
algorithm = "hyperband"
seed = 3
baseline = false
[data]
dataset = "squares.npz"
[budget]
max_epochs = 3
[training]
batch_size = 8
[space]
filters_1 = { values = [2, 3] }
filters_2 = { values = [3, 4] }
dense_units = { values = [4, 5] }
latent_dim = { values = [2, 3] }
learning_rate = { min = 1e-3, max = 1e-1, scale = "log" }
"""
COMMAND = ("search", "./squares.toml", "--quiet", "--results")
FILES = ("journal.jsonl", "pictures.npz", "trials/*/checkpoint.npz", "trials/*/pictures.npz")
ONE_THREAD = ("--threads-per-worker", "1")

UNDISTURBED_SHARE = 0.3
"""Share of a search's epochs after the last kill."""

MAX_LINES = 12
"""Maximum number of lines of the journal that a session writes before it is killed."""

MOMENTS = 1.0
"""Maximum time until a kill, in epochs, after the search has made the expected progress."""

GONE_WITHIN_S = 30.0
"""Seconds after which no worker of a killed driver may run."""

RAY_GONE_WITHIN_S = 120.0
"""Seconds after which no process of it may run: Ray tries to reconnect for a minute."""

PATIENCE_S = 300.0
"""Seconds after which a search that makes no progress fails the test."""


@dataclass
class Tally:
    """Counts of the disturbances of searches.

    Attributes:
        kills: Number of sessions that were killed.
        searches: Number of searches that ended with the expected results.
        cut: Number of files that were cut off.
        workers: Number of workers that were killed.
        moved: Number of trials that another worker continued.
        gone_s: Longest time until the workers of a killed driver had ended.
    """

    kills: int = 0
    searches: int = 0
    cut: int = 0
    workers: int = 0
    moved: int = 0
    gone_s: float = 0.0


class Process(Protocol):
    """A running command, such as a `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


Launch = Callable[[Sequence[str], Path, Mapping[str, str], IO[bytes]], Process]
"""Starts a vaetune command, given its arguments, working directory, environment and log."""


def launch(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], log: IO[bytes]
) -> Process:
    """Starts a command in a new Python."""
    command = [sys.executable, "-m", "vaetune", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


class SmallSearch:
    """A small search on the command line, and its undisturbed results.

    Args:
        folder: Folder of its files and results.
        launch: Starts a command.
        images: Number of training images.
        side: Height of the images, which are a pixel wider.
        max_epochs: Epochs of the longest trials.
        flags: Flags of the undisturbed search.
        algorithm: Name of its algorithm.
    """

    def __init__(
        self,
        folder: Path,
        launch: Launch,
        images: int,
        side: int,
        max_epochs: int,
        *flags: str,
        algorithm: str = "hyperband",
    ) -> None:
        self._folder, self._launch = folder, launch
        train, test = (make_split(n, (side, side + 1, 1), n) for n in (images, 12))
        np.savez(folder / "squares.npz", x_train=train.images, x_test=test.images)
        text = SEARCH_FILE.replace("max_epochs = 3", f"max_epochs = {max_epochs}")
        text = text.replace('"hyperband"', f'"{algorithm}"')
        (folder / "squares.toml").write_text(text)
        assert self.start("undisturbed", *flags).wait() == 0
        self.undisturbed = self.study("undisturbed")

    def start(self, results: str, *flags: str, **variables: str) -> Process:
        """Starts the command.

        Args:
            results: Name of the folder of its results.
            flags: Additional flags.
            variables: Additional environment variables.
        """
        env = {**os.environ, **variables}
        with (self._folder / f"{results}.log").open("ab") as log:
            return self._launch([*COMMAND, results, *flags], self._folder, env, log)

    def log(self, results: str) -> str:
        """The last lines that it printed."""
        return (self._folder / f"{results}.log").read_text()[-1000:]

    def folder(self, results: str) -> Path:
        """The folder of its journal."""
        return self._folder / results / "squares"

    def study(self, results: str) -> Study:
        """The study in its journal."""
        return load_study(self.folder(results))


class Torture:
    """Kills a small search in one process, and damages its files.

    Args:
        folder: Folder of the searches.
        seed: Random seed of the times, files and positions.
        launch: Starts a command.
        algorithm: Name of the algorithm of the searches.
    """

    def __init__(
        self, folder: Path, seed: int, launch: Launch = launch, algorithm: str = "hyperband"
    ) -> None:
        self._random = random.Random(seed)
        self.tally = Tally()
        sizes = {"images": 30, "side": 9, "max_epochs": 3}
        self._search = SmallSearch(folder, launch, **sizes, algorithm=algorithm)

    def run(self, kills: int, cuts: int = 0) -> None:
        """Disturbs one search after the other.

        Args:
            kills: Minimum number of sessions to kill.
            cuts: Number of files to cut off, one after each of the first kills that left files.
        """
        while self._is_less_than(kills, cuts):
            self._disturb_one(f"disturbed-{self.tally.searches}", kills, cuts)

    def _is_less_than(self, kills: int, cuts: int) -> bool:
        return self.tally.kills < kills or self.tally.cut < cuts

    def _disturb_one(self, results: str, kills: int, cuts: int) -> None:
        while self._is_less_than(kills, cuts):
            process = self._search.start(results)
            if not self._wait_for_its_moment(process, results):
                break
            process.kill()
            process.wait()
            self.tally.kills += 1
            if self.tally.cut < cuts:
                self._cut_a_file(self._search.folder(results))
        assert self._search.start(results).wait() == 0, "the same command does not continue"
        study = self._search.study(results)
        assert study.is_complete
        assert_same_search(study, self._search.undisturbed)
        self.tally.searches += 1

    def _wait_for_its_moment(self, process: Process, results: str) -> bool:
        """Waits until a session has written some lines; False if it ended before."""
        path = self._search.folder(results) / "journal.jsonl"
        lines = self._lines(path) + self._random.randint(1, MAX_LINES)
        while process.poll() is None:
            if self._lines(path) >= lines:
                return True
            time.sleep(0.005)
        return False

    @staticmethod
    def _lines(path: Path) -> int:
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def _cut_a_file(self, folder: Path) -> None:
        files = sorted(path for pattern in FILES for path in folder.glob(pattern))
        if files:
            path = self._random.choice(files)
            with path.open("r+b") as file:
                file.truncate(self._random.randrange(path.stat().st_size + 1))
            self.tally.cut += 1


class RunningProcess(NamedTuple):
    """A process of this machine.

    Attributes:
        pid: Its number, which may be the number of another process later.
        started: Time of its start, in ticks of the machine's clock.
        title: Beginning of its command line.
    """

    pid: int
    started: int
    title: str

    @property
    def is_worker(self) -> bool:
        """Whether it is a worker of vaetune, and not a process of Ray itself."""
        return self.title.startswith("ray::Worker")

    @property
    def is_training(self) -> bool:
        """Whether it is a worker that trains a trial."""
        return self.title.startswith("ray::Worker.run")


def list_processes() -> Iterator[tuple[int, RunningProcess]]:
    """Yields the number of the parent and the process, for all processes that run."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_text().partition("\0")[0]
        except OSError:  # it has just ended
            continue
        state, parent, started = facts[0], int(facts[1]), int(facts[19])
        if state != "Z":
            yield parent, RunningProcess(int(folder.name), started, title)


def descendants(pid: int) -> list[RunningProcess]:
    """The processes that a process started, and those that they started."""
    children: dict[int, list[RunningProcess]] = {}
    for parent, process in list_processes():
        children.setdefault(parent, []).append(process)
    found = list(children.get(pid, ()))
    for process in found:  # The list grows in the loop.
        found += children.get(process.pid, ())
    return found


def wait_until_gone(processes: Iterable[RunningProcess], within_s: float) -> float:
    """Waits until processes have ended; returns the seconds that this took."""
    began_s = time.monotonic()
    waiting = {(process.pid, process.started) for process in processes}
    while left := [p for _, p in list_processes() if (p.pid, p.started) in waiting]:
        assert time.monotonic() < began_s + within_s, f"still running: {left}"
        time.sleep(0.1)
    return time.monotonic() - began_s


class WorkersTorture:
    """Kills the workers and the driver of a small search on two workers.

    Args:
        folder: Folder of the search.
        temporary: Folder of Ray's temporary files, which remain when Ray is killed.
        seed: Random seed of the victims and the times.
        max_epochs: Epochs of the longest trials.
        images: Number of training images. An epoch of 2,000 takes about a second.
        launch: Starts a command.
    """

    def __init__(
        self,
        folder: Path,
        temporary: Path,
        seed: int,
        max_epochs: int = 9,
        images: int = 2000,
        launch: Launch = launch,
    ) -> None:
        self._random = random.Random(seed)
        self.tally = Tally()
        self._temporary = temporary
        self._remains: list[RunningProcess] = []
        self._search = SmallSearch(folder, launch, images, 32, max_epochs, *ONE_THREAD)
        trials = self._search.undisturbed.trials
        self._epoch_s = mean(epoch.train_s for trial in trials for epoch in trial.epochs)

    def run(self, workers: int, drivers: int) -> None:
        """Kills workers and drivers in one search, which must end nevertheless.

        The kills are spread over the epochs of the search. Between two kills it makes progress, and
        the last kill comes long before its end.

        Args:
            workers: Number of workers to kill.
            drivers: Number of times to kill the driver.
        """
        victims = ["worker"] * workers + ["driver"] * drivers
        self._random.shuffle(victims)
        in_all = self._search.undisturbed.epochs_trained
        driver = self._start()
        try:
            for number, victim in enumerate(victims):
                reached = (1 - UNDISTURBED_SHARE) * in_all * number / len(victims)
                self._wait_until_it_trains(driver, reached)
                if victim == "worker":
                    self._kill_a_worker(driver)
                else:
                    self._kill_the_driver(driver)
                    driver = self._start()
            assert driver.wait(PATIENCE_S) == 0, self._search.log("disturbed")
        finally:
            driver.kill()
        self._compare()

    def _start(self) -> Process:
        flags = ("--workers", "2", *ONE_THREAD)
        return self._search.start("disturbed", *flags, TMPDIR=str(self._temporary))

    def _wait_until_it_trains(self, driver: Process, epochs: float) -> None:
        """Waits for a number of epochs and until a worker trains, then a little longer."""
        until_s = time.monotonic() + PATIENCE_S
        while self._epochs() < epochs or not any(p.is_training for p in descendants(driver.pid)):
            assert driver.poll() is None, f"it ended early: {self._search.log('disturbed')}"
            assert time.monotonic() < until_s, "it does not continue"
            time.sleep(0.1)
        time.sleep(self._random.uniform(0, MOMENTS * self._epoch_s))

    def _epochs(self) -> int:
        journal = self._search.folder("disturbed") / "journal.jsonl"
        return journal.read_bytes().count(b'"event":"epoch_ended"') if journal.exists() else 0

    def _kill_a_worker(self, driver: Process) -> None:
        """Kills a worker that trains, or sometimes any: one that waits or has just started."""
        workers = [process for process in descendants(driver.pid) if process.is_worker]
        assert workers, f"it ended early: {self._search.log('disturbed')}"
        training = [process for process in workers if process.is_training]
        is_any = not training or self._random.random() < 0.1
        victim = self._random.choice(workers if is_any else training)
        os.kill(victim.pid, signal.SIGKILL)
        self.tally.workers += 1

    def _kill_the_driver(self, driver: Process) -> None:
        """Kills the driver. The processes that it started must end by themselves."""
        its_own = descendants(driver.pid)
        workers = [process for process in its_own if process.is_worker]
        assert workers
        driver.kill()
        driver.wait()
        self.tally.kills += 1
        gone_s = wait_until_gone(workers, GONE_WITHIN_S)
        self.tally.gone_s = max(self.tally.gone_s, gone_s)
        self._remains += its_own

    def wait_until_all_is_gone(self) -> None:
        """Waits until the processes that Ray started for the killed drivers have ended."""
        wait_until_gone(self._remains, RAY_GONE_WITHIN_S)

    def kill_what_is_left(self) -> None:
        """Kills the processes that Ray started for the killed drivers, and that still run."""
        running = {(process.pid, process.started) for _, process in list_processes()}
        for process in self._remains:
            if (process.pid, process.started) in running:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def _compare(self) -> None:
        study = self._search.study("disturbed")
        assert study.is_complete
        deadly = [trial.trial_id for trial in study.failures]
        assert not deadly, f"failed, by design if five workers died in one epoch: trials {deadly}"
        assert_same_trials(study, self._search.undisturbed)
        self.tally.moved = sum(lost.trial_id is not None for lost in events_of(study, WorkerLost))
        self.tally.searches += 1


def torture_one_process(kills: int, seed: int) -> None:
    """Prints the tally. An assertion fails if anything was lost."""
    parts = (
        ("hyperband, killed", "hyperband", 0),
        ("hyperband, killed, and a file cut off", "hyperband", kills),
        ("freeze-thaw, killed", "freeze_thaw", 0),
    )
    for name, algorithm, cuts in parts:
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), seed, algorithm=algorithm)
            torture.run(kills, cuts)
        tally = torture.tally
        print(
            f"{name}: {tally.kills} kills and {tally.cut} files cut off survived, "
            f"{tally.searches} searches ended like the undisturbed one",
            flush=True,
        )


def torture_workers(workers: int, drivers: int, seed: int) -> None:
    """Prints the tally. An assertion fails if anything was lost."""
    began_s = time.monotonic()
    # Ray has room for a short path only.
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(
            prefix="vt-", dir="/tmp", ignore_cleanup_errors=True
        ) as temporary,
    ):
        torture = WorkersTorture(Path(folder), Path(temporary), seed)
        torture.run(workers, drivers)
        torture.wait_until_all_is_gone()
    tally = torture.tally
    print(
        f"two workers: {tally.workers} of them and {tally.kills} drivers killed, trials went on "
        f"elsewhere {tally.moved} times, no worker was left {tally.gone_s:.1f} s after its driver; "
        f"the search ended like the undisturbed one, {time.monotonic() - began_s:.0f} s in all"
    )


def main() -> None:
    """Runs all parts with at least one kill."""
    parser = argparse.ArgumentParser(description="Kill small searches repeatedly.")
    parser.add_argument("--kills", type=int, default=30, help="kills of searches in one process")
    parser.add_argument("--worker-kills", type=int, default=30, help="kills of workers")
    parser.add_argument("--driver-kills", type=int, default=5, help="kills of the driver")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    arguments = parser.parse_args()
    if arguments.kills:
        torture_one_process(arguments.kills, arguments.seed)
    if arguments.worker_kills or arguments.driver_kills:
        torture_workers(arguments.worker_kills, arguments.driver_kills, arguments.seed)


if __name__ == "__main__":
    main()
