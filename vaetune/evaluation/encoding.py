"""Encodes images in batches: posterior means and log-variances of all levels."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import ImageRows, read_ahead
from vaetune.errors import ResultsError
from vaetune.evaluation.images import describe_shape
from vaetune.evaluation.likelihood import Batches, compile_once, image_spec
from vaetune.models import VAE
from vaetune.training import OnProgress, to_unit_tensor

BATCH_BYTES = 2**26
"""Largest size of the images of a batch, unless a single image is larger."""

Latents = dict[str, NDArray[np.float32]]
"""Parameters of the posteriors by name.

These are z_mean and z_log_var, (n, latent_dim). Lower levels have u_2_mean, u_2_log_var and so on,
(n, height, width, channels).
"""

Compute = Callable[[NDArray[Any]], Any]
"""Function from images to arrays, each with a row per image."""


def encode_rows(
    vae: VAE,
    rows: ImageRows,
    levels: bool = False,
    on_progress: OnProgress | None = None,
    batches: Batches | None = None,
) -> Iterator[Latents]:
    """Encodes images batch by batch, in order. At most two batches are in memory.

    Args:
        vae: The trained model.
        rows: Images.
        levels: Whether to return the parameters of all levels, instead of the top level alone.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.
        batches: Batches in which to run the model.

    Raises:
        ResultsError: The model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """
    names = list_latents(vae, levels)

    def make(images: NDArray[Any]) -> Compute:
        return _compile(vae, images, levels)

    for found in run_rows(vae, rows, make, on_progress, batches):
        yield dict(zip(names, found, strict=True))


def run_rows(
    vae: VAE,
    rows: ImageRows,
    make: Callable[[NDArray[Any]], Compute],
    on_progress: OnProgress | None,
    batches: Batches | None,
) -> Iterator[Sequence[NDArray[Any]]]:
    """Runs a model on images batch by batch, in order. At most two batches are in memory.

    Args:
        vae: The trained model.
        rows: Images.
        make: Function from the first images, which have the shape and type of all, to a function
            that runs the model on some images.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.
        batches: Batches in which to run the model.

    Yields:
        The arrays of a batch, each (n, ...).

    Raises:
        ResultsError: The model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """
    batches = batches or Batches()
    compute: Compute | None = None
    done = 0
    for images in _read_batches(rows, batches.size):
        if compute is None:
            _check_shape(vae, images, rows.source)
            compute = make(images)
        yield batches.run(_on_parts(compute, images), len(images))
        done += len(images)
        if on_progress:
            on_progress(done / len(rows))


def _on_parts(compute: Compute, images: NDArray[Any]) -> Callable[[slice], Any]:
    return lambda part: compute(images[part])


def list_latents(vae: VAE, levels: bool = False) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of one image's parameters by name, in the order of `encode_rows`.

    Args:
        vae: The trained model.
        levels: Whether to list all levels, instead of the top level alone.
    """
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("z_mean", "z_log_var"), (vae.latent_dim,))
    for number, shape in enumerate(vae.level_shapes if levels else (), start=2):
        shapes |= dict.fromkeys((f"u_{number}_mean", f"u_{number}_log_var"), shape)
    return shapes


def _compile(vae: VAE, images: NDArray[Any], levels: bool) -> Compute:
    def infer(x: tf.Tensor) -> list[tf.Tensor]:
        unit = to_unit_tensor(x)
        pairs = vae.encode_levels(unit).values() if levels else [vae.posterior(unit)]
        return [parameter for pair in pairs for parameter in pair]

    name = f"posteriors, all levels: {levels}"
    compiled = compile_once(vae, name, infer, image_spec(vae, images))
    return lambda images: tuple(compiled(tf.constant(images)))


def _check_shape(vae: VAE, images: NDArray[Any], source: str) -> None:
    shape = images.shape[1:]
    if shape != vae.image_shape:
        raise ResultsError(
            f"The model takes images of {describe_shape(vae.image_shape)}, but {source} has images "
            f"of {describe_shape((shape[0], shape[1], shape[2]))}. Choose other images with "
            "--dataset."
        )


def _read_batches(rows: ImageRows, most: int) -> Iterator[NDArray[Any]]:
    """Returns an iterator of batches of images; see `read_ahead`."""
    first = rows.read(slice(0, 1))
    size = max(1, min(most, BATCH_BYTES // (4 * math.prod(first.shape[1:]))))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    return read_ahead(rows.read, parts)
