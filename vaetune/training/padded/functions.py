"""Functions like those of `training.functions` for padded models, compiled with XLA.

All sizes are constant. Indices of images are filled up with zeros, and these images do not count.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import tensorflow as tf

from vaetune.training.feed import DeviceData, Feed, images_per_call, images_per_part
from vaetune.training.functions import VALIDATION_BATCH_SIZE, add_losses, loop, to_unit_tensor
from vaetune.training.padded.cache import program_cache
from vaetune.training.padded.noise import uniform
from vaetune.training.padded.steps import PaddedSteps
from vaetune.training.padded.tracing import tracing
from vaetune.training.schedule import StepSettings

_NUMBER = tf.TensorSpec((), tf.int32)


def compile_training(steps: PaddedSteps, data: DeviceData, batch_size: int) -> Callable[..., Any]:
    """Returns a function that trains on some images of an epoch; see `runner.EpochRunner`.

    Its number of steps is constant, so that the device does not wait for the host after each
    step. Steps without images change nothing.
    """
    length = images_per_part(data.train, len(data.train), batch_size)

    def train_on(
        images: tf.Tensor, order: tf.Tensor, count: tf.Tensor, settings: tf.Tensor, seed: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            chosen = tf.slice(order, [start], [batch_size])
            batch = to_unit_tensor(tf.gather(images, chosen))
            if data.draws_pixels:
                threshold = uniform(batch.shape, seed + tf.stack([0, start]))
                batch = tf.cast(threshold < batch, tf.float32)
            filled = tf.clip_by_value(count - start, 0, batch_size)
            losses = steps.train_filled(batch, settings, filled)
            return (start + batch_size, *add_losses(sums, losses))

        return loop(step, length)

    compiled = _compile(
        steps,
        train_on,
        _spec(data.train),
        tf.TensorSpec((length,), tf.int32),
        _NUMBER,
        tf.TensorSpec((len(StepSettings._fields),), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    )

    def call(
        images: tf.Tensor, order: tf.Tensor, settings: tf.Tensor, seed: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        return cast(
            Sequence[tf.Tensor],
            compiled(images, _lengthen(order, length), len(order), settings, seed),
        )

    return call


def compile_validation(steps: PaddedSteps, feed: Feed) -> Callable[..., Any]:
    size = VALIDATION_BATCH_SIZE
    length = min(images_per_call(feed, size), -(-len(feed) // size) * size)

    def validate(
        images: tf.Tensor, order: tf.Tensor, count: tf.Tensor, seen: tf.Tensor, *sums: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.gather(images, tf.slice(order, [start], [size]))
            losses = steps.validate(to_unit_tensor(batch), seen + start)
            inside = tf.range(size) < count - start
            return (
                start + size,
                *add_losses(sums, [tf.where(inside, each, 0.0) for each in losses]),
            )

        return loop(step, length, sums)

    compiled = _compile(
        steps,
        validate,
        _spec(feed),
        tf.TensorSpec((length,), tf.int32),
        _NUMBER,
        _NUMBER,
        *(tf.TensorSpec((), tf.float64),) * 2,
    )

    def call(
        images: tf.Tensor, order: tf.Tensor, seen: int, *sums: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        padded = _lengthen(order, length)
        return cast(Sequence[tf.Tensor], compiled(images, padded, len(order), seen, *sums))

    return call


def compile_rescoring(steps: PaddedSteps, feed: Feed) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    size = VALIDATION_BATCH_SIZE

    def measure(
        images: tf.Tensor, order: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return steps.rescore(to_unit_tensor(tf.gather(images, order)), samples, seed)

    compiled = _compile(
        steps,
        measure,
        _spec(feed),
        tf.TensorSpec((size,), tf.int32),
        _NUMBER,
        tf.TensorSpec((2,), tf.int32),
    )

    def call(
        images: tf.Tensor, order: tf.Tensor, samples: int, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        reconstruction, kl = compiled(images, _lengthen(order, size), samples, seed)
        return reconstruction[: len(order)], kl[: len(order)]

    return call


def _compile(
    steps: PaddedSteps, function: Callable[..., Any], *signature: tf.TensorSpec
) -> Callable[..., Any]:
    """Returns a function that XLA compiles when it is first called, or reads from the cache."""
    description = f"{function.__name__} {steps.description} {signature}"
    compiled = tf.function(function, input_signature=signature, autograph=False, jit_compile=True)
    is_first = True

    def call(*arguments: Any) -> Any:
        nonlocal is_first
        if not is_first:
            return compiled(*arguments)
        is_first = False
        with program_cache().compiling():
            with tracing(description):
                compiled.get_concrete_function()
            return compiled(*arguments)

    return call


def _spec(feed: Feed) -> tf.TensorSpec:
    return tf.TensorSpec(tuple(feed.shape), feed.dtype)


def _lengthen(order: tf.Tensor, length: int) -> tf.Tensor:
    """Returns indices with zeros after them."""
    return tf.pad(order, [[0, length - len(order)]])
