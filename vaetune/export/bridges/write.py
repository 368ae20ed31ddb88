"""Writes the trials of a study for another tool, for scripts and the command line."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import Literal

from vaetune.config import closest_match
from vaetune.errors import ResultsError, short_repr
from vaetune.export.bridges.runs import Run, list_runs
from vaetune.export.bridges.to_mlflow import write_mlflow
from vaetune.export.bridges.to_optuna import JOURNAL_SUFFIX, write_optuna
from vaetune.export.bridges.to_tensorboard import write_tensorboard
from vaetune.files import is_in_use, write_atomically, writing_to
from vaetune.study import Study, continue_command

Tool = Literal["optuna", "tensorboard", "mlflow"]


@dataclass(frozen=True)
class Bridge:
    """How the trials of a study are written for a tool.

    Attributes:
        write: Function that writes the runs of a study to a path that does not exist.
        suffixes: Possible endings of the file; empty if a folder is written.
        expected: Description of the possible outputs.
        opens: Command that opens a file or folder, by its ending; "" for any other ending.
        needs: Module that vaetune does not install by default, and its optional extra.
    """

    write: Callable[[Study, Sequence[Run], Path], None]
    suffixes: tuple[str, ...]
    expected: str
    opens: dict[str, str]
    needs: str | None = None


BRIDGES: dict[str, Bridge] = {
    "optuna": Bridge(
        write_optuna,
        (".db", JOURNAL_SUFFIX),
        "a file that ends in .db (SQLite) or .log (a journal of Optuna)",
        {"": "optuna-dashboard sqlite:///{}", JOURNAL_SUFFIX: "optuna-dashboard {}"},
    ),
    "tensorboard": Bridge(write_tensorboard, (), "a new folder", {"": "tensorboard --logdir {}"}),
    "mlflow": Bridge(
        write_mlflow,
        (".db",),
        "a file that ends in .db (SQLite)",
        {"": "mlflow ui --backend-store-uri sqlite:///{}"},
        needs="mlflow",
    ),
}
"""The tools by their names on the command line. An optional extra of the package matches."""


def write_trials(study: Study, tool: Tool, output: str | os.PathLike[str]) -> Path:
    """Writes the trials of a study for another tool, as `vaetune trials --to` does.

    Each configuration is one run of the tool, with its losses after each epoch. The trials that
    continued it after a promotion belong to the same run.

    Args:
        study: Search or baseline, which must not be running.
        tool: "optuna", "tensorboard" or "mlflow".
        output: File or folder to write, which must not exist: `.db` (SQLite) or `.log` (a journal)
            for Optuna, a folder for TensorBoard, `.db` (SQLite) for MLflow.

    Returns:
        Path of the file or folder.

    Raises:
        ResultsError: The tool is unknown or not installed, the study is running or has no trials,
            or the output exists, has another ending or cannot be written.

    Example:
        >>> study = vaetune.load_study("results/hyperband")
        >>> vaetune.write_trials(study, "optuna", "trials.db")
    """
    bridge, target = _find_bridge(tool), Path(output)
    _check_output(target, tool, bridge)
    _check_study(study)
    with tempfile.TemporaryDirectory(prefix="vaetune-") as folder:
        # The name of a database is part of a URL, so it is written under a name without any signs.
        made = Path(folder) / f"trials{target.suffix if bridge.suffixes else ''}"
        bridge.write(study, list_runs(study), made)
        _put_in_place(made, target)
    return target


def opening_command(tool: Tool, output: Path) -> str:
    """Returns the command that opens what `write_trials` wrote."""
    opens = BRIDGES[tool].opens
    return opens.get(output.suffix, opens[""]).format(quote(str(output)))


def _find_bridge(tool: str) -> Bridge:
    bridge = BRIDGES.get(tool)
    if bridge is None:
        raise ResultsError(
            f"Unknown tool {short_repr(tool)}.{closest_match(tool, list(BRIDGES))} "
            f"Expected one of: {', '.join(BRIDGES)}."
        )
    if bridge.needs and find_spec(bridge.needs) is None:
        raise ResultsError(
            f"{bridge.needs} is not installed. Run: pip install 'vaetune[{bridge.needs}]'"
        )
    return bridge


def _check_output(target: Path, tool: Tool, bridge: Bridge) -> None:
    if bridge.suffixes and target.suffix not in bridge.suffixes:
        raise ResultsError(
            f"The output for {tool} must be {bridge.expected}, received {short_repr(str(target))}."
        )
    if target.exists() or target.is_symlink():
        raise ResultsError(
            f"{target} exists and will not be overwritten. Move it away, or choose another output."
        )


def _check_study(study: Study) -> None:
    # A lock alone does not tell: the folder may be read-only, or its winner is being evaluated.
    if study.last_end is None and is_in_use(study.folder):
        raise ResultsError(
            f'"{study.name}" is running: {study.state}. Wait until it ends, or stop it. '
            "`vaetune report --watch` shows its trials meanwhile."
        )
    if not study.trials:
        raise ResultsError(
            f'"{study.name}" has no trials yet. Continue it with `{continue_command(study)}`.'
        )


def _put_in_place(made: Path, target: Path) -> None:
    """Copies a finished file or folder to its place in one step."""
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if made.is_file():
        with made.open("rb") as file:
            write_atomically(target, lambda place: shutil.copyfileobj(file, place))
        return
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    with writing_to(target):
        try:
            shutil.copytree(made, temporary)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
