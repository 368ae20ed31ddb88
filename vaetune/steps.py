"""Steps on a batch, for the weights of any configuration: traced once for a whole search.

Tracing and optimising a model's own training step takes longer than a short trial trains. What
configurations differ in is widths alone: the layers of one of them, applied to tensors of open
shape, serve all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import tensorflow as tf
from keras import Model, layers

from vaetune.model import (
    VAE,
    VALIDATION_SEED,
    Sampling,
    binary_cross_entropy,
    kl_divergence,
    reparameterise,
)

Tensors = Sequence[tf.Tensor]


@dataclass(frozen=True)
class State:
    """The variables of a model and its optimizer, as resources that a traced step is given.

    Attributes:
        weights: Of the trainable variables, in the model's order.
        momentums: Adam's first moments, in the same order.
        velocities: Adam's second moments, likewise.
        iterations: The optimizer's count of steps.
        random_state: Of the `Sampling` layer's generator.
        learning_rate: Its value, float32.
    """

    weights: Tensors
    momentums: Tensors
    velocities: Tensors
    iterations: tf.Tensor
    random_state: tf.Tensor
    learning_rate: tf.Tensor

    @classmethod
    def of(cls, vae: VAE) -> Self:
        """The state of a compiled model whose optimizer is built."""
        adam = vae.optimizer
        return cls(
            weights=_handles(vae.trainable_variables),
            momentums=_handles(adam._momentums),
            velocities=_handles(adam._velocities),
            iterations=adam.iterations.value.handle,
            random_state=_sampling(vae).seed_generator.state.value.handle,
            learning_rate=tf.convert_to_tensor(adam.learning_rate),
        )

    def flat(self) -> list[tf.Tensor]:
        """All of it in one list."""
        return [
            *self.weights,
            *self.momentums,
            *self.velocities,
            self.iterations,
            self.random_state,
            self.learning_rate,
        ]

    @classmethod
    def from_flat(cls, flat: Tensors) -> Self:
        """Takes `flat` apart again."""
        count = (len(flat) - 3) // 3
        parts = (tuple(flat[start * count : (start + 1) * count]) for start in range(3))
        return cls(*parts, *flat[3 * count :])

    @staticmethod
    def signature(vae: VAE) -> list[tf.TensorSpec]:
        """What a traced step is given for `flat`."""
        resources = 3 * len(vae.trainable_variables) + 2
        handle = tf.TensorSpec((), tf.resource)
        return [handle] * resources + [tf.TensorSpec((), tf.float32)]


class Steps:
    """What a training and a validation step do with images and a `State`.

    Args:
        template: A compiled model of any configuration, for its layers, its loss and the
            settings of its optimizer; its weights are not used.
    """

    def __init__(self, template: VAE) -> None:
        self._template = template
        self._adam = template.optimizer
        variables = template.trainable_variables
        self._places = {variable.path: place for place, variable in enumerate(variables)}
        self._shapes = [_open_shape(variable) for variable in variables]

    def train(self, images: tf.Tensor, state: State) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one optimizer step, as `VAE.train_step` does.

        Args:
            images: (batch, height, width, channels), float32 in [0, 1].
            state: What is trained, in place.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """
        weights = self._read(state)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            z_mean, z_log_var = self._encode(images, weights)
            epsilon = _draw(tf.shape(z_mean), state.random_state)
            reconstruction, kl = self._losses(images, z_mean, z_log_var, epsilon, weights)
            loss = tf.reduce_mean(reconstruction + self._template.beta * kl)
        self._apply(tape.gradient(loss, weights), state)
        return reconstruction, kl

    def validate(
        self, images: tf.Tensor, seen: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Measures a batch, as `VAE.test_step` does; changes nothing.

        Args:
            images: (batch, height, width, channels), float32 in [0, 1].
            seen: How many images came before: the posterior noise depends on it.
            state: What is measured.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """
        weights = self._read(state)
        z_mean, z_log_var = self._encode(images, weights)
        seed = tf.stack([VALIDATION_SEED, seen])
        epsilon = tf.random.stateless_normal(tf.shape(z_mean), seed=seed, alg="philox")
        return self._losses(images, z_mean, z_log_var, epsilon, weights)

    def _losses(
        self,
        images: tf.Tensor,
        z_mean: tf.Tensor,
        z_log_var: tf.Tensor,
        epsilon: tf.Tensor,
        weights: Tensors,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z = reparameterise(z_mean, z_log_var, epsilon)
        (logits,) = self._run(self._template.to_logits, z, weights)
        return binary_cross_entropy(images, logits), kl_divergence(z_mean, z_log_var)

    def _encode(self, images: tf.Tensor, weights: Tensors) -> list[tf.Tensor]:
        return self._run(self._template.to_posterior, images, weights)

    def _run(self, model: Model, inputs: tf.Tensor, weights: Tensors) -> list[tf.Tensor]:
        """Applies a model's layers with these weights in place of its own."""
        values: dict[int, tf.Tensor] = {id(model.inputs[0]): inputs}
        for layer in model.layers:
            if not isinstance(layer, layers.InputLayer):
                own = [weights[self._places[v.path]] for v in layer.trainable_variables]
                values[id(layer.output)] = _apply_layer(layer, values[id(layer.input)], own)
        return [values[id(output)] for output in model.outputs]

    def _read(self, state: State) -> list[tf.Tensor]:
        return [
            _read(handle, tf.float32, shape)
            for handle, shape in zip(state.weights, self._shapes, strict=True)
        ]

    def _apply(self, gradients: Tensors, state: State) -> None:
        """Adam; see `optimizer.Adam`, which does the same to a model's own variables."""
        iterations = _read(state.iterations, tf.int64, ()) + 1
        tf.raw_ops.AssignVariableOp(resource=state.iterations, value=iterations)
        step = tf.cast(iterations, tf.float32)
        settings = {
            "beta1_power": tf.pow(self._adam.beta_1, step),
            "beta2_power": tf.pow(self._adam.beta_2, step),
            "lr": state.learning_rate,
            "beta1": self._adam.beta_1,
            "beta2": self._adam.beta_2,
            "epsilon": self._adam.epsilon,
        }
        parts = (state.weights, state.momentums, state.velocities, gradients)
        for weight, momentum, velocity, gradient in zip(*parts, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight, m=momentum, v=velocity, grad=gradient, **settings
            )


def _apply_layer(layer: layers.Layer, inputs: tf.Tensor, weights: Tensors) -> tf.Tensor:
    """What a layer makes of its inputs with other weights than its own, of any width."""
    batch = tf.shape(inputs)[0]
    match layer:
        case layers.Flatten():
            return tf.reshape(inputs, (batch, -1))
        case layers.Reshape(target_shape=(rows, columns, _)):
            return tf.reshape(inputs, (batch, rows, columns, -1))
        case layers.Cropping2D(cropping=((top, bottom), (left, right))):
            height, width = layer.input.shape[1:3]
            return inputs[:, top : height - bottom, left : width - right]
        case layers.Dense():
            outputs = tf.matmul(inputs, weights[0])
        case layers.Conv2D():
            outputs = tf.nn.conv2d(inputs, weights[0], layer.strides, layer.padding.upper())
        case layers.Conv2DTranspose():
            shape = (batch, *layer.output.shape[1:3], tf.shape(weights[0])[2])
            outputs = tf.nn.conv2d_transpose(
                inputs, weights[0], shape, layer.strides, layer.padding.upper()
            )
        case _:
            raise TypeError(f"no step is known for the layer {layer.name}, a {type(layer)}")
    activated: tf.Tensor = layer.activation(tf.nn.bias_add(outputs, weights[1]))
    return activated


def _draw(shape: tf.Tensor, random_state: tf.Tensor) -> tf.Tensor:
    """Draws what `Sampling` would, and leaves its generator where `Sampling` would."""
    state = _read(random_state, tf.int64, (2,))
    advanced = state + tf.constant([0, 1], tf.int64)
    tf.raw_ops.AssignVariableOp(resource=random_state, value=advanced)
    seed = tf.cast(tf.math.floormod(state, tf.int32.max - 1), tf.int32)  # as Keras does
    return tf.random.stateless_normal(shape, seed=seed)


def _read(handle: tf.Tensor, dtype: tf.DType, shape: Sequence[int | None]) -> tf.Tensor:
    value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)
    value.set_shape(shape)
    return value


def _open_shape(variable: Any) -> tuple[int | None, ...]:
    """A variable's shape with its widths left open; a convolution's window stays."""
    shape = tuple(variable.shape)
    return (*shape[:2], None, None) if len(shape) == 4 else (None,) * len(shape)


def _handles(variables: Sequence[Any]) -> tuple[tf.Tensor, ...]:
    return tuple(variable.value.handle for variable in variables)


def _sampling(vae: VAE) -> Sampling:
    return next(layer for layer in vae.encoder.layers if isinstance(layer, Sampling))
