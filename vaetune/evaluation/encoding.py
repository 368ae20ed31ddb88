"""Encodes images in batches: posterior means and log-variances of all levels."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.data import ImageRows, read_ahead
from vaetune.errors import ResultsError
from vaetune.evaluation.images import describe_shape
from vaetune.evaluation.likelihood import Batches, image_spec
from vaetune.models import VAE
from vaetune.training import OnProgress, compile_function, to_unit_tensor

BATCH_BYTES = 2**26
"""Largest size of the images of a batch, unless a single image is larger."""

Latents = dict[str, NDArray[np.float32]]
"""Parameters of the posteriors by name.

These are z_mean and z_log_var, (n, latent_dim). Lower levels have u_2_mean, u_2_log_var and so on,
(n, height, width, channels).
"""


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
    batches = batches or Batches()
    encode = None
    done = 0
    for images in read_batches(rows, batches.size):
        if encode is None:
            check_shape(vae, images, rows.source)
            encode = _compile(vae, images, levels)
        yield encode(images, batches)
        done += len(images)
        if on_progress:
            on_progress(done / len(rows))


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


def _compile(vae: VAE, images: NDArray[Any], levels: bool) -> Any:
    def infer(x: tf.Tensor) -> list[tf.Tensor]:
        unit = to_unit_tensor(x)
        pairs = vae.encode_levels(unit).values() if levels else [vae.posterior(unit)]
        return [parameter for pair in pairs for parameter in pair]

    compiled = compile_function(infer, image_spec(vae, images))
    names = list_latents(vae, levels)

    def encode(images: NDArray[Any], batches: Batches) -> Latents:
        found = batches.run(lambda batch: tuple(compiled(tf.constant(images[batch]))), len(images))
        return dict(zip(names, found, strict=True))

    return encode


def check_shape(vae: VAE, images: NDArray[Any], source: str) -> None:
    """Checks that a model takes images.

    Args:
        vae: The trained model.
        images: Images, (n, height, width, channels).
        source: Name of the image set in messages.

    Raises:
        ResultsError: It takes images of another shape.
    """
    shape = images.shape[1:]
    if shape != vae.image_shape:
        raise ResultsError(
            f"The model takes images of {describe_shape(vae.image_shape)}, but {source} has images "
            f"of {describe_shape((shape[0], shape[1], shape[2]))}. Choose other images with "
            "--dataset."
        )


def read_batches(rows: ImageRows, most: int) -> Iterator[NDArray[Any]]:
    """Returns an iterator of batches of images; see `read_ahead`.

    Args:
        rows: Images.
        most: Largest number of images in a batch.
    """
    first = rows.read(slice(0, 1))
    size = max(1, min(most, BATCH_BYTES // (4 * math.prod(first.shape[1:]))))
    parts = [slice(start, start + size) for start in range(0, len(rows), size)]
    return read_ahead(rows.read, parts)
