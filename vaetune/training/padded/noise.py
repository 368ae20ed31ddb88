"""TensorFlow's random numbers, computed with operations that XLA can compile.

XLA has a `stateless_normal` of its own, which pairs the random bits in another way: its numbers
differ from those of TensorFlow's kernel for the same seed. So a compiled step must not use it.

References:
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011: Philox.
    Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

_FACTORS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

_SCRAMBLER = (0x3EC8F720, 0x02461E29)
"""Key with which TensorFlow turns a seed into a key and a counter."""

_LOW_WORD = 0xFFFFFFFF

_Words = list[tf.Tensor]


def normal(
    shape: Sequence[int],
    seed: tf.Tensor,
    width: tf.Tensor | None = None,
    dtype: tf.DType = tf.float32,
) -> tf.Tensor:
    """Draws from N(0, 1) what `tf.random.stateless_normal` with `alg="philox"` draws.

    The numbers differ from those of TensorFlow's kernel by rounding only.

    Args:
        shape: Shape of the result. It is known when the function is traced.
        seed: Random seed, (2,) int32.
        width: Last dimension of a narrower result, int32 scalar. The numbers of the narrower result
            come first in the last axis, and zeros follow. Default: no zeros.
        dtype: Type of the result. The random bits do not depend on it.
    """
    uniform = tf.reshape(tf.cast(_uniform(math.prod(shape), seed), dtype), (-1, 2))
    length = tf.sqrt(-2.0 * tf.math.log(tf.maximum(uniform[:, 0], 1e-7)))
    angle = tf.constant(2.0 * math.pi, dtype) * uniform[:, 1]
    pairs = tf.stack([tf.sin(angle) * length, tf.cos(angle) * length], axis=1)
    flat = tf.reshape(pairs, (-1,))
    if width is None:
        return tf.reshape(flat[: math.prod(shape)], shape)
    row = tf.range(math.prod(shape[:-1]))[:, tf.newaxis]
    column = tf.range(shape[-1])[tf.newaxis]
    index = tf.where(column < width, row * width + column, 0)
    narrow = tf.where(column < width, tf.gather(flat, index), 0.0)
    return tf.reshape(narrow, shape)


def uniform(shape: Sequence[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws from [0, 1) exactly what `tf.random.stateless_uniform` with `alg="philox"` draws.

    Args:
        shape: Shape of the result. It is known when the function is traced.
        seed: Random seed, (2,) int32.
    """
    return tf.reshape(_uniform(math.prod(shape), seed)[: math.prod(shape)], shape)


def _uniform(count: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns at least `count` numbers in [0, 1), a multiple of four."""
    blocks = -(-count // 4)
    words = tf.bitcast(tf.cast(seed, tf.int64), tf.uint64)
    high = tf.bitwise.right_shift(words, _word(32))
    low = tf.bitwise.bitwise_and(words, _word(_LOW_WORD))
    mixed = _philox([low[0], high[0], low[1], high[1]], [_word(key) for key in _SCRAMBLER])
    number = tf.cast(tf.range(blocks), tf.uint64)
    zeros = tf.zeros_like(number)
    bits = _philox([number, zeros, zeros + mixed[2], zeros + mixed[3]], mixed[:2])
    # The 23 lowest bits are the fraction of a number in [1, 2).
    fraction = tf.bitwise.bitwise_and(tf.stack(bits, axis=1), _word(0x7FFFFF))
    one = tf.bitwise.bitwise_or(fraction, _word(0x3F800000))
    return tf.reshape(tf.bitcast(tf.cast(one, tf.uint32), tf.float32) - 1.0, (-1,))


def _philox(counter: _Words, key: _Words) -> _Words:
    """Returns four random words of 32 bits for each counter, with Philox4x32-10.

    Words are uint64, so that the product of two words has all its bits.

    Args:
        counter: Four words of each counter.
        key: Two words.
    """
    first, second = key
    a, b, c, d = counter
    for _ in range(_ROUNDS):
        left, right = (each * _word(factor) for each, factor in zip((a, c), _FACTORS, strict=True))
        a, b = _mix(right, b, first), _low(right)
        c, d = _mix(left, d, second), _low(left)
        first, second = (
            _low(k + _word(s)) for k, s in zip((first, second), _KEY_STEPS, strict=True)
        )
    return [a, b, c, d]


def _mix(product: tf.Tensor, word: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    high = tf.bitwise.right_shift(product, _word(32))
    return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high, word), key)


def _low(product: tf.Tensor) -> tf.Tensor:
    return tf.bitwise.bitwise_and(product, _word(_LOW_WORD))


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)
