"""Ctrl-C stops a search at the next safe place, and is never lost."""

import os
import signal

import pytest

from vaetune.journal import SessionEnded
from vaetune.signals import StoppableWatcher

EVENT = SessionEnded(reason="completed")


class Heard:
    def __init__(self):
        self.calls = []

    def on_event(self, kind, event):
        self.calls.append((kind, event))

    def on_progress(self, share):
        self.calls.append(share)


def press_ctrl_c(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", ["event", "progress"])
def test_a_signal_stops_the_search_at_the_next_call(number, call):
    with StoppableWatcher(Heard()) as watcher:
        press_ctrl_c(number)
        with pytest.raises(KeyboardInterrupt):
            watcher.on_event("search", EVENT) if call == "event" else watcher.on_progress(0.5)


def test_a_signal_in_a_destructor_is_not_lost():
    class Interrupted:
        def __del__(self):
            press_ctrl_c()

    with StoppableWatcher(Heard()) as watcher:
        Interrupted()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress(0.5)


def test_the_other_watcher_hears_everything_before():
    heard = Heard()
    with StoppableWatcher(heard) as watcher:
        watcher.on_event("search", EVENT)
        watcher.on_progress(0.25)
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress(0.5)
    assert heard.calls == [("search", EVENT), 0.25, 0.5]


def test_the_journals_last_word_is_not_interrupted():
    with StoppableWatcher(Heard()) as watcher:
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress(0.5)
        watcher.on_event("search", EVENT)


def test_a_second_signal_stops_at_once():
    with StoppableWatcher(Heard()):
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


def test_the_former_handlers_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StoppableWatcher(Heard()):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
