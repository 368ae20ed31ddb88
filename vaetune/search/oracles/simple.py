"""The oracles of random search, grid search and a single configuration."""

from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from vaetune.search.oracles.base import BoundedOracle, Oracle


class RandomOracle(BoundedOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search of Keras Tuner."""


class GridOracle(BoundedOracle, keras_tuner.oracles.GridSearchOracle):
    """Grid search of Keras Tuner: the values of the Keras example first, ranges in ten steps.

    Keras Tuner's own oracle waits until a trial has ended before it asks for the next one, in case
    the trial declares another hyperparameter. Here all hyperparameters are known from the start,
    so several workers can train at the same time.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        response = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING and self.trials:
            # Keras Tuner does this itself for the first trial.
            self._populate_next.append(trial_id)
        return response


class SingleOracle(Oracle):
    """Asks for a single trial, with the pinned values of the hyperparameters."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the single trial, once; see `keras_tuner.Oracle.populate_space`."""
        if self.trials:
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.hyperparameters.values)}
