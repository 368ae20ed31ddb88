"""Predicts the duration of an epoch by counting operations, never by measuring time.

A search that depends on measured time could not be repeated. The rates below were measured once.
They decide between configurations, so a machine of another speed changes nothing, as long as it
is faster or slower by a similar factor for all of them.
"""

import math
from collections.abc import Mapping

from vaetune.config import REFERENCE_BATCH_SIZE, Value
from vaetune.models import Architecture

PER_MULTIPLICATION_S = 7.3e-11
"""Seconds per image and multiplication of the forward pass, for a training step on one CPU core."""

PER_STEP_S = 4.6e-3
"""Seconds per training step, whatever the model and the number of images."""

PER_TRIAL_S = 0.34
"""Seconds of a trial besides its epochs."""


def epoch_cost(architecture: Architecture, images: int, batch_size: int) -> float:
    """Returns the seconds of a training epoch on the machine on which the rates were measured.

    Args:
        architecture: Networks of the configuration.
        images: Number of training images.
        batch_size: Images per step.
    """
    steps = math.ceil(images / batch_size)
    return PER_STEP_S * steps + PER_MULTIPLICATION_S * images * multiplications(architecture)


def batch_size_of(values: Mapping[str, Value], fixed: int | None) -> int:
    """Returns the images per step of a configuration.

    Args:
        values: The configuration.
        fixed: Images per step, if the configuration has no batch size of its own.
    """
    return int(values.get("batch_size", fixed or REFERENCE_BATCH_SIZE))


def multiplications(architecture: Architecture) -> int:
    """Returns the multiplications of all layers for the forward pass of one image.

    The number is that of `preflight.cost_model.size_of`, which creates the layers. A search weighs
    hundreds of configurations for each trial, so here it is computed from the widths alone.
    """
    return _encoder(architecture) + _decoder(architecture) + _levels(architecture)


def _encoder(one: Architecture) -> int:
    pixels, total = math.prod(one.image_shape), 0
    channels = one.image_shape[2]
    for stage, filters in enumerate(one.filters if one.encoder == "conv" else (), start=1):
        places = math.prod(one.map_size(stage))
        total += 9 * places * filters * (channels + 2 * one.blocks * filters)
        pixels, channels = places * filters, filters
    more = one.dense_layers - 1 if one.encoder == "dense" else 0
    total += one.dense_units * (pixels + more * one.dense_units)
    return total + 2 * one.dense_units * one.latent_dim


def _decoder(one: Architecture) -> int:
    if one.decoder == "dense":
        units, more = one.dense_units, one.dense_layers - 1
        return units * (one.latent_dim + more * units + math.prod(one.image_shape))
    stages, width = len(one.filters), one.filters[-1]
    total = math.prod(one.map_size(stages)) * width * one.latent_dim
    total += _blocks(one, stages, width)
    last = 1 if one.output_stride == 2 else 0
    for stage in range(stages, last, -1):
        filters = one.filters[stage - 2 if last else stage - 1]
        # A transposed convolution places its kernel at each of its inputs.
        total += 9 * _decoder_places(one, stage) * width * filters
        total += _blocks(one, stage - 1, filters) if stage > 1 else 0
        width = filters
    kernel = 16 if last else 9
    return total + kernel * _decoder_places(one, last) * width * one.image_shape[2]


def _decoder_places(one: Architecture, stage: int) -> int:
    """Returns the places of the decoder's maps of a stage, which may be cropped at its end only."""
    rows, columns = one.map_size(stage)
    if len(one.filters) == 2 and one.levels == 1 and one.output_stride == 1:
        scale = 2 ** (2 - stage)
        smallest_rows, smallest_columns = one.map_size(2)
        rows, columns = scale * smallest_rows, scale * smallest_columns
    return rows * columns


def _blocks(one: Architecture, stage: int, filters: int) -> int:
    return 18 * one.blocks * _decoder_places(one, stage) * filters**2


def _levels(one: Architecture) -> int:
    inwards = one.filters[::-1]
    widths = inwards if one.output_stride == 2 else (*inwards[:1], *inwards)
    total, channels = 0, one.level_channels
    for number in range(one.levels - 1):
        stage, width = len(one.filters) - number, widths[number]
        encoded = one.filters[stage - 1]
        latents = 4 * channels * width  # Mean and scale of the prior and of the posterior.
        total += (
            9
            * math.prod(one.map_size(stage))
            * (latents + (width + encoded) * width + (width + channels) * width)
        )
    return total
