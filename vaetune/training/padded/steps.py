"""Training and validation steps of a padded model, for compilation with XLA."""

from collections.abc import Set

import tensorflow as tf

from vaetune.config import Precision
from vaetune.models import VAE, Architecture, total_kl
from vaetune.training.layers import Tensors
from vaetune.training.padded.layers import Filled, PaddedModelRunner
from vaetune.training.padded.noise import normal
from vaetune.training.schedule import StepSettings
from vaetune.training.state import State, read_variable
from vaetune.training.steps import Shape, Steps, ramp, seed_of


class PaddedSteps(Steps):
    """Steps like those of `Steps`, for models whose weights are padded to those of the template.

    All shapes are known when a step is traced, and all random numbers are those of `Steps`.

    Args:
        wide: Architecture of the largest widths.
        template: Compiled model of this architecture.
        precision: Numeric precision of training, see `config.Training`.
        options: Names of `schedule.OPTIONS` that training uses.

    Attributes:
        description: Text that tells the steps of different programs apart.
        widths: Latent dimensions of the top level and channels of the lower ones of the model
            that is being trained, (2,) int64. TensorFlow keeps no int32 variables on GPUs.
    """

    def __init__(
        self, wide: Architecture, template: VAE, precision: Precision, options: Set[str]
    ) -> None:
        super().__init__(template, precision, options)
        self.description = f"{wide} {template.likelihood} {precision} {sorted(options)}"
        self.widths = tf.Variable([0, 0], dtype=tf.int64, trainable=False)

    def train_filled(
        self, images: tf.Tensor, settings: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes one optimizer step on the first images of a batch.

        Args:
            images: Images, (batch, height, width, channels), float32 in [0, 1], of known shape.
            settings: Values of `StepSettings`, (n,) float32.
            count: Number of images to train on, int32 scalar. If it is 0, nothing changes.

        Returns:
            Reconstruction loss and KL divergence of each image, (batch,); 0 for further images.
        """
        step = self._unpack(settings)
        weights = self.state.tensors()
        trained = [weights[path] for path in self._trainable]
        done = self._count_steps()
        filled = Filled.of(count, images.shape[0], self.dtype)

        def noise(level: int, shape: Shape) -> tf.Tensor:
            state = self.state.random_states[level].read_value()
            return self._normal(level, shape, seed_of(state))

        with tf.GradientTape() as tape:
            tape.watch(trained)
            runner = PaddedModelRunner(weights, filled, self._training_dtype)
            reconstruction, parameters = self._infer(runner, images, noise)
            kl = total_kl(parameters)
            loss = self._loss(reconstruction, kl, parameters, step, done, filled.mean)
        gradients = tape.gradient(loss, trained)
        self._update(gradients, step, done, filled.active)
        changes = {
            path: weights[path] + filled.active * (new - weights[path])
            for path, new in runner.statistics.items()
        }
        self.state.assign_tensors(changes)
        self._finish(step, done, filled.active)
        counts = filled.shares > 0.0
        return tuple(tf.where(counts, each, 0.0) for each in (reconstruction, kl))

    def _make_state(self, template: VAE) -> State:
        return State(template, has_any_width=False)

    def _averaged(self) -> PaddedModelRunner:
        return PaddedModelRunner(self.state.average_tensors(), dtype=self.dtype)

    def _level_shapes(self, runner: object) -> list[tuple[int | tf.Tensor, ...]]:
        return [tuple(shape) for shape in self._template.level_shapes]

    def _normal(self, level: int, shape: Shape, seed: tf.Tensor) -> tf.Tensor:
        width = tf.cast(self.widths.read_value()[min(level, 1)], tf.int32)
        return normal([int(size) for size in shape], seed, width, self.dtype)

    def _update(
        self, gradients: Tensors, step: StepSettings, done: tf.Tensor, active: tf.Tensor
    ) -> None:
        """Updates the weights like `Steps.train`, unless `active` is 0.

        On a GPU, a branch would wait for the host. So each change is multiplied by `active`.
        """
        state = self.state
        rate = read_variable(state.learning_rate, ()) * ramp(done, step.warmup_steps)
        if "clip_norm" in self._options:
            gradients, _ = tf.clip_by_global_norm(gradients, step.clip_norm)
        if "weight_decay" in self._options:
            self._decay_weights(active * rate * step.weight_decay)
        self._apply_adam(gradients, active * rate, done + 1.0, active)

    def _finish(self, step: StepSettings, done: tf.Tensor, active: tf.Tensor) -> None:
        """Updates the averages and the counters, unless `active` is 0."""
        state = self.state
        if "weight_average" in self._options:
            self._average(step.weight_average, done, active)
        whole = tf.cast(active, tf.int64)
        state.iterations.assign_add(whole, read_value=False)
        for random_state in state.random_states:
            random_state.assign_add(tf.stack([tf.zeros_like(whole), whole]), read_value=False)

    def _apply_adam(
        self, gradients: Tensors, rate: tf.Tensor, number: tf.Tensor, active: tf.Tensor
    ) -> None:
        """Updates the weights with the formulas of TensorFlow's kernel for Adam."""
        adam, state = self._adam, self.state
        betas = [tf.constant(beta, self.dtype) for beta in (adam.beta_1, adam.beta_2)]
        power_1, power_2 = (tf.pow(beta, number) for beta in betas)
        rate *= tf.sqrt(1.0 - power_2) / (1.0 - power_1)
        share_1, share_2 = (active * (1.0 - beta) for beta in betas)
        columns = (state.trainable, state.momentums, state.velocities, gradients)
        for weight, momentum, velocity, gradient in zip(*columns, strict=True):
            old_m, old_v = momentum.read_value(), velocity.read_value()
            m = old_m + share_1 * (gradient - old_m)
            v = old_v + share_2 * (tf.square(gradient) - old_v)
            momentum.assign(m, read_value=False)
            velocity.assign(v, read_value=False)
            weight.assign_sub(rate * m / (tf.sqrt(v) + adam.epsilon), read_value=False)
