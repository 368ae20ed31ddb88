"""Comparison of vaetune's compiled steps with the steps of Keras for the same model."""

import numpy as np
import pytest
import tensorflow as tf

from vaetune.training.restore import read_variables


def trace_training(steps, shape, settings):
    """Traces training for batches of any size, as a search does."""
    numbers = tf.constant(settings, tf.float32)
    return _trace(lambda images: steps.train(images, numbers), shape)


def trace_validation(steps, shape):
    """Traces validation for batches of any size."""
    return _trace(lambda images: steps.validate(images, tf.constant(0)), shape)


def _trace(function, shape):
    batch = tf.TensorSpec((None, *shape), tf.float32)
    traced = tf.function(function, input_signature=(batch,), autograph=False)
    return traced.get_concrete_function()


def restore(steps, vae):
    """Copies the variables and the optimizer state of a Keras model into the steps."""
    optimizer = read_variables(vae.optimizer.variables)
    steps.state.restore(read_variables(vae.ordered_variables), optimizer)


def assert_steps_like_keras(steps, train, validate, theirs, images):
    """Compares two training steps and a validation with Keras.

    Returns:
        The variables after the steps of vaetune.
    """
    restore(steps, theirs)
    for _ in range(2):  # The second step uses the optimizer's moments from the first step.
        losses = train(images)
        theirs.reset_metrics()
        expected = theirs.train_step(images)
        names = ("reconstruction_loss", "kl_loss")
        np.testing.assert_allclose(
            np.mean(losses, axis=1), [float(expected[name]) for name in names], rtol=1e-4
        )
    ours, _ = steps.state.read()
    for one, other in zip(ours, theirs.ordered_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5, err_msg=other.path)
    steps.state.copy_to_average()
    theirs.reset_metrics()
    measured = theirs.test_step(images)
    losses = np.mean(validate(images), axis=1)
    assert losses.sum() == pytest.approx(float(measured["loss"]), rel=1e-4)
    return ours
