"""Ctrl-C stops a search at the next safe place, and is never lost."""

import os
import signal

import pytest

from vaetune.search.interrupts import StoppableWatcher
from vaetune.study.events import SessionEnded

EVENT = SessionEnded(reason="completed")


class Heard:
    def __init__(self):
        self.calls = []

    def on_event(self, kind, event):
        self.calls.append((kind, event))

    def on_progress(self, run, trial_id, share):
        self.calls.append((run, trial_id, share))

    def on_wait(self):
        self.calls.append("wait")


def press_ctrl_c(number=signal.SIGINT):
    os.kill(os.getpid(), number)


CALLS = {
    "event": lambda watcher: watcher.on_event("search", EVENT),
    "progress": lambda watcher: watcher.on_progress("search", "0000", 0.5),
    "wait": lambda watcher: watcher.on_wait(),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_stops_the_search_at_the_next_call(number, call):
    with StoppableWatcher(Heard()) as watcher:
        press_ctrl_c(number)
        with pytest.raises(KeyboardInterrupt):
            call(watcher)


def test_a_signal_in_a_destructor_is_not_lost():
    class Interrupted:
        def __del__(self):
            press_ctrl_c()

    with StoppableWatcher(Heard()) as watcher:
        Interrupted()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("search", "0000", 0.5)


def test_the_other_watcher_hears_everything_before():
    heard = Heard()
    with StoppableWatcher(heard) as watcher:
        watcher.on_event("search", EVENT)
        watcher.on_progress("search", None, 0.25)
        watcher.on_wait()
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("baseline", "0000", 0.5)
    assert heard.calls == [
        ("search", EVENT),
        ("search", None, 0.25),
        "wait",
        ("baseline", "0000", 0.5),
    ]


def test_the_journals_last_word_is_not_interrupted():
    with StoppableWatcher(Heard()) as watcher:
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("search", "0000", 0.5)
        watcher.on_event("search", EVENT)


def test_a_second_signal_stops_at_once():
    with StoppableWatcher(Heard()):
        press_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            press_ctrl_c()


@pytest.fixture
def former():
    """The handlers before the test; they are there again after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def test_the_former_handlers_come_back(former):
    with StoppableWatcher(Heard()):
        pass
    assert handlers() == former


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_that_a_library_takes_for_itself_is_taken_back_at_the_next_call(former, call):
    def exit_on_the_spot(number, frame):
        raise SystemExit(1)

    with StoppableWatcher(Heard()) as watcher:
        signal.signal(signal.SIGTERM, exit_on_the_spot)
        call(watcher)
        press_ctrl_c(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            watcher.on_wait()
    assert handlers() == former


def test_handlers_that_a_library_set_before_come_back(former):
    def exit_on_the_spot(number, frame):
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, exit_on_the_spot)
    with StoppableWatcher(Heard()) as watcher:
        watcher.on_wait()
    assert signal.getsignal(signal.SIGTERM) is exit_on_the_spot
    watcher.on_wait()
    assert signal.getsignal(signal.SIGTERM) is exit_on_the_spot, "it listens no longer"
