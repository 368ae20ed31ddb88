"""Traces programs one at a time, with names that do not depend on earlier ones."""

import atexit
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from threading import Lock, get_ident

# No public function names the functions inside a program.
from tensorflow.python.framework import ops

_lock = Lock()
"""Held while Python code is traced, which needs Python's own lock most of the time.

A process ends only between two tracings, since Python aborts if it stops a thread in one. It does
not wait for XLA.
"""

atexit.register(_lock.acquire)

_traced: Counter[str] = Counter()
"""How often each description was traced in this process."""

_NUMBERS = 2**20
"""Numbers that each program may use."""


@contextmanager
def tracing(description: str) -> Iterator[None]:
    """Lets one thread trace a program.

    TensorFlow numbers all functions and tensors of a process, and XLA finds a kept program by the
    names of its functions. So these have numbers of their own, which come from the description: a
    later process finds the program whatever it traced before.

    Args:
        description: Text that is different for different programs.
    """
    with _lock:
        text = f"{description} {_traced[description]}"
        _traced[description] += 1
        first = (1 + int(sha256(text.encode()).hexdigest()[:10], 16)) * _NUMBERS
        numbers, thread, number_of_process = count(first), get_ident(), ops.uid

        def number() -> int:
            is_tensor = sys._getframe(1).f_globals is vars(ops)
            is_other = is_tensor or get_ident() != thread
            return number_of_process() if is_other else next(numbers)

        ops.uid = number
        try:
            yield
        finally:
            ops.uid = number_of_process
