"""The executor of one process trains searches one after the other.

Tests of all executors are in `tests/contracts/test_executors.py`.
"""

from contextlib import contextmanager

import pytest
from tiny_searches import DEVICE, IMAGES

from vaetune.search.executors.local import LocalExecutor
from vaetune.training.context import TrainingContext


class Source:
    """A source without trials that records the calls of its methods."""

    def __init__(self, calls, name):
        self.calls, self.name = calls, name

    def on_search_begin(self):
        self.calls.append(f"search {self.name}")
        if self.name == "broken":
            raise ValueError("stop")

    def next_trial(self):
        return None

    def on_search_end(self):
        pass

    def repairs(self):
        self.calls.append(f"repair {self.name}")
        return iter(())

    def remove_unneeded(self):
        pass


@contextmanager
def pending_search(calls, name):
    calls.append(f"open {name}")
    try:
        yield None if name == "done" else Source(calls, name)
    except ValueError:
        calls.append(f"broke {name}")
        raise
    calls.append(f"close {name}")


def run(*names):
    calls = []
    executor = LocalExecutor(TrainingContext(IMAGES), DEVICE)
    try:
        executor.run([pending_search(calls, name) for name in names], on_wait=lambda: None)
    finally:
        run.calls = calls
    return calls


def test_a_search_opens_after_the_previous_one_has_closed():
    assert run("a", "done", "b") == [
        *("open a", "search a", "repair a", "close a"),
        *("open done", "close done"),
        *("open b", "search b", "repair b", "close b"),
    ]


def test_an_error_reaches_its_own_search_and_no_other_search_opens():
    with pytest.raises(ValueError, match="stop"):
        run("broken", "b")
    assert run.calls == ["open broken", "search broken", "broke broken"]


def test_the_local_executor_is_one_worker_with_a_device_and_threads():
    executor = LocalExecutor(TrainingContext(IMAGES), DEVICE)
    assert executor.workers == 1
    assert (executor.environment.device, executor.environment.threads) == ("CPU", 2)
