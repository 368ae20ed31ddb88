"""Training and validation steps that are traced once for all configurations of a search.

To trace and optimise the training step of each model would take longer than a short trial trains.
But configurations differ only in the widths of their layers. So the layers of one configuration
are applied to the weights of all others, as tensors with undefined widths.
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
    """Variables of a model and its optimizer, without fixed shapes.

    TensorFlow has to prepare a function again if the shape of a variable changes, which takes
    longer than tracing it. Variables of undefined shape avoid this.

    Args:
        template: Compiled model of any configuration, with a built optimizer.

    Attributes:
        weights: The trainable variables, in the model's order.
        momentums: Adam's first moments, in the order of `weights`.
        velocities: Adam's second moments, in the order of `weights`.
        iterations: Number of optimizer steps so far.
        learning_rate: Learning rate of the optimizer.
        random_state: State of the `Sampling` layer's random generator.
    """

    def __init__(self, template: VAE) -> None:
        adam = template.optimizer
        copies = {id(v): _shapeless_variable(v) for v in (*template.variables, *adam.variables)}
        self._model = [copies[id(variable)] for variable in template.variables]
        self._optimizer = [copies[id(variable)] for variable in adam.variables]
        self.weights = [copies[id(variable)] for variable in template.trainable_variables]
        self.momentums = [copies[id(variable)] for variable in adam._momentums]
        self.velocities = [copies[id(variable)] for variable in adam._velocities]
        self.iterations = copies[id(adam.iterations)]
        self.learning_rate = copies[id(adam._learning_rate)]
        encoder_layers = template.encoder.layers
        sampling = next(layer for layer in encoder_layers if isinstance(layer, Sampling))
        self.random_state = copies[id(sampling.seed_generator.state)]

    def restore(self, weights: Arrays, optimizer: Arrays | None = None) -> None:
        """Assigns the variables of a partly trained model of any widths.

        Args:
            weights: Variables of the model, in the order of `VAE.variables`.
            optimizer: Variables of its optimizer. None: they do not change.
        """
        _assign(self._model, weights)
        if optimizer is not None:
            _assign(self._optimizer, optimizer)

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        """Assigns the variables of a new model and resets the optimizer.

        Args:
            weights: Variables of the model, in the order of `VAE.variables`.
            learning_rate: Learning rate of the optimizer.
        """
        _assign(self._model, weights)
        self.iterations.assign(0, read_value=False)
        self.learning_rate.assign(learning_rate, read_value=False)
        for weight, *moments in zip(self.weights, self.momentums, self.velocities, strict=True):
            for moment in moments:
                moment.assign(tf.zeros_like(weight), read_value=False)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the optimizer's learning rate for the next steps."""
        self.learning_rate.assign(learning_rate, read_value=False)

    def read(self) -> tuple[Arrays, Arrays]:
        """Returns copies of the variables of the model and of its optimizer."""
        return _copy(self._model), _copy(self._optimizer)


