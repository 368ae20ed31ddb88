"""Draws random numbers as TensorFlow does, without TensorFlow.

So the samples of an export are those of the whole model for the same seed.

References:
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MASK = 0xFFFFFFFF

FACTORS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
"""Multipliers of Philox4x32."""

STEPS = (0x9E3779B9, 0xBB67AE85)
"""Changes of the key in each round of Philox4x32."""

SCRAMBLER = (0x3EC8F720, 0x02461E29)
"""Key with which TensorFlow turns a seed into a key and a counter."""


def draw(shape: Sequence[int], seed: tuple[int, int]) -> Array:
    """Draws from N(0, 1), float32, as TensorFlow's `stateless_normal` with `alg="philox"` does.

    Args:
        shape: Shape of the result.
        seed: Two integers.
    """
    blocks = -(-math.prod(shape) // 4)
    words = np.array([part for one in seed for part in (one & MASK, one >> 32 & MASK)], np.uint64)
    mixed = philox(words[:, np.newaxis], SCRAMBLER)[:, 0]
    counter = np.zeros((4, blocks), np.uint64)
    counter[0] = np.arange(blocks)
    counter[2:] = mixed[2:, np.newaxis]
    # 23 bits become a float in [0, 1).
    uniform = (philox(counter, (int(mixed[0]), int(mixed[1]))) & 0x7FFFFF) / 2.0**23
    length = np.sqrt(-2.0 * np.log(np.maximum(uniform[0::2], 1e-7)))
    angle = 2.0 * math.pi * uniform[1::2]
    normal = np.stack([np.sin(angle) * length, np.cos(angle) * length], axis=1)
    flat = normal.reshape(4, blocks).T.reshape(-1)[: math.prod(shape)]
    return np.asarray(flat.reshape(shape), dtype=np.float32)


def philox(counter: Array, key: tuple[int, int]) -> Array:
    """Returns four random words of 32 bits for each counter, (4, n), with Philox4x32-10.

    Args:
        counter: Four words of each counter, (4, n), uint64.
        key: Two words.
    """
    first, second = key
    a, b, c, d = counter
    for _ in range(10):
        left, right = a * FACTORS[0], c * FACTORS[1]
        a, b, c, d = (right >> 32) ^ b ^ first, right & MASK, (left >> 32) ^ d ^ second, left & MASK
        first, second = (first + STEPS[0]) & MASK, (second + STEPS[1]) & MASK
    return np.stack([a, b, c, d])
