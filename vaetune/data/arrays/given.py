"""Arrays that a script gives in place of a name or a path."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data.images import ImageSet
from vaetune.errors import DataError

_BY_NAME = 'Give one array, (images, height, width, channels), or several by name: {"x": ..., ...}.'


def name_arrays(dataset: object) -> dict[str, NDArray[Any]] | str:
    """Returns arrays by name, or the name of a set or a path as text.

    Args:
        dataset: Image set, see `load_images`.

    Raises:
        DataError: It is no image set, such as a list of arrays.
    """
    if isinstance(dataset, np.ndarray):
        return {"x": dataset}
    if isinstance(dataset, Mapping):
        return {_check_name(name): _to_array(name, values) for name, values in dataset.items()}
    if isinstance(dataset, str | os.PathLike):
        return os.fspath(dataset)
    what, advice = _describe(dataset)
    raise DataError(
        "Images were expected as an array, a dictionary of arrays, a name or a path. "
        f"Received: {what}. {advice}"
    )


def _check_name(name: object) -> str:
    if isinstance(name, str):
        return name
    raise DataError(
        f'The names of arrays were expected to be text, such as "x". Received: {name!r}.'
    )


def _to_array(name: str, values: object) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # Images of several sizes.
        what, advice = _describe(values)
        raise DataError(
            f'"{name}" was expected to be an array. Received: {what}. {advice}'
        ) from error


def _describe(value: object) -> tuple[str, str]:
    """Returns what a value is that is no image set, and what to do."""
    kind = f"a value of the type {type(value).__name__}"
    if isinstance(value, list | tuple) and value:
        return _describe_list(value)
    if isinstance(value, ImageSet):
        return kind, "Give what it was loaded from: its name, path or arrays."
    if hasattr(value, "__array__"):
        return kind, "Convert it with numpy.asarray."
    return kind, _BY_NAME


def _describe_list(values: Sequence[Any]) -> tuple[str, str]:
    """Returns what a list of values is, and what to do."""
    parts = f"a {type(values).__name__} of {len(values):,}"
    if all(isinstance(each, str | os.PathLike) for each in values):
        return f"{parts} paths", "Put the files into a folder, and give its path."
    if not all(hasattr(each, "shape") for each in values):
        return f"{parts} values of the type {type(values[0]).__name__}", _BY_NAME
    shapes = {tuple(each.shape) for each in values}
    if len(shapes) == 1:
        return f"{parts} arrays of shape {shapes.pop()}", "Join them with numpy.stack."
    parts += " arrays of several shapes"
    if len({len(shape) for shape in shapes}) > 1:  # Such as images and labels.
        return parts, _BY_NAME
    return parts, "Give the images one size, and join them with numpy.stack."
