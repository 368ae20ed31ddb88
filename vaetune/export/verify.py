"""Verifies that an export gives the same outputs as the original model."""

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
from vaetune.export.standalone.read_back import describe_error, largest, max_difference
from vaetune.models import VAE
from vaetune.study import ProbeImages

TOLERANCE = 1e-5
"""Largest `max_difference` that is accepted between an export and the original."""

_SEED = 20231126

_LATENTS = 8

_SAMPLES = 4

_NOISY_IMAGES = 3


@dataclass(frozen=True, eq=False)
class Reference:
    """Inputs for an export, and the outputs that the original model gives for them.

    Attributes:
        images: Images (n, height, width, channels) in [0, 1].
        z_mean: Posterior means (n, latent_dim) of the images.
        z_log_var: Posterior log-variances (n, latent_dim) of the images.
        reconstructed: Images decoded from z_mean, same shape as `images`.
        z: Latent vectors (m, latent_dim) drawn from the prior.
        decoded: Images (m, height, width, channels) decoded from z.
        seed: Random seed of `sampled`.
        sampled: Images (count, height, width, channels) that the SavedModel samples with the seed.
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
    """The result of verifying a format.

    Attributes:
        max_difference: Maximum difference from the original, by endpoint.
        error: Reason why the format is not exported, in one line; None if it passed.
    """

    max_difference: Mapping[str, float]
    error: str | None = None


def read_back(
    reader: Reader, folder: Path, formats: Sequence[str], vae: VAE, probe_images: ProbeImages | None
) -> dict[str, Verification]:
    """Reads formats from a folder and compares their outputs with the original.

    `vae.keras` is read in this process, because it needs the class `VAE`; the reader reads
    everything else.

    Args:
        reader: Process that reads the export.
        folder: Folder of the export.
        formats: Names of the formats to verify.
        vae: Original model. Its variables must be on the CPU, because a GPU rounds differently.
        probe_images: Validation images to encode besides noise, or None.

    Returns:
        The result of each format, by name.
    """
    reference = _compute_reference(vae, _make_inputs(vae, probe_images))
    verifications = {
        name: _verify(answer)
        for name, answer in reader.read(folder, formats, asdict(reference)).items()
    }
    if "keras" in verifications and verifications["keras"].error is None:
        verifications["keras"] = _verify_keras(
            folder / "vae.keras", reference, verifications["keras"]
        )
    return verifications


def _make_inputs(vae: VAE, probe_images: ProbeImages | None) -> NDArray[np.float32]:
    """Validation images if the search kept any, noise, a black and a white image."""
    noise = np.random.default_rng(_SEED).random((_NOISY_IMAGES, *vae.image_shape))
    extremes = np.stack([np.zeros(vae.image_shape), np.ones(vae.image_shape)])
    fits = probe_images is not None and probe_images.originals.shape[1:] == vae.image_shape
    real = [probe_images.originals / 255.0] if probe_images and fits else []
    return np.concatenate([*real, noise, extremes]).astype(np.float32)


def _compute_reference(vae: VAE, images: NDArray[np.float32]) -> Reference:
    """Computes the outputs of a model for images (n, height, width, channels), on the CPU."""
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


def _verify_keras(path: Path, reference: Reference, parts: Verification) -> Verification:
    """Verifies the whole model in vae.keras and combines the result with that of its parts.

    Args:
        path: File with the whole model.
        reference: Inputs and outputs of the original.
        parts: Result of encoder.keras and decoder.keras.
    """
    try:
        with tf.device("CPU:0"):
            loaded = keras.saving.load_model(path, safe_mode=True)
        outputs = _compute_reference(loaded, reference.images)
        whole = {
            "encode": largest(
                [
                    max_difference(outputs.z_mean, reference.z_mean),
                    max_difference(outputs.z_log_var, reference.z_log_var),
                ]
            ),
            "decode": max_difference(outputs.decoded, reference.decoded),
        }
    except Exception as error:  # noqa: BLE001  whatever a library raises, verify the others
        return Verification({}, describe_error(error))
    combined = {name: largest([whole[name], parts.max_difference[name]]) for name in whole}
    return _verify({"max_difference": combined})


def _verify(answer: Mapping[str, Any]) -> Verification:
    """Accepts a format if every endpoint is within `TOLERANCE` of the original."""
    if "error" in answer:
        return Verification({}, answer["error"])
    differences = answer["max_difference"]
    for endpoint, value in differences.items():
        if not value <= TOLERANCE:  # This form also rejects NaN.
            return Verification(
                differences,
                f"{endpoint} differs from the original by {value:.0e}, more than {TOLERANCE:.0e}",
            )
    return Verification(differences)
