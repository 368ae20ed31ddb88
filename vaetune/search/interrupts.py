"""Stops a search on Ctrl-C or SIGTERM, but only where that is safe.

Python raises KeyboardInterrupt wherever the program happens to be, even in a destructor, where
the exception is lost. Here the first signal is remembered, and raised at the watcher's next call.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from vaetune.search.watcher import Watcher
from vaetune.study import Event

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppableWatcher:
    """Passes all calls to another watcher, and stops the search after a signal.

    It is a context manager that handles SIGINT and SIGTERM. The first signal raises
    KeyboardInterrupt at the next call; a second one raises it at once.

    Args:
        watcher: The other watcher.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._is_stopping = False
        self._former_handlers: dict[signal.Signals, Any] = {}

    @staticmethod
    def is_possible() -> bool:
        """Returns whether this thread may handle signals: only the main thread may."""
        return threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        self._former_handlers = {
            number: signal.signal(number, self._on_signal) for number in _SIGNALS
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        self._former_handlers = {}

    def on_event(self, run: str, event: Event) -> None:
        """Passes an event on, then raises KeyboardInterrupt if a signal has arrived."""
        self._watcher.on_event(run, event)
        self._raise_if_signaled()

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Passes progress on, then raises KeyboardInterrupt if a signal has arrived."""
        self._watcher.on_progress(run, trial_id, share)
        self._raise_if_signaled()

    def on_wait(self) -> None:
        """Passes the call on, then raises KeyboardInterrupt if a signal has arrived."""
        self._watcher.on_wait()
        self._raise_if_signaled()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_stopping:
            raise KeyboardInterrupt
        self._is_stopping = True

    def _raise_if_signaled(self) -> None:
        self._take_back_signals()
        if self._is_stopping:
            # It is raised only once, so that the search can end cleanly.
            self._is_stopping = False
            raise KeyboardInterrupt

    def _take_back_signals(self) -> None:
        # Ray installs its own handler of SIGTERM when it starts, which exits at once.
        for number in self._former_handlers:
            if signal.getsignal(number) != self._on_signal:
                signal.signal(number, self._on_signal)
