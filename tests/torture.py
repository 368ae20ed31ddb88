"""Kills a small search again and again, damages its files, and compares what comes out.

    python tests/torture.py --kills 30 --seed 0

A session of the search is killed at a random instant, then a file of it may be cut off at a
random place, then the same command is given again, until the search ends. It must end with the
trials, scores, weights and winner of a search that nobody disturbed.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from image_sets import make_split
from outcomes import assert_same_search
from vaetune.study import load_study

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


@dataclass
class Tally:
    """What a search went through.

    Attributes:
        kills: Sessions that were killed.
        searches: Searches that came to their end and were as they should be.
        cut: Files that were cut off.
    """

    kills: int = 0
    searches: int = 0
    cut: int = 0


class Torture:
    """A small search in a folder, and a seeded source of evil."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self.tally = Tally()
        train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
        arrays = {"x_train": train.images, "x_test": test.images}
        np.savez(folder / "squares.npz", **arrays)
        (folder / "squares.toml").write_text(SEARCH_FILE)
        began_s = time.monotonic()
        assert self._start("undisturbed").wait() == 0
        self._duration_s = time.monotonic() - began_s
        self._undisturbed = load_study(folder / "undisturbed" / "squares")

    def run(self, kills: int, cut_share: float = 0.0) -> None:
        """Disturbs one search after the other until so many sessions were killed."""
        while self.tally.kills < kills:
            self._disturb_one(f"disturbed-{self.tally.searches}", kills, cut_share)

    def _disturb_one(self, results: str, kills: int, cut_share: float) -> None:
        while self.tally.kills < kills:
            process = self._start(results)
            try:
                process.wait(self._random.uniform(0, self._duration_s))
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.tally.kills += 1
            if self._random.random() < cut_share:
                self._cut_a_file(self._folder / results / "squares")
        assert self._start(results).wait() == 0, "the same command does not go on"
        study = load_study(self._folder / results / "squares")
        assert study.is_complete
        assert_same_search(study, self._undisturbed)
        self.tally.searches += 1

    def _start(self, results: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{results}.log").open("ab") as log:
            return subprocess.Popen([*COMMAND, results], cwd=self._folder, stdout=log, stderr=log)

    def _cut_a_file(self, folder: Path) -> None:
        files = sorted(path for pattern in FILES for path in folder.glob(pattern))
        if files:
            path = self._random.choice(files)
            with path.open("r+b") as file:
                file.truncate(self._random.randrange(path.stat().st_size + 1))
            self.tally.cut += 1


def main() -> None:
    """Prints the tally; an assertion fails where something was lost."""
    parser = argparse.ArgumentParser(description="Kill a small search again and again.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, cut_share in (("killed", 0.0), ("killed, and a file cut off", 0.7)):
        with tempfile.TemporaryDirectory() as folder:
            torture = Torture(Path(folder), arguments.seed)
            torture.run(arguments.kills, cut_share)
        tally = torture.tally
        print(
            f"{name}: {tally.kills} kills and {tally.cut} files cut off survived, "
            f"{tally.searches} searches ended like the undisturbed one"
        )


if __name__ == "__main__":
    main()
