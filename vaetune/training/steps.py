"""Steps on a batch, for the weights of any configuration: traced once for a whole search.

Tracing and optimising a model's own training step takes longer than a short trial trains. What
configurations differ in is widths alone: the layers of one of them, applied to tensors of open
shape, serve all.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from keras import Model, layers

from vaetune.config import Precision
from vaetune.models import (
    VAE,
    VALIDATION_SEED,
    Sampling,
    binary_cross_entropy,
    kl_divergence,
    reparameterise,
)
from vaetune.study import Arrays

Tensors = Sequence[tf.Tensor]


class State:
    """Variables of a model and its optimizer, of no fixed shape.

    A function that gets variables of another shape is prepared again, which takes longer than
    tracing does; one that holds variables of open shape is not.

    Args:
        template: A compiled model of any configuration whose optimizer is built.

    Attributes:
        weights: The trainable variables, in the model's order.
        momentums: Adam's first moments, in the same order.
        velocities: Adam's second moments, likewise.
        iterations: The optimizer's count of steps.
        learning_rate: Learning rate of the optimizer.
        random_state: State of the `Sampling` layer's generator.
    """

    def __init__(self, template: VAE) -> None:
        adam = template.optimizer
        ours = {id(v): _open_variable(v) for v in (*template.variables, *adam.variables)}
        self._model = [ours[id(variable)] for variable in template.variables]
        self._optimizer = [ours[id(variable)] for variable in adam.variables]
        self.weights = [ours[id(variable)] for variable in template.trainable_variables]
        self.momentums = [ours[id(variable)] for variable in adam._momentums]
        self.velocities = [ours[id(variable)] for variable in adam._velocities]
        self.iterations = ours[id(adam.iterations)]
        self.learning_rate = ours[id(adam._learning_rate)]
        sampling = next(one for one in template.encoder.layers if isinstance(one, Sampling))
        self.random_state = ours[id(sampling.seed_generator.state)]

    def restore(self, weights: Arrays, optimizer: Arrays | None = None) -> None:
        """Takes over the variables of a model of any widths, in the order of `variables`.

        Args:
            weights: Weights of the model.
            optimizer: Variables of the optimizer; None leaves it unchanged.
        """
        _assign(self._model, weights)
        if optimizer is not None:
            _assign(self._optimizer, optimizer)

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        """Takes over the variables of a new model; its optimizer has not taken a step yet."""
        _assign(self._model, weights)
        self.iterations.assign(0, read_value=False)
        self.learning_rate.assign(learning_rate, read_value=False)
        for weight, *moments in zip(self.weights, self.momentums, self.velocities, strict=True):
            for moment in moments:
                moment.assign(tf.zeros_like(weight), read_value=False)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Changes the optimizer's learning rate, from the next step on."""
        self.learning_rate.assign(learning_rate, read_value=False)

    def read(self) -> tuple[Arrays, Arrays]:
        """Copies the variables of the model and those of its optimizer."""
        return _copy(self._model), _copy(self._optimizer)


