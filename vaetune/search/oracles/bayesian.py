"""Bayesian optimization."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus
from sklearn.exceptions import ConvergenceWarning

from vaetune.config import Number, SearchSpec
from vaetune.search.oracles.base import BoundedOracle, Oracle
from vaetune.search.oracles.simple import RandomOracle


class BayesianOracle(BoundedOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimisation, which resumes and repeats no configuration.

    Its own loses the state of its random numbers when it is reloaded; here every suggestion
    draws from numbers of its own, so that a search continues as if it had never stopped.

    Attributes:
        replayed: While a journal is replayed, the hyperparameters of the trial to come: what the
            Gaussian process once suggested is not worked out again.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        self.replayed: Mapping[str, Number] | None = None
        super().__init__(spec, hyperparameters, num_initial_points=spec.budget.initial_trials)
        self.gpr = self._make_gpr()  # with the seed as it was given
        self._spec = spec

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        completed = sum(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        if completed < self.num_initial_points or len(self.trials) >= self.trial_limit:
            return super().populate_space(trial_id)
        if self.replayed is not None:
            return {"status": TrialStatus.RUNNING, "values": dict(self.replayed)}
        entropy = np.random.SeedSequence([self.seed, len(self.trials)]).generate_state(2)
        self._random_state = np.random.RandomState(int(entropy[0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.ongoing_trials:
                self._fit_to_completed()
            response = super().populate_space(trial_id)
        if self._compute_values_hash(response["values"]) in self._tried_so_far:
            self._seed_state = int(entropy[1])
            return self._random_populate_space()  # type: ignore[no-any-return]
        return response

    def _fit_to_completed(self) -> None:
        """Fits the Gaussian process to the trials that have ended.

        Keras Tuner guesses by it what those under way will come to. As it is, it may be that of
        an earlier suggestion, or of none: that depends on when a search was stopped.
        """
        known: Any = copy.copy(self)
        trials = self.trials.items()
        known.trials = {i: one for i, one in trials if one.status == TrialStatus.COMPLETED}
        known.ongoing_trials = {}
        self.gpr.fit(*known._vectorize_trials())

    def dry_run_copy(self) -> Oracle:
        """A random search of as many trials: the Gaussian process would take minutes."""
        return RandomOracle(self._spec, self.hyperparameters.copy())
