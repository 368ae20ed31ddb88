"""The Adam optimizer with one operation per variable."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="vaetune")
class Adam(keras.optimizers.Adam):
    """Keras's Adam with one operation per variable, which also saves memory.

    Keras updates each variable with about twenty operations. It also sums gradients over replicas
    in a way that makes TensorFlow keep every traced training step in memory, about 10 MB each.
    This class updates a variable with one TensorFlow kernel instead. The formula is the same;
    results differ from Keras's only by rounding.

    With several replicas, or with `amsgrad`, it does the same as Keras.

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, the formula before
        section 2.1.
    """

    def _backend_update_step(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any], learning_rate: Any
    ) -> None:
        # Keras provides this hook for its backends. Its public hooks run before the gradients
        # are processed.
        if tf.distribute.has_strategy() or self.amsgrad:
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        step = tf.cast(self.iterations.value + 1, tf.float32)
        powers = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self._update(variable.value, tf.convert_to_tensor(gradient), learning_rate, *powers)

    def _update(
        self,
        variable: tf.Variable,
        gradient: tf.Tensor,
        learning_rate: Any,
        beta_1_power: tf.Tensor,
        beta_2_power: tf.Tensor,
    ) -> None:
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.cast(beta_1_power, variable.dtype),
            beta2_power=tf.cast(beta_2_power, variable.dtype),
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            epsilon=tf.cast(self.epsilon, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
        )
