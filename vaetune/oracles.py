"""Keras Tuner's oracles by name: Hyperband corrected, state kept in the journal alone.

An oracle is rebuilt by replaying the journal's events through its own methods, so the two can
never disagree; what Keras Tuner would write beside it is not written.
"""

import copy
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

from vaetune.errors import JournalError
from vaetune.hypermodel import VAEHyperModel
from vaetune.journal import Assignment, Event, Rung, TrialEnded, TrialStarted
from vaetune.space import Number, Space
from vaetune.spec import SearchSpec

OBJECTIVE = "val_loss"
TUNER_ID = "tuner0"
"""Names the tuner to Keras Tuner; an oracle is told another name for each trial, see `hand_out`."""

_NEVER = 10**9


class _Journaled(keras_tuner.Oracle):
    """What all oracles here share: the seed as given, and nothing written to disk.

    Attributes:
        assignments: What each trial is to do, by id; see `assignment`.
        configurations: How many of them are of a new configuration.
        max_epochs: Of a trial that the oracle sets no epochs of.
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
        """The ended trials that others may still go on from."""
        return set()

    def iteration(self, trial_id: str) -> int:
        """Which run of the whole schedule a trial belongs to, from 0."""
        return 0

    def rehearsal(self) -> "Oracle":
        """A copy that asks for as many trials, to be run to its end on made-up scores."""
        return copy.deepcopy(self)


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
        self._next_values: dict[str, Any] | None = None
        self._iterations: dict[str, int] = {}
        super().__init__(
            spec,
            hyperparameters,
            max_epochs=spec.budget.max_epochs,
            factor=spec.budget.factor,
            hyperband_iterations=spec.budget.hyperband_iterations,
        )
        # Keras Tuner has no setting for it; the brackets follow from it.
        self.min_epochs = spec.budget.min_epochs
        self._current_bracket = self._get_num_brackets() - 1
        self._brackets: list[dict[str, Any]] = []
        self._start_new_bracket()

    def promotable(self) -> set[str]:
        """The ended trials that may still be promoted: no more than there is room for."""
        found: set[str] = set()
        for bracket in self._brackets:
            rounds, number = bracket["rounds"], bracket["bracket_num"]
            for below in range(len(rounds) - 1):
                waiting = sorted(self._waiting(rounds, below), key=lambda trial: trial.score)
                room = self._get_size(number, below + 1) - len(rounds[below + 1])
                found |= {trial.trial_id for trial in waiting[: max(room, 0)]}
        return found

    def iteration(self, trial_id: str) -> int:
        """Which run of the whole schedule a trial belongs to, from 0."""
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
            self._label_bracket(trial_id, response["values"])
        return response

    def _look_ahead(self) -> None:
        """Draws the next configuration before it is known to be wanted.

        That there is no other then follows from what was handed out, and not from whether a worker
        asked in vain, which no journal tells.
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
                waiting = self._waiting(rounds, below)
                if waiting and len(rounds[below + 1]) < self._get_size(number, below + 1):
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

    def _waiting(self, rounds: Sequence[list[dict[str, Any]]], below: int) -> list[Trial]:
        """The completed trials of a rung that have not been promoted."""
        taken = {entry["past_id"] for entry in rounds[below + 1]}
        return [trial for trial in self._completed(rounds[below]) if trial.trial_id not in taken]

    def _completed(self, entries: list[dict[str, Any]]) -> list[Trial]:
        trials = [self.trials[entry["id"]] for entry in entries]
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _is_running(self, entries: list[dict[str, Any]]) -> bool:
        return any(self.trials[e["id"]].status == TrialStatus.RUNNING for e in entries)


class _Bounded(_Journaled):
    """An oracle that asks for so many trials, each of the largest budget."""

    def __init__(
        self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters, **settings: Any
    ) -> None:
        # Not told to Keras Tuner, which pads its trials' ids to the number's width: an extended
        # search would number its old trials anew.
        self._most = spec.budget.max_trials or _NEVER
        super().__init__(spec, hyperparameters, max_trials=None, **settings)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        if len(self.trials) >= self._most:
            return {"status": TrialStatus.STOPPED}
        response: dict[str, Any] = super().populate_space(trial_id)
        return response


class RandomOracle(_Bounded, keras_tuner.oracles.RandomSearchOracle):
    """Keras Tuner's random search."""


