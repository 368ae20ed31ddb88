"""Draws the figures of an export: reconstructions, samples and the latent space of the model.

The images are the validation images that the search kept; all models of a search get the same ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vaetune.models import VAE
from vaetune.report import (
    DPI,
    MAX_DIMENSIONS,
    Walks,
    compute_clusters,
    compute_interpolations,
    compute_manifold,
    compute_reconstructions,
    compute_samples,
    compute_traversal,
    draw_clusters,
    draw_grid,
    find_active,
    interpolate,
    to_png,
    traversal_values,
    traverse,
)
from vaetune.study import Artifacts, Pixels, ProbeImages, Study, Trial, prior_grid, prior_samples
from vaetune.training import decode, encode, generate, reconstruct

_MANIFOLD_SIDE = 30

_SAMPLES_SIDE = 16


@dataclass(frozen=True, eq=False)
class _EncodedImages:
    """Validation images and their latent means.

    Attributes:
        originals: Images (n, height, width, channels), at least one, 0..255.
        z_mean: Latent means (n, latent_dim) of the originals.
        labels: Class labels of the validation images of `_Inputs.points`, or None.
    """

    originals: Pixels
    z_mean: NDArray[np.float32]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class _Inputs:
    """A model and the data that its figures are drawn from. Missing or unsuitable data are None.

    Attributes:
        vae: Model with the weights of the trial's best epoch.
        encoded: Validation images with their latent means.
        points: Latent means (n, latent_dim) of validation images, as the trial stored them.
        classes: Names of the classes.
        show: Channels that the figures show; None without a choice.
    """

    vae: VAE
    encoded: _EncodedImages | None
    points: NDArray[np.float32] | None
    classes: tuple[str, ...] | None
    show: tuple[int, ...] | None


def draw_showcase(vae: VAE, study: Study, trial: Trial) -> dict[str, bytes]:
    """Draws all figures for which the data exist; missing or damaged data are skipped.

    Args:
        vae: Model with the weights of the trial's best epoch.
        study: Search of the trial, which kept validation images.
        trial: Trial to draw. Its folder holds the latent means of validation images.

    Returns:
        PNG files by name, in the order in which the model card shows them.
    """
    encoded = _encode_images(vae, ProbeImages.load(study.folder))
    points = _find_points(vae, Artifacts.load(study.trial_folder(trial.trial_id)))
    data = study.started.data
    inputs = _Inputs(vae, encoded, points, data.class_names, data.show)
    figures = ((name, draw(inputs)) for name, draw in _FIGURES.items())
    return {name: to_png(figure, DPI) for name, figure in figures if figure}


def _encode_images(vae: VAE, probe_images: ProbeImages | None) -> _EncodedImages | None:
    if probe_images is None or len(probe_images.originals) == 0:
        return None
    originals = probe_images.originals
    if originals.shape[1:] != vae.image_shape:
        return None
    return _EncodedImages(originals, encode(vae, originals), probe_images.labels)


def _find_points(vae: VAE, artifacts: Artifacts | None) -> NDArray[np.float32] | None:
    if artifacts is None or artifacts.z_mean.shape[1:] != (vae.latent_dim,):
        return None
    return artifacts.z_mean


def _draw_reconstructions(inputs: _Inputs) -> Figure | None:
    encoded = inputs.encoded
    if encoded is None:
        return None
    rebuilt = reconstruct(inputs.vae, encoded.originals, encoded.z_mean)
    return draw_grid(compute_reconstructions(encoded.originals, rebuilt, inputs.show))


def _draw_interpolations(inputs: _Inputs) -> Figure | None:
    """Interpolates between neighbours, which `choose_probe_images` takes from two classes."""
    encoded = inputs.encoded
    if encoded is None or len(encoded.originals) < 2:
        return None
    paired = len(encoded.originals) // 2 * 2
    decoded = _decode_walks(inputs.vae, interpolate(encoded.z_mean[:paired]))
    return draw_grid(compute_interpolations(encoded.originals[:paired], decoded, inputs.show))


def _draw_traversal(inputs: _Inputs) -> Figure | None:
    active = () if inputs.points is None else find_active(inputs.points)
    if not active:
        return None
    dimensions, values = active[:MAX_DIMENSIONS], traversal_values()
    walks = traverse(dimensions, inputs.vae.latent_dim, values)
    decoded = _decode_walks(inputs.vae, walks)
    return draw_grid(compute_traversal(dimensions, values.tolist(), decoded, inputs.show))


def _draw_samples(inputs: _Inputs) -> Figure:
    z = prior_samples(inputs.vae.latent_dim, _SAMPLES_SIDE**2)
    return draw_grid(compute_samples(generate(inputs.vae, z), _SAMPLES_SIDE, inputs.show))


def _draw_manifold(inputs: _Inputs) -> Figure | None:
    if inputs.vae.latent_dim != 2:
        return None
    decoded = _decode_walks(inputs.vae, prior_grid(_MANIFOLD_SIDE))
    return draw_grid(compute_manifold(decoded, inputs.show))


def _draw_clusters(inputs: _Inputs) -> Figure | None:
    if inputs.points is None:
        return None
    labels = inputs.encoded.labels if inputs.encoded else None
    return draw_clusters(compute_clusters(inputs.points, labels, inputs.classes))


def _decode_walks(vae: VAE, z: Walks) -> Pixels:
    """Decodes walks (walks, steps, latent_dim) to (walks, steps, height, width, channels)."""
    decoded = decode(vae, z.reshape(-1, z.shape[-1]))
    return decoded.reshape(*z.shape[:2], *decoded.shape[1:])


_FIGURES: Mapping[str, Callable[[_Inputs], Figure | None]] = {
    "reconstructions.png": _draw_reconstructions,
    "prior_samples.png": _draw_samples,
    "manifold.png": _draw_manifold,
    "interpolations.png": _draw_interpolations,
    "traversal.png": _draw_traversal,
    "clusters.png": _draw_clusters,
}