class Steps:
    """The training and the validation step on a batch of images.

    Args:
        template: Compiled model of any configuration. It provides the layers, the loss and the
            settings of the optimizer; its weights are not used.
        precision: Numeric precision of training, see `config.Training`.

    Attributes:
        state: Variables of the model that is being trained.
    """

    def __init__(self, template: VAE, precision: Precision = "float32") -> None:
        self.state = State(template)
        self._training_dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
        self._template = template
        self._adam = template.optimizer
        variables = template.trainable_variables
        self._indices = {variable.path: index for index, variable in enumerate(variables)}
        self._shapes = [_widthless_shape(variable) for variable in variables]

    def train(self, images: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one optimizer step like `VAE.train_step`.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1].
            beta: Weight of the KL divergence, float32 scalar.

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
        """Measures a batch like `VAE.test_step`. No variable changes.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1].
            seen: Number of images before this batch, int32 scalar. It selects the posterior noise.

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
        """Measures a batch with many samples of each posterior. No variable changes.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1].
            samples: Number of samples per image, int32 scalar. A smaller number uses the first
                samples of a larger number.
            seed: Random seed of this batch, (2,) int32.

        Returns:
            Mean reconstruction loss over the samples, and KL divergence, of each image, (batch,)
            float64.
        """
        weights = self._read_weights()
        z_mean, z_log_var = self._encode(images, weights)

        def add(sample: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sample_seed = seed + tf.stack([0, sample])
            epsilon = tf.random.stateless_normal(tf.shape(z_mean), seed=sample_seed, alg="philox")
            reconstruction, _ = self._losses(images, z_mean, z_log_var, epsilon, weights)
            return sample + 1, total + tf.cast(reconstruction, tf.float64)

        zeros = tf.zeros(tf.shape(images)[:1], tf.float64)
        # Two samples in parallel would need more memory and not save time.
        _, total = tf.while_loop(
            lambda sample, _: sample < samples,
            add,
            (tf.constant(0), zeros),
            parallel_iterations=1,
        )
        parameters = (tf.cast(each, tf.float64) for each in (z_mean, z_log_var))
        return total / tf.cast(samples, tf.float64), kl_divergence(*parameters)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """Returns latent means (batch, latent_dim) of images (batch, height, width, channels)."""
        z_mean, _ = self._encode(images, self._read_weights())
        return z_mean

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Returns pixel probabilities (batch, height, width, channels) of z (batch, latent_dim)."""
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
        """Applies the layers of a model with other weights.

        Args:
            model: Model with one input.
            inputs: Input of the model.
            weights: Weights of the whole VAE, in the order of `VAE.trainable_variables`.
            dtype: Type in which layers multiply, except the output layers, which use float32.

        Returns:
            Outputs of the model.
        """
        values: dict[int, tf.Tensor] = {id(model.inputs[0]): inputs}
        output_layers = _output_layers(model)
        for layer in model.layers:
            if isinstance(layer, layers.InputLayer):
                continue
            x = values[id(layer.input)]
            layer_weights = [weights[self._indices[v.path]] for v in layer.trainable_variables]
            if layer_weights:
                layer_dtype = tf.float32 if layer in output_layers else dtype
                x, *layer_weights = (tf.cast(each, layer_dtype) for each in (x, *layer_weights))
            values[id(layer.output)] = _apply_layer(layer, x, layer_weights)
        return [values[id(output)] for output in model.outputs]

    def _read_weights(self) -> list[tf.Tensor]:
        pairs = zip(self.state.weights, self._shapes, strict=True)
        return [_read(variable, shape) for variable, shape in pairs]

    def _apply(self, gradients: Tensors) -> None:
        """Updates the weights with Adam, as `models.optimizer.Adam` updates those of a model."""
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
        columns = (state.weights, state.momentums, state.velocities, gradients)
        for weight, momentum, velocity, gradient in zip(*columns, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=momentum.handle, v=velocity.handle, grad=gradient, **settings
            )


def _output_layers(model: Model) -> list[layers.Layer]:
    """Returns the last layers with weights before the outputs of a model."""
    with_weights = [layer for layer in model.layers if layer.trainable_variables]
    outputs = {id(output) for output in model.outputs}
    return [
        layer for layer in with_weights if id(layer.output) in outputs or layer is with_weights[-1]
    ]


def _apply_layer(layer: layers.Layer, inputs: tf.Tensor, weights: Tensors) -> tf.Tensor:
    """Applies a layer with other weights than its own, which may have other widths."""
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
            raise TypeError(f"Unsupported layer {layer.name} of type {type(layer)}.")
    activated: tf.Tensor = layer.activation(tf.nn.bias_add(outputs, weights[1]))
    return activated


def _draw(shape: tf.Tensor, random_state: tf.Variable) -> tf.Tensor:
    """Draws the same noise as `Sampling`, and advances its random state in the same way."""
    state = _read(random_state, (2,))
    random_state.assign(state + tf.constant([0, 1], tf.int64))
    # Keras computes the seed from the state in this way.
    seed = tf.cast(tf.math.floormod(state, tf.int32.max - 1), tf.int32)
    return tf.random.stateless_normal(shape, seed=seed)


def _read(variable: tf.Variable, shape: Sequence[int | None]) -> tf.Tensor:
    return tf.ensure_shape(variable.read_value(), shape)


def _widthless_shape(variable: Any) -> tuple[int | None, ...]:
    """Returns the shape of a variable without its widths. A convolution keeps its kernel size."""
    shape = tuple(variable.shape)
    return (*shape[:2], None, None) if len(shape) == 4 else (None,) * len(shape)


def _shapeless_variable(variable: Any) -> tf.Variable:
    return tf.Variable(
        variable.value, shape=tf.TensorShape(None), trainable=False, name="shapeless_variable"
    )


def _assign(variables: Sequence[tf.Variable], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array, read_value=False)


def _copy(variables: Sequence[tf.Variable]) -> Arrays:
    return tuple(variable.numpy() for variable in variables)
