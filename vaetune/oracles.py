"""Keras Tuner's oracles by name: Hyperband corrected, state kept in the journal alone.

An oracle is rebuilt by replaying the journal's events through its own methods, so the two can
never disagree; what Keras Tuner would write beside it is not written.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.errors import JournalError
from vaetune.hypermodel import VAEHyperModel
from vaetune.journal import Assignment, Event, Rung, TrialEnded, TrialStarted
from vaetune.spec import Number, SearchSpec, Space

OBJECTIVE = "val_loss"
TUNER_ID = "tuner0"
"""Names the one worker of this process to the oracle."""

_NEVER = 10**9


class _Journaled:
    """What all oracles here share: the seed as given, and nothing written to disk."""

    seed: int
    _seed_state: int
    trials: dict[str, Trial]

    def _take_seed(self, seed: int) -> None:
        # Keras Tuner treats 0 as "no seed given".
        self.seed = seed
        self._seed_state = seed

    def save(self) -> None:
        """Does nothing: the journal is the record."""

    def _save_trial(self, trial: Trial) -> None:
        # Called by create_trial, update_trial and end_trial; see `save`.
        pass


class HyperbandOracle(_Journaled, keras_tuner.oracles.HyperbandOracle):
    """Keras Tuner's Hyperband, which no failure and no small space starves.

    With no failure and a space that is not exhausted, it asks for exactly the trials that
    Keras Tuner's own oracle asks for. Beyond that, a rung whose trials have all ended promotes
    as many of the survivors as were planned, and a space with no new configuration left
    promotes what it has.

    References:
        Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization",
        JMLR 18, 2018.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        self._is_exhausted = False
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            max_epochs=spec.budget.max_epochs,
            factor=spec.budget.factor,
            hyperband_iterations=spec.budget.hyperband_iterations,
            hyperparameters=hyperparameters,
            allow_new_entries=False,
            tune_new_entries=False,
            max_consecutive_failed_trials=_NEVER,
        )
        self._take_seed(spec.seed)
        self.verbose = 0

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        promotion = self._overdue_promotion(trial_id)
        if promotion is not None:
            return promotion
        if self._is_exhausted:
            return self._wait_or_stop()
        response: dict[str, Any] = super().populate_space(trial_id)
        if response["status"] == TrialStatus.RUNNING:
            self._label_bracket(trial_id, response["values"])
        return response

    def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
        # Keras Tuner stops here when it draws no new configuration; there may be promotions.
        response: dict[str, Any] = super()._random_trial(trial_id, bracket)
        if response["status"] == TrialStatus.RUNNING:
            return response
        self._is_exhausted = True
        return self._overdue_promotion(trial_id) or self._wait_or_stop()

    def _wait_or_stop(self) -> dict[str, Any]:
        return {"status": TrialStatus.IDLE if self.ongoing_trials else TrialStatus.STOPPED}

    def _overdue_promotion(self, trial_id: str) -> dict[str, Any] | None:
        """Promotes from a rung that can grow no more, where Keras Tuner waits for ever.

        Its rule wants more completed trials than the rung is to lose, counted against the
        planned size; a rung that is smaller than planned, or has failures, never gets there.
        """
        for bracket in self._brackets:
            rounds, number = bracket["rounds"], bracket["bracket_num"]
            may_grow = not self._is_exhausted and len(rounds[0]) < self._get_size(number, 0)
            for below in range(len(rounds) - 1):
                if may_grow or self._is_running(rounds[below]):
                    break
                taken = {entry["past_id"] for entry in rounds[below + 1]}
                waiting = [t for t in self._completed(rounds[below]) if t.trial_id not in taken]
                if waiting and len(taken) < self._get_size(number, below + 1):
                    if not self._is_exhausted and self._is_full(rounds[below], number, below):
                        return None  # Keras Tuner's own rule does it, in its own order
                    return self._promote(trial_id, bracket, below, waiting)
        return None

    def _is_full(self, entries: list[dict[str, Any]], number: int, level: int) -> bool:
        size: int = self._get_size(number, level)
        return len(self._completed(entries)) == len(entries) == size

    def _promote(
        self, trial_id: str, bracket: dict[str, Any], below: int, waiting: list[Trial]
    ) -> dict[str, Any]:
        number = bracket["bracket_num"]
        best = min(waiting, key=lambda trial: trial.score)
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
        # Keras Tuner writes the bracket it is filling, not the one that the trial belongs to.
        for bracket in self._brackets:
            if any(entry["id"] == trial_id for entries in bracket["rounds"] for entry in entries):
                values["tuner/bracket"] = bracket["bracket_num"]

    def _completed(self, entries: list[dict[str, Any]]) -> list[Trial]:
        trials = [self.trials[entry["id"]] for entry in entries]
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _is_running(self, entries: list[dict[str, Any]]) -> bool:
        return any(self.trials[e["id"]].status == TrialStatus.RUNNING for e in entries)