class Steps:
    """What a training and a validation step do with a batch of images.

    Args:
        template: A compiled model of any configuration, for its layers, its loss and the
            settings of its optimizer; its weights are not used.
        precision: In what training multiplies; see `spec.Training`.

    Attributes:
        state: Variables that are trained.
    """

    def __init__(self, template: VAE, precision: Precision = "float32") -> None:
        self.state = State(template)
        self._training_dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
        self._template = template
        self._adam = template.optimizer
        variables = template.trainable_variables
        self._places = {variable.path: place for place, variable in enumerate(variables)}
        self._shapes = [_open_shape(variable) for variable in variables]

    def train(self, images: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one optimizer step, as `VAE.train_step` does.

        Args:
            images: (batch, height, width, channels), float32 in [0, 1].
            beta: Weight of the KL divergence, a float32 scalar.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """
        weights = self._read_weights()
        with tf.GradientTape() as tape:
            tape.watch(weights)
            dtype = self._training_dtype
            z_mean, z_log_var = self._encode(images, weights, dtype)
            epsilon = _draw(tf.shape(z_mean), self.state.random_state)
            reconstruction, kl = self._losses(images, z_mean, z_log_var, epsilon, weights, dtype)
            loss = tf.reduce_mean(reconstruction + beta * kl)
        self._apply(tape.gradient(loss, weights))
        return reconstruction, kl

    def validate(self, images: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Measures a batch, as `VAE.test_step` does; changes nothing.

        Args:
            images: (batch, height, width, channels), float32 in [0, 1].
            seen: Number of images before this batch; the posterior noise depends on it.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """
        weights = self._read_weights()
        z_mean, z_log_var = self._encode(images, weights)
        seed = tf.stack([VALIDATION_SEED, seen])
        epsilon = tf.random.stateless_normal(tf.shape(z_mean), seed=seed, alg="philox")
        return self._losses(images, z_mean, z_log_var, epsilon, weights)

    def rescore(
        self, images: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Measures a batch by many samples of each posterior; changes nothing.

        Args:
            images: (batch, height, width, channels), float32 in [0, 1].
            samples: Number of samples, an int32 scalar. Those of a smaller number are the first
                ones.
            seed: Random seed of this batch, (2,) int32.

        Returns:
            Reconstruction loss, its mean over the samples, and KL divergence of each image,
            (batch,) float64.
        """
        weights = self._read_weights()
        z_mean, z_log_var = self._encode(images, weights)

        def add(sample: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            own = seed + tf.stack([0, sample])
            epsilon = tf.random.stateless_normal(tf.shape(z_mean), seed=own, alg="philox")
            one, _ = self._losses(images, z_mean, z_log_var, epsilon, weights)
            return sample + 1, total + tf.cast(one, tf.float64)

        nothing = tf.zeros(tf.shape(images)[:1], tf.float64)
        # One after the other: a second sample at once would take its memory, and no less time.
        _, total = tf.while_loop(
            lambda sample, _: sample < samples,
            add,
            (tf.constant(0), nothing),
            parallel_iterations=1,
        )
        exact = (tf.cast(each, tf.float64) for each in (z_mean, z_log_var))
        return total / tf.cast(samples, tf.float64), kl_divergence(*exact)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """Latent means (batch, latent_dim) of images (batch, height, width, channels)."""
        z_mean, _ = self._encode(images, self._read_weights())
        return z_mean

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Pixel probabilities (batch, height, width, channels) of z (batch, latent_dim)."""
        (logits,) = self._run(self._template.to_logits, z, self._read_weights())
        return tf.sigmoid(logits)

    def _losses(
        self,
        images: tf.Tensor,
        z_mean: tf.Tensor,
        z_log_var: tf.Tensor,
        epsilon: tf.Tensor,
        weights: Tensors,
        dtype: tf.DType = tf.float32,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z = reparameterise(z_mean, z_log_var, epsilon)
        (logits,) = self._run(self._template.to_logits, z, weights, dtype)
        return binary_cross_entropy(images, logits), kl_divergence(z_mean, z_log_var)

    def _encode(
        self, images: tf.Tensor, weights: Tensors, dtype: tf.DType = tf.float32
    ) -> list[tf.Tensor]:
        return self._run(self._template.to_posterior, images, weights, dtype)

    def _run(
        self, model: Model, inputs: tf.Tensor, weights: Tensors, dtype: tf.DType = tf.float32
    ) -> list[tf.Tensor]:
        """Applies a model's layers with these weights in place of its own.

        The layers that make its outputs work in float32, those before them in `dtype`.
        """
        values: dict[int, tf.Tensor] = {id(model.inputs[0]): inputs}
        heads = _heads(model)
        for layer in model.layers:
            if isinstance(layer, layers.InputLayer):
                continue
            own = [weights[self._places[v.path]] for v in layer.trainable_variables]
            given = values[id(layer.input)]
            if own:
                wanted = tf.float32 if layer in heads else dtype
                given, *own = (tf.cast(one, wanted) for one in (given, *own))
            values[id(layer.output)] = _apply_layer(layer, given, own)
        return [values[id(output)] for output in model.outputs]

    def _read_weights(self) -> list[tf.Tensor]:
        pairs = zip(self.state.weights, self._shapes, strict=True)
        return [_read(variable, shape) for variable, shape in pairs]

    def _apply(self, gradients: Tensors) -> None:
        """Adam; see `optimizer.Adam`, which does the same to a model's own variables."""
        state = self.state
        iterations = state.iterations.assign_add(tf.constant(1, tf.int64), read_value=False)
        with tf.control_dependencies([iterations]):
            step = tf.cast(_read(state.iterations, ()), tf.float32)
        settings = {
            "beta1_power": tf.pow(self._adam.beta_1, step),
            "beta2_power": tf.pow(self._adam.beta_2, step),
            "lr": _read(state.learning_rate, ()),
            "beta1": self._adam.beta_1,
            "beta2": self._adam.beta_2,
            "epsilon": self._adam.epsilon,
        }
        parts = (state.weights, state.momentums, state.velocities, gradients)
        for weight, momentum, velocity, gradient in zip(*parts, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=momentum.handle, v=velocity.handle, grad=gradient, **settings
            )


def _heads(model: Model) -> list[layers.Layer]:
    """The last layers with weights before a model's outputs."""
    with_weights = [layer for layer in model.layers if layer.trainable_variables]
    outputs = {id(output) for output in model.outputs}
    return [
        layer for layer in with_weights if id(layer.output) in outputs or layer is with_weights[-1]
    ]


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


def _draw(shape: tf.Tensor, random_state: tf.Variable) -> tf.Tensor:
    """Draws what `Sampling` would, and leaves its generator where `Sampling` would."""
    state = _read(random_state, (2,))
    random_state.assign(state + tf.constant([0, 1], tf.int64))
    seed = tf.cast(tf.math.floormod(state, tf.int32.max - 1), tf.int32)  # as Keras does
    return tf.random.stateless_normal(shape, seed=seed)


def _read(variable: tf.Variable, shape: Sequence[int | None]) -> tf.Tensor:
    return tf.ensure_shape(variable.read_value(), shape)


def _open_shape(variable: Any) -> tuple[int | None, ...]:
    """A variable's shape with its widths left open; a convolution's window stays."""
    shape = tuple(variable.shape)
    return (*shape[:2], None, None) if len(shape) == 4 else (None,) * len(shape)


def _open_variable(variable: Any) -> tf.Variable:
    return tf.Variable(
        variable.value, shape=tf.TensorShape(None), trainable=False, name="open_variable"
    )


def _assign(variables: Sequence[tf.Variable], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array, read_value=False)


def _copy(variables: Sequence[tf.Variable]) -> Arrays:
    return tuple(variable.numpy() for variable in variables)
