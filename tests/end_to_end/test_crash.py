"""A search that is killed or finds damaged files ends like an undisturbed search."""

import os
import random
import signal
import subprocess
import tempfile
import time
from itertools import product
from pathlib import Path

import pytest
import tensorflow as tf
from comparisons import assert_same_search
from long_forms import long
from prepared_commands import PreparedCommand
from tiny_searches import TINY, changed, run, stop
from torture import FILES, Torture, WorkersTorture, descendants, wait_until_gone

from vaetune.config.spec import Budget
from vaetune.search import checkpoints
from vaetune.search.checkpoints import CheckpointKeeper


@pytest.mark.slow
def test_a_killed_search_with_a_truncated_file_ends_like_an_undisturbed_one(tmp_path):
    torture = Torture(tmp_path, seed=2, launch=PreparedCommand)
    torture.run(kills=1, cuts=1)
    assert torture.tally.kills >= 1
    assert torture.tally.cut == 1
    assert torture.tally.searches >= 1


@pytest.mark.long
def test_a_killed_driver_does_not_change_the_results_of_workers(tmp_path):
    """The tests of the executor kill workers. `tests/stress/torture.py` kills both repeatedly."""
    # Ray limits the length of the paths of its sockets.
    with tempfile.TemporaryDirectory(
        prefix="vt-", dir="/tmp", ignore_cleanup_errors=True
    ) as temporary:
        torture = WorkersTorture(
            tmp_path, Path(temporary), 2, max_epochs=3, images=500, launch=PreparedCommand
        )
        try:
            torture.run(workers=0, drivers=1)
        finally:
            torture.kill_remaining_processes()
    assert torture.tally.kills == 1


def test_a_process_that_outlives_its_driver_is_found():
    # Ray gives this name to a worker.
    orphan = "exec -a ray::Worker.run sleep 60"
    shell = subprocess.Popen(["bash", "-c", f"({orphan}) & wait"])
    try:
        while not (found := [one for one in descendants(shell.pid) if one.is_training]):
            time.sleep(0.01)
    finally:
        shell.kill()
        shell.wait()
    (worker,) = found
    with pytest.raises(AssertionError, match="still running"):
        wait_until_gone(found, 0.2)
    os.kill(worker.pid, signal.SIGKILL)
    assert wait_until_gone(found, 10.0) < 10.0


SPEC = changed(TINY, budget=Budget(max_epochs=3))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    tf.config.experimental.enable_op_determinism()
    return run(tmp_path_factory.mktemp("undisturbed"), SPEC)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *long(1)])
@pytest.mark.parametrize("pattern", FILES)
def test_a_search_recovers_from_a_truncated_file(undisturbed, tmp_path, monkeypatch, pattern, seed):
    # With 0 s, every epoch leaves a checkpoint; with 10 s, only the last epoch of a session does.
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 10.0 * (seed % 2))
    generator = random.Random(f"{pattern} {seed}")
    study = stop(tmp_path, generator.randint(6, 20), SPEC)
    path = generator.choice(sorted(study.folder.glob(pattern)))
    with path.open("r+b") as file:
        file.truncate(generator.randrange(path.stat().st_size))
    assert_same_search(run(tmp_path, SPEC), undisturbed)


class KilledError(BaseException):
    """Simulates the immediate end of a process: nothing more is written."""


SHORT = {(1, 8), (2, 2)}
"""Cases that the suite runs, as (written, epochs).

The first case is a kill in the last rung with a checkpoint of every epoch. The second case is a
kill in the first rung with a checkpoint of every second epoch.
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "epochs"),
    [
        pytest.param(*case, marks=() if case in SHORT else pytest.mark.long)
        for case in product((1, 2), (2, 3, 4, 5, 6, 8, 11))
    ],
)
def test_a_search_continues_from_a_checkpoint_older_than_the_journal(
    undisturbed, tmp_path, monkeypatch, epochs, written
):
    """The search is killed after `epochs` epochs. Every `written`-th epoch leaves a checkpoint."""
    saved, keep = [], CheckpointKeeper.save

    def save(self, trial_id, checkpoint):
        saved.append(checkpoint.epoch)
        patch.setattr(checkpoints, "INTERVAL_S", 0.0 if len(saved) % written == 0 else 1e6)
        keep(self, trial_id, checkpoint)
        if len(saved) == epochs:
            patch.setattr(CheckpointKeeper, "flush_all", lambda self: None)
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointKeeper, "save", save)
        with pytest.raises(KilledError):
            run(tmp_path, SPEC)
    assert_same_search(run(tmp_path, SPEC), undisturbed)
