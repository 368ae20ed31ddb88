"""Kills small searches repeatedly, damages their files, and compares the results.

    python tests/stress/torture.py --kills 30 --worker-kills 30 --driver-kills 5 --seed 0

A search in one process is killed at random times. After a kill, one of its files may be truncated
at a random position. Then the same command continues the search. In the end, the search must have
the trials, scores, weights and winner of an undisturbed search.

The workers of a search on two workers are killed at random times, most of them while they train.
Sometimes the driver is killed, and then the workers must end. In the end, the search must have the
trials, scores, weights and winner of an undisturbed search in one process. By design, a trial fails
if five workers are killed in the same epoch of the trial. This is rare, because epochs are short
compared with the time between two kills. If it happens, the script reports it. Another seed kills
at other times.
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

# Without pytest, the support code is not on the import path.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

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
"""Maximum number of lines that a session adds to the journal before it is killed."""

MAX_DELAY_EPOCHS = 1.0
"""Maximum delay of a kill after the search has made the expected progress, in epochs."""

GONE_WITHIN_S = 30.0
"""Seconds after which no worker of a killed driver may be running."""

RAY_GONE_WITHIN_S = 120.0
"""Seconds after which no process of a killed driver may be running.

This is longer, because Ray tries to reconnect for a minute.
"""

PATIENCE_S = 300.0
"""Seconds after which a search without progress fails the test."""


@dataclass
class Tally:
    """Counts of the disturbances of searches.

    Attributes:
        kills: Number of sessions that were killed.
        searches: Number of searches that ended with the expected results.
        cut: Number of files that were truncated.
        workers: Number of workers that were killed.
        moved: Number of times that another worker continued a trial.
        gone_s: Longest time in which the workers of a killed driver ended, in seconds.
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
    """Starts a command in a new Python process."""
    command = [sys.executable, "-m", "vaetune", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


class SmallSearch:
    """A small search on the command line, and its undisturbed results.

    Args:
        folder: Folder of the files and results.
        launch: Function that starts a command.
        images: Number of training images.
        side: Height of the images in pixels. The width is one pixel more.
        max_epochs: Number of epochs of the longest trials.
        flags: Flags of the undisturbed search.
        algorithm: Name of the algorithm.
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
            results: Name of the folder of the results.
            flags: Additional flags.
            variables: Additional environment variables.
        """
        env = {**os.environ, **variables}
        with (self._folder / f"{results}.log").open("ab") as log:
            return self._launch([*COMMAND, results, *flags], self._folder, env, log)

    def log(self, results: str) -> str:
        """The end of the output of a search."""
        return (self._folder / f"{results}.log").read_text()[-1000:]

    def folder(self, results: str) -> Path:
        """The folder of the journal of a search."""
        return self._folder / results / "squares"

    def study(self, results: str) -> Study:
        """The study of a search."""
        return load_study(self.folder(results))


class Torture:
    """Kills a small search in one process, and damages its files.

    Args:
        folder: Folder of the searches.
        seed: Random seed of the times, files and positions.
        launch: Function that starts a command.
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
            cuts: Number of files to truncate, one after each of the first kills that left files.
        """
        while self._needs_more(kills, cuts):
            self._disturb_search(f"disturbed-{self.tally.searches}", kills, cuts)

    def _needs_more(self, kills: int, cuts: int) -> bool:
        return self.tally.kills < kills or self.tally.cut < cuts

    def _disturb_search(self, results: str, kills: int, cuts: int) -> None:
        while self._needs_more(kills, cuts):
            process = self._search.start(results)
            if not self._wait_for_lines(process, results):
                break
            process.kill()
            process.wait()
            self.tally.kills += 1
            if self.tally.cut < cuts:
                self._truncate_a_file(self._search.folder(results))
        assert self._search.start(results).wait() == 0, "the command does not continue"
        study = self._search.study(results)
        assert study.is_complete
        assert_same_search(study, self._search.undisturbed)
        self.tally.searches += 1

    def _wait_for_lines(self, process: Process, results: str) -> bool:
        """Waits until a session has written a few lines; returns False if it ends before."""
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

    def _truncate_a_file(self, folder: Path) -> None:
        files = sorted(path for pattern in FILES for path in folder.glob(pattern))
        if files:
            path = self._random.choice(files)
            with path.open("r+b") as file:
                file.truncate(self._random.randrange(path.stat().st_size + 1))
            self.tally.cut += 1


class RunningProcess(NamedTuple):
    """A process of this machine.

    Attributes:
        pid: Process id, which another process may have later.
        started: Time of the start, in ticks of the machine's clock.
        title: First word of the command line.
    """

    pid: int
    started: int
    title: str

    @property
    def is_worker(self) -> bool:
        """Whether the process is a worker of vaetune, not a process of Ray itself."""
        return self.title.startswith("ray::Worker")

    @property
    def is_training(self) -> bool:
        """Whether the process is a worker that trains a trial."""
        return self.title.startswith("ray::Worker.run")


def list_processes() -> Iterator[tuple[int, RunningProcess]]:
    """Yields the process id of the parent, and the process, for all running processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_text().partition("\0")[0]
        except OSError:  # The process has just ended.
            continue
        state, parent, started = fields[0], int(fields[1]), int(fields[19])
        if state != "Z":
            yield parent, RunningProcess(int(folder.name), started, title)


def descendants(pid: int) -> list[RunningProcess]:
    """All running descendants of a process: its children, their children and so on."""
    children: dict[int, list[RunningProcess]] = {}
    for parent, process in list_processes():
        children.setdefault(parent, []).append(process)
    found = list(children.get(pid, ()))
    for process in found:  # The list grows in the loop.
        found += children.get(process.pid, ())
    return found


def wait_until_gone(processes: Iterable[RunningProcess], within_s: float) -> float:
    """Waits until processes have ended; returns the duration in seconds."""
    began_s = time.monotonic()
    waiting = {(process.pid, process.started) for process in processes}
    while running := [p for _, p in list_processes() if (p.pid, p.started) in waiting]:
        assert time.monotonic() < began_s + within_s, f"still running: {running}"
        time.sleep(0.1)
    return time.monotonic() - began_s


class WorkersTorture:
    """Kills the workers and the driver of a small search on two workers.

    Args:
        folder: Folder of the search.
        temporary: Folder of Ray's temporary files, which remain when Ray is killed.
        seed: Random seed of the victims and the times.
        max_epochs: Number of epochs of the longest trials.
        images: Number of training images. An epoch of 2,000 takes about a second.
        launch: Function that starts a command.
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
        self._remaining: list[RunningProcess] = []
        self._search = SmallSearch(folder, launch, images, 32, max_epochs, *ONE_THREAD)
        trials = self._search.undisturbed.trials
        self._epoch_s = mean(epoch.train_s for trial in trials for epoch in trial.epochs)

    def run(self, workers: int, drivers: int) -> None:
        """Kills workers and drivers of one search, and checks its results.

        The kills are spread over the epochs of the search. The search makes progress between two
        kills, and the last kill is long before its end.

        Args:
            workers: Number of workers to kill.
            drivers: Number of times to kill the driver.
        """
        victims = ["worker"] * workers + ["driver"] * drivers
        self._random.shuffle(victims)
        total_epochs = self._search.undisturbed.epochs_trained
        driver = self._start()
        try:
            for number, victim in enumerate(victims):
                reached = (1 - UNDISTURBED_SHARE) * total_epochs * number / len(victims)
                self._wait_until_a_worker_trains(driver, reached)
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

    def _wait_until_a_worker_trains(self, driver: Process, epochs: float) -> None:
        """Waits for a number of epochs and until a worker trains, then a little longer."""
        until_s = time.monotonic() + PATIENCE_S
        while self._epochs() < epochs or not any(p.is_training for p in descendants(driver.pid)):
            assert driver.poll() is None, f"the search ended early: {self._search.log('disturbed')}"
            assert time.monotonic() < until_s, "the search makes no progress"
            time.sleep(0.1)
        time.sleep(self._random.uniform(0, MAX_DELAY_EPOCHS * self._epoch_s))

    def _epochs(self) -> int:
        journal = self._search.folder("disturbed") / "journal.jsonl"
        return journal.read_bytes().count(b'"event":"epoch_ended"') if journal.exists() else 0

    def _kill_a_worker(self, driver: Process) -> None:
        """Kills a worker that trains, or sometimes any worker, even if it waits or just started."""
        workers = [process for process in descendants(driver.pid) if process.is_worker]
        assert workers, f"the search ended early: {self._search.log('disturbed')}"
        training = [process for process in workers if process.is_training]
        is_any = not training or self._random.random() < 0.1
        victim = self._random.choice(workers if is_any else training)
        os.kill(victim.pid, signal.SIGKILL)
        self.tally.workers += 1

    def _kill_the_driver(self, driver: Process) -> None:
        """Kills the driver, and waits until its workers have ended by themselves."""
        processes = descendants(driver.pid)
        workers = [process for process in processes if process.is_worker]
        assert workers
        driver.kill()
        driver.wait()
        self.tally.kills += 1
        gone_s = wait_until_gone(workers, GONE_WITHIN_S)
        self.tally.gone_s = max(self.tally.gone_s, gone_s)
        self._remaining += processes

    def wait_for_remaining_processes(self) -> None:
        """Waits until all processes of the killed drivers have ended."""
        wait_until_gone(self._remaining, RAY_GONE_WITHIN_S)

    def kill_remaining_processes(self) -> None:
        """Kills the processes of the killed drivers that are still running."""
        running = {(process.pid, process.started) for _, process in list_processes()}
        for process in self._remaining:
            if (process.pid, process.started) in running:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def _compare(self) -> None:
        study = self._search.study("disturbed")
        assert study.is_complete
        failed = [trial.trial_id for trial in study.failures]
        assert not failed, f"trials {failed} failed: by design if five workers died in one epoch"
        assert_same_trials(study, self._search.undisturbed)
        self.tally.moved = sum(lost.trial_id is not None for lost in events_of(study, WorkerLost))
        self.tally.searches += 1


def torture_one_process(kills: int, seed: int) -> None:
    """Kills searches in one process and prints the tally. An assertion fails if results differ."""
    parts = (
        ("hyperband, killed", "hyperband", 0),
        ("hyperband, killed, files truncated", "hyperband", kills),
        ("freeze-thaw, killed", "freeze_thaw", 0),
    )
    for name, algorithm, cuts in parts:
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), seed, algorithm=algorithm)
            torture.run(kills, cuts)
        tally = torture.tally
        print(
            f"{name}: after {tally.kills} kills and {tally.cut} truncated files, "
            f"{tally.searches} searches ended like the undisturbed search",
            flush=True,
        )


def torture_workers(workers: int, drivers: int, seed: int) -> None:
    """Kills workers and drivers and prints the tally. An assertion fails if results differ."""
    began_s = time.monotonic()
    # Ray limits the length of the paths of its sockets.
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(
            prefix="vt-", dir="/tmp", ignore_cleanup_errors=True
        ) as temporary,
    ):
        torture = WorkersTorture(Path(folder), Path(temporary), seed)
        torture.run(workers, drivers)
        torture.wait_for_remaining_processes()
    tally = torture.tally
    print(
        f"two workers: {tally.workers} workers and {tally.kills} drivers killed, trials continued "
        f"on another worker {tally.moved} times, workers ended within {tally.gone_s:.1f} s after "
        f"their driver; the search ended like the undisturbed search; "
        f"{time.monotonic() - began_s:.0f} s in total"
    )


def main() -> None:
    """Runs the parts with at least one kill."""
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
