"""The optimizer gives the results of Keras's Adam and does not leak memory."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from long_forms import long

from vaetune.models.optimizer import Adam


def train(optimizer, steps=20, compiled=True):
    """Trains a small regression, and returns the variables of model and optimizer."""
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(3)
    layer.build((None, 4))
    optimizer.build(layer.trainable_variables)
    inputs, targets = np.random.rand(8, 4).astype("float32"), np.random.rand(8, 3)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((layer(inputs) - targets) ** 2)
        gradients = tape.gradient(loss, layer.trainable_variables)
        optimizer.apply_gradients(zip(gradients, layer.trainable_variables, strict=True))

    step = tf.function(step) if compiled else step
    for _ in range(steps):
        step()
    return [np.array(v) for v in (*layer.variables, *optimizer.variables)]


SETTINGS = [
    {"learning_rate": 0.3, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"learning_rate": 0.01, "clipnorm": 0.01, "weight_decay": 0.1},
    {"learning_rate": 0.01, "amsgrad": True},
    {"learning_rate": 0.01},
]


@pytest.mark.parametrize(
    ("settings", "compiled"),
    [
        *zip(SETTINGS, (True, True, False, False), strict=True),
        *long(*zip(SETTINGS, (False, False, True, True), strict=True)),
    ],
)
def test_the_optimizer_trains_like_keras(settings, compiled):
    ours, theirs = (
        train(cls(**settings), compiled=compiled) for cls in (Adam, keras.optimizers.Adam)
    )
    untrained = train(Adam(**settings), steps=0)
    assert np.abs(ours[0] - untrained[0]).max() > 1e-3
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-7)


def test_the_optimizer_is_saved_and_loaded():
    optimizer = Adam(0.02, beta_1=0.8)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is Adam
    assert again.get_config() == optimizer.get_config()


def test_a_traced_step_is_freed_with_its_model():
    """With Keras's own Adam every traced training step stays in memory."""

    def traced_graph():
        optimizer, variable = Adam(0.1), keras.Variable(np.ones(3))
        optimizer.build([variable])

        def step():
            optimizer.apply_gradients([(tf.ones(3), variable)])

        return weakref.ref(tf.function(step).get_concrete_function().graph)

    graph = traced_graph()
    gc.collect()
    assert graph() is None
