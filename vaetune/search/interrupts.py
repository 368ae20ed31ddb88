"""Ctrl-C and SIGTERM, heard where a search can be stopped safely.

Python raises KeyboardInterrupt at any point, even in a destructor, where it is
lost. Here the first signal is remembered, and raised at the watcher's next call.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from vaetune.search.watcher import Watcher
from vaetune.study import Event

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppableWatcher:
    """Passes everything on to another watcher, and stops the search once a signal came.

    A second signal stops it at once.

    Args:
        watcher: The other one; see `search.Watcher`.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._is_stopping = False
        self._former: dict[signal.Signals, Any] = {}

    @staticmethod
    def is_possible() -> bool:
        """Returns whether this thread may handle signals: only the main thread may."""
        return threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def on_event(self, run: str, event: Event) -> None:
        """Passes an event on; then raises KeyboardInterrupt if the search is to stop."""
        self._watcher.on_event(run, event)
        self._stop_if_asked()

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Passes progress on; then raises KeyboardInterrupt if the search is to stop."""
        self._watcher.on_progress(run, trial_id, share)
        self._stop_if_asked()

    def on_wait(self) -> None:
        """Passes on that nothing happened; then raises KeyboardInterrupt if it is to stop."""
        self._watcher.on_wait()
        self._stop_if_asked()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._is_stopping:
            raise KeyboardInterrupt
        self._is_stopping = True

    def _stop_if_asked(self) -> None:
        self._listen()
        if self._is_stopping:
            self._is_stopping = False  # once: what follows is the search's clean end
            raise KeyboardInterrupt

    def _listen(self) -> None:
        # Ray takes SIGTERM for itself when it is brought up, to exit on the spot.
        for number in self._former:
            if signal.getsignal(number) != self._hear:
                signal.signal(number, self._hear)
