"""The oracle of Hyperband."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec
from vaetune.search.oracles.base import Oracle


class HyperbandOracle(Oracle, keras_tuner.oracles.HyperbandOracle):
    """Hyperband of Keras Tuner that does not stall after failures or in small spaces.

    Without failures and collapsed trials, and as long as the space has new configurations, it
    asks for exactly the same trials as Keras Tuner's own oracle. Otherwise, a rung in which all
    trials have ended promotes the planned number of completed trials, and after the space is
    exhausted, the brackets promote the trials that they have.

    Starting points are the first configurations of the first bracket, which has the shortest
    trials. They are promoted like all others: the schedule stays the same, and a wrong one costs
    no more than one of its shortest trials.

    From the second rung on, a collapsed trial is promoted only if no other completed trial of its
    rung is left. In the first rung the scores alone decide, because a VAE that trains well may
    still be on the plateau with which training starts.

    References:
        Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
        JMLR 18, 2018.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        self._is_exhausted = False
        self._next_values: dict[str, Any] | None = None
        self._iterations: dict[str, int] = {}
        super().__init__(
            spec,
            hyperparameters,
            max_epochs=spec.budget.max_epochs,
            factor=spec.budget.factor,
            hyperband_iterations=spec.budget.hyperband_iterations,
        )
        # Keras Tuner has no argument for it. The brackets depend on it, so they are made again.
        self.min_epochs = spec.budget.min_epochs
        self._current_bracket = self._get_num_brackets() - 1
        self._brackets: list[dict[str, Any]] = []
        self._start_new_bracket()

    def promotable(self) -> set[str]:
        """Returns the ids of ended trials that may still be promoted.

        In each rung, these are at most as many as the next rung has room for.
        """
        found: set[str] = set()
        for bracket in self._brackets:
            rounds, number = bracket["rounds"], bracket["bracket_num"]
            for below in range(len(rounds) - 1):
                waiting = sorted(self._waiting(rounds, below), key=partial(self._place, below))
                room = self._get_size(number, below + 1) - len(rounds[below + 1])
                found |= {trial.trial_id for trial in waiting[: max(room, 0)]}
        return found

    def most_configurations(self) -> float:
        """Returns the largest number of configurations that the search can try."""
        sizes: list[int] = [self._get_size(each, 0) for each in range(self._get_num_brackets())]
        return float(self.hyperband_iterations * sum(sizes))

    def iteration(self, trial_id: str) -> int:
        """Returns the run of the whole schedule to which a trial belongs, from 0."""
        parent = self.trials[trial_id].hyperparameters.values.get("tuner/trial_id")
        current: int = self._current_iteration
        return self._iterations.setdefault(trial_id, self._iterations.get(parent, current))

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        self._look_ahead()
        promotion = self._overdue_promotion(trial_id)
        if promotion is not None:
            return promotion
        if self._is_exhausted:
            return self._wait_or_stop()
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            response = self._prefer_best(trial_id, response)
            self._label_bracket(trial_id, response["values"])
        return response

    def _prefer_best(self, trial_id: str, response: dict[str, Any]) -> dict[str, Any]:
        """Replaces a promotion by Keras Tuner if another trial comes first here.

        It does if Keras Tuner's has collapsed, or if both have the same score. Keras Tuner
        decides when a rung promotes, which does not depend on the scores. So the trials that a
        rung promotes do not depend on the order in which they end.
        """
        level = response["values"]["tuner/round"]
        if level < 1:
            return response
        bracket = self._bracket_of(trial_id)
        bracket["rounds"][level].pop()
        waiting = self._waiting(bracket["rounds"], level - 1)
        return self._promote(trial_id, bracket, level - 1, waiting)

    def _bracket_of(self, trial_id: str) -> dict[str, Any]:
        """Returns the bracket that a trial was just added to."""
        return next(
            bracket
            for bracket in self._brackets
            if any(entry["id"] == trial_id for entries in bracket["rounds"] for entry in entries)
        )

    def _place(self, level: int, trial: Trial) -> tuple[bool, tuple[float, float]]:
        """Returns a key that sorts the completed trials of a rung, the next to promote first."""
        heeds = self.heeds_collapse and level > 0
        return heeds and trial.trial_id in self.collapsed, self.rank(trial)

    def _look_ahead(self) -> None:
        """Draws the next configuration in advance.

        Exhaustion of the space must depend only on the trials handed out so far, because the
        journal does not record unsuccessful requests.
        """
        if self._next_values is None and not self._is_exhausted:
            self._next_values = super()._random_values()
            self._is_exhausted = self._next_values is None

    def _random_values(self) -> dict[str, Any] | None:
        values, self._next_values = self._next_values, None
        return values

    def _wait_or_stop(self) -> dict[str, Any]:
        return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}

    def _overdue_promotion(self, trial_id: str) -> dict[str, Any] | None:
        """Promotes from a rung that is complete but from which Keras Tuner would never promote.

        Keras Tuner's rule compares the number of completed trials with the planned size of the
        rung. A rung that has failures, or is smaller than planned, never satisfies it.

        Returns:
            The promotion, or None if there is none to make here.
        """
        for bracket in self._brackets:
            rounds, number = bracket["rounds"], bracket["bracket_num"]
            may_grow = not self._is_exhausted and len(rounds[0]) < self._get_size(number, 0)
            for below in range(len(rounds) - 1):
                if may_grow or self._is_running(rounds[below]):
                    break
                waiting = self._waiting(rounds, below)
                if waiting and len(rounds[below + 1]) < self._get_size(number, below + 1):
                    if not self._is_exhausted and self._is_full(rounds[below], number, below):
                        return None  # Keras Tuner's rule promotes from it, in its own order.
                    return self._promote(trial_id, bracket, below, waiting)
        return None

    def _is_full(self, entries: list[dict[str, Any]], number: int, level: int) -> bool:
        size: int = self._get_size(number, level)
        return len(self._completed(entries)) == len(entries) == size

    def _promote(
        self, trial_id: str, bracket: dict[str, Any], below: int, waiting: list[Trial]
    ) -> dict[str, Any]:
        number = bracket["bracket_num"]
        best = min(waiting, key=partial(self._place, below))
        values = dict(best.hyperparameters.values) | {
            "tuner/trial_id": best.trial_id,
            "tuner/epochs": self._get_epochs(number, below + 1),
            "tuner/initial_epoch": self._get_epochs(number, below),
            "tuner/bracket": number,
            "tuner/round": below + 1,
        }
        bracket["rounds"][below + 1].append({"past_id": best.trial_id, "id": trial_id})
        return {"status": TrialStatus.RUNNING, "values": values}

    def _label_bracket(self, trial_id: str, values: dict[str, Any]) -> None:
        # Keras Tuner writes the bracket that it fills now, which may not be that of the trial.
        values["tuner/bracket"] = self._bracket_of(trial_id)["bracket_num"]

    def _waiting(self, rounds: Sequence[list[dict[str, Any]]], below: int) -> list[Trial]:
        """Returns the completed trials of a rung that are not promoted yet."""
        promoted = {entry["past_id"] for entry in rounds[below + 1]}
        completed = self._completed(rounds[below])
        return [trial for trial in completed if trial.trial_id not in promoted]

    def _completed(self, entries: list[dict[str, Any]]) -> list[Trial]:
        trials = [self.trials[entry["id"]] for entry in entries]
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _is_running(self, entries: list[dict[str, Any]]) -> bool:
        return any(self.trials[e["id"]].status == TrialStatus.RUNNING for e in entries)
