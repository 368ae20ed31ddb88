"""The counted cost of an epoch agrees with the layers of a model and with measured durations."""

import random

import pytest

from vaetune.models.architecture import Architecture
from vaetune.search.oracles.cost import batch_size_of, epoch_cost, multiplications
from vaetune.search.preflight.cost_model import size_of

SHAPES = ((28, 28, 1), (27, 30, 3), (33, 40, 2), (64, 64, 3))

MEASURED = {1: 0.72, 2: 1.27, 3: 2.06}
"""CPU seconds of an epoch of 5,000 digits in batches of 64, by number of levels."""


def draw(rng):
    """A random configuration of any structure."""
    return {
        "filters_1": rng.randint(1, 40),
        "filters_2": rng.choice((3, 17, 200, 300)),
        "dense_units": rng.randint(1, 300),
        "latent_dim": rng.randint(1, 40),
        "encoder": rng.choice(("conv", "conv", "dense")),
        "decoder": rng.choice(("conv", "conv", "dense")),
        "dense_layers": rng.randint(1, 4),
        "stages": rng.randint(2, 3),
        "blocks": rng.randint(0, 2),
        "normalization": rng.choice(("none", "group", "batch")),
        "output_stride": rng.randint(1, 2),
        "levels": rng.randint(1, 3),
        "level_channels": rng.randint(1, 5),
    }


@pytest.mark.parametrize("seed", range(14))
def test_multiplications_equal_those_counted_from_the_layers(seed):
    rng = random.Random(seed)
    values, shape = draw(rng), rng.choice(SHAPES)
    counted = multiplications(Architecture.of(shape, values))
    assert counted == size_of(shape, values).multiplications


@pytest.mark.parametrize("levels", MEASURED)
def test_the_cost_of_an_epoch_agrees_with_measured_durations(levels):
    values = {"filters_1": 16, "filters_2": 32, "dense_units": 256, "latent_dim": 16}
    values |= {"levels": levels, "level_channels": 4, "output_stride": 2}
    cost = epoch_cost(Architecture.of((28, 28, 1), values), 5000, 64)
    assert cost == pytest.approx(MEASURED[levels], rel=0.05)


def test_smaller_batches_cost_more():
    architecture = Architecture.of((28, 28, 1), {})
    assert epoch_cost(architecture, 5000, 32) > epoch_cost(architecture, 5000, 128)
    assert batch_size_of({"batch_size": 32}, None) == 32
    assert batch_size_of({}, 64) == 64
