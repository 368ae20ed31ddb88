"""Base classes of the oracles."""

import copy
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec
from vaetune.study import Assignment, DataSummary, Decision

OBJECTIVE = "val_loss"
"""Name of the metric that the oracles minimize."""

TUNER_ID = "tuner0"
"""Name of the tuner for Keras Tuner. Oracles receive a different name for each trial; see
`request_trial`."""

_UNLIMITED = 10**9


class Oracle(keras_tuner.Oracle):
    """Base class of all oracles. It keeps the seed as given, and writes nothing to the disk.

    Args:
        spec: The search.
        hyperparameters: Search space, as declared by `VAEHyperModel`.
        settings: Further arguments of `keras_tuner.Oracle`.

    Attributes:
        assignments: Assignment of each trial, by id; see `assignment`.
        configurations: Number of configurations in `assignments`.
        max_epochs: Number of epochs of a trial for which the algorithm sets none.
        space: Search space of the search.
        data: Image set of the search; None if it is not known.
        recorded: Assignment of the next trial while a journal is replayed, so that an expensive
            algorithm does not compute its suggestions again; otherwise None.
        collapsed: Ids of the trials that had collapsed at their end.
        heeds_collapse: Whether promotions may depend on `collapsed`; False in a search that an
            earlier version began, which did not measure it.
    """

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.configurations = 0
        self.data: DataSummary | None = None
        self.recorded: Assignment | None = None
        self.collapsed: set[str] = set()
        self.heeds_collapse = True
        self.max_epochs = spec.budget.max_epochs
        self.space = spec.space
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            hyperparameters=hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=_UNLIMITED,
            **settings,
        )
        # Keras Tuner treats 0 as "no seed given", so the seed is set again.
        self.seed = spec.seed
        self._seed_state = spec.seed
        self.verbose = 0

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _save_trial(self, trial: Trial) -> None:
        # Keras Tuner calls this in create_trial, update_trial and end_trial; see `save`.
        pass

    def promotable(self) -> set[str]:
        """Returns the ids of ended trials that may still be promoted."""
        return set()

    def iteration(self, trial_id: str) -> int:
        """Returns the run of the whole schedule to which a trial belongs, from 0."""
        return 0

    def decision(self, trial_id: str) -> Decision | None:
        """Returns why a trial was chosen; None if the algorithm does not say."""
        return None

    def dry_run_copy(self) -> "Oracle":
        """Returns a copy that asks for the same number of trials, to be run on invented scores."""
        return copy.deepcopy(self)


class BoundedOracle(Oracle):
    """Base class of oracles with a limited number of trials, each with all epochs.

    Attributes:
        trial_limit: Maximum number of trials.
    """

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        # Keras Tuner does not receive the limit, because it pads trial ids to the width of the
        # limit: extending a search would change the ids of its trials.
        self.trial_limit = spec.budget.max_trials or _UNLIMITED
        super().__init__(spec, hyperparameters, max_trials=None, **settings)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if len(self.trials) >= self.trial_limit:
            return {"status": TrialStatus.STOPPED}
        response: dict[str, Any] = super().populate_space(trial_id)
        return response
