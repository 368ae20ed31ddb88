"""The models that a VAE is exported as, besides the whole one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras

from vaetune.models import VAE


class Posterior(NamedTuple):
    """The outputs of the encoder: every format has these names in this order.

    Attributes:
        z_mean: Posterior means (n, latent_dim).
        z_log_var: Posterior log-variances (n, latent_dim).
    """

    z_mean: Any
    z_log_var: Any


POSTERIOR = Posterior._fields
"""Names of the outputs of the encoder, in order."""

ENCODER, DECODER = "encoder", "decoder"

RECONSTRUCTOR, GENERATOR = "reconstructor", "generator"
"""Names of the parts that only models with several levels have."""


@dataclass(frozen=True, eq=False)
class Part:
    """A model that is exported as a file of its own.

    Attributes:
        name: Name of the file without its ending.
        model: The model. It contains layers of Keras only, and does not sample.
        outputs: Names of its outputs, in order.
    """

    name: str
    model: keras.Model
    outputs: Sequence[str]

    @property
    def named(self) -> keras.Model:
        """The model with named outputs, which Keras exports by name."""
        outputs = dict(zip(self.outputs, self.model.outputs, strict=True))
        return keras.Model(self.model.input, outputs, name=self.name)


def list_parts(vae: VAE) -> list[Part]:
    """The parts of a model: encoder and decoder, and two more with several levels.

    The encoder returns the posterior of the top level, and the decoder uses the prior means of the
    lower levels. The reconstructor goes from images to images through the posterior means of all
    levels, and the generator decodes z and the maps u of each lower level.
    """
    posterior = keras.Model(vae.encoder.input, vae.encoder.outputs[:2], name=ENCODER)
    parts = [Part(ENCODER, posterior, POSTERIOR), Part(DECODER, vae.decoder, ("image",))]
    if vae.level_shapes:
        generator = keras.Model(vae.generate.inputs, vae.generate.outputs, name=GENERATOR)
        parts += [
            Part(RECONSTRUCTOR, _build_reconstructor(vae), ("reconstruction",)),
            Part(GENERATOR, generator, ("image",)),
        ]
    return parts


def _build_reconstructor(vae: VAE) -> keras.Model:
    # Without a name, the file would depend on the number of models that the process has built.
    top_down = keras.Model(vae.to_mean_image.inputs, vae.to_mean_image.outputs, name="top_down")
    z_mean, _, *maps = vae.bottom_up.outputs
    image = vae.bottom_up.input
    return keras.Model(image, top_down([z_mean, *maps]), name=RECONSTRUCTOR)


def name_levels(levels: int) -> list[str]:
    """The names of the posterior's parameters of all levels, from the top level downwards."""
    lower = range(2, 1 + levels)
    return [*POSTERIOR, *(f"u_{k}_{name}" for k in lower for name in ("mean", "log_var"))]
