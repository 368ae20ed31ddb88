"""Builds the compiled VAE of a configuration, or only its variables."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from vaetune.config import Likelihood, value_of
from vaetune.models.architecture import Architecture
from vaetune.models.ladder import LadderVAE, connect_networks
from vaetune.models.levels import make_ladder
from vaetune.models.likelihoods import DEFAULT_SPREAD, make_scale
from vaetune.models.networks import decoder_model, encoder_model
from vaetune.models.optimizer import Adam
from vaetune.models.units import build_layer
from vaetune.models.vae import VAE

DARKEST = 0.002
"""Smallest mean pixel that an output bias starts from, so that its logit is finite."""


def build_vae(
    image_shape: Sequence[int],
    hyperparameters: Mapping[str, Any],
    likelihood: Likelihood = "bernoulli",
) -> VAE:
    """Builds the VAE of a configuration and compiles it with Adam.

    The optimizer's variables are created here, before the first step. So its state can be
    restored, and the step is traced only once.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: Values by name. A name that is missing has the Keras example's value.
        likelihood: Likelihood of the pixels.

    Raises:
        ValueError: A size is not a positive integer, or the images are too small.
    """
    vae = build_template(image_shape, hyperparameters, likelihood)
    vae.optimizer.build(vae.ordered_trainable)
    return vae


def build_template(
    image_shape: Sequence[int],
    hyperparameters: Mapping[str, Any],
    likelihood: Likelihood = "bernoulli",
) -> VAE:
    """Builds a VAE without the moments of its optimizer, which takes half the time.

    It serves code that keeps such moments itself. The arguments are those of `build_vae`.
    """
    architecture = Architecture.of(image_shape, hyperparameters)
    ladder = make_ladder(architecture)
    beta = float(value_of(hyperparameters, "beta"))
    if ladder.levels:
        networks = connect_networks(architecture, ladder)
        order = [layer.name for layer in ladder.layers()]
        vae: VAE = LadderVAE(networks, architecture.levels, order, beta, likelihood)
    else:
        encoder = encoder_model(ladder.encoder, architecture.image_shape)
        decoder = decoder_model(ladder.decoder, architecture.latent_dim)
        vae = VAE(encoder, decoder, beta, likelihood=likelihood)
    vae.compile(optimizer=Adam(float(value_of(hyperparameters, "learning_rate"))))
    return vae


def draw_variables(
    image_shape: Sequence[int],
    hyperparameters: Mapping[str, Any],
    pixel_means: Sequence[float] = (),
    likelihood: Likelihood = "bernoulli",
    pixel_spread: float = DEFAULT_SPREAD,
) -> list[keras.Variable]:
    """Returns newly initialised variables without a model, in half the time of `build_vae`.

    Args:
        image_shape: Height, width and channels of the images.
        hyperparameters: Values as for `build_vae`. The learning rate is not used.
        pixel_means: Mean pixel of the training images, of each channel. It is needed for
            `output_bias = "mean"` only.
        likelihood: Likelihood of the pixels.
        pixel_spread: Standard deviation of the pixels, from which a learned scale starts.

    Returns:
        The variables in the order of `VAE.ordered_variables`. Their values are those that
        `build_vae` draws from the same state of Keras's random numbers.

    Raises:
        ValueError: A size is not a positive integer, or the images are too small.
    """
    architecture = Architecture.of(image_shape, hyperparameters)
    ladder = make_ladder(architecture)
    _, _, maps = ladder.encode(build_layer, (None, *architecture.image_shape))
    epsilons = [(*each[:3], architecture.level_channels) for each in maps]
    ladder.infer(build_layer, (None, architecture.latent_dim), maps, epsilons)
    if value_of(hyperparameters, "output_bias") == "mean":
        set_output_bias(ladder.decoder.output.bias, pixel_means)
    scale = make_scale(likelihood, pixel_spread)
    made = [*ladder.layers(), *([scale] if scale else [])]
    return [variable for layer in made for variable in layer.variables]


def set_scale(vae: VAE, pixel_spread: float) -> None:
    """Sets the learned scale of a likelihood to its start; a VAE without one does not change.

    Args:
        vae: A model that has not been trained.
        pixel_spread: Standard deviation of the pixels.
    """
    start = make_scale(vae.likelihood, pixel_spread)
    if start and vae.log_scale is not None:
        vae.log_scale.assign(start.log_scale)


def set_output_bias(bias: keras.Variable, pixel_means: Sequence[float]) -> None:
    """Sets the bias of the logits such that images begin with the mean pixel of each channel."""
    means = np.clip(pixel_means, DARKEST, 1.0 - DARKEST)
    logits = np.log(means / (1.0 - means))
    bias.assign(np.resize(logits, bias.shape).astype(np.float32))
