"""What all oracles share."""

import copy
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec
from vaetune.study import Assignment

OBJECTIVE = "val_loss"

TUNER_ID = "tuner0"
"""Name of the tuner for Keras Tuner; oracles get a different name per trial, see `hand_out`."""

_NEVER = 10**9


class Oracle(keras_tuner.Oracle):
    """What all oracles here share: the seed as given, and nothing written to disk.

    Attributes:
        assignments: Assignment of each trial, by id; see `assignment`.
        configurations: Number of different configurations among them.
        max_epochs: Epochs of a trial for which the oracle sets none.
    """

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.configurations = 0
        self.max_epochs = spec.budget.max_epochs
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            hyperparameters=hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=_NEVER,
            **settings,
        )
        # Keras Tuner treats 0 as "no seed given".
        self.seed = spec.seed
        self._seed_state = spec.seed
        self.verbose = 0

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _save_trial(self, trial: Trial) -> None:
        # Called by create_trial, update_trial and end_trial; see `save`.
        pass

    def promotable(self) -> set[str]:
        """Returns the ended trials that others may still continue."""
        return set()

    def iteration(self, trial_id: str) -> int:
        """Which run of the whole schedule a trial belongs to, from 0."""
        return 0

    def dry_run_copy(self) -> "Oracle":
        """A copy that asks for as many trials, to be run to its end on made-up scores."""
        return copy.deepcopy(self)


class BoundedOracle(Oracle):
    """An oracle that runs a number of trials, each with the largest budget.

    Attributes:
        trial_limit: Maximum number of trials.
    """

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        # Keras Tuner must not know it: it pads trial ids to the number's width, and an extended
        # search would rename its old trials.
        self.trial_limit = spec.budget.max_trials or _NEVER
        super().__init__(spec, hyperparameters, max_trials=None, **settings)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if len(self.trials) >= self.trial_limit:
            return {"status": TrialStatus.STOPPED}
        response: dict[str, Any] = super().populate_space(trial_id)
        return response
