"""TensorFlow functions that train on and measure many batches, compiled once for all widths."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from vaetune.training.feed import DeviceData, Feed
from vaetune.training.schedule import StepSettings
from vaetune.training.steps import Steps

VALIDATION_BATCH_SIZE = 250
"""Images per validation batch. It is fixed, because the posterior noise depends on it."""


# The loops call tf.while_loop themselves, so that nothing depends on AutoGraph.
def compile_training(steps: Steps, data: DeviceData) -> Callable[..., Any]:
    def train_on(
        images: tf.Tensor,
        order: tf.Tensor,
        batch_size: tf.Tensor,
        settings: tf.Tensor,
        seed: tf.Tensor,
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = to_unit_tensor(tf.gather(images, order[start : start + batch_size]))
            if data.draws_pixels:
                batch = _draw_pixels(batch, seed + tf.stack([0, start]))
            return (start + batch_size, *add_losses(sums, steps.train(batch, settings)))

        return loop(step, tf.size(order))

    # No length is fixed, so a shorter last batch or another batch size needs no new tracing.
    return compile_function(
        train_on,
        images_spec(data.train),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((len(StepSettings._fields),), tf.float32),
        tf.TensorSpec((2,), tf.int32),
    )


def _draw_pixels(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns pixels that are 1 with a probability equal to their value in [0, 1], else 0."""
    threshold = tf.random.stateless_uniform(tf.shape(images), seed=seed, alg="philox")
    return tf.cast(threshold < images, tf.float32)


def compile_validation(steps: Steps, feed: Feed) -> Callable[..., Any]:
    def validate(
        images: tf.Tensor, order: tf.Tensor, seen: tf.Tensor, *sums: tf.Tensor
    ) -> Sequence[tf.Tensor]:
        def step(start: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            batch = tf.gather(images, order[start : start + VALIDATION_BATCH_SIZE])
            losses = steps.validate(to_unit_tensor(batch), seen + start)
            return (start + VALIDATION_BATCH_SIZE, *add_losses(sums, losses))

        return loop(step, tf.size(order), sums)

    return compile_function(
        validate,
        images_spec(feed),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        *(tf.TensorSpec((), tf.float64),) * 2,
    )


def compile_rescoring(steps: Steps, feed: Feed) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    def measure(
        images: tf.Tensor, order: tf.Tensor, samples: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.gather(images, order)
        return steps.rescore(to_unit_tensor(batch), samples, seed)

    return compile_function(
        measure,
        images_spec(feed),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((), tf.int32),
        tf.TensorSpec((2,), tf.int32),
    )


def loop(
    step: Callable[..., tuple[tf.Tensor, ...]],
    end: tf.Tensor | int,
    before: Sequence[tf.Tensor] = (),
) -> Sequence[tf.Tensor]:
    """Runs steps from 0 to the end, and returns the sums of both losses over the images.

    Args:
        step: Function from the start of a batch and the sums to the next start and sums.
        end: Number of images.
        before: Sums of earlier images. Default: zeros.
    """
    first = before or (tf.constant(0.0, tf.float64),) * 2
    sums: Sequence[tf.Tensor]
    # By default, ten iterations run in parallel. That keeps ten batches as floats in memory and
    # is not faster.
    _, *sums = tf.while_loop(
        lambda start, *_: start < end, step, (tf.constant(0), *first), parallel_iterations=1
    )
    return sums


def add_losses(sums: Sequence[tf.Tensor], losses: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    pairs = zip(sums, losses, strict=True)
    return [total + tf.reduce_sum(tf.cast(per_image, tf.float64)) for total, per_image in pairs]


def compile_function(function: Callable[..., Any], *signature: tf.TensorSpec) -> Callable[..., Any]:
    """Returns a function compiled once for a signature. It is never traced again."""
    return tf.function(  # type: ignore[no-any-return]
        function, input_signature=signature, autograph=False
    ).get_concrete_function()


def images_spec(feed: Feed) -> tf.TensorSpec:
    """Returns the signature of any number of images of a feed."""
    return tf.TensorSpec((None, *feed.shape[1:]), feed.dtype)


def to_unit_tensor(batch: Any) -> tf.Tensor:
    """Returns a tensor of images as float32 in [0, 1]; see `data.to_unit_interval`."""
    if batch.dtype == tf.uint8:
        return tf.cast(batch, tf.float32) / 255.0
    return batch
