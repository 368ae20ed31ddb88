"""Keras Tuner's oracles by name: Hyperband corrected, state kept in the journal alone.

An oracle is rebuilt by replaying the journal's events through its own methods, so the two can
never disagree. Keras Tuner's own files are not written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import Number, SearchSpec, Space
from vaetune.errors import JournalError
from vaetune.models import VAEHyperModel
from vaetune.search.oracles.base import OBJECTIVE, TUNER_ID, Oracle
from vaetune.search.oracles.bayesian import BayesianOracle
from vaetune.search.oracles.hyperband import HyperbandOracle
from vaetune.search.oracles.simple import GridOracle, RandomOracle, SingleOracle
from vaetune.study import Assignment, Event, TrialEnded, TrialStarted

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
        JournalError: The oracle asks for another trial than the journal records.
    """
    for event in events:
        if isinstance(event, TrialStarted):
            _replay_start(oracle, event)
        elif isinstance(event, TrialEnded):
            end(oracle, event.trial_id, event.score)
    if isinstance(oracle, BayesianOracle):
        oracle.replayed = None


def _replay_start(oracle: Oracle, event: TrialStarted) -> None:
    if isinstance(oracle, BayesianOracle):
        oracle.replayed = event.hyperparameters
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
