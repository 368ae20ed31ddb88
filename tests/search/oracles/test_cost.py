"""The cost of an epoch is counted on the layers that a model really has."""

import random

import pytest

from vaetune.models.architecture import Architecture
from vaetune.search.oracles.cost import batch_size_of, epoch_cost, multiplications
from vaetune.search.preflight.cost_model import size_of

SHAPES = ((28, 28, 1), (27, 30, 3), (33, 40, 2), (64, 64, 3))

MEASURED = {1: 0.72, 2: 1.27, 3: 2.06}
"""CPU seconds of an epoch of 5,000 digits in batches of 64, by levels."""


def draw(source):
    """A configuration of the whole family."""
    return {
        "filters_1": source.randint(1, 40),
        "filters_2": source.choice((3, 17, 200, 300)),
        "dense_units": source.randint(1, 300),
        "latent_dim": source.randint(1, 40),
        "encoder": source.choice(("conv", "conv", "dense")),
        "decoder": source.choice(("conv", "conv", "dense")),
        "dense_layers": source.randint(1, 4),
        "stages": source.randint(2, 3),
        "blocks": source.randint(0, 2),
        "normalization": source.choice(("none", "group", "batch")),
        "output_stride": source.randint(1, 2),
        "levels": source.randint(1, 3),
        "level_channels": source.randint(1, 5),
    }


@pytest.mark.parametrize("seed", range(14))
def test_the_multiplications_are_those_of_the_layers(seed):
    source = random.Random(seed)
    values, shape = draw(source), source.choice(SHAPES)
    counted = multiplications(Architecture.of(shape, values))
    assert counted == size_of(shape, values).multiplications


@pytest.mark.parametrize("levels", MEASURED)
def test_the_rates_are_those_that_were_measured(levels):
    values = {"filters_1": 16, "filters_2": 32, "dense_units": 256, "latent_dim": 16}
    values |= {"levels": levels, "level_channels": 4, "output_stride": 2}
    cost = epoch_cost(Architecture.of((28, 28, 1), values), 5000, 64)
    assert cost == pytest.approx(MEASURED[levels], rel=0.05)


def test_smaller_batches_cost_more():
    architecture = Architecture.of((28, 28, 1), {})
    assert epoch_cost(architecture, 5000, 32) > epoch_cost(architecture, 5000, 128)
    assert batch_size_of({"batch_size": 32}, None) == 32
    assert batch_size_of({}, 64) == 64
