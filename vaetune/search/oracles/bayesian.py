"""The oracle of Bayesian optimization."""

import copy
import warnings
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from vaetune.config import SearchSpec
from vaetune.search.oracles.base import BoundedOracle, Oracle
from vaetune.search.oracles.simple import RandomOracle


class BayesianOracle(BoundedOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian optimization of Keras Tuner that can be resumed and repeats no configuration.

    Keras Tuner's own oracle loses the state of its random generator when it is reloaded. Here
    each suggestion has a random generator of its own, so a resumed search continues as if it had
    not stopped. While a journal is replayed, the Gaussian process computes nothing.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        super().__init__(spec, hyperparameters, num_initial_points=spec.budget.initial_trials)
        self.gpr = self._make_gpr()  # Made again with the seed as given.
        self._spec = spec

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if not self._nonfixed_space():  # A Gaussian process needs a hyperparameter to search.
            return self._random_populate_space()  # type: ignore[no-any-return]
        completed = sum(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        if len(self.trials) >= self.trial_limit:
            return super().populate_space(trial_id)
        if completed < self.num_initial_points or self._points_left:
            return self._random_populate_space()  # type: ignore[no-any-return]
        if self.recorded is not None:
            return {"status": TrialStatus.RUNNING, "values": dict(self.recorded.hyperparameters)}
        entropy = np.random.SeedSequence([self.seed, len(self.trials)]).generate_state(2)
        self._random_state = np.random.RandomState(int(entropy[0]))
        # The matrices are small: threads would wait for one another, for half of the time.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.ongoing_trials:
                self._fit_to_completed()
            response = super().populate_space(trial_id)
        if self._compute_values_hash(response["values"]) in self._tried_so_far:
            self._seed_state = int(entropy[1])
            return self._random_populate_space()  # type: ignore[no-any-return]
        return response

    def _fit_to_completed(self) -> None:
        """Fits the Gaussian process to the completed trials.

        Keras Tuner predicts the scores of ongoing trials with the Gaussian process of the last
        suggestion. Which suggestion that is depends on when the search was stopped, so it is
        fitted again first.
        """
        completed: Any = copy.copy(self)
        trials = self.trials.items()
        completed.trials = {key: t for key, t in trials if t.status == TrialStatus.COMPLETED}
        completed.ongoing_trials = {}
        self.gpr.fit(*completed._vectorize_trials())

    def dry_run_copy(self) -> Oracle:
        """Returns a random search of the same length: a Gaussian process would take minutes."""
        return RandomOracle(self._spec, self.hyperparameters.copy())
