"""Creates an oracle, asks it for trials, reports scores to it, and restores it from a journal.

An oracle is restored by passing the events of the journal through its own methods, so that the
two always agree. Keras Tuner's own files are not written.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from keras_tuner.engine.trial import Trial, TrialStatus

from vaetune.config import SearchSpec, Space, Value
from vaetune.errors import OVERWRITE, JournalError, SpecError
from vaetune.models import VAEHyperModel
from vaetune.search.oracles.base import OBJECTIVE, TUNER_ID, Declarations, Oracle
from vaetune.search.oracles.bayesian import BayesianOracle
from vaetune.search.oracles.freeze_thaw import FreezeThawOracle
from vaetune.search.oracles.hyperband import HyperbandOracle
from vaetune.search.oracles.simple import GridOracle, RandomOracle, SingleOracle
from vaetune.study import Assignment, DataSummary, Event, TrialEnded, TrialStarted

_ORACLES: Mapping[str, type[Oracle]] = {
    "hyperband": HyperbandOracle,
    "freeze_thaw": FreezeThawOracle,
    "random": RandomOracle,
    "bayesian": BayesianOracle,
    "grid": GridOracle,
    "single": SingleOracle,
}


def make_oracle(spec: SearchSpec, data: DataSummary | None = None) -> Oracle:
    """Returns the oracle of a new search.

    Args:
        spec: The search.
        data: Its image set. Freeze-thaw needs it to choose trials, but not to count them.

    Raises:
        SpecError: The search begins with more configurations than it can try.
    """
    hyperparameters = Declarations()
    VAEHyperModel(space=spec.space).declare_hyperparameters(hyperparameters)
    oracle = _ORACLES[spec.algorithm](spec, hyperparameters)
    given, most = len(oracle.starting_points), oracle.most_configurations()
    if given > most:
        raise SpecError(
            f"start_with must hold at most as many configurations as the search tries, {most:.0f}, "
            f"received {given}. Remove some of them, or give the search a larger budget."
        )
    oracle.data = data
    return oracle


def assignment(oracle: Oracle, trial: Trial) -> Assignment:
    """Returns the assignment of a trial, which Keras Tuner stores among its hyperparameters.

    Call this in creation order: the first call for a trial assigns the number of its
    configuration.
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
        hyperparameters=_model_values(values),
    )


def _model_values(values: Mapping[str, Any]) -> dict[str, Value]:
    """Returns the hyperparameters of the model, without the control data of Keras Tuner."""
    names = Space.model_fields
    return {name: values[name] for name in names if name in values}


def request_trial(oracle: Oracle) -> Trial:
    """Asks an oracle for another trial, even if others are running.

    Returns:
        A trial with one of these statuses: RUNNING; IDLE if others have to end first; STOPPED if
        there are no more trials.
    """
    # An oracle returns the same trial again to a tuner that already has one, so each trial is
    # requested under a new name.
    return oracle.create_trial(f"{TUNER_ID}-{len(oracle.trials)}")


def replay(oracle: Oracle, events: Iterable[Event]) -> None:
    """Brings a new oracle to its state at the end of a journal.

    Trials that have not ended are in its `ongoing_trials` afterwards.

    Args:
        oracle: A new oracle of the search.
        events: Events of the journal, in order.

    Raises:
        JournalError: The oracle asks for a trial that differs from the one in the journal.
    """
    for event in events:
        if isinstance(event, TrialStarted):
            _replay_start(oracle, event)
        elif isinstance(event, TrialEnded):
            values = (event.score, event.collapsed, event.best_val_loss)
            end_trial(oracle, event.trial_id, *values)
    oracle.recorded = None


def _replay_start(oracle: Oracle, event: TrialStarted) -> None:
    recorded = Assignment(**{name: getattr(event, name) for name in Assignment.model_fields})
    oracle.recorded = recorded
    trial = request_trial(oracle)
    if trial.status != TrialStatus.RUNNING or assignment(oracle, trial) != recorded:
        raise JournalError(
            f"The journal does not match the search: trial {event.trial_id} differs from the one "
            "that the algorithm chooses. Another version of vaetune wrote the journal, or it was "
            f"edited. Search again with {OVERWRITE} or under another name."
        )


def end_trial(
    oracle: Oracle,
    trial_id: str,
    score: float | None,
    collapsed: bool | None = False,
    val_loss: float | None = None,
) -> None:
    """Reports the end of a trial to an oracle.

    Args:
        oracle: The oracle.
        trial_id: Id of the trial.
        score: Lowest cost, see `Objective.cost`; None if the trial failed.
        collapsed: Whether the model had collapsed after its last epoch; None if that was not
            measured. One completed trial without it shows that an earlier version began the
            search, which continues to promote by the scores alone.
        val_loss: Validation loss of the best epoch, nats per image, which breaks ties; None if it
            is the score.
    """
    if val_loss is not None:
        oracle.val_losses[trial_id] = val_loss
    if collapsed:
        oracle.collapsed.add(trial_id)
    if collapsed is None and score is not None:
        oracle.heeds_collapse = False
    trial = oracle.get_trial(trial_id)
    trial.status = TrialStatus.FAILED
    if score is not None:
        oracle.update_trial(trial_id, {OBJECTIVE: score})
        trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
