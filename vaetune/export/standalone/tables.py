"""Writes tables of latent variables while they are computed: .npz archives and .csv files.

`vaetune encode` and the exported `predict.py` write their tables with this module. It needs only
numpy, and must not import vaetune: it is copied into exports unchanged.
"""

import csv
import io
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Latents = Mapping[str, Array]
"""Arrays by name, each (n, ...), of the next images."""


def write_npz(path: Path, facts: Mapping[str, Array], parts: Iterable[Latents]) -> int:
    """Writes an archive with an array for each name. It never holds all latents in memory.

    Args:
        path: File to write. It is replaced when the new one is whole.
        facts: Arrays about all images, such as their names.
        parts: Latents of the images, one batch after the other.

    Returns:
        Number of images.

    Raises:
        OSError: The file cannot be written.
    """
    count = 0
    files: dict[str, tuple[BinaryIO, tuple[int, ...]]] = {}
    with ExitStack() as stack:
        for part in parts:
            for name, values in part.items():
                if name not in files:  # The file has no name and ends with this process.
                    opened = stack.enter_context(TemporaryFile(dir=path.parent))
                    files[name] = opened, values.shape[1:]
                files[name][0].write(np.ascontiguousarray(values, np.float32).data)
            count += len(next(iter(part.values())))
        with replacing(path) as target, zipfile.ZipFile(target, "w") as archive:
            for name, values in facts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, values, allow_pickle=False)
            for name, (file, shape) in files.items():
                header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array_header_1_0(entry, header)
                    shutil.copyfileobj(file, entry, 2**20)
    return count


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]], parts: Iterable[Latents]) -> int:
    """Writes a table with a row for each image. Numbers have the digits that tell float32 apart.

    Args:
        path: File to write. It is replaced when the new one is whole.
        columns: Columns before those of the latents, with a value for each image.
        parts: Latents of the images, one batch after the other.

    Returns:
        Number of images.

    Raises:
        OSError: The file cannot be written.
    """
    rows = zip(*columns.values(), strict=True)
    count = 0
    with replacing(path) as target:
        text = io.TextIOWrapper(target, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        for part in parts:
            if not count:
                writer.writerow([*columns, *name_columns(part)])
            numbers = np.concatenate([each.reshape(len(each), -1) for each in part.values()], 1)
            for values in numbers.tolist():
                writer.writerow([*next(rows), *map("{:.9g}".format, values)])
            count += len(numbers)
        text.flush()
        text.detach()
    return count


def name_columns(part: Latents) -> list[str]:
    """Returns names of columns such as z_mean_0: the index counts the values of an image."""
    sizes = {name: int(np.prod(values.shape[1:])) for name, values in part.items()}
    return [f"{name}_{index}" for name, size in sizes.items() for index in range(size)]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a new file that replaces an earlier one when it is whole.

    If the body raises an exception, the earlier file stays as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
