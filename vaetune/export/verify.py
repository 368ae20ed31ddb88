"""Whether an export says the same as the original."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.export.formats import sample_latents
from vaetune.export.reader import Reader
from vaetune.export.standalone.read_back import apart, describe, worst
from vaetune.models import VAE
from vaetune.study import ProbeImages

TOLERANCE = 1e-5
"""How far an export may be apart from the original; see `apart`."""

_SEED = 20231126

_LATENTS = 8

_SAMPLES = 4

_NOISY_IMAGES = 3


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model says.

    Attributes:
        images: (n, height, width, channels) in [0, 1].
        z_mean: Latent means of the images, (n, latent_dim), like `z_log_var`.
        reconstructed: The decoded z_mean, shaped as the images.
        z: Latent vectors of the prior, (m, latent_dim).
        decoded: Decoded z, (m, height, width, channels).
        seed: Random seed of the samples.
        sampled: Images that the SavedModel must sample with that seed, (count, height, width,
            channels).
    """

    images: NDArray[np.float32]
    z_mean: NDArray[np.float32]
    z_log_var: NDArray[np.float32]
    reconstructed: NDArray[np.float32]
    z: NDArray[np.float32]
    decoded: NDArray[np.float32]
    seed: int
    sampled: NDArray[np.float32]


@dataclass(frozen=True)
class Verification:
    """What came of a format.

    Attributes:
        apart: Largest differences from the original, by endpoint.
        error: Reason why the format is left out, in one line; None if it is sound.
    """

    apart: Mapping[str, float]
    error: str | None = None


def read_back(
    reader: Reader, folder: Path, formats: Sequence[str], vae: VAE, probe_images: ProbeImages | None
) -> dict[str, Verification]:
    """Reads formats from a folder and compares them with the original.

    `vae.keras` alone is read in this process: it needs the class.

    Args:
        reader: Reads all else.
        vae: The original, with its variables on the CPU: a GPU rounds differently.
        probe_images: Real images to encode in addition to noise; None if there are none.
    """
    original = _measure(vae, _probe_images(vae, probe_images))
    read = {
        name: _judge(answer)
        for name, answer in reader.read(folder, formats, asdict(original)).items()
    }
    if "keras" in read and read["keras"].error is None:
        read["keras"] = _with_whole(read["keras"], folder / "vae.keras", original)
    return read


def _probe_images(vae: VAE, probe_images: ProbeImages | None) -> NDArray[np.float32]:
    """Validation images as far as they were kept, noise, black and white."""
    noise = np.random.default_rng(_SEED).random((_NOISY_IMAGES, *vae.image_shape))
    extremes = np.stack([np.zeros(vae.image_shape), np.ones(vae.image_shape)])
    fits = probe_images is not None and probe_images.originals.shape[1:] == vae.image_shape
    real = [probe_images.originals / 255.0] if probe_images and fits else []
    return np.concatenate([*real, noise, extremes]).astype(np.float32)


def _measure(vae: VAE, images: NDArray[np.float32]) -> Reference:
    """Takes what a model says of images (n, height, width, channels), on the CPU."""
    random = np.random.default_rng(_SEED)
    z = random.standard_normal((_LATENTS, vae.latent_dim)).astype(np.float32)
    with tf.device("CPU:0"):
        z_mean, z_log_var = vae.posterior(images)
        decoded, reconstructed, sampled = (
            vae.decoder(latents, training=False)
            for latents in (z, z_mean, sample_latents(_SAMPLES, _SEED, vae.latent_dim))
        )
    return Reference(
        images=images,
        z_mean=np.asarray(z_mean),
        z_log_var=np.asarray(z_log_var),
        reconstructed=np.asarray(reconstructed),
        z=z,
        decoded=np.asarray(decoded),
        seed=_SEED,
        sampled=np.asarray(sampled),
    )


def _with_whole(parts: Verification, path: Path, original: Reference) -> Verification:
    """Adds the verification of the whole model to that of its parts."""
    try:
        with tf.device("CPU:0"):
            loaded = keras.saving.load_model(path, safe_mode=True)
        again = _measure(loaded, original.images)
        encoded = [apart(getattr(again, n), getattr(original, n)) for n in ("z_mean", "z_log_var")]
        whole = {"encode": worst(encoded), "decode": apart(again.decoded, original.decoded)}
    except Exception as error:  # noqa: BLE001  whatever a library raises, the others are read
        return Verification({}, describe(error))
    return _judge({"apart": {n: worst([whole[n], parts.apart[n]]) for n in whole}})


def _judge(answer: Mapping[str, Any]) -> Verification:
    """Accepts a format that is close to the original throughout."""
    if "error" in answer:
        return Verification({}, answer["error"])
    for name, value in answer["apart"].items():
        if not value <= TOLERANCE:  # NaN as well
            return Verification(answer["apart"], f"{name} is {value:.0e} apart from the original")
    return Verification(answer["apart"])
