"""Writes a study as a tracking store of MLflow: an SQLite file."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.export.bridges.runs import SCALARS, Run, State, describe_study
from vaetune.study import Study

if TYPE_CHECKING:
    from mlflow.entities import Metric

_STATUS: dict[State, str] = {
    "complete": "FINISHED",
    "pruned": "FINISHED",
    "failed": "FAILED",
    "unfinished": "KILLED",
}

_PER_CALL = 1000
"""Number of metrics that MLflow takes in one call."""


def write_mlflow(study: Study, runs: Sequence[Run], path: Path) -> None:
    """Writes an experiment of MLflow with a run for each run of a study.

    Args:
        study: The study.
        runs: Its runs.
        path: File to write, which does not exist.
    """
    with _quiet():
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        client = MlflowClient(tracking_uri=f"sqlite:///{path}")
        tags = {name: str(value) for name, value in describe_study(study).items()}
        # Nothing is stored there, but MLflow would name a folder of this machine.
        experiment = client.create_experiment(study.address, "mlflow-artifacts:/", tags)
        for run in runs:
            created = client.create_run(experiment, _milliseconds(run.started), run_name=run.name)
            run_id = created.info.run_id
            facts = run.facts()
            client.log_batch(
                run_id,
                params=[Param(name, str(value)) for name, value in run.hyperparameters.items()],
                tags=[RunTag(name, str(v)) for name, v in facts.items() if name not in SCALARS],
            )
            metrics = list(_list_metrics(run))
            for start in range(0, len(metrics), _PER_CALL):
                client.log_batch(run_id, metrics=metrics[start : start + _PER_CALL])
            client.set_terminated(run_id, _STATUS[run.state], _milliseconds(run.last_moment))


def _list_metrics(run: Run) -> Iterator["Metric"]:
    from mlflow.entities import Metric

    for epoch in run.epochs:
        moment = _milliseconds(epoch.time)
        for name, value in run.values(epoch).items():
            yield Metric(name, value, moment, epoch.epoch)
    for name, value in run.scalars().items():
        yield Metric(name, value, _milliseconds(run.last_moment), run.last_epoch)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps MLflow from reporting its use to its makers, from warnings and from log lines."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("mlflow")  # This sets the levels of its loggers.
        loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
