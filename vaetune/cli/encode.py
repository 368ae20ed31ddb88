"""`vaetune encode`: write images as points in the latent space of a model."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaetune.cli.console import (
    clean_interrupt,
    find_exported,
    find_named,
    hand_over,
    is_export,
    note,
    say,
)
from vaetune.cli.options import Resize, Results, Splits, StudyName, TableFile, TrialId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vaetune.data import ImageRows
    from vaetune.evaluation import LoadableModel


def encode(
    name: StudyName = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Images to encode: a folder, an .npz, .npy or idx file, or a name such as digits. "
            "Default: the images of the search."
        ),
    ] = None,
    output: TableFile = None,
    map_: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="Map with thumbnails to write, as a PNG."),
    ] = None,
    split: Splits = None,
    log_var: Annotated[bool, typer.Option("--log-var", help="Write z_log_var as well.")] = False,
    levels: Annotated[
        bool, typer.Option("--levels", help="Write the lower levels of latent variables as well.")
    ] = False,
    resize: Resize = None,
    trial: TrialId = None,
    results: Results = Path("results"),
) -> None:
    """Write the latent variables of images as a table, or as a map.

    The table has a row for each image, with its name, split and label. The images are prepared as
    those that the model was trained on. The first argument may also be the folder of an export,
    such as results/best.
    """
    if output is None and map_ is None:
        raise typer.BadParameter("give --output FILE, --map FILE or both")
    _check_files(output, map_)
    with clean_interrupt("Stopped. Nothing was written."):
        model = find_model(name, trial, results)
        from vaetune.evaluation import open_images

        rows = open_images(model, dataset, resize.value if resize else None)
        rows = rows.of_splits([each.value for each in split or ()])
        say_notes(rows, is_search=dataset is None)
        _encode(model, rows, output, map_, log_var, levels)


def _check_files(table: Path | None, map_: Path | None) -> None:
    """Checks that the files can be written, before anything is computed."""
    if table:
        from vaetune.export import check_table

        check_table(table)
    if map_:
        from vaetune.report import check_map

        check_map(map_)


def say_notes(rows: "ImageRows", is_search: bool) -> None:
    """Prints how images were read, and whether those of the search have changed.

    Args:
        rows: Images that were opened for a model.
        is_search: True if the user gave no images, so that those of the model's search are meant.
    """
    if is_search and not rows.are_trained_on:
        note(f"{rows.source} has changed since the search, so the table has no splits.")
    for sentence in rows.notes:
        note(sentence)


def find_model(
    name: str | None, trial: str | None, results: Path, nearby: bool = False
) -> "LoadableModel":
    """Returns the model of a search's trial, or that of an export.

    Args:
        name: Name of the search, or folder of the export. None: the latest search.
        trial: Id of the trial. None: the winner.
        results: Folder of all results.
        nearby: Whether to read the path of the images from the search of an export; see
            `model_of_export`.
    """
    from vaetune.evaluation import model_of_export, model_of_trial
    from vaetune.study import pick

    if name is not None and is_export(name, results):
        if trial is not None:
            raise typer.BadParameter("an export holds one trial: leave out --trial")
        return model_of_export(find_exported(Path(name)), nearby)
    study = find_named(results, name)
    study = hand_over(study) if trial is None else study
    return model_of_trial(study, pick(study, trial))


def _encode(
    model: "LoadableModel",
    rows: "ImageRows",
    table: Path | None,
    map_: Path | None,
    log_var: bool,
    levels: bool,
) -> None:
    """Encodes images and writes the files."""
    from rich.console import Console

    from vaetune.cli.live.bars import EvaluationProgress
    from vaetune.device import choose_device

    choose_device("auto", exact=True)
    from vaetune.evaluation import encode_rows
    from vaetune.search import StoppableWatcher

    progress = EvaluationProgress(Console(stderr=True), f"{len(rows):,} images", "are encoded")
    means: list[NDArray[Any]] = []
    with progress, StoppableWatcher(progress) as watcher:
        show = partial(watcher.on_progress, "search", None)
        parts = encode_rows(model.load(), rows, levels, show)
        count = _write_table(table, rows, _keep_means(parts, means if map_ else None, log_var))
    say(f"Encoded {count:,} image{'s' * (count != 1)} with {model.name}.")
    if table:
        say(f"Table: {table}")
    if map_:
        count = _write_map(map_, rows, means, model)
        say(f"Map: {map_}, with {count:,} thumbnail{'s' * (count != 1)}")


def _keep_means(
    parts: "Iterator[dict[str, NDArray[Any]]]", means: "list[NDArray[Any]] | None", log_var: bool
) -> "Iterator[dict[str, NDArray[Any]]]":
    """Passes batches of latents on, and keeps z_mean for a map."""
    for part in parts:
        if means is not None:
            means.append(part["z_mean"])
        yield {key: each for key, each in part.items() if log_var or not key.endswith("log_var")}


def _write_table(
    table: Path | None, rows: "ImageRows", parts: "Iterator[dict[str, NDArray[Any]]]"
) -> int:
    """Writes a table, if one is wanted, and returns the number of images."""
    if table is None:
        return sum(len(part["z_mean"]) for part in parts)
    from vaetune.export import TableFacts, write_table

    facts = TableFacts(rows.names, rows.splits, rows.labels, rows.class_names)
    return write_table(table, facts, parts)


def _write_map(
    path: Path, rows: "ImageRows", means: "list[NDArray[Any]]", model: "LoadableModel"
) -> int:
    import numpy as np

    from vaetune.data import to_pixels
    from vaetune.report import write_map

    def read(numbers: "NDArray[np.int64]") -> "NDArray[np.uint8]":
        return to_pixels(rows.read(numbers))

    show = model.images.data.show
    return write_map(path, np.concatenate(means), read, rows.labels, rows.class_names, show)
