"""Writes a study as event files of TensorBoard: scalars, and what its HParams tab shows.

TensorBoard's writer imports TensorFlow. The records are written here instead, in seconds less.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaetune.config import FAMILY, Range, Value
from vaetune.export.bridges.runs import LOSSES, Run
from vaetune.study import Study

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

_METRICS = {
    "validation/loss": "last val_loss",
    "validation/reconstruction_loss": "last val_reconstruction_loss",
    "validation/kl_loss": "last val_kl_loss",
    "trial/active_units": "active units",
    "trial/parameters": "parameters",
}
"""Scalars of any study in the table of HParams, and their titles there."""


def write_tensorboard(study: Study, runs: Sequence[Run], path: Path) -> None:
    """Writes a folder of event files, with a folder for each run.

    Args:
        study: The study.
        runs: Its runs.
        path: Folder to write, which does not exist.
    """
    began = study.started.time
    _write_events(path, began, [_as_event(began, _describe_experiment(study, runs))])
    for run in runs:
        _write_events(path / run.name, run.started, _list_events(run))


def _write_events(folder: Path, began: datetime, events: Iterable["Event"]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event

    folder.mkdir()
    version = Event(wall_time=began.timestamp(), file_version="brain.Event:2")
    name = f"events.out.tfevents.{int(began.timestamp())}.vaetune"
    with (folder / name).open("wb") as file:
        for event in (version, *events):
            file.write(_frame(event.SerializeToString()))


def _frame(record: bytes) -> bytes:
    """Returns a record with its length and the checksums of both, as in a TFRecord file."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    length = struct.pack("<Q", len(record))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (length, record)]
    return length + checksums[0] + record + checksums[1]


def _as_event(moment: datetime, summary: "Summary", step: int = 0) -> "Event":
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=moment.timestamp(), step=step, summary=summary)


def _list_events(run: Run) -> Iterator["Event"]:
    """Yields the start of a run, its losses, its facts, and its end unless it is unfinished."""
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    start = hparams_pb(dict(run.hyperparameters), run.name, run.started.timestamp())
    yield _as_event(run.started, start)
    for epoch in run.epochs:
        values = {_tag_of(name): value for name, value in run.values(epoch).items()}
        yield _as_event(epoch.time, _as_scalars(values), epoch.epoch)
    known = {f"trial/{name}": value for name, value in run.scalars().items()}
    yield _as_event(run.last_moment, _as_scalars(known), run.last_epoch)
    if run.ended:
        yield _as_event(run.ended, _describe_end(run.state == "failed", run.ended))


def list_metrics(study: Study) -> dict[str, str]:
    """Returns the scalars in the table of HParams, which shows their last values, by their tags."""
    objective = study.objective
    best = "highest" if objective.is_maximised else "lowest"
    titles = {"trial/score": f"{best} {objective.name}"}
    if not objective.is_loss:
        titles[_tag_of(objective.name)] = f"last {objective.name}"
    return titles | _METRICS


def _tag_of(name: str) -> str:
    """Returns the tag of a loss, such as "validation/kl_loss". TensorBoard groups by its start.

    Any other value is one of the validation images.
    """
    part = "train" if name in LOSSES and not name.startswith("val_") else "validation"
    return f"{part}/{name.removeprefix('val_')}"


def _as_scalars(values: dict[str, float]) -> "Summary":
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(
        value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    )


def _describe_end(has_failed: bool, moment: datetime) -> "Summary":
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = api_pb2.STATUS_FAILURE if has_failed else api_pb2.STATUS_SUCCESS
    end = SessionEndInfo(status=status, end_time_secs=moment.timestamp())
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(HParamsPluginData(session_end_info=end)),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _describe_experiment(study: Study, runs: Sequence[Run]) -> "Summary":
    """Returns the columns of the table of HParams: what the study searches, and the metrics."""
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    dimensions = dict(study.space.dimensions())
    columns = []
    for name, values in _differing(study, runs).items():
        dimension = dimensions.get(name)
        domain = _interval(name, dimension, values) or _list_values(values)
        columns.append(HParam(name, domain))
    metrics = [Metric(tag, display_name=title) for tag, title in list_metrics(study).items()]
    return hparams_config_pb(columns, metrics, study.started.time.timestamp())


def _differing(study: Study, runs: Sequence[Run]) -> dict[str, list[Value]]:
    """Returns the values of each hyperparameter that has more than one, or of all if none has."""
    values = {name: set(one.listed()) for name, one in study.space.dimensions()}
    for run in runs:
        for name, value in run.hyperparameters.items():
            values.setdefault(name, set()).add(value)
    differing = {name: found for name, found in values.items() if len(found) > 1}
    return {name: sorted(found, key=_order) for name, found in (differing or values).items()}


def _order(value: Value) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (value, "")


def _interval(name: str, dimension: Any, values: Sequence[Value]) -> Any:
    """Returns the domain of a range that includes all values; None for another dimension."""
    from tensorboard.plugins.hparams.summary_v2 import IntInterval, RealInterval

    if not isinstance(dimension, Range):
        return None
    low, high = values[0], values[-1]
    if FAMILY[name].kind == "real":
        return RealInterval(float(low), float(high))
    return IntInterval(int(low), int(high))


def _list_values(values: Sequence[Value]) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import Discrete

    numbers = [float(value) for value in values if not isinstance(value, str)]
    return Discrete(numbers if len(numbers) == len(values) else [str(value) for value in values])
