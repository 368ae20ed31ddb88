"""Reading of the next images while the last ones are used."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from numpy.typing import NDArray

Part = TypeVar("Part")


def read_ahead(
    read: Callable[[Part], NDArray[Any]], parts: Sequence[Part]
) -> Iterator[NDArray[Any]]:
    """Yields the images of each part. A thread reads a part while the one before it is used.

    Args:
        read: Reads the images of a part.
        parts: The parts, in the order of their use.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="images") as reader:
        waiting: list[Future[NDArray[Any]]] = []
        try:
            for number in range(len(parts) + 1):
                ready = waiting.pop().result() if waiting else None
                if number < len(parts):
                    waiting.append(reader.submit(read, parts[number]))
                if ready is not None:
                    yield ready
        finally:  # A stopped command waits for one part at most.
            for one in waiting:
                one.cancel()
