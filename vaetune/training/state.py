"""Variables of a model in training, of any widths."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import tensorflow as tf

from vaetune.models import VAE
from vaetune.study import Arrays
from vaetune.training.layers import Weights


class State:
    """Variables of a model, of the average of its weights and of its optimizer, without shapes.

    TensorFlow has to prepare a function again if the shape of a variable changes, which takes
    longer than tracing it. Variables of undefined shape avoid this.

    Args:
        template: Compiled model of any configuration of a structure.
        has_any_width: Whether variables may get other widths than those of the template.

    Attributes:
        trainable: The trainable variables, in the order of the optimizer.
        momentums: Adam's first moments, in the order of `trainable`.
        velocities: Adam's second moments, in the order of `trainable`.
        averaged: Pairs of each variable with weights or statistics, and its average.
        iterations: Number of optimizer steps so far.
        learning_rate: Learning rate of the optimizer.
        random_states: States of the random generators of the `Sampling` layers, by level.
        optimizer_like: For each variable of the optimizer, the number of the model's variable that
            has the same shape. None: a scalar.
    """

    def __init__(self, template: VAE, has_any_width: bool = True) -> None:
        adam, variables = template.optimizer, template.ordered_variables
        copy = _shapeless_variable if has_any_width else _variable
        copies = {id(v): copy(v.value) for v in variables}
        self._model = [copies[id(variable)] for variable in variables]
        trained = template.ordered_trainable
        self.trainable = [copies[id(variable)] for variable in trained]
        self.momentums, self.velocities = (
            [copy(tf.zeros_like(variable.value)) for variable in trained] for _ in range(2)
        )
        self.iterations = copy(adam.iterations.value)
        self.learning_rate = copy(adam._learning_rate.value)
        # Keras's Adam has the same order.
        moments = chain.from_iterable(zip(self.momentums, self.velocities, strict=True))
        self._optimizer = [self.iterations, self.learning_rate, *moments]
        numbers = {id(variable): number for number, variable in enumerate(variables)}
        self.optimizer_like = [None, None, *(numbers[id(v)] for v in trained for _ in range(2))]
        seeds = [sampling.seed_generator.state for sampling in template.samplings]
        self.random_states = [copies[id(state)] for state in seeds]
        own = {id(state) for state in seeds}
        self._average = [copies[id(v)] if id(v) in own else copy(v.value) for v in variables]
        pairs = zip(self._model, self._average, strict=True)
        self.averaged = [(raw, average) for raw, average in pairs if raw is not average]
        self._paths = [variable.path for variable in variables]
        self._shapes = [
            _widthless_shape(variable) if has_any_width else tuple(variable.shape)
            for variable in variables
        ]
        self._variables = dict(zip(self._paths, self._model, strict=True))

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        """Assigns the variables of a new model and resets the optimizer.

        Args:
            weights: Variables of the model, in the order of `VAE.ordered_variables`.
            learning_rate: Learning rate of the optimizer.
        """
        self.restore(weights)
        self.iterations.assign(0, read_value=False)
        self.learning_rate.assign(learning_rate, read_value=False)
        for weight, *moments in zip(self.trainable, self.momentums, self.velocities, strict=True):
            for moment in moments:
                moment.assign(tf.zeros_like(weight), read_value=False)

    def restore(
        self, weights: Arrays, optimizer: Arrays | None = None, average: Arrays = ()
    ) -> None:
        """Assigns the variables of a partly trained model of any widths.

        Args:
            weights: Variables of the model, in the order of `VAE.ordered_variables`.
            optimizer: Variables of its optimizer. None: they do not change.
            average: Average of the variables, in the same order. Default: equal to `weights`.
        """
        _assign(self._average, average or weights)
        _assign(self._model, weights)
        if optimizer is not None:
            _assign(self._optimizer, optimizer)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Sets the optimizer's learning rate for the next steps."""
        self.learning_rate.assign(learning_rate, read_value=False)

    def copy_to_average(self) -> None:
        """Sets the average to the variables themselves."""
        for raw, average in self.averaged:
            average.assign(raw.read_value(), read_value=False)

    def read(self) -> tuple[Arrays, Arrays]:
        """Returns copies of the variables of the model and of its optimizer."""
        return _copy(self._model), _copy(self._optimizer)

    def read_average(self) -> Arrays:
        """Returns copies of the averages, in the order of the variables."""
        return _copy(self._average)

    def tensors(self) -> Weights:
        """Returns the variables of the model by path."""
        return self._read(self._model)

    def average_tensors(self) -> Weights:
        """Returns the averages by path of the variable."""
        return self._read(self._average)

    def assign_tensors(self, tensors: Weights) -> None:
        """Assigns variables of the model by path."""
        for path, tensor in tensors.items():
            self._variables[path].assign(tensor, read_value=False)

    def _read(self, variables: Sequence[tf.Variable]) -> Weights:
        columns = zip(self._paths, variables, self._shapes, strict=True)
        return {path: read_variable(each, shape) for path, each, shape in columns}


def read_variable(variable: tf.Variable, shape: Sequence[int | None]) -> tf.Tensor:
    """Returns the value of a variable of undefined shape, with a shape."""
    return tf.ensure_shape(variable.read_value(), shape)


def _widthless_shape(variable: Any) -> tuple[int | None, ...]:
    """Returns the shape of a variable without its widths. A convolution keeps its kernel size."""
    shape = tuple(variable.shape)
    return (*shape[:2], None, None) if len(shape) == 4 else (None,) * len(shape)


def _shapeless_variable(value: tf.Tensor) -> tf.Variable:
    return tf.Variable(
        value, shape=tf.TensorShape(None), trainable=False, name="shapeless_variable"
    )


def _variable(value: tf.Tensor) -> tf.Variable:
    return tf.Variable(value, trainable=False)


def _assign(variables: Sequence[tf.Variable], arrays: Arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array, read_value=False)


def _copy(variables: Sequence[tf.Variable]) -> Arrays:
    return tuple(variable.numpy() for variable in variables)