class GridOracle(_Bounded, keras_tuner.oracles.GridSearchOracle):
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


class BayesianOracle(_Bounded, keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian optimisation, which resumes and repeats no configuration.

    Its own loses the state of its random numbers when it is reloaded; here every suggestion
    draws from numbers of its own, so that a search goes on as if it had never stopped.

    Attributes:
        told: While a journal is replayed, the hyperparameters of the trial to come: what the
            Gaussian process once suggested is not worked out again.
    """

    def __init__(self, spec: SearchSpec, hyperparameters: keras_tuner.HyperParameters) -> None:
        self.told: Mapping[str, Number] | None = None
        super().__init__(spec, hyperparameters, num_initial_points=spec.budget.initial_trials)
        self.gpr = self._make_gpr()  # with the seed as it was given
        self._spec = spec

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the next trial; see `keras_tuner.Oracle.populate_space`."""
        completed = sum(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        if completed < self.num_initial_points or len(self.trials) >= self._most:
            return super().populate_space(trial_id)
        if self.told is not None:
            return {"status": TrialStatus.RUNNING, "values": dict(self.told)}
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

    def rehearsal(self) -> "Oracle":
        """A random search of as many trials: the Gaussian process would take minutes."""
        return RandomOracle(self._spec, self.hyperparameters.copy())


class SingleOracle(_Journaled):
    """Asks for one trial, of the values that every hyperparameter is pinned at."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Hands out the one trial, once."""
        if self.trials:
            return {"status": TrialStatus.STOPPED}
        return {"status": TrialStatus.RUNNING, "values": dict(self.hyperparameters.values)}


Oracle = HyperbandOracle | RandomOracle | GridOracle | BayesianOracle | SingleOracle

_ORACLES: Mapping[str, type[Oracle]] = {
    "hyperband": HyperbandOracle,
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "grid": GridOracle,
    "single": SingleOracle,
}


def make_oracle(spec: SearchSpec) -> Oracle:
    """The oracle of a search, at its beginning."""
    hyperparameters = keras_tuner.HyperParameters()
    VAEHyperModel(space=spec.space).declare_hyperparameters(hyperparameters)
    return _ORACLES[spec.algorithm](spec, hyperparameters)


def assignment(oracle: Oracle, trial: Trial) -> Assignment:
    """Reads what a trial is to do from among its hyperparameters, where Keras Tuner puts it.

    To be asked first in the order in which the trials were created: that numbers the
    configurations.
    """
    known = oracle.assignments.get(trial.trial_id)
    if known is None:
        known = oracle.assignments[trial.trial_id] = _read_assignment(oracle, trial)
        oracle.configurations += known.parent is None
    return known


def _read_assignment(oracle: Oracle, trial: Trial) -> Assignment:
    values = trial.hyperparameters.values
    parent = values.get("tuner/trial_id")
    new = oracle.configurations
    return Assignment(
        trial_id=trial.trial_id,
        configuration=new if parent is None else oracle.assignments[parent].configuration,
        parent=parent,
        iteration=oracle.iteration(trial.trial_id),
        bracket=values.get("tuner/bracket", 0),
        rung=values.get("tuner/round", 0),
        epoch_from=values.get("tuner/initial_epoch", 0),
        epoch_to=values.get("tuner/epochs", oracle.max_epochs),
        hyperparameters=_own_values(values),
    )


def _own_values(values: Mapping[str, Any]) -> dict[str, Number]:
    """The hyperparameters of the model, without Keras Tuner's control data."""
    names = Space.model_fields
    return {name: values[name] for name in names if name in values}


def plan(oracle: Oracle) -> tuple[Rung, ...]:
    """Counts the trials of a search, those that an oracle has asked for and those to come.

    Which configurations are drawn does not depend on the scores, so the counts are exact as
    long as no more trials fail. The oracle stays as it is.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None:
        return (
            Rung(bracket=0, rung=0, trials=grid_size, epoch_from=0, epoch_to=oracle.max_epochs),
        )
    rehearsed = oracle.rehearsal()
    for trial in list(rehearsed.ongoing_trials.values()):
        end(rehearsed, trial.trial_id, math.inf)
    for trial in _rehearse(rehearsed):
        assignment(rehearsed, trial)
    sizes: dict[tuple[int, int, int, int, int], int] = {}
    for asked in rehearsed.assignments.values():
        key = (asked.iteration, asked.bracket, asked.rung, asked.epoch_from, asked.epoch_to)
        sizes[key] = sizes.get(key, 0) + 1
    names = ("iteration", "bracket", "rung", "epoch_from", "epoch_to")
    rungs = [Rung(trials=n, **dict(zip(names, key, strict=True))) for key, n in sizes.items()]
    # As one worker would run them, whichever began first among several.
    return tuple(sorted(rungs, key=lambda rung: (rung.iteration, -rung.bracket, rung.rung)))


def _grid_size(oracle: Oracle) -> int | None:
    """How many trials a grid holds, worked out: running through a large one takes minutes."""
    if not isinstance(oracle, GridOracle):
        return None
    points = math.prod(len({hp.default, *hp.values}) for hp in oracle.hyperparameters.space)
    return min(points, oracle._most)


def draw_configurations(
    oracle: Oracle, most: int = 1000
) -> dict[tuple[int, int], list[Mapping[str, Number]]]:
    """The configurations that a new search begins with, by iteration and bracket.

    They are those it will draw, whatever the scores, but for two: a Bayesian search goes on to
    suggestions of its own, and stands here for a random one of as many trials; of a grid with
    more than `most` points so many are drawn at random. The oracle stays as it is.
    """
    grid_size = _grid_size(oracle)
    if grid_size is not None and grid_size > most:
        return {(0, 0): _draw_from_grid(oracle, most)}
    rehearsed = oracle.rehearsal()
    drawn: dict[tuple[int, int], list[Mapping[str, Number]]] = {}
    for trial in _rehearse(rehearsed):
        asked = assignment(rehearsed, trial)
        if asked.parent is None:
            place = (asked.iteration, asked.bracket)
            drawn.setdefault(place, []).append(asked.hyperparameters)
    return drawn


def _draw_from_grid(oracle: Oracle, count: int) -> list[Mapping[str, Number]]:
    generator = np.random.default_rng(oracle.seed)
    points = {hp.name: sorted({hp.default, *hp.values}) for hp in oracle.hyperparameters.space}
    return [
        {name: values[generator.integers(len(values))] for name, values in points.items()}
        for _ in range(count)
    ]


def hand_out(oracle: Oracle) -> Trial:
    """Asks an oracle for a trial, whichever others are under way.

    Returns:
        A trial whose status is RUNNING, or IDLE where others have to end first, or STOPPED.
    """
    # An oracle gives the tuner that has a trial the same one again.
    return oracle.create_trial(f"{TUNER_ID}-{len(oracle.trials)}")


def replay(oracle: Oracle, events: Iterable[Event]) -> None:
    """Brings a new oracle to where the journal leaves off.

    Trials that have not ended are among its `ongoing_trials`.

    Raises:
        JournalError: The oracle asks for another trial than the journal tells of.
    """
    for event in events:
        if isinstance(event, TrialStarted):
            _replay_start(oracle, event)
        elif isinstance(event, TrialEnded):
            end(oracle, event.trial_id, event.score)
    if isinstance(oracle, BayesianOracle):
        oracle.told = None


def _replay_start(oracle: Oracle, event: TrialStarted) -> None:
    if isinstance(oracle, BayesianOracle):
        oracle.told = event.hyperparameters
    trial = hand_out(oracle)
    if trial.status != TrialStatus.RUNNING or assignment(oracle, trial) != _as_told(event):
        raise JournalError(
            f"The journal does not fit its own search: at trial {event.trial_id} the oracle asks "
            "for another one. It was written by another version, or edited. Search again with "
            "--overwrite or under another name."
        )


def _as_told(event: TrialStarted) -> Assignment:
    return Assignment(**{name: getattr(event, name) for name in Assignment.model_fields})


def end(oracle: Oracle, trial_id: str, score: float | None) -> None:
    """Tells an oracle that a trial completed with a score, or failed if there is none."""
    trial = oracle.get_trial(trial_id)
    trial.status = TrialStatus.FAILED
    if score is not None:
        oracle.update_trial(trial_id, {OBJECTIVE: score})
        trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def _rehearse(oracle: Oracle) -> Iterator[Trial]:
    score = 0.0
    while (trial := hand_out(oracle)).status == TrialStatus.RUNNING:
        yield trial
        end(oracle, trial.trial_id, score)
        score += 1.0
