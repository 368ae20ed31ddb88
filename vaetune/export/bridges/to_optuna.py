"""Writes a study as a storage of Optuna: an SQLite file or a journal file."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vaetune.config import Pinned, Value
from vaetune.export.bridges.runs import Run, State, describe_study
from vaetune.report import as_distribution, silence_optuna
from vaetune.study import Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

JOURNAL_SUFFIX = ".log"
"""Ending of a journal file; other files are SQLite files."""


def write_optuna(study: Study, runs: Sequence[Run], path: Path) -> None:
    """Writes a study of Optuna. Each run is a trial with an intermediate value for each epoch.

    Args:
        study: The study.
        runs: Its runs.
        path: File to write, which does not exist.
    """
    import optuna

    distributions = _distributions(study, runs)
    direction: Literal["maximize", "minimize"]
    direction = "maximize" if study.objective.is_maximised else "minimize"
    with silence_optuna(optuna), _open_storage(path) as storage:
        written = optuna.create_study(
            storage=storage, study_name=study.address, direction=direction
        )
        written.set_metric_names([study.objective.name])
        for name, value in describe_study(study).items():
            written.set_user_attr(name, value)
        written.add_trials(_as_trial(run, distributions) for run in runs)


@contextmanager
def _open_storage(path: Path) -> Iterator["BaseStorage"]:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if path.suffix == JOURNAL_SUFFIX:
        yield JournalStorage(JournalFileBackend(str(path)))
        return
    # A connection that is given, not a URL: a path may hold characters that a URL may not.
    storage = RDBStorage("sqlite://", engine_kwargs={"creator": lambda: _connect(path)})
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    # The file is read once it is complete, so no transaction has to reach the disk.
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _distributions(study: Study, runs: Sequence[Run]) -> dict[str, "BaseDistribution"]:
    """Returns the distribution of each hyperparameter. Optuna wants one for all trials."""
    dimensions = dict(study.space.dimensions())
    values: dict[str, list[Value]] = {}
    for run in runs:
        for name, value in run.hyperparameters.items():
            values.setdefault(name, []).append(value)
    return {
        name: as_distribution(dimensions.get(name, Pinned(value=found[0])), found)
        for name, found in values.items()
    }


def _as_trial(run: Run, distributions: Mapping[str, "BaseDistribution"]) -> "FrozenTrial":
    from optuna.trial import FrozenTrial

    state = _as_state(run.state)
    best = run.best
    return FrozenTrial(
        number=-1,  # The storage numbers its trials and gives them ids.
        trial_id=-1,
        state=state,
        value=best.value if best and run.state in ("complete", "pruned") else None,
        datetime_start=_local(run.started),
        datetime_complete=_local(run.ended) if run.ended and state.is_finished() else None,
        params=dict(run.hyperparameters),
        distributions={name: distributions[name] for name in run.hyperparameters},
        user_attrs=dict(run.facts()),
        system_attrs={},
        intermediate_values={epoch.epoch: epoch.value for epoch in run.epochs},
    )


def _as_state(state: State) -> "TrialState":
    from optuna.trial import TrialState

    return {
        "complete": TrialState.COMPLETE,
        "pruned": TrialState.PRUNED,
        "failed": TrialState.FAIL,
        "unfinished": TrialState.RUNNING,
    }[state]


def _local(moment: datetime) -> datetime:
    """Returns a moment as Optuna records it: in local time, without a time zone."""
    return moment.astimezone().replace(tzinfo=None)
