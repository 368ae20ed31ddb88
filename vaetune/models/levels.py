"""Lower levels of latent variables: feature maps that the decoder draws one after the other.

The networks are those of a ladder VAE. From the smallest maps outwards, each lower level k has a
prior N(m, s^2) that is computed from the levels above it, and a posterior relative to it: with
u from N(u_mean, exp(u_log_var)), the latent maps are m + s u. So the prior of u is N(0, 1), the
same as that of z, and both have the same KL divergence.

References:
    Sønderby et al., "Ladder Variational Autoencoders", 2016.
    Vahdat and Kautz, "NVAE: A Deep Hierarchical Variational Autoencoder", 2020, section 3.2, the
    posterior relative to the prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras import initializers, layers

from vaetune.models.architecture import Architecture
from vaetune.models.networks import Decoder, Encoder
from vaetune.models.sampling import SAMPLING_SEED, Sampling
from vaetune.models.units import Connect, convolution


class Level:
    """The layers of a lower level.

    Args:
        architecture: Activation, normalization and channels of the latent maps.
        number: Number of the level; the top level is 1.
        filters: Channels of the decoder's maps at this place.
    """

    def __init__(self, architecture: Architecture, number: int, filters: int) -> None:
        name = f"level_{number}"
        channels = architecture.level_channels
        self._prior_mean = _small_convolution(channels, f"{name}_prior_mean")
        self._prior_scale = layers.Conv2D(
            channels, 3, padding="same", activation="softplus", name=f"{name}_prior_scale"
        )
        self._joined = layers.Concatenate(name=f"{name}_joined")
        self._posterior = convolution(architecture, f"{name}_posterior", filters)
        self._u_mean = _small_convolution(channels, f"{name}_mean")
        self._u_log_var = _small_convolution(channels, f"{name}_log_var")
        self.sampling = Sampling(seed=SAMPLING_SEED + number, name=f"{name}_u")
        self._scaled = layers.Multiply(name=f"{name}_scaled")
        self._shifted = layers.Add(name=f"{name}_z")
        self._merged = layers.Concatenate(name=f"{name}_merged")
        self._update = convolution(architecture, f"{name}_update", filters)
        self._add = layers.Add(name=f"{name}_add")

    def posterior(self, connect: Connect, maps: Any, encoded: Any) -> tuple[Any, Any]:
        """Returns u_mean and u_log_var, (batch, height, width, channels).

        Args:
            connect: `call_layer` or `build_layer`.
            maps: Maps of the decoder at this place.
            encoded: Maps of the encoder of the same size.
        """
        x = self._posterior.connect(connect, connect(self._joined, maps, encoded))
        return connect(self._u_mean, x), connect(self._u_log_var, x)

    def update(self, connect: Connect, maps: Any, u: Any | None) -> Any:
        """Returns the decoder's maps after this level.

        Args:
            connect: `call_layer` or `build_layer`.
            maps: Maps of the decoder before this level.
            u: Latent maps relative to the prior. None: zero, the mean of the prior.
        """
        z = connect(self._prior_mean, maps)
        if u is not None:
            z = connect(
                self._shifted, z, connect(self._scaled, connect(self._prior_scale, maps), u)
            )
        change = self._update.connect(connect, connect(self._merged, maps, z))
        return connect(self._add, maps, change)

    def layers(self) -> list[layers.Layer]:
        """Returns the layers with variables, in a fixed order."""
        return [
            self._prior_mean,
            self._prior_scale,
            *self._posterior.layers(),
            self._u_mean,
            self._u_log_var,
            self.sampling,
            *self._update.layers(),
        ]


def _small_convolution(channels: int, name: str) -> layers.Layer:
    """Returns a convolution that starts with small outputs, so that no level starts wild."""
    small = initializers.VarianceScaling(0.1)
    return layers.Conv2D(channels, 3, padding="same", kernel_initializer=small, name=name)


@dataclass(frozen=True, eq=False)
class Ladder:
    """An encoder and a decoder with lower levels between the parts of the decoder.

    Attributes:
        encoder: Layers of the encoder.
        decoder: Layers of the decoder.
        levels: Lower levels, from the smallest maps outwards.
    """

    encoder: Encoder
    decoder: Decoder
    levels: Sequence[Level]

    def encode(self, connect: Connect, image: Any) -> tuple[Any, Any, list[Any]]:
        """Returns z_mean, z_log_var, and the encoder's maps for each lower level."""
        z_mean, z_log_var, maps = self.encoder.connect(connect, image)
        return z_mean, z_log_var, maps[::-1][: len(self.levels)]

    def infer(
        self, connect: Connect, z: Any, maps: Sequence[Any], epsilons: Sequence[Any | None]
    ) -> tuple[Any, list[Any]]:
        """Decodes z with lower levels from their posteriors.

        Args:
            connect: `call_layer` or `build_layer`.
            z: Latent vector of the top level.
            maps: Maps of the encoder for each lower level.
            epsilons: Noise of each lower level. None: u is its mean.

        Returns:
            The logits, and u_mean and u_log_var of each lower level in one list.
        """
        posteriors = []
        x = self.decoder.connect_part(connect, 0, z)
        columns = zip(self.levels, maps, epsilons, strict=True)
        for number, (level, encoded, epsilon) in enumerate(columns, start=1):
            u_mean, u_log_var = level.posterior(connect, x, encoded)
            posteriors += [u_mean, u_log_var]
            u = u_mean
            if epsilon is not None:
                u = connect(level.sampling, u_mean, u_log_var, epsilon)
            x = self.decoder.connect_part(connect, number, level.update(connect, x, u))
        return self._finish(connect, x), posteriors

    def generate(self, connect: Connect, z: Any, maps: Sequence[Any | None]) -> Any:
        """Returns logits of z and u of each lower level; None stands for the mean of the prior."""
        x = self.decoder.connect_part(connect, 0, z)
        for number, (level, u) in enumerate(zip(self.levels, maps, strict=True), start=1):
            x = self.decoder.connect_part(connect, number, level.update(connect, x, u))
        return self._finish(connect, x)

    def _finish(self, connect: Connect, x: Any) -> Any:
        for number in range(len(self.levels) + 1, len(self.decoder.parts)):
            x = self.decoder.connect_part(connect, number, x)
        return x

    def layers(self) -> list[layers.Layer]:
        """Returns the layers with variables in a fixed order."""
        own = [layer for level in self.levels for layer in level.layers()]
        return [*self.encoder.layers(), *self.decoder.layers(), *own]


def make_ladder(architecture: Architecture) -> Ladder:
    """Returns the layers of a configuration. The order of creation decides the initial weights."""
    encoder, decoder = Encoder(architecture), Decoder(architecture)
    widths = _decoder_widths(architecture)
    levels = [Level(architecture, 2 + i, widths[i]) for i in range(architecture.levels - 1)]
    return Ladder(encoder, decoder, levels)


def _decoder_widths(architecture: Architecture) -> list[int]:
    """Returns the channels of the decoder's maps after each of its parts."""
    inwards = list(architecture.filters)
    first, *others = inwards[::-1] or [0]
    return [first, *(others if architecture.output_stride == 2 else [first, *others])]
