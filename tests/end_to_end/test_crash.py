"""A search that is killed or has damaged files ends like an undisturbed one."""

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
def test_a_search_that_is_killed_and_whose_files_are_cut_off_ends_like_one_that_was_not(tmp_path):
    torture = Torture(tmp_path, seed=2, launch=PreparedCommand)
    torture.run(kills=1, cuts=1)
    assert torture.tally.kills >= 1
    assert torture.tally.cut == 1
    assert torture.tally.searches >= 1


@pytest.mark.long
def test_a_search_on_workers_whose_driver_is_killed_ends_like_one_process_that_was_not(tmp_path):
    """The executor's tests kill workers. `tests/stress/torture.py` kills both repeatedly."""
    # Ray has room for a short path only.
    with tempfile.TemporaryDirectory(
        prefix="vt-", dir="/tmp", ignore_cleanup_errors=True
    ) as temporary:
        torture = WorkersTorture(
            tmp_path, Path(temporary), 2, max_epochs=3, images=500, launch=PreparedCommand
        )
        try:
            torture.run(workers=0, drivers=1)
        finally:
            torture.kill_what_is_left()
    assert torture.tally.kills == 1


def test_a_process_that_outlives_its_driver_is_found():
    # The name is the one that Ray gives to a worker.
    left_behind = "exec -a ray::Worker.run sleep 60"
    shell = subprocess.Popen(["bash", "-c", f"({left_behind}) & wait"])
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
def test_a_file_that_is_cut_off_anywhere_is_recovered_from(
    undisturbed, tmp_path, monkeypatch, pattern, seed
):
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 10.0 * (seed % 2))  # each epoch's, or the last's
    generator = random.Random(f"{pattern} {seed}")
    study = stop(tmp_path, generator.randint(6, 20), SPEC)
    path = generator.choice(sorted(study.folder.glob(pattern)))
    with path.open("r+b") as file:
        file.truncate(generator.randrange(path.stat().st_size))
    assert_same_search(run(tmp_path, SPEC), undisturbed)


class KilledError(BaseException):
    """Stands for the immediate end of a process: nothing more is written."""


SHORT = {(1, 8), (2, 2)}
"""In the last rung with every checkpoint, and in the first one with every second one."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "epochs"),
    [
        pytest.param(*case, marks=() if case in SHORT else pytest.mark.long)
        for case in product((1, 2), (2, 3, 4, 5, 6, 8, 11))
    ],
)
def test_a_checkpoint_older_than_the_journal_is_continued(
    undisturbed, tmp_path, monkeypatch, epochs, written
):
    """The search is killed after `epochs` epochs. Every `written`-th one leaves a checkpoint."""
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
