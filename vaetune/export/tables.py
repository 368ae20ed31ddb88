"""Writes latent variables or scores of images as a table: .npz, .csv or .parquet."""

import csv
import importlib.util
import io
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import ResultsError
from vaetune.export.standalone.tables import (
    Latents,
    name_columns,
    replacing,
    write_csv,
    write_npz,
)
from vaetune.files import DamagedArchiveError, check_writable, list_arrays

ENDINGS = (".npz", ".csv", ".parquet")
"""Endings of the files that can be written."""

MARKS = {"latent variables": ("z_mean", "z_mean_0"), "scores": ("score", "score")}
"""An array of an archive and a column of a table by which the kinds of tables are known."""

_ROWS = 10_000
"""Rows of a group of a Parquet file, about."""

_LONGEST_HEADER = 2**20
"""Bytes of a file in which the header of a table is looked for."""


@dataclass(frozen=True, eq=False)
class TableFacts:
    """What a table says about images besides their latents.

    Attributes:
        names: Paths of files or indices in arrays, (n,) str or int64.
        splits: Names of the splits, (n,); None without splits.
        labels: Class indices, (n,), negative for an image without a label; None without labels.
        class_names: Class names by class index; None without labels.
    """

    names: NDArray[Any]
    splits: NDArray[np.str_] | None = None
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of an archive."""
        found = {
            "names": np.array(self.names.tolist()),
            "splits": self.splits,
            "labels": self.labels,
            "class_names": None if self.class_names is None else np.array(self.class_names),
        }
        return {name: array for name, array in found.items() if array is not None}

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The columns of a table. A value that an image does not have is None."""
        columns = {"name": self.names.tolist()}
        if self.splits is not None:
            columns["split"] = self.splits.tolist()
        if self.labels is not None:
            labels, known = self.labels.tolist(), dict(enumerate(self.class_names or ()))
            columns["label"] = [label if label >= 0 else None for label in labels]
            columns["class_name"] = [known.get(label) for label in labels]
        return columns


def check_table(path: Path, of: str = "latent variables") -> None:
    """Checks that a table can be written to a file, before anything is computed.

    Args:
        path: File of the table.
        of: Kind of the table, one of `MARKS`. A file with such a table may be overwritten.

    Raises:
        ResultsError: The ending is unknown, a library is missing, there is no such folder, it
            cannot be written, or a file of another program has this name.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ResultsError(
            f"{path} is not a name of a table: expected one that ends in .npz, .csv or .parquet."
        )
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ResultsError(
            f"{path} needs pyarrow, which is not installed. Run pip install 'vaetune[parquet]', or "
            "choose a name that ends in .npz or .csv."
        )
    check_writable(path, "--output")
    if path.exists() and not _is_table(path, ending, *MARKS[of]):
        raise ResultsError(
            f"{path} is not a table of {of} and will not be overwritten. Move it away, "
            "or choose another file with --output."
        )


def write_table(path: Path, facts: TableFacts, parts: Iterable[Latents]) -> int:
    """Writes a table of images. It is whole or not there at all.

    Args:
        path: File to write, with one of `ENDINGS`.
        facts: Names, splits and labels of all images.
        parts: Latents of the images, one batch after the other.

    Returns:
        Number of images.

    Raises:
        ResultsError: The file cannot be written.
    """
    with _explaining(path):
        match path.suffix.lower():
            case ".npz":
                return write_npz(path, facts.arrays, parts)
            case ".csv":
                return write_csv(path, facts.columns, parts)
            case _:
                return _write_parquet(path, facts.columns, parts)


def write_scores(path: Path, facts: TableFacts, scores: Mapping[str, NDArray[Any]]) -> None:
    """Writes a table of scores. It is whole or not there at all.

    Args:
        path: File to write, with one of `ENDINGS`.
        facts: Names, splits and labels of all images.
        scores: Columns of the table, each (n,).

    Raises:
        ResultsError: The file cannot be written.
    """
    with _explaining(path):
        if path.suffix.lower() == ".npz":
            write_npz(path, facts.arrays | dict(scores), ())
            return
        columns = facts.columns | {name: each.tolist() for name, each in scores.items()}
        with replacing(path) as target:
            if path.suffix.lower() == ".csv":
                text = io.TextIOWrapper(target, encoding="utf-8", newline="")
                writer = csv.writer(text, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
                text.flush()
                text.detach()
            else:
                import pyarrow as pa
                from pyarrow.parquet import write_table as write_parquet

                write_parquet(pa.table(columns), target)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(f"{path} cannot be written: {error.strerror or error}.") from error


def _is_table(path: Path, ending: str, array: str, column: str) -> bool:
    """Whether a file is a table that was written here, with an array or a column of this name."""
    try:
        if ending == ".npz":
            return {"names", array} <= set(list_arrays(path))
        if ending == ".csv":
            with path.open("rb") as file:
                first = file.read(_LONGEST_HEADER).decode("utf-8", "replace").partition("\n")[0]
            return _has_column(next(csv.reader([first]), []), column)
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import read_schema

        try:
            return _has_column(read_schema(path).names, column)
        except ArrowInvalid:
            return False
    except (OSError, DamagedArchiveError, csv.Error):
        return False


def _has_column(names: list[str], column: str) -> bool:
    return names[:1] == ["name"] and column in names


def _write_parquet(path: Path, columns: Mapping[str, list[Any]], parts: Iterable[Latents]) -> int:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    facts = {name: pa.array(values) for name, values in columns.items()}
    writer, count = None, 0
    with replacing(path) as target:
        for part in _grouped(parts):
            size = len(next(iter(part.values())))
            numbers = np.concatenate([each.reshape(size, -1) for each in part.values()], 1)
            latents = zip(name_columns(part), map(pa.array, numbers.T), strict=True)
            here = {name: values.slice(count, size) for name, values in facts.items()}
            table = pa.table(here | dict(latents))
            writer = writer or ParquetWriter(target, table.schema)
            writer.write_table(table)
            count += size
        if writer:
            writer.close()
    return count


def _grouped(parts: Iterable[Latents]) -> Iterator[dict[str, NDArray[Any]]]:
    """Joins batches, because small groups of rows make a Parquet file slow to read."""
    waiting: list[Latents] = []
    for part in parts:
        waiting.append(part)
        if sum(len(next(iter(each.values()))) for each in waiting) >= _ROWS:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Latents]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
