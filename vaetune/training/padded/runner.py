"""Training and validation by epochs with padded models, compiled with XLA."""

from collections.abc import Callable, Sequence, Set
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.config import Precision
from vaetune.models import VAE, Architecture
from vaetune.study import Arrays
from vaetune.training.feed import DeviceData, Feed
from vaetune.training.padded.ahead import Compilation
from vaetune.training.padded.functions import (
    compile_rescoring,
    compile_training,
    compile_validation,
)
from vaetune.training.padded.padding import Padding, fits, padding_of
from vaetune.training.padded.steps import PaddedSteps
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import StepSettings
from vaetune.training.steps import Steps


class PaddedRunner(EpochRunner):
    """Trains models of one structure with one compiled program for all widths.

    The program has the largest widths. The weights of a model are padded with zeros when it is
    begun or restored, and cut when they are read. So checkpoints are those of `EpochRunner`.
    Its numbers differ from those of `EpochRunner` by rounding only. Pictures are taken without
    padding.

    Args:
        wide: Architecture of the largest widths.
        template: Compiled model of this architecture. Its weights are not used.
        unpadded: Runner of the same structure. It takes pictures.
        data: Images on the device, not on the disk.
        precision: Numeric precision of training.
        options: Names of `schedule.OPTIONS` that training uses.

    Attributes:
        steps: The training and validation step.
    """

    steps: PaddedSteps

    def __init__(
        self,
        wide: Architecture,
        template: VAE,
        unpadded: EpochRunner,
        data: DeviceData,
        precision: Precision = "float32",
        options: Set[str] = frozenset(),
    ) -> None:
        self._wide, self._unpadded, self._precision = wide, unpadded, precision
        super().__init__(template, data, "float32", options)
        self._variables = template.ordered_variables
        self._programs: dict[int, Callable[..., Any]] = {}
        self._compilations: list[Compilation] = []
        self._paddings: dict[Architecture, Padding] = {}
        self.use(wide)

    @property
    def batch_sizes(self) -> Set[int]:
        """Batch sizes for which there is a training program, compiled or soon to be."""
        return self._programs.keys()

    def _make_steps(self, template: VAE, precision: Precision, options: Set[str]) -> Steps:
        return PaddedSteps(self._wide, template, self._precision, options)

    def holds(self, architecture: Architecture) -> bool:
        """Returns whether a model of an architecture can be padded to the program."""
        return fits(architecture, self._wide)

    @property
    def is_compiling(self) -> bool:
        return not all(one.is_done for one in self._compilations)

    def prepare(self, batch_size: int) -> list[Compilation]:
        """Makes the programs for a batch size, and returns their compilations.

        A program is compiled when it is called without images, which changes nothing. But it reads
        and writes the variables. So `begin` and `restore` wait for all compilations.
        """
        if batch_size in self._programs:
            return []
        none = tf.zeros((0,), tf.int32)
        # Gradients of zero that are clipped to a norm of zero would be NaN.
        settings, seed = tf.ones(len(StepSettings._fields)), tf.zeros((2,), tf.int32)
        train = self._programs[batch_size] = compile_training(self.steps, self._data, batch_size)
        calls = [partial(train, self._data.train, none, settings, seed)]
        if not self._compilations:
            sums = (tf.constant(0.0, tf.float64),) * 2
            calls.append(partial(self._validate, self._data.validation, none, 0, *sums))
        new = [Compilation(call) for call in calls]
        self._compilations += new
        return new

    def _finish_compilations(self) -> None:
        for compilation in self._compilations:
            compilation.finish()

    def use(self, architecture: Architecture) -> None:
        """Prepares for the models of a configuration, whose arrays have its widths."""
        padding = self._paddings.get(architecture)
        if padding is None:
            padding = padding_of(architecture, self._wide, self._variables)
            self._paddings[architecture] = padding
        self._padding, self._is_unpadded = padding, False
        latent = (architecture.latent_dim, architecture.level_channels)
        self.steps.widths.assign(latent, read_value=False)

    @property
    def parameters(self) -> int:
        sizes = zip(self._padding.sizes, self._variables, strict=True)
        return sum(size for size, variable in sizes if variable.trainable)

    def begin(self, weights: Arrays, learning_rate: float) -> None:
        self._finish_compilations()
        self._is_unpadded = False
        super().begin(self._padding.pad(weights), learning_rate)

    def restore(
        self, weights: Arrays, optimizer: Arrays | None = None, average: Arrays = ()
    ) -> None:
        self._finish_compilations()
        self._is_unpadded = False
        padded = None if optimizer is None else self._optimizer_padding.pad(optimizer)
        averages = self._padding.pad(average) if average else ()
        super().restore(self._padding.pad(weights), padded, averages)

    def read(self) -> tuple[Arrays, Arrays]:
        weights, optimizer = super().read()
        return self._padding.cut(weights), self._optimizer_padding.cut(optimizer)

    def read_average(self) -> Arrays:
        return self._padding.cut(super().read_average())

    def encode(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._without_padding().encode(images)

    def losses_of_images(
        self, images: NDArray[np.float32], samples: int, seed: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self._without_padding().losses_of_images(images, samples, seed)

    def encode_levels(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._without_padding().encode_levels(images)

    def decode(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._without_padding().decode(z)

    def reconstruct(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._without_padding().reconstruct(images)

    def generate(self, z: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        return self._without_padding().generate(z, seed)

    def compile_rescoring(self, feed: Feed) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        return compile_rescoring(self.steps, feed)

    @property
    def _optimizer_padding(self) -> Padding:
        """Padding of the optimizer's variables."""
        return self._padding.choose(self.steps.state.optimizer_like)

    def _without_padding(self) -> EpochRunner:
        """Returns the runner of the same structure, with the averages of this one."""
        if not self._is_unpadded:
            self._unpadded.restore(self.read_average())
            self._is_unpadded = True
        return self._unpadded

    @cached_property
    def _train_on(self) -> Callable[..., Any]:
        def train_on(
            images: tf.Tensor,
            order: tf.Tensor,
            batch_size: int,
            settings: tf.Tensor,
            seed: tf.Tensor,
        ) -> Sequence[tf.Tensor]:
            self._is_unpadded = False
            self.prepare(batch_size)
            program = self._programs[batch_size]
            return cast(Sequence[tf.Tensor], program(images, order, settings, seed))

        return train_on

    @cached_property
    def _validate(self) -> Callable[..., Any]:
        return compile_validation(self.steps, self._data.validation)
