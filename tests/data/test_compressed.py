"""Sizes of compressed images, as a measure of their complexity."""

import numpy as np
import pytest

from vaetune.data.compressed import compressed_sizes
from vaetune.data.images import Split

GENERATOR = np.random.default_rng(0)


def test_simple_images_have_smaller_compressed_sizes():
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8)[:, None], (28, 28, 1))
    noise = GENERATOR.integers(0, 256, (28, 28, 1)).astype(np.uint8)
    uniform, line, random = compressed_sizes(np.stack([np.zeros_like(noise), ramp, noise]))
    assert uniform < line < 200 < random
    assert random > 784 * 8 * np.log(2), "noise cannot be compressed"


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_filters_use_the_pixels_above_and_to_the_left_in_each_channel(axes):
    steps = GENERATOR.integers(0, 256, (1, 32, 1, 3))
    image = (steps + 7 * np.arange(32)[:, None]).astype(np.uint8).transpose(axes)
    (size,) = compressed_sizes(image)
    assert size < compressed_sizes(GENERATOR.permuted(image, axis=None))[0] / 4


def test_the_sizes_of_a_split_are_computed_once_and_in_parts(monkeypatch):
    images = GENERATOR.integers(0, 256, (9, 8, 8, 1)).astype(np.uint8)
    split = Split(images.astype(np.float32) / 255, None)
    monkeypatch.setattr("vaetune.data.images._CHUNK_VALUES", 2 * 64)
    np.testing.assert_array_equal(split.compressed_sizes, compressed_sizes(images))
    assert split.compressed_sizes is split.compressed_sizes
