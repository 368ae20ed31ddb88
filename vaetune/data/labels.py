"""Labels as data sets have them, converted to class indices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of all splits.

    Attributes:
        indices: Class indices of each split, (n,) int64; None for a split without labels.
        class_names: Class names by index; None if no split has labels.
        warnings: Labels that were not used and the reasons, one sentence each.
    """

    indices: tuple[NDArray[np.int64] | None, ...]
    class_names: tuple[str, ...] | None
    warnings: tuple[str, ...]


def convert_labels(labels: Sequence[Any], counts: Sequence[int], names: Sequence[str]) -> Labels:
    """Turns the labels of all splits into class indices, in the order of the labels.

    Numbers, strings and one-hot rows become classes. Labels of any other kind are not used, because
    a VAE needs none.

    Args:
        labels: Labels of each split as they were found, or None.
        counts: Number of images of each split.
        names: Names of the splits in messages, such as "training".
    """
    classes: list[NDArray[Any] | None] = []
    warnings = []
    for given, count, name in zip(labels, counts, names, strict=True):
        found, problem = _to_classes(given, count)
        classes.append(found)
        if problem:
            warnings.append(f"The {name} labels were not used: {problem}.")
    present = [each for each in classes if each is not None]
    if len({each.dtype.kind == "U" for each in present}) > 1:
        classes = [None if each is None else each.astype(str) for each in classes]
        present = [each for each in classes if each is not None]
    if not present:
        return Labels(tuple(None for _ in classes), None, tuple(warnings))
    values = np.unique(np.concatenate(present))
    indices = tuple(
        None if each is None else np.searchsorted(values, each).astype(np.int64) for each in classes
    )
    return Labels(indices, tuple(str(value) for value in values), tuple(warnings))


def _to_classes(labels: Any, count: int) -> tuple[NDArray[Any] | None, str]:
    """Returns one class for each image, as int64 or str, or None and what is wrong."""
    if labels is None:
        return None, ""
    array = np.asarray(labels)
    if array.dtype.kind == "O":
        return None, "they are pickled objects, which are never loaded"
    if array.ndim == 0 or len(array) != count:
        return None, f"they have shape {array.shape}, and there are {count} images"
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        return _from_rows(array)
    if array.ndim != 1:
        return None, f"they have shape {array.shape}, expected one class for each image"
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "backslashreplace"), ""
    if array.dtype.kind == "U":
        return array, ""
    if array.dtype.kind in "iub":
        return array.astype(np.int64), ""
    if array.dtype.kind == "f" and bool(np.all(array == np.floor(array))):
        return array.astype(np.int64), ""
    return None, f"they have the type {array.dtype} and are not whole numbers or names"


def _from_rows(rows: NDArray[Any]) -> tuple[NDArray[Any] | None, str]:
    """Returns the classes of one-hot rows."""
    is_binary = rows.dtype.kind in "biuf" and bool(np.isin(rows, (0, 1)).all())
    if is_binary and bool((rows.sum(axis=1) == 1).all()):
        return rows.argmax(axis=1).astype(np.int64), ""
    return None, f"they have {rows.shape[1]} values for each image, expected one class"
