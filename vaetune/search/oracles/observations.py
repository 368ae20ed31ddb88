"""The configurations of a freeze-thaw search so far, and what a Gaussian process sees of them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vaetune.search.oracles.encoding import Configuration, Encoder
from vaetune.search.oracles.gaussian_process import Array, Points
from vaetune.search.oracles.scale import Scale

IN_FULL = 20
"""Number of configurations up to which the process sees several losses of each."""

BEST_IN_FULL, LOSSES_IN_FULL = 12, 3
"""Number of the best configurations that it always sees several losses of, and of those losses."""

MOST, MOST_OF_BEST = 200, 60
"""Number of configurations that it sees at most, and of the best ones among them."""

MAX_PAUSED = 12
"""Number of paused configurations, at most. The weights of the others are removed."""


@dataclass(frozen=True)
class Run:
    """A configuration that has begun.

    Attributes:
        values: Values of the hyperparameters that the model uses.
        last: Id of its last trial.
        ends: Last epochs of its completed trials, in order.
        losses: Lowest costs of these trials, see `Objective.cost`: by default validation losses,
            nats per image.
        has_failed: True if the last trial failed.
        running_to: Epoch to which its running trial trains; None if none is running.
        collapsed: True if the last completed trial had collapsed.
        is_dropped: True if the weights are removed. The configuration then never continues.
    """

    values: Configuration
    last: str
    ends: tuple[int, ...] = ()
    losses: tuple[float, ...] = ()
    has_failed: bool = False
    running_to: int | None = None
    collapsed: bool = False
    is_dropped: bool = False

    @property
    def epoch(self) -> int:
        """Epochs that the configuration has trained."""
        return self.ends[-1] if self.ends else 0

    def is_paused(self, last_epoch: int) -> bool:
        """Returns whether the configuration may continue.

        Args:
            last_epoch: Last epoch of every configuration.
        """
        is_idle = not self.has_failed and self.running_to is None and not self.is_dropped
        return is_idle and bool(self.ends) and self.epoch < last_epoch


def observe(
    runs: Sequence[Run], scale: Scale, encoder: Encoder, last_epoch: int
) -> tuple[Points, Array]:
    """Returns the losses that the Gaussian process sees, and where they were observed.

    A failed trial counts as if its configuration had ended with the worst loss, so that the
    process avoids its neighbourhood.

    Args:
        runs: The configurations that have begun. At least one has a loss.
        scale: Scale of the losses.
        encoder: Search space.
        last_epoch: Last epoch of every configuration.
    """
    (worst,) = scale.onto([max(loss for run in runs for loss in run.losses)]).tolist()
    seen = [index for index, run in enumerate(runs) if run.losses or run.has_failed]
    best = sorted(seen, key=lambda index: (min(runs[index].losses, default=math.inf), index))
    seen = _limited(seen, best)
    in_full = set(seen if len(seen) <= IN_FULL else best[:BEST_IN_FULL])
    rows: list[tuple[int, int, float]] = []
    for index in seen:
        run, count = runs[index], LOSSES_IN_FULL if index in in_full else 1
        numbers = scale.onto(run.losses).tolist() if run.losses else []
        columns = list(zip(run.ends, numbers, strict=True))
        columns += [(last_epoch, worst)] if run.has_failed else []
        rows += [(index, epoch, number) for epoch, number in columns[-count:]]
    configurations = encoder.points([runs[index].values for index in seen])
    places = {index: place for place, index in enumerate(seen)}
    points = Points(
        configurations[[places[index] for index, _, _ in rows]],
        np.log([float(epoch) for _, epoch, _ in rows]),
        np.array([index for index, _, _ in rows], dtype=np.int64),
    )
    return points, np.array([number for _, _, number in rows])


def _limited(seen: list[int], best: Sequence[int]) -> list[int]:
    """Returns the best configurations, and others spread evenly over the search."""
    if len(seen) <= MOST:
        return seen
    kept = set(best[:MOST_OF_BEST])
    others = [index for index in seen if index not in kept]
    places = np.linspace(0, len(others) - 1, MOST - MOST_OF_BEST).round().astype(int)
    return sorted(kept | {others[place] for place in places.tolist()})


def surplus(runs: Sequence[Run], rungs: Sequence[int]) -> set[int]:
    """Returns the indices of the paused configurations beyond `MAX_PAUSED`.

    Kept are those with the lowest projected loss: the last one, less the mean improvement of other
    configurations from there to the last epoch. It is computed without a Gaussian process, so a
    journal is replayed without one.

    Args:
        runs: The configurations that have begun, in order.
        rungs: Epochs after which a configuration pauses.
    """
    paused = [index for index, run in enumerate(runs) if run.is_paused(rungs[-1])]
    if len(paused) <= MAX_PAUSED:
        return set()
    gains = _mean_gains(runs)

    def place(index: int) -> tuple[bool, float, int]:
        run = runs[index]
        is_last = run.collapsed and run.epoch > rungs[0]
        to_come = math.fsum(gains.get(rung, 0.0) for rung in rungs if rung > run.epoch)
        return is_last, run.losses[-1] - to_come, index

    return set(sorted(paused, key=place)[MAX_PAUSED:])


def _mean_gains(runs: Iterable[Run]) -> dict[int, float]:
    """Returns the mean improvement up to each rung from the rung before, nats per image."""
    found: dict[int, list[float]] = {}
    for run in runs:
        for place in range(1, len(run.ends)):
            gain = run.losses[place - 1] - run.losses[place]
            found.setdefault(run.ends[place], []).append(gain)
    return {rung: math.fsum(gains) / len(gains) for rung, gains in found.items()}
