"""One process trains searches in turn; see the contract of all executors too."""

from contextlib import contextmanager

import pytest
from tiny_searches import DEVICE, IMAGES

from vaetune.search.executors.local import LocalExecutor
from vaetune.training.context import TrainingContext


class Source:
    """Has no trials, and notes what is asked of it."""

    def __init__(self, shown, name):
        self.shown, self.name = shown, name

    def on_search_begin(self):
        self.shown.append(f"search {self.name}")
        if self.name == "broken":
            raise ValueError("stop")

    def next_trial(self):
        return None

    def on_search_end(self):
        pass

    def repairs(self):
        self.shown.append(f"repair {self.name}")
        return iter(())

    def remove_unneeded(self):
        pass


@contextmanager
def opening(shown, name):
    shown.append(f"open {name}")
    try:
        yield None if name == "done" else Source(shown, name)
    except ValueError:
        shown.append(f"broke {name}")
        raise
    shown.append(f"close {name}")


def run(*names):
    shown = []
    executor = LocalExecutor(TrainingContext(IMAGES), DEVICE)
    try:
        executor.run([opening(shown, name) for name in names], on_wait=lambda: None)
    finally:
        run.shown = shown
    return shown


def test_each_search_is_opened_when_the_one_before_is_closed():
    assert run("a", "done", "b") == [
        *("open a", "search a", "repair a", "close a"),
        *("open done", "close done"),
        *("open b", "search b", "repair b", "close b"),
    ]


def test_what_stops_one_is_heard_by_it_and_opens_no_other():
    with pytest.raises(ValueError, match="stop"):
        run("broken", "b")
    assert run.shown == ["open broken", "search broken", "broke broken"]


def test_it_says_where_it_trains():
    executor = LocalExecutor(TrainingContext(IMAGES), DEVICE)
    assert executor.workers == 1
    assert (executor.environment.device, executor.environment.threads) == ("CPU", 2)
