"""Training and validation steps that are traced once for all widths of a structure.

To trace and optimise the training step of each model would take longer than a short trial trains.
But most configurations differ only in the widths of their layers and in numbers. So the layers of
one configuration are applied to the weights of all others, as tensors with undefined widths.
"""

from collections.abc import Callable, Sequence, Set

import tensorflow as tf

from vaetune.config import Precision
from vaetune.models import (
    VAE,
    Mean,
    kl_divergence,
    mean_over_images,
    missing_bits,
    reconstruction_loss,
    reparameterise,
    total_kl,
    validation_seed,
)
from vaetune.training.layers import ModelRunner, Tensors
from vaetune.training.schedule import StepSettings
from vaetune.training.state import State, read_variable

_LEVEL_STRIDE = 2**29
"""Distance of the seeds of two levels. An int32 leaves room for four levels."""

Shape = Sequence[int | tf.Tensor]
"""Dimensions. Those that are unknown when a function is traced are int32 scalars."""

Noise = Callable[[int, Shape], tf.Tensor]
"""Returns epsilon of a level, given its index and its shape; the top level is 0."""


class Steps:
    """The training and the validation step on a batch of images.

    Args:
        template: Compiled model of any configuration of a structure. It provides the layers, the
            loss and the settings of the optimizer; its weights are not used.
        precision: Numeric precision of training, see `config.Training`.
        options: Names of `schedule.OPTIONS` that training uses. Without an operation for the
            others, a step is traced and takes its steps faster.

    Attributes:
        state: Variables of the model that is being trained.
        dtype: Type of the template's weights, in which everything is computed.
    """

    def __init__(
        self, template: VAE, precision: Precision = "float32", options: Set[str] = frozenset()
    ) -> None:
        self._options = options
        self.state = self._make_state(template)
        self.dtype: tf.DType = self.state.learning_rate.dtype
        self._training_dtype = tf.bfloat16 if precision == "mixed_bfloat16" else self.dtype
        self._template = template
        self._adam = template.optimizer
        self._trainable = [variable.path for variable in template.ordered_trainable]
        self._decayed = [path.endswith("/kernel") for path in self._trainable]

    def train(self, images: tf.Tensor, settings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one optimizer step like `VAE.train_step`.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1].
            settings: Values of `StepSettings`, (n,) float32.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """
        step = self._unpack(settings)
        weights = self.state.tensors()
        trained = [weights[path] for path in self._trainable]
        done = self._count_steps()
        with tf.GradientTape() as tape:
            tape.watch(trained)
            runner = ModelRunner(weights, True, self._training_dtype)
            reconstruction, parameters = self._infer(runner, images, self._random_noise)
            kl = total_kl(parameters)
            loss = self._loss(reconstruction, kl, parameters, step, done, mean_over_images)
        gradients = tape.gradient(loss, trained)
        self._apply(gradients, step)
        self.state.assign_tensors(runner.statistics)
        if "weight_average" in self._options:
            self._average(step.weight_average, done)
        return reconstruction, kl

    def validate(self, images: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Measures a batch like `VAE.test_step`, with the averages. No variable changes.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1].
            seen: Number of images before this batch, int32 scalar. It selects the posterior noise.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,).
        """

        def noise(level: int, shape: Shape) -> tf.Tensor:
            return self._normal(level, shape, validation_seed(level, seen))

        reconstruction, parameters = self._infer(self._averaged(), images, noise)
        return reconstruction, total_kl(parameters)

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
            Mean reconstruction loss and mean KL divergence over the samples of each image,
            (batch,) float64.
        """
        runner = self._averaged()
        encoded = runner.run(self._template.bottom_up, images)

        def add(sample: tf.Tensor, *totals: tf.Tensor) -> tuple[tf.Tensor, ...]:
            def noise(level: int, shape: Shape) -> tf.Tensor:
                sample_seed = seed + tf.stack([0, sample + level * _LEVEL_STRIDE])
                return self._normal(level, shape, sample_seed)

            reconstruction, lower = self._decode(runner, images, encoded, noise)
            losses = [reconstruction, total_kl(lower)] if lower else [reconstruction]
            pairs = zip(totals, losses, strict=True)
            return (sample + 1, *(total + tf.cast(loss, tf.float64) for total, loss in pairs))

        count = 2 if self._template.level_shapes else 1
        zeros = (tf.zeros(tf.shape(images)[:1], tf.float64),) * count
        # Two samples in parallel would need more memory and not save time.
        _, *totals = tf.while_loop(
            lambda sample, *_: sample < samples,
            add,
            (tf.constant(0), *zeros),
            parallel_iterations=1,
        )
        reconstruction, *lower = (total / tf.cast(samples, tf.float64) for total in totals)
        top = kl_divergence(*(tf.cast(each, tf.float64) for each in encoded[:2]))
        return reconstruction, top + lower[0] if lower else top

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """Returns latent means (batch, latent_dim) of images (batch, height, width, channels)."""
        return self._averaged().run(self._template.to_posterior, images)[0]

    def encode_levels(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the posterior means of all levels, flattened, (batch, units)."""
        runner = self._averaged()
        z_mean, _, *maps = runner.run(self._template.bottom_up, images)
        zeros = [
            tf.zeros(tf.stack([tf.shape(images)[0], *shape]))
            for shape in self._level_shapes(runner)
        ]
        _, *lower = runner.run(self._template.top_down, z_mean, *maps, *zeros)
        batch = tf.shape(images)[0]
        return tf.concat([z_mean, *(tf.reshape(u, (batch, -1)) for u in lower[::2])], axis=1)

    def decode(self, z: tf.Tensor) -> tf.Tensor:
        """Returns pixel probabilities (batch, height, width, channels) of z (batch, latent_dim)."""
        (logits,) = self._averaged().run(self._template.to_logits, z)
        return tf.sigmoid(logits)

    def reconstruct(self, images: tf.Tensor) -> tf.Tensor:
        """Returns pixel probabilities of images, through the posterior means of all levels."""
        runner = self._averaged()
        z_mean, _, *maps = runner.run(self._template.bottom_up, images)
        return runner.run(self._template.to_mean_image, z_mean, *maps)[0]

    def generate(self, z: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns pixel probabilities of z, with lower levels that are drawn from their priors."""
        runner, batch = self._averaged(), tf.shape(z)[0]
        maps = [
            tf.random.stateless_normal(tf.stack([batch, *shape]), seed=[seed, level], alg="philox")
            for level, shape in enumerate(self._level_shapes(runner), start=1)
        ]
        return runner.run(self._template.generate, z, *maps)[0]

    def _make_state(self, template: VAE) -> State:
        return State(template)

    def _unpack(self, settings: tf.Tensor) -> StepSettings:
        return StepSettings(*tf.unstack(tf.cast(settings, self.dtype)))

    def _count_steps(self) -> tf.Tensor:
        """Returns the number of steps that the model was trained for, a scalar of `dtype`."""
        return tf.cast(read_variable(self.state.iterations, ()), self.dtype)

    def _loss(
        self,
        reconstruction: tf.Tensor,
        kl: tf.Tensor,
        parameters: Tensors,
        step: StepSettings,
        done: tf.Tensor,
        mean: Mean,
    ) -> tf.Tensor:
        """Returns the loss that training minimises, a scalar.

        Args:
            reconstruction: Reconstruction loss of each image, (batch,).
            kl: KL divergence of each image, (batch,).
            parameters: Means and log-variances of all levels, alternating.
            step: Settings of the step.
            done: Number of steps before this one, a scalar.
            mean: Function that returns the mean over the images.
        """
        weight = step.beta * ramp(done, step.kl_warmup_steps)
        loss = mean(reconstruction + weight * kl)
        if "free_bits" in self._options:
            loss += weight * missing_bits(parameters, step.free_bits, mean)
        return loss

    def _normal(self, level: int, shape: Shape, seed: tf.Tensor) -> tf.Tensor:
        """Draws the noise of a level for images that are not trained on.

        Args:
            level: Index of the level; the top level is 0.
            shape: Shape of the noise.
            seed: Random seed, (2,) int32.
        """
        # This algorithm gives the same noise on every device.
        return tf.random.stateless_normal(tf.stack(shape), seed=seed, alg="philox")

    def _averaged(self) -> ModelRunner:
        return ModelRunner(self.state.average_tensors(), dtype=self.dtype)

    def _infer(
        self, runner: ModelRunner, images: tf.Tensor, noise: Noise
    ) -> tuple[tf.Tensor, Tensors]:
        """Returns reconstruction losses, and means and log-variances of all levels."""
        encoded = runner.run(self._template.bottom_up, images)
        reconstruction, lower = self._decode(runner, images, encoded, noise)
        return reconstruction, [*encoded[:2], *lower]

    def _decode(
        self, runner: ModelRunner, images: tf.Tensor, encoded: Tensors, noise: Noise
    ) -> tuple[tf.Tensor, Tensors]:
        """Returns reconstruction losses, and u_mean and u_log_var of the lower levels."""
        z_mean, z_log_var, *maps = encoded
        batch, latent_dim = _dimension(images, 0), _dimension(z_mean, 1)
        epsilon = tf.cast(noise(0, [batch, latent_dim]), z_mean.dtype)
        z = reparameterise(z_mean, z_log_var, epsilon)
        epsilons = [
            noise(level, [batch, *shape])
            for level, shape in enumerate(self._level_shapes(runner), start=1)
        ]
        logits, *lower = runner.run(self._template.top_down, z, *maps, *epsilons)
        return self._reconstruction_loss(runner, images, logits), lower

    def _reconstruction_loss(
        self, runner: ModelRunner, images: tf.Tensor, logits: tf.Tensor
    ) -> tf.Tensor:
        scale = self._template.log_scale
        log_scale = None if scale is None else runner.variable(scale.path)
        targets = tf.cast(images, logits.dtype)
        return reconstruction_loss(self._template.likelihood, targets, logits, log_scale)

    def _level_shapes(self, runner: ModelRunner) -> list[tuple[int | tf.Tensor, ...]]:
        """Returns height, width and channels of the latent maps of each lower level."""
        return [
            (height, width, runner.width(f"level_{number}_mean/bias"))
            for number, (height, width, _) in enumerate(self._template.level_shapes, start=2)
        ]

    def _random_noise(self, level: int, shape: Shape) -> tf.Tensor:
        """Draws the same noise as `Sampling`, and advances its random state in the same way."""
        variable = self.state.random_states[level]
        state = read_variable(variable, (2,))
        variable.assign(state + tf.constant([0, 1], tf.int64))
        return tf.random.stateless_normal(tf.stack(shape), seed=seed_of(state))

    def _apply(self, gradients: Tensors, settings: StepSettings) -> None:
        """Updates the weights with Adam, as `models.optimizer.Adam` updates those of a model."""
        state = self.state
        rate = read_variable(state.learning_rate, ())
        rate *= ramp(self._count_steps(), settings.warmup_steps)
        if "clip_norm" in self._options:
            gradients, _ = tf.clip_by_global_norm(gradients, settings.clip_norm)
        if "weight_decay" in self._options:
            self._decay_weights(rate * settings.weight_decay)
        iterations = state.iterations.assign_add(tf.constant(1, tf.int64), read_value=False)
        with tf.control_dependencies([iterations]):
            step = self._count_steps()
        shared = {
            "beta1_power": tf.pow(self._adam.beta_1, step),
            "beta2_power": tf.pow(self._adam.beta_2, step),
            "lr": rate,
            "beta1": self._adam.beta_1,
            "beta2": self._adam.beta_2,
            "epsilon": self._adam.epsilon,
        }
        columns = (state.trainable, state.momentums, state.velocities, gradients)
        for weight, momentum, velocity, gradient in zip(*columns, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle, m=momentum.handle, v=velocity.handle, grad=gradient, **shared
            )

    def _decay_weights(self, share: tf.Tensor) -> None:
        """Moves all kernels towards zero by a share (Loshchilov and Hutter 2019)."""
        for weight, is_decayed in zip(self.state.trainable, self._decayed, strict=True):
            if is_decayed:
                _add_in_place(weight, weight.read_value(), -share)

    def _average(self, decay: tf.Tensor, done: tf.Tensor, active: tf.Tensor | float = 1.0) -> None:
        """Moves the averages towards the weights, unless `active` is 0. At first they move faster.

        Without averages, `State.copy_to_average` sets them after the last step.
        """
        share = active * (1.0 - tf.minimum(decay, (1.0 + done) / (10.0 + done)))
        for raw, average in self.state.averaged:
            _add_in_place(average, raw.read_value() - average.read_value(), share)


def seed_of(state: tf.Tensor) -> tf.Tensor:
    """Returns the random seed, (2,) int32, that Keras computes from the state of a generator."""
    return tf.cast(tf.math.floormod(state, tf.int32.max - 1), tf.int32)


def _dimension(x: tf.Tensor, axis: int) -> int | tf.Tensor:
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def _add_in_place(variable: tf.Variable, change: tf.Tensor, share: tf.Tensor) -> None:
    tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=-share, delta=change)


def ramp(done: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """Returns a factor that grows linearly to 1 in the first steps; 1 for no steps.

    Args:
        done: Number of steps before this one, a scalar.
        steps: Number of steps until the factor is 1, a scalar.
    """
    return tf.minimum((done + 1.0) / tf.maximum(steps, 1.0), 1.0)
