"""The oracles of random search, grid search and a single configuration."""

from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types
from keras_tuner.engine.trial import TrialStatus

from vaetune.config import SearchSpec
from vaetune.search.oracles.base import BoundedOracle, Oracle


class RandomOracle(BoundedOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search of Keras Tuner."""


class GridOracle(BoundedOracle, keras_tuner.oracles.GridSearchOracle):
    """Grid search of Keras Tuner: the values of the Keras example first, ranges in ten steps.

    Keras Tuner's own oracle waits until a trial has ended before it asks for the next one, in case
    the trial declares another hyperparameter. Here all hyperparameters are known from the start,
    so several workers can train at the same time.

    Starting points come before the grid, which leaves them out.
    """

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        self._point: dict[str, Any] | None = None  # The latest point of the grid.
        super().__init__(spec, hyperparameters, **settings)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if len(self.trials) >= self.trial_limit:
            return {"status": TrialStatus.STOPPED}
        values = self.next_starting_point() or self._next_point()
        if values is None:
            return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": values}

    def _next_point(self) -> dict[str, Any] | None:
        """Returns the next point of the grid that was not tried; None if there is none."""
        following: dict[str, Any] | None = None
        while following is None or self._duplicate(following):
            if self._point is None:
                following = self._fill_in({}, seed=0)
            else:
                following = self._get_next_combination(self._point)
            if following is None:
                return None
            self._point = dict(following)
        return following

    def _draw(self, hp: hp_types.HyperParameter, seed: int) -> Any:
        return hp.default  # The first value of the grid.


class SingleOracle(Oracle):
    """Asks for a single trial, with the pinned values of the hyperparameters."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the single trial, once; see `keras_tuner.Oracle.populate_space`."""
        if self.trials:
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.hyperparameters.values)}
