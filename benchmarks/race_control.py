"""The control of a race, as an oracle of vaetune: rounds of cheap random configurations.

A round begins 27 configurations and trains each for one epoch. The probability to draw a
configuration is inversely proportional to the counted cost of its epochs. The best three continue
to the last epoch. No model predicts losses.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np
from simulated_searches import CONTROL_BEGUN, CONTROL_KEPT, CONTROL_POOL

from vaetune.search.oracles import control
from vaetune.search.oracles.decision import Chooser, Proposal
from vaetune.search.oracles.encoding import Configuration
from vaetune.search.oracles.freeze_thaw import FreezeThawOracle
from vaetune.search.oracles.observations import Run


class ControlChooser(Chooser):
    """Chooses the trials of the control, for one worker."""

    def choose(self, runs: Sequence[Run], number: int, epochs_left: int) -> Proposal | None:
        """Returns the next trial; see `Chooser.choose`."""
        round_number, place = divmod(number, CONTROL_BEGUN + CONTROL_KEPT)
        if place < CONTROL_BEGUN:
            return Proposal(self._draw_round(round_number)[place], None, 0, self.rungs[0])
        this_round = range(len(runs) - CONTROL_BEGUN, len(runs))
        paused = [index for index in this_round if runs[index].is_paused(self.rungs[-1])]
        best = min(paused, key=lambda index: runs[index].losses[-1])
        return Proposal(runs[best].values, best, runs[best].epoch, self.rungs[-1])

    def _draw_round(self, number: int) -> list[Configuration]:
        """Returns the configurations that begin in a round."""
        rng = np.random.default_rng([self.seed, number])
        points = rng.random((CONTROL_POOL, self.encoder.dimensions)).tolist()
        pool = [self.encoder.draw(point) for point in points]
        rates = np.array([1 / self.cost(values) for values in pool])
        chosen = rng.choice(CONTROL_POOL, CONTROL_BEGUN, replace=False, p=rates / rates.sum())
        return [pool[place] for place in chosen]


class ControlOracle(FreezeThawOracle):
    """Runs the control with the trials, checkpoints and journal of freeze-thaw."""

    @cached_property
    def _chooser(self) -> Chooser:
        chooser = super()._chooser
        return ControlChooser(chooser.encoder, chooser.rungs, chooser.seed, chooser.cost)


@contextmanager
def in_place_of_freeze_thaw() -> Iterator[None]:
    """Makes searches with `algorithm = "freeze_thaw"` run the control instead."""
    oracles: Any = control._ORACLES
    with mock.patch.dict(oracles, {"freeze_thaw": ControlOracle}):
        yield
