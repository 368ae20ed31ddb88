"""Compiles programs in background threads, before they are needed."""

import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Lock, Thread

import tensorflow as tf


class Compilation:
    """A compilation that one thread does, and for which others can wait.

    Args:
        compile_now: Function that compiles.

    Attributes:
        is_done: Whether the compilation has ended.
    """

    def __init__(self, compile_now: Callable[[], object]) -> None:
        self._compile_now = compile_now
        self._lock = Lock()
        self.is_done = False

    def finish(self) -> None:
        """Compiles, or waits for the thread that does.

        No error is raised: the next call of the program compiles it again, and raises the error.
        """
        with self._lock:
            if not self.is_done:
                with suppress(Exception):
                    self._compile_now()
                self.is_done = True


def compile_in_background(compilations: Iterable[Compilation]) -> None:
    """Starts threads that compile, the first ones first, on half of the cores of this process.

    A worker has its share of the machine's cores. XLA compiles without Python's lock. Threads end
    with the process, so nothing waits for them.
    """
    waiting = deque(compilations)
    cores = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1

    def work() -> None:
        with suppress(IndexError):
            while True:
                waiting.popleft().finish()

    for _ in range(min(len(waiting), max(1, cores // 2))):
        Thread(target=work, daemon=True, name="vaetune-compiler").start()
