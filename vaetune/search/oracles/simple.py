"""Random search, grid search and a single configuration."""

from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from vaetune.search.oracles.base import BoundedOracle, Oracle


class RandomOracle(BoundedOracle, keras_tuner.oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class GridOracle(BoundedOracle, keras_tuner.oracles.GridSearchOracle):
    """Keras Tuner's grid search: the reference's values first, ranges in ten steps.

    Its own hands out a point when the one before it has ended, in case that brought another
    hyperparameter; here all of them are known, and many workers find work.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING and self.trials:
            self._populate_next.append(trial_id)  # of the first one, Keras Tuner does it itself
        return response


class SingleOracle(Oracle):
    """Asks for one trial, of the values that every hyperparameter is pinned at."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Hands out the one trial, once."""
        if self.trials:
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.hyperparameters.values)}
