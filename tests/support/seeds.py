"""Check of TensorFlow's global random seed."""

import tensorflow as tf


def assert_keeps_seed(function):
    """Checks that a call between two random draws does not change the draws."""
    assert _draw_two(function) == _draw_two(lambda: None)


def _draw_two(between):
    tf.random.set_seed(7)
    first = tf.random.uniform(())
    between()
    return float(first), float(tf.random.uniform(()))
