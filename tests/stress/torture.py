"""Kills small searches again and again, damages their files, and compares what comes out.

    python tests/torture.py --kills 30 --worker-kills 30 --driver-kills 5 --seed 0

A search in one process is killed at a random instant, then a file of it may be cut off at a random
place, then the same command is given again, until the search ends. It must end with the trials,
scores, weights and winner of a search that nobody disturbed.

Of a search on two workers these are killed at random instants, most of them while they train, and
now and then their driver, whose workers must then be gone. It must end with the trials, scores,
weights and winner of a search that one process ran undisturbed. By design a trial in the same epoch
of which five workers were killed counts as failed. Epochs are short beside the time between two
kills, so that this hardly ever comes; if it does, the script says so, and another seed kills at
other instants.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import NamedTuple

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
COMMAND = (sys.executable, "-m", "vaetune", "search", "./squares.toml", "--quiet", "--results")
FILES = ("journal.jsonl", "pictures.npz", "trials/*/checkpoint.npz", "trials/*/pictures.npz")
ONE_THREAD = ("--threads-per-worker", "1")

LEFT_IN_PEACE = 0.3
"""The share of a search's epochs that come after the last kill."""

MAX_LINES = 12
"""Lines of the journal that a session may write before it is killed."""

MOMENTS = 1.0
"""How many epochs' time a kill waits, at the most, once the search has come so far."""

GONE_WITHIN_S = 30.0
"""After which no worker may be left of a driver that was killed."""

RAY_GONE_WITHIN_S = 120.0
"""After which nothing may be left of it: Ray itself knocks at a dead door for a minute."""

PATIENCE_S = 300.0
"""After which a search that does not go on never will."""


@dataclass
class Tally:
    """What searches went through.

    Attributes:
        kills: Sessions that were killed.
        searches: Searches that came to their end and were as they should be.
        cut: Files that were cut off.
        workers: Workers that were killed.
        moved: How often a trial went on with another worker.
        gone_s: The longest time until the workers of a killed driver were gone.
    """

    kills: int = 0
    searches: int = 0
    cut: int = 0
    workers: int = 0
    moved: int = 0
    gone_s: float = 0.0


class SmallSearch:
    """A small search by the command line, and what comes of it undisturbed.

    Args:
        folder: For its files and those of its results.
        images: How many it trains on.
        side: Of the images, which are a pixel wider.
        max_epochs: Of its longest trials.
        flags: With which it is to run undisturbed.
    """

    def __init__(self, folder: Path, images: int, side: int, max_epochs: int, *flags: str) -> None:
        self._folder = folder
        train, test = (make_split(n, (side, side + 1, 1), n) for n in (images, 12))
        np.savez(folder / "squares.npz", x_train=train.images, x_test=test.images)
        text = SEARCH_FILE.replace("max_epochs = 3", f"max_epochs = {max_epochs}")
        (folder / "squares.toml").write_text(text)
        assert self.start("undisturbed", *flags).wait() == 0
        self.undisturbed = self.study("undisturbed")

    def start(self, results: str, *flags: str, **variables: str) -> subprocess.Popen[bytes]:
        """Gives the command.

        Args:
            results: The name of the folder of its results.
            flags: More of them.
            variables: Of the environment.
        """
        with (self._folder / f"{results}.log").open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, results, *flags],
                cwd=self._folder,
                env=os.environ | variables,
                stdout=log,
                stderr=log,
            )

    def log(self, results: str) -> str:
        """What it said last."""
        return (self._folder / f"{results}.log").read_text()[-1000:]

    def folder(self, results: str) -> Path:
        """Where its journal is."""
        return self._folder / results / "squares"

    def study(self, results: str) -> Study:
        """What its journal tells."""
        return load_study(self.folder(results))


class Torture:
    """A small search in one process, and a seeded source of evil."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self.tally = Tally()
        self._search = SmallSearch(folder, images=30, side=9, max_epochs=3)

    def run(self, kills: int, cuts: int = 0) -> None:
        """Disturbs one search after the other.

        Args:
            kills: Until at least so many sessions were killed,
            cuts: and after the first of these, but for those that had not written any, so many
                files were cut off.
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
        assert self._search.start(results).wait() == 0, "the same command does not go on"
        study = self._search.study(results)
        assert study.is_complete
        assert_same_search(study, self._search.undisturbed)
        self.tally.searches += 1

    def _wait_for_its_moment(self, process: subprocess.Popen[bytes], results: str) -> bool:
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


class Process(NamedTuple):
    """A process of this machine.

    Attributes:
        started: In ticks of the machine's clock: its number may be another one's later.
        title: Where its command line begins.
    """

    pid: int
    started: int
    title: str

    @property
    def is_worker(self) -> bool:
        """Whether it is one of vaetune's, and not one that Ray keeps for itself."""
        return self.title.startswith("ray::Worker")

    @property
    def is_training(self) -> bool:
        """Whether it is a worker that was sent a trial."""
        return self.title.startswith("ray::Worker.run")


