"""Ctrl-C and SIGTERM stop a search at the next call of its watcher and are never lost."""

import os
import signal

import pytest

from vaetune.search.interrupts import StoppableWatcher
from vaetune.study.events import SessionEnded

EVENT = SessionEnded(reason="completed")


class RecordingWatcher:
    """A watcher that keeps the calls it receives."""

    def __init__(self):
        self.calls = []

    def on_event(self, kind, event):
        self.calls.append((kind, event))

    def on_progress(self, run, trial_id, share):
        self.calls.append((run, trial_id, share))

    def on_wait(self):
        self.calls.append("wait")


def send_signal(number=signal.SIGINT):
    """Sends a signal to this process."""
    os.kill(os.getpid(), number)


CALLS = {
    "event": lambda watcher: watcher.on_event("search", EVENT),
    "progress": lambda watcher: watcher.on_progress("search", "0000", 0.5),
    "wait": lambda watcher: watcher.on_wait(),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_stops_the_search_at_the_next_call(number, call):
    with StoppableWatcher(RecordingWatcher()) as watcher:
        send_signal(number)
        with pytest.raises(KeyboardInterrupt):
            call(watcher)


def test_a_signal_in_a_destructor_is_not_lost():
    class Interrupted:
        def __del__(self):
            send_signal()

    with StoppableWatcher(RecordingWatcher()) as watcher:
        Interrupted()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("search", "0000", 0.5)


def test_the_inner_watcher_receives_every_call_before_the_interrupt():
    inner = RecordingWatcher()
    with StoppableWatcher(inner) as watcher:
        watcher.on_event("search", EVENT)
        watcher.on_progress("search", None, 0.25)
        watcher.on_wait()
        send_signal()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("baseline", "0000", 0.5)
    assert inner.calls == [
        ("search", EVENT),
        ("search", None, 0.25),
        "wait",
        ("baseline", "0000", 0.5),
    ]


def test_events_after_the_interrupt_are_not_interrupted():
    with StoppableWatcher(RecordingWatcher()) as watcher:
        send_signal()
        with pytest.raises(KeyboardInterrupt):
            watcher.on_progress("search", "0000", 0.5)
        watcher.on_event("search", EVENT)


def test_a_second_signal_stops_at_once():
    with StoppableWatcher(RecordingWatcher()):
        send_signal()
        with pytest.raises(KeyboardInterrupt):
            send_signal()


@pytest.fixture
def former_handlers():
    """Signal handlers before the test, which are restored after it."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def test_the_former_signal_handlers_are_restored(former_handlers):
    with StoppableWatcher(RecordingWatcher()):
        pass
    assert handlers() == former_handlers


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_signal_handler_that_a_library_sets_is_replaced_at_the_next_call(former_handlers, call):
    def exit_at_once(number, frame):
        raise SystemExit(1)

    with StoppableWatcher(RecordingWatcher()) as watcher:
        signal.signal(signal.SIGTERM, exit_at_once)
        call(watcher)
        send_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            watcher.on_wait()
    assert handlers() == former_handlers


def test_a_signal_handler_that_a_library_set_earlier_is_restored(former_handlers):
    def exit_at_once(number, frame):
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, exit_at_once)
    with StoppableWatcher(RecordingWatcher()) as watcher:
        watcher.on_wait()
    assert signal.getsignal(signal.SIGTERM) is exit_at_once
    watcher.on_wait()
    assert signal.getsignal(signal.SIGTERM) is exit_at_once, (
        "a closed watcher leaves signal handlers alone"
    )
