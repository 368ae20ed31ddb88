"""Verifies that an export gives the same outputs as the original model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.export.parts import name_levels
from vaetune.export.reader import Reader
from vaetune.export.standalone.read_back import (
    describe_error,
    largest,
    max_difference,
    outputs_of,
)
from vaetune.models import VAE
from vaetune.study import ProbeImages

TOLERANCE = 1e-5
"""Largest `max_difference` that is accepted between an export and the original."""

_SEED = 20231126

_LATENTS = 8

_SAMPLES = 4

_NOISY_IMAGES = 3


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
    reference = compute_reference(vae, _make_inputs(vae, probe_images))
    verifications = {
        name: _verify(answer) for name, answer in reader.read(folder, formats, reference).items()
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


def compute_reference(vae: VAE, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Returns inputs for an export, and the outputs of the original model, on the CPU.

    Args:
        vae: Original model.
        images: Images (n, height, width, channels) in [0, 1].

    Returns:
        By name: "images"; "z_mean" and "z_log_var" of the images; "reconstructed", images decoded
        from the posterior means; "z" from the prior and its "decoded" images; "sampled" images by
        "seed" and their latent variables "sampled_1", "sampled_2" and so on by level; with several
        levels also "u_2_mean", "u_2_log_var" and so on, the posteriors of lower levels.
    """
    random = np.random.default_rng(_SEED)
    z = random.standard_normal((_LATENTS, vae.latent_dim)).astype(np.float32)
    with tf.device("CPU:0"):
        levels = vae.encode_levels(images)
        parameters = [each for pair in levels.values() for each in pair]
        outputs = {
            **dict(zip(name_levels(len(levels)), parameters, strict=True)),
            "reconstructed": vae.reconstruct(images),
            "decoded": vae.decoder(z, training=False),
            "sampled": vae.sample(_SAMPLES, _SEED),
        }
        drawn = vae.draw_prior(_SAMPLES, _SEED)
    outputs |= {f"sampled_{level}": one for level, one in enumerate(drawn, start=1)}
    arrays = {name: np.asarray(one) for name, one in outputs.items()}
    return {"images": images, "z": z, "seed": np.array(_SEED), **arrays}


def _verify_keras(
    path: Path, reference: Mapping[str, NDArray[Any]], parts: Verification
) -> Verification:
    """Verifies the whole model in vae.keras and combines the result with that of its parts.

    Args:
        path: File with the whole model.
        reference: Inputs and outputs of the original.
        parts: Result of the parts, such as encoder.keras and decoder.keras.
    """
    try:
        with tf.device("CPU:0"):
            loaded = keras.saving.load_model(path, safe_mode=True)
        outputs = compute_reference(loaded, reference["images"])
        whole = {
            endpoint: largest([max_difference(outputs[one], reference[one]) for one in names])
            for endpoint, names in outputs_of(reference).items()
            if endpoint in parts.max_difference
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