class SingleOracle(_Journaled, keras_tuner.Oracle):
    """Asks for one trial, of the values that every hyperparameter is pinned at."""

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "min"),
            hyperparameters=hyperparameters,
            max_consecutive_failed_trials=_NEVER,
        )
        self._take_seed(spec.seed)
        self._epochs = spec.budget.max_epochs
        self.verbose = 0

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Hands out the one trial, once."""
        if self.trials:
            return {"status": TrialStatus.STOPPED}
        values = dict(self.hyperparameters.values) | {"tuner/epochs": self._epochs}
        return {"status": TrialStatus.RUNNING, "values": values}


Oracle = HyperbandOracle | SingleOracle


def make_oracle(spec: SearchSpec) -> Oracle:
    """The oracle of a search, at its beginning."""
    hyperparameters = keras_tuner.HyperParameters()
    VAEHyperModel(space=spec.space).declare_hyperparameters(hyperparameters)
    oracle = HyperbandOracle if spec.algorithm == "hyperband" else SingleOracle
    return oracle(spec, hyperparameters)


def assignment(oracle: Oracle, trial: Trial) -> Assignment:
    """Reads what a trial is to do from among its hyperparameters, where Keras Tuner puts it."""
    values = trial.hyperparameters.values
    parent = values.get("tuner/trial_id")
    return Assignment(
        trial_id=trial.trial_id,
        configuration=_configurations(oracle.trials.values())[trial.trial_id],
        parent=parent,
        bracket=values.get("tuner/bracket", 0),
        rung=values.get("tuner/round", 0),
        epoch_from=values.get("tuner/initial_epoch", 0),
        epoch_to=values["tuner/epochs"],
        hyperparameters=_own_values(values),
    )


def _own_values(values: Mapping[str, Any]) -> dict[str, Number]:
    """The hyperparameters of the model, without Keras Tuner's control data."""
    names = Space.model_fields
    return {name: values[name] for name in names if name in values}


def plan(oracle: Oracle) -> tuple[Rung, ...]:
    """Counts the trials to come by running a new oracle to its end on made-up scores.

    Which configurations are drawn does not depend on the scores, so the counts are exact as
    long as no trial fails. The oracle is used up by it.
    """
    sizes: dict[tuple[int, int, int, int, int], int] = {}
    iteration = 0
    for trial in _rehearse(oracle):
        asked = assignment(oracle, trial)
        iteration = getattr(oracle, "_current_iteration", 0)
        key = (iteration, asked.bracket, asked.rung, asked.epoch_from, asked.epoch_to)
        sizes[key] = sizes.get(key, 0) + 1
    return tuple(
        Rung(bracket=bracket, rung=rung, trials=n, epoch_from=epoch_from, epoch_to=epoch_to)
        for (_, bracket, rung, epoch_from, epoch_to), n in sizes.items()
    )


def replay(oracle: Oracle, events: Iterable[Event]) -> None:
    """Brings a new oracle to where the journal leaves off.

    A trial that has not ended is handed out again by the oracle's next `create_trial`.

    Raises:
        JournalError: The oracle asks for another trial than the journal tells of.
    """
    for event in events:
        if isinstance(event, TrialStarted):
            _replay_start(oracle, event)
        elif isinstance(event, TrialEnded):
            _end(oracle, event.trial_id, event.score)


def _replay_start(oracle: Oracle, event: TrialStarted) -> None:
    trial = oracle.create_trial(TUNER_ID)
    if trial.status != TrialStatus.RUNNING or assignment(oracle, trial) != _as_told(event):
        raise JournalError(
            f"The journal does not fit its own search: at trial {event.trial_id} the oracle asks "
            "for another one. It was written by another version, or edited. Search again with "
            "--overwrite or under another name."
        )


def _as_told(event: TrialStarted) -> Assignment:
    return Assignment(**{name: getattr(event, name) for name in Assignment.model_fields})


def _end(oracle: Oracle, trial_id: str, score: float | None) -> None:
    trial = oracle.get_trial(trial_id)
    trial.status = TrialStatus.FAILED
    if score is not None:
        oracle.update_trial(trial_id, {OBJECTIVE: score})
        trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def _rehearse(oracle: Oracle) -> Iterator[Trial]:
    score = 0.0
    while (trial := oracle.create_trial(TUNER_ID)).status == TrialStatus.RUNNING:
        yield trial
        _end(oracle, trial.trial_id, score)
        score += 1.0


def _configurations(trials: Iterable[Trial]) -> dict[str, int]:
    """Numbers the configurations in the order they were drawn; promotions share theirs."""
    numbers: dict[str, int] = {}
    drawn = 0
    for trial in trials:
        parent = trial.hyperparameters.values.get("tuner/trial_id")
        numbers[trial.trial_id] = drawn if parent is None else numbers[parent]
        drawn += parent is None
    return numbers
