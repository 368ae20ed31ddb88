"""The pictures of an export: what a model makes of images and of its latent space.

The images are the validation images that the search kept, the same for all of its models.
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
from vaetune.training import decode, encode

_MANIFOLD_SIDE = 30

_SAMPLES_SIDE = 16


@dataclass(frozen=True, eq=False)
class _Shown:
    """Validation images that the model was shown.

    Attributes:
        originals: (n, height, width, channels), at least one.
        z_mean: Latent means of the originals, (n, latent_dim).
        labels: Labels of the images whose z_mean was kept, or None.
    """

    originals: Pixels
    z_mean: NDArray[np.float32]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class _Exhibit:
    """A model and what was kept for its pictures, as far as it is there and fits the model.

    Attributes:
        points: z_mean of validation images, (n, latent_dim).
    """

    vae: VAE
    shown: _Shown | None
    points: NDArray[np.float32] | None
    classes: tuple[str, ...] | None


def draw_showcase(vae: VAE, study: Study, trial: Trial) -> dict[str, bytes]:
    """Draws what there is to show; what was not kept, or is damaged, is left out.

    Args:
        vae: With the weights of the trial's best epoch.
        study: The search of the trial: it kept validation images.
        trial: Its folder holds the z_mean of validation images.

    Returns:
        Files of PNG by their names, in the order in which they are to be seen.
    """
    shown = _show(vae, ProbeImages.load(study.folder))
    points = _fitting_points(vae, Artifacts.load(study.trial_folder(trial.trial_id)))
    exhibit = _Exhibit(vae, shown, points, study.started.data.class_names)
    drawn = ((name, draw(exhibit)) for name, draw in _KINDS.items())
    return {name: to_png(figure, DPI) for name, figure in drawn if figure}


def _show(vae: VAE, probe_images: ProbeImages | None) -> _Shown | None:
    if probe_images is None or len(probe_images.originals) == 0:
        return None
    if probe_images.originals.shape[1:] != vae.image_shape:
        return None
    return _Shown(probe_images.originals, encode(vae, probe_images.originals), probe_images.labels)


def _fitting_points(vae: VAE, pictures: Artifacts | None) -> NDArray[np.float32] | None:
    if pictures is None or pictures.z_mean.shape[1:] != (vae.latent_dim,):
        return None
    return pictures.z_mean


def _draw_reconstructions(exhibit: _Exhibit) -> Figure | None:
    shown = exhibit.shown
    if shown is None:
        return None
    decoded = decode(exhibit.vae, shown.z_mean)
    return draw_grid(compute_reconstructions(shown.originals, decoded))


def _draw_interpolations(exhibit: _Exhibit) -> Figure | None:
    """Neighbours in a gallery are of different classes, if there are any: see `make_gallery`."""
    shown = exhibit.shown
    if shown is None or len(shown.originals) < 2:
        return None
    paired = len(shown.originals) // 2 * 2
    decoded = _decode_walks(exhibit.vae, interpolate(shown.z_mean[:paired]))
    return draw_grid(compute_interpolations(shown.originals[:paired], decoded))


def _draw_traversal(exhibit: _Exhibit) -> Figure | None:
    active = () if exhibit.points is None else find_active(exhibit.points)
    if not active:
        return None
    dimensions, values = active[:MAX_DIMENSIONS], traversal_values()
    along = traverse(dimensions, exhibit.vae.latent_dim, values)
    decoded = _decode_walks(exhibit.vae, along)
    return draw_grid(compute_traversal(dimensions, values.tolist(), decoded))


def _draw_samples(exhibit: _Exhibit) -> Figure:
    z = prior_samples(exhibit.vae.latent_dim, _SAMPLES_SIDE**2)
    return draw_grid(compute_samples(decode(exhibit.vae, z), _SAMPLES_SIDE))


def _draw_manifold(exhibit: _Exhibit) -> Figure | None:
    if exhibit.vae.latent_dim != 2:
        return None
    decoded = _decode_walks(exhibit.vae, prior_grid(_MANIFOLD_SIDE))
    return draw_grid(compute_manifold(decoded))


def _draw_clusters(exhibit: _Exhibit) -> Figure | None:
    if exhibit.points is None:
        return None
    labels = exhibit.shown.labels if exhibit.shown else None
    info = compute_clusters(exhibit.points, labels, exhibit.classes)
    return draw_clusters(info)


def _decode_walks(vae: VAE, z: Walks) -> Pixels:
    """Images (walks, steps, height, width, channels) of walks, decoded together."""
    decoded = decode(vae, z.reshape(-1, z.shape[-1]))
    return decoded.reshape(*z.shape[:2], *decoded.shape[1:])


_KINDS: Mapping[str, Callable[[_Exhibit], Figure | None]] = {
    "reconstructions.png": _draw_reconstructions,
    "prior_samples.png": _draw_samples,
    "manifold.png": _draw_manifold,
    "interpolations.png": _draw_interpolations,
    "traversal.png": _draw_traversal,
    "clusters.png": _draw_clusters,
}
