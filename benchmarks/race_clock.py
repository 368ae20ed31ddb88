"""The record of a run of a race, and the clock that ends it."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workloads import append_line, describe, read_lines

LIMIT_S = 130.0
"""Seconds after which a run ends."""

SCHEDULE_EPOCHS = 75
"""Epochs of Hyperband's schedule. Hyperband and freeze-thaw train at least this many."""


@dataclass(frozen=True)
class RaceRun:
    """One search of a race.

    Attributes:
        images: Name of the image set.
        contender: Name of the contender.
        seed: Random seed.
        epochs: Pairs of seconds since the start and validation loss, nats per image, of all epochs
            in order.
        ended_s: Seconds until the search ended by itself; None if the clock ended it.
        environment: Processor and versions.
    """

    images: str
    contender: str
    seed: int
    epochs: Sequence[tuple[float, float]]
    ended_s: float | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int]:
        """Identifies the run."""
        return self.images, self.contender, self.seed

    def best(self, until_s: float) -> float:
        """Returns the lowest validation loss up to a time in seconds; infinite without epochs."""
        return min((loss for at, loss in self.epochs if at <= until_s), default=float("inf"))

    def best_of(self, epochs: int) -> float:
        """Returns the lowest validation loss of the first epochs; infinite without epochs."""
        return min((loss for _, loss in self.epochs[:epochs]), default=float("inf"))

    def seconds_to(self, loss: float) -> float | None:
        """Returns the seconds until a validation loss is reached; None if it is never reached."""
        return next((at for at, reached in self.epochs if reached <= loss), None)


class Clock:
    """Records the epochs of a search, and ends this process after the time limit.

    The process ends at once, even within an epoch, because the row is written before.

    Args:
        path: File of rows, to which the run is appended.
        run: The run, without epochs.
        limit_s: Seconds after which the search ends.
        least_epochs: Minimum number of epochs, for which the search may exceed the limit.
    """

    def __init__(self, path: Path, run: RaceRun, limit_s: float, least_epochs: int = 0) -> None:
        self._path, self._run = path, run
        self._limit_s, self._least = limit_s, least_epochs
        self._epochs: list[tuple[float, float]] = []
        self._began_at = 0.0

    def start(self) -> None:
        """Starts the clock. Call it when all modules are imported and the images are loaded."""
        self._began_at = time.time()
        threading.Thread(target=self._end_when_over, daemon=True).start()

    def add_epoch(self, val_loss: float, at: float | None = None) -> None:
        """Records an epoch.

        Args:
            val_loss: Validation loss, nats per image.
            at: Time of its end, in seconds since 1970. Default: now.
        """
        seconds = (time.time() if at is None else at) - self._began_at
        self._epochs.append((round(seconds, 2), round(float(val_loss), 3)))

    def end(self, by_itself: bool = True) -> None:
        """Writes the run and ends the process.

        Args:
            by_itself: True if the search has ended, False if the clock ends it.
        """
        ended_s = round(time.time() - self._began_at, 2) if by_itself else None
        row = RaceRun(*self._run.key, list(self._epochs), ended_s, describe())
        append_line(self._path, json.dumps(asdict(row)))
        os._exit(0)

    def _end_when_over(self) -> None:
        time.sleep(self._limit_s)
        while len(self._epochs) < self._least:
            time.sleep(0.1)
        self.end(by_itself=False)


def read_race(path: Path) -> list[RaceRun]:
    """Returns the runs of a file; the last one of each key counts."""
    return list({run.key: run for run in _runs(path)}.values())


def _runs(path: Path) -> Iterator[RaceRun]:
    for line in read_lines(path):
        epochs: list[Any] = [tuple(pair) for pair in line["epochs"]]
        yield RaceRun(**line | {"epochs": epochs})
