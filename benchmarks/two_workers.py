"""Times the default search on the command line, alternately with one worker and with two.

    python benchmarks/two_workers.py [--repeats 3]

The whole command is timed: imports, the search, the Keras example, the rescoring of finalists and
the report. Results are appended to `results/two_workers.jsonl`, so the same command continues after
an interruption, with the interrupted search from its start. Results of another machine or of other
versions are measured again.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from workloads import RESULTS, append_line, describe, read_lines

PATH = RESULTS / "two_workers.jsonl"
SEARCH = "hyperband-0.1"
WORKERS = (1, 2)


@dataclass(frozen=True)
class Command:
    """A search on the command line.

    Attributes:
        search: Name of the search, or its file.
        repeat: Number of the repeat, from 1.
        workers: Number of workers.
        wall_s: Seconds from the start of the command to its end.
        trials: Number of trials.
        epochs: Number of epochs trained.
        best: Score of the winner, in nats per image.
        load: Load average of the minute before the command.
        environment: Processor and versions.
    """

    search: str
    repeat: int
    workers: int
    wall_s: float
    trials: int
    epochs: int
    best: float
    load: float
    environment: dict[str, str]

    @property
    def key(self) -> tuple[str, int, int]:
        """Identifies the command."""
        return self.search, self.repeat, self.workers


def read_commands(path: Path) -> dict[tuple[str, int, int], Command]:
    """Returns the measured commands by key; the last one of each key counts."""
    commands = (Command(**line) for line in read_lines(path))
    return {command.key: command for command in commands}


def ratios(commands: Sequence[Command]) -> list[float]:
    """Returns two workers' wall time as a share of one worker's, for each complete repeat."""
    wall_s = {(command.repeat, command.workers): command.wall_s for command in commands}
    repeats = sorted({repeat for repeat, _ in wall_s})
    pairs = ([wall_s.get((repeat, workers)) for workers in WORKERS] for repeat in repeats)
    return [two / one for one, two in pairs if one and two]


def run(search: str, repeat: int, workers: int) -> Command:
    """Runs a search command in a temporary folder and returns its measurements."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as results:
        flags = ("--quiet", "--workers", str(workers), "--results", results)
        command = [sys.executable, "-m", "vaetune", "search", search, *flags]
        began_s = time.perf_counter()
        ended = subprocess.run(command, capture_output=True, text=True)
        wall_s = time.perf_counter() - began_s
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{ended.stderr[-3000:]}")
        trials, epochs, best = _outcome(Path(results), workers)
    return Command(search, repeat, workers, wall_s, trials, epochs, best, load, describe())


def _outcome(results: Path, workers: int) -> tuple[int, int, float]:
    from vaetune.study.catalog import find_study

    study = find_study(results, None)
    assert study.is_complete
    assert [session.workers for session in study.sessions] == [workers]
    return len(study.trials), study.epochs_trained, study.ranking[0].score


def describe_command(command: Command) -> str:
    """Returns a line about a command."""
    workers = f"{command.workers} worker{'s' * (command.workers > 1)}"
    return (
        f"repeat {command.repeat}, {workers}: {command.wall_s:.1f} s, {command.trials} trials, "
        f"{command.epochs} epochs, best {command.best:.2f} nats, load {command.load:.1f} before"
    )


def main() -> None:
    """Runs the missing commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", default=SEARCH, help="name or file of the search")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=PATH)
    arguments = parser.parse_args()
    here = describe()
    wanted = list(itertools.product(range(1, arguments.repeats + 1), WORKERS))
    for repeat, workers in wanted:
        known = read_commands(arguments.results).get((arguments.search, repeat, workers))
        if known is None or known.environment != here:
            known = run(arguments.search, repeat, workers)
            append_line(arguments.results, json.dumps(asdict(known)))
        print(describe_command(known), flush=True)
    commands = read_commands(arguments.results)
    shares = ratios([commands[arguments.search, *one] for one in wanted])
    print(
        f"2 workers, as a share of one worker's wall time: {statistics.median(shares):.3f} "
        f"({min(shares):.3f} to {max(shares):.3f})"
    )


if __name__ == "__main__":
    main()
