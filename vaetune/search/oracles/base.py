"""Base classes of the oracles."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as hp_types
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec, Value
from vaetune.study import Assignment, DataSummary, Decision

OBJECTIVE = "val_loss"
"""Name that Keras Tuner knows the minimized metric by: the cost of any objective."""

TUNER_ID = "tuner0"
"""Name of the tuner for Keras Tuner. Oracles receive a different name for each trial; see
`request_trial`."""

_UNLIMITED = 10**9


class Declarations(keras_tuner.HyperParameters):
    """Hyperparameters that share their declarations with their copies, but not their values.

    Keras Tuner copies them for each trial by writing them out and reading them back, which takes
    a third of the time of an oracle. An oracle declares all hyperparameters before its first trial.
    """

    def copy(self) -> "Declarations":
        """Returns hyperparameters with the same declarations and values."""
        copied = copy.copy(self)
        copied.values = dict(self.values)
        return copied


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
        starting_points: Complete configurations with which the search begins, in order.
        data: Image set of the search; None if it is not known.
        recorded: Assignment of the next trial while a journal is replayed, so that an expensive
            algorithm does not compute its suggestions again; otherwise None.
        collapsed: Ids of the trials that had collapsed at their end.
        val_losses: Validation loss of the best epoch of each completed trial, by id, where it is
            not the score. It breaks ties of trials with equal scores.
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
        self.val_losses: dict[str, float] = {}
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
        self.starting_points = self._complete(spec.start_with or ())
        self._points_left = list(self.starting_points)

    def _complete(self, points: Sequence[Mapping[str, Value]]) -> tuple[dict[str, Any], ...]:
        """Returns starting points with values of all hyperparameters, each configuration once.

        They have random numbers of their own, so the algorithm draws what it would draw without
        them.
        """
        found: dict[str, dict[str, Any]] = {}
        for number, point in enumerate(points):
            for attempt in range(self._max_collisions):
                entropy = np.random.SeedSequence([self.seed, number, attempt])
                values = self._fill_in(point, int(entropy.generate_state(1)[0]))
                key = self._compute_values_hash(values)
                if key not in found:
                    found[key] = values
                    break
        return tuple(found.values())

    def _fill_in(self, point: Mapping[str, Value], seed: int) -> dict[str, Any]:
        hps = keras_tuner.HyperParameters()
        for number, hp in enumerate(self.hyperparameters.space):
            hps.merge([hp])
            if hps.is_active(hp):
                is_named = hp.name in point
                hps.values[hp.name] = (
                    _as_declared(hp, point[hp.name]) if is_named else self._draw(hp, seed + number)
                )
        values: dict[str, Any] = hps.values
        return values

    def _draw(self, hp: hp_types.HyperParameter, seed: int) -> Any:
        """Draws a value that a starting point does not name."""
        return hp.random_sample(seed)

    def next_starting_point(self) -> dict[str, Any] | None:
        """Returns the next starting point, each of them once; None if there are no more."""
        return dict(self._points_left.pop(0)) if self._points_left else None

    def _random_values(self) -> dict[str, Any] | None:
        # Keras Tuner calls this for each configuration that it draws.
        values: dict[str, Any] | None = self.next_starting_point() or super()._random_values()
        return values

    def most_configurations(self) -> float:
        """Returns the largest number of configurations that the search can try."""
        return math.inf

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _save_trial(self, trial: Trial) -> None:
        # Keras Tuner calls this in create_trial, update_trial and end_trial; see `save`.
        pass

    def promotable(self) -> set[str]:
        """Returns the ids of ended trials that may still be promoted."""
        return set()

    def rank(self, trial: Trial) -> tuple[float, float]:
        """Returns a key that sorts completed trials, the best first; see `study.Trial.rank`."""
        return trial.score, self.val_losses.get(trial.trial_id, trial.score)

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

    def most_configurations(self) -> float:
        """Returns the largest number of configurations that the search can try."""
        return self.trial_limit

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if len(self.trials) >= self.trial_limit:
            return {"status": TrialStatus.STOPPED}
        response: dict[str, Any] = super().populate_space(trial_id)
        return response


def _as_declared(hp: hp_types.HyperParameter, value: Value) -> Value:
    """Returns a value as Keras Tuner has it: 1 may be 1.0 in a list of real numbers."""
    if isinstance(hp, (hp_types.Choice, hp_types.Fixed)):
        return next((one for one in hp.values if one == value), value)
    return int(value) if isinstance(hp, hp_types.Int) else float(value)
