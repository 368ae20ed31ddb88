"""Checks of TensorFlow's random seed, which is global."""

import tensorflow as tf


def assert_keeps_seed(act):
    """Calls a function between two draws, which must be those without it."""
    assert _draw_two(act) == _draw_two(lambda: None)


def _draw_two(between):
    tf.random.set_seed(7)
    first = tf.random.uniform(())
    between()
    return float(first), float(tf.random.uniform(()))
