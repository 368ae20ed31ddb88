"""Prints the resident memory in MiB after every ten trials of a tiny search.

python tests/stress/memory_of_trials.py 110
"""

import os
import sys
import tempfile
from pathlib import Path

# Without pytest, the support code is not on the import path.
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from tiny_searches import TINY, changed, run

from vaetune.config.spec import Budget
from vaetune.study.events import TrialEnded


class MemoryWatcher:
    """Prints the resident memory of the process after every ten trials."""

    def __init__(self) -> None:
        self._ended = 0

    def on_event(self, kind, event) -> None:
        self._ended += isinstance(event, TrialEnded)
        if isinstance(event, TrialEnded) and self._ended % 10 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(self._ended, round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1), flush=True)

    def on_progress(self, run, trial_id, share) -> None:
        pass

    def on_wait(self) -> None:
        pass


if __name__ == "__main__":
    budget = Budget(max_epochs=1, max_trials=int(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), changed(TINY, algorithm="random", budget=budget), watcher=MemoryWatcher())