def list_processes() -> Iterator[tuple[int, Process]]:
    """The processes that are alive, each after the number of its parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_text().partition("\0")[0]
        except OSError:  # it is gone meanwhile
            continue
        state, parent, started = facts[0], int(facts[1]), int(facts[19])
        if state != "Z":
            yield parent, Process(int(folder.name), started, title)


def descendants(pid: int) -> list[Process]:
    """What a process started, and what that started in turn."""
    children: dict[int, list[Process]] = {}
    for parent, process in list_processes():
        children.setdefault(parent, []).append(process)
    found = list(children.get(pid, ()))
    for process in found:  # which grows meanwhile
        found += children.get(process.pid, ())
    return found


def wait_until_gone(processes: Iterable[Process], within_s: float) -> float:
    """Waits until processes have ended; returns how many seconds that took."""
    began_s = time.monotonic()
    waiting = {(process.pid, process.started) for process in processes}
    while left := [p for _, p in list_processes() if (p.pid, p.started) in waiting]:
        assert time.monotonic() < began_s + within_s, f"still there: {left}"
        time.sleep(0.1)
    return time.monotonic() - began_s


class WorkersTorture:
    """A small search on two workers, and a seeded source of evil.

    Args:
        folder: Of the search.
        temporary: For what Ray writes down while it runs: killed, it leaves that behind.
        seed: Of the victims and the instants.
        max_epochs: Of the longest trials.
        images: How many it trains on: an epoch of 2,000 takes about a second.
    """

    def __init__(
        self, folder: Path, temporary: Path, seed: int, max_epochs: int = 9, images: int = 2000
    ) -> None:
        self._random = random.Random(seed)
        self.tally = Tally()
        self._temporary = temporary
        self._remains: list[Process] = []
        self._search = SmallSearch(folder, images, 32, max_epochs, *ONE_THREAD)
        trials = self._search.undisturbed.trials
        self._epoch_s = mean(epoch.train_s for trial in trials for epoch in trial.epochs)

    def run(self, workers: int, drivers: int) -> None:
        """Kills so many of them in one search, which must come to its end all the same.

        The kills are spread over the epochs of the search: between two of them it has gone on, and
        none of them comes too late.
        """
        victims = ["worker"] * workers + ["driver"] * drivers
        self._random.shuffle(victims)
        in_all = self._search.undisturbed.epochs_trained
        driver = self._start()
        try:
            for number, victim in enumerate(victims):
                reached = (1 - LEFT_IN_PEACE) * in_all * number / len(victims)
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

    def _start(self) -> subprocess.Popen[bytes]:
        flags = ("--workers", "2", *ONE_THREAD)
        return self._search.start("disturbed", *flags, TMPDIR=str(self._temporary))

    def _wait_until_it_trains(self, driver: subprocess.Popen[bytes], epochs: float) -> None:
        """Waits for so many epochs and for a worker that trains, then for some moments more."""
        until_s = time.monotonic() + PATIENCE_S
        while self._epochs() < epochs or not any(p.is_training for p in descendants(driver.pid)):
            assert driver.poll() is None, f"it ended early: {self._search.log('disturbed')}"
            assert time.monotonic() < until_s, "it does not go on"
            time.sleep(0.1)
        time.sleep(self._random.uniform(0, MOMENTS * self._epoch_s))

    def _epochs(self) -> int:
        journal = self._search.folder("disturbed") / "journal.jsonl"
        return journal.read_bytes().count(b'"event":"epoch_ended"') if journal.exists() else 0

    def _kill_a_worker(self, driver: subprocess.Popen[bytes]) -> None:
        """Mostly one that trains, else any: one that waits, or has only just been started."""
        workers = [process for process in descendants(driver.pid) if process.is_worker]
        assert workers, f"it ended early: {self._search.log('disturbed')}"
        training = [process for process in workers if process.is_training]
        is_any = not training or self._random.random() < 0.1
        victim = self._random.choice(workers if is_any else training)
        os.kill(victim.pid, signal.SIGKILL)
        self.tally.workers += 1

    def _kill_the_driver(self, driver: subprocess.Popen[bytes]) -> None:
        """Kills it; what it had started must end by itself."""
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
        """Waits for the end of what Ray itself had started for the killed drivers."""
        wait_until_gone(self._remains, RAY_GONE_WITHIN_S)

    def _compare(self) -> None:
        study = self._search.study("disturbed")
        assert study.is_complete
        deadly = [trial.trial_id for trial in study.failures]
        assert not deadly, f"failed, by design if five workers died in one epoch: trials {deadly}"
        assert_same_trials(study, self._search.undisturbed)
        self.tally.moved = sum(lost.trial_id is not None for lost in events_of(study, WorkerLost))
        self.tally.searches += 1


def torture_one_process(kills: int, seed: int) -> None:
    """Prints the tally; an assertion fails where something was lost."""
    for name, cuts in (("killed", 0), ("killed, and a file cut off", kills)):
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), seed)
            torture.run(kills, cuts)
        tally = torture.tally
        print(
            f"{name}: {tally.kills} kills and {tally.cut} files cut off survived, "
            f"{tally.searches} searches ended like the undisturbed one",
            flush=True,
        )


def torture_workers(workers: int, drivers: int, seed: int) -> None:
    """Prints the tally; an assertion fails where something was lost."""
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
    """Runs all parts; one that is to kill nobody is left out."""
    parser = argparse.ArgumentParser(description="Kill small searches again and again.")
    parser.add_argument("--kills", type=int, default=30, help="of searches in one process")
    parser.add_argument("--worker-kills", type=int, default=30)
    parser.add_argument("--driver-kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kills:
        torture_one_process(arguments.kills, arguments.seed)
    if arguments.worker_kills or arguments.driver_kills:
        torture_workers(arguments.worker_kills, arguments.driver_kills, arguments.seed)


if __name__ == "__main__":
    main()
