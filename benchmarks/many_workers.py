"""A search on 32 workers of one machine: whether the driver keeps them busy, and what it costs.

    python benchmarks/many_workers.py [--again] [--profile]

Everything is real but the training: Ray and its 32 processes, oracle, journal, checkpoints and
pictures, these of tiny arrays. The workers sleep as long as an epoch might take, which differs
between configurations (`sleeper.py`), and the finalists are rescored at random by the driver. The
clock starts when all workers are ready.

Writes `results/many_workers.json`; what is there already of this machine, these versions and these
settings is printed, unless `--again` measures it anew.
"""

import argparse
import cProfile
import json
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from sleeper import Pace, at_pace
from workloads import RESULTS, describe


@dataclass(frozen=True)
class Settings:
    """Of a simulated search.

    Attributes:
        workers: How many sleep at a time.
        max_epochs: Of Hyperband, with the factor 3.
        iterations: Of the same.
        epoch_s: Mean seconds of an epoch, over configurations.
        spread: Standard deviation of the logarithm of a configuration's seconds.
    """

    workers: int = 32
    max_epochs: int = 27
    iterations: int = 20
    epoch_s: float = 0.75
    spread: float = 0.6


@dataclass
class Stopwatch:
    """The time of the driver, from the start of the first trial to the end of the last one.

    Attributes:
        events: Starts, epochs and ends of trials.
        began: When the first trial started, as `_now` tells it.
        ended: When the latest one ended.
        waited: What of it was spent in `ray.wait`.
    """

    events: int = 0
    began: "Moment | None" = None
    ended: "Moment | None" = None
    waited: "Moment" = field(default_factory=lambda: Moment())

    def on_event(self, whose: str, event: Any) -> None:
        """Counts the events of trials; see `search.Watcher`."""
        if event.event in ("trial_started", "epoch_ended", "trial_ended"):
            self.events += 1
            self.began = self.began or _now()
            self.ended = _now()

    def on_progress(self, whose: str, trial_id: str | None, share: float) -> None:
        """Ignores how far an epoch is."""

    def on_wait(self) -> None:
        """Ignores that nothing happens."""

    def around(self, wait: Callable[..., Any]) -> Callable[..., Any]:
        """`ray.wait`, whose time is counted."""

        def timed(*arguments: Any, **options: Any) -> Any:
            began = _now()
            try:
                return wait(*arguments, **options)
            finally:
                if self.began:
                    self.waited += _now() - began

        return timed
