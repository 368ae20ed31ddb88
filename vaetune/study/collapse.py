"""Posterior collapse: the latent variables of a model say nothing about its images.

References:
    Bowman et al., "Generating Sentences from a Continuous Space", 2016.
    Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders", 2016, section 5.2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.study.scores import count_active_units

COLLAPSED_KL = 0.5
"""KL divergence in nats per image. A model with less has collapsed."""


@dataclass(frozen=True)
class LatentUse:
    """How much a model uses its latent variables after the last epoch of a trial.

    Attributes:
        active_units: Number of latent dimensions, of all levels, with a variance of z_mean above
            `ACTIVE_VARIANCE` over the first `LATENT_POINTS` validation images.
        val_kl_loss: KL divergence over all validation images, nats per image.
    """

    active_units: int
    val_kl_loss: float

    @classmethod
    def measure(cls, z_mean: NDArray[np.float32], val_kl_loss: float) -> "LatentUse":
        """Counts the active units of a model.

        Args:
            z_mean: Latent means of validation images, (n, latent_dim).
            val_kl_loss: KL divergence over the validation images, nats per image.
        """
        return cls(count_active_units(variance_per_dimension(z_mean)), val_kl_loss)

    @property
    def is_collapsed(self) -> bool:
        """Whether no unit is active or the KL divergence is almost zero."""
        return self.active_units < 1 or self.val_kl_loss < COLLAPSED_KL


def variance_per_dimension(z_mean: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Returns Var_x E[z_d | x], the variance over images, of each latent dimension d.

    Args:
        z_mean: Latent means of images, (n, latent_dim).

    References:
        Burda et al. 2016, section 5.2.
    """
    return tuple(np.var(z_mean, axis=0, dtype=np.float64).tolist())
