"""A race of search algorithms in real trainings.

    python benchmarks/race.py --images benchmarks/data/letters.npz        # letters, nine seeds
    python benchmarks/race.py --images benchmarks/data/letters.npz --seeds 20 \\
        --contender freeze-thaw --contender control
    python benchmarks/race.py --seeds 3                                   # the packaged digits
    python benchmarks/race.py --table

Every contender searches for 130 seconds. The clock starts when all modules are imported and the
images are loaded. Each contender has one core and one thread, and every core runs one contender at
a time. The order of the contenders rotates from seed to seed. Contenders on Ray have several
processes: each of them runs alone with all cores, but also trains with one thread. Freeze-thaw and
Hyperband continue after 130 seconds until they have trained the 75 epochs of Hyperband's schedule.
From the images of a file, 5,000 training and 1,000 validation images are drawn with a fixed seed.

Rows are appended to `results/race.jsonl`, so the same command continues after an interruption.

The comparison was fixed before the first run on the letters:

- The level to reach is the median of Hyperband's lowest validation losses after 130 seconds
  (primary), and after its 75 epochs (secondary).
- The measure is freeze-thaw's seconds to that level as a share of the rival's seconds with the same
  seed. The primary rival is Hyperband.
- A run that does not reach the level counts with the time limit, or without a limit with all of its
  time. If only the rival does not reach it, the share is an upper bound.
- A row shows the median share, the interval of the median by the sign test (no distribution is
  assumed), and the p-value of Wilcoxon's signed-rank test of the logarithms, two-sided.
"""

import argparse
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from quality import draw_subset
from race_clock import LIMIT_S, Clock, RaceRun, read_race
from race_contenders import CONTENDERS, LEAST_EPOCHS, ON_RAY, Race
from race_tables import race_text
from workloads import RESULTS

PATH = RESULTS / "race.jsonl"
BUILD = Path(__file__).parent.parent / "build" / "race"
SEEDS = 9

ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

Key = tuple[str, str, int]

_running: set["subprocess.Popen[bytes]"] = set()


def run_here(arguments: argparse.Namespace) -> None:
    """Runs one search in this process. The clock ends the process."""
    from vaetune.data import load_images

    (contender,), seed = arguments.contender, arguments.here
    name, dataset = image_set(arguments.images, arguments.build)
    images = load_images(dataset)
    run = RaceRun(name, contender, seed, ())
    least = LEAST_EPOCHS.get(contender, 0) if arguments.seconds == LIMIT_S else 0
    clock = Clock(arguments.results, run, arguments.seconds, least)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        CONTENDERS[contender](Race(clock, images, seed, Path(folder)))
    raise SystemExit(f"{contender} ended before the time limit.")


def image_set(file: Path | None, build: Path) -> tuple[str, str]:
    """Returns the name and the source of an image set, and draws images from a file if needed.

    Args:
        file: File of images; None for the packaged digits.
        build: Folder in which the drawn images are kept.
    """
    if file is None:
        return "digits", "digits"
    target = build / file.name
    draw_subset(file, target)
    return file.stem, str(target)


def run_apart(key: Key, arguments: argparse.Namespace, core: int | None) -> None:
    """Runs one search in a separate process.

    Args:
        key: Image set, contender and seed.
        arguments: Command line.
        core: Core on which the search runs; None for all cores.

    Raises:
        SystemExit: The search failed.
    """
    _, contender, seed = key
    command = [sys.executable, __file__, "--here", str(seed), "--contender", contender]
    command += ["--results", str(arguments.results), "--seconds", str(arguments.seconds)]
    command += ["--build", str(arguments.build)]
    command += ["--images", str(arguments.images)] if arguments.images else []
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [*command, "--folder", folder],
            env=os.environ | ONE_THREAD,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        _running.add(process)
        code = process.wait()
        _running.remove(process)
        _kill(process)
        errors.seek(0)
        if code:
            message = errors.read()[-3000:]
            raise SystemExit(f"{contender} failed with seed {seed}:\n{message}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kills a process and its child processes, because some of Ray's outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def run_seed(keys: list[Key], arguments: argparse.Namespace) -> None:
    """Runs the searches of one seed: first one on each core, then those on Ray, one at a time."""
    waiting: queue.SimpleQueue[Key] = queue.SimpleQueue()
    failures: list[SystemExit] = []
    for key in keys:
        if key[1] not in ON_RAY:
            waiting.put(key)

    def work(core: int) -> None:
        while not failures:
            try:
                key = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                run_apart(key, arguments, core)
            except SystemExit as failure:
                failures.append(failure)
                return
            show(key, arguments.results)

    threads = [
        threading.Thread(target=work, args=(core,), daemon=True)
        for core in sorted(os.sched_getaffinity(0))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    for key in keys:
        if key[1] in ON_RAY:
            run_apart(key, arguments, None)
            show(key, arguments.results)


def show(key: Key, results: Path) -> None:
    """Prints a line about a run."""
    run = next(one for one in read_race(results) if one.key == key)
    at_s = run.epochs[-1][0] if run.epochs else 0.0
    best = run.best(float("inf"))
    images, contender, seed = key
    print(
        f"{images}, seed {seed}, {contender}: {len(run.epochs)} epochs in {at_s:.0f} s, "
        f"best {best:.2f} nats",
        flush=True,
    )


def missing_keys(seed: int, wanted: list[str], arguments: argparse.Namespace) -> list[Key]:
    """Returns the missing runs of a seed. The order rotates from seed to seed."""
    name, _ = image_set(arguments.images, arguments.build)
    done = {run.key for run in read_race(arguments.results)}
    turn = seed % len(wanted)
    keys = [(name, contender, seed) for contender in wanted[turn:] + wanted[:turn]]
    return [key for key in keys if key not in done]


def main() -> None:
    """Runs the missing searches and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="file of images; default: the packaged digits")
    parser.add_argument("--contender", choices=CONTENDERS, action="append")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--results", type=Path, default=PATH)
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help="seconds of each search")
    parser.add_argument("--build", type=Path, default=BUILD, help="folder for the drawn images")
    parser.add_argument("--table", action="store_true", help="only print the tables")
    parser.add_argument("--here", type=int, metavar="SEED", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments: Any = parser.parse_args()
    if arguments.here is not None:
        run_here(arguments)
    wanted = arguments.contender or list(CONTENDERS)
    try:
        for seed in [] if arguments.table else range(1, arguments.seeds + 1):
            run_seed(missing_keys(seed, wanted, arguments), arguments)
    finally:
        for process in list(_running):
            _kill(process)
    print(race_text(read_race(arguments.results)))


if __name__ == "__main__":
    main()
