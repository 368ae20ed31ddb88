"""The check of the first batch of images that a Keras Tuner script passes to Keras's `fit`."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from long_forms import long

import vaetune
from vaetune.config.space import Choice, Pinned, Space
from vaetune.errors import DataError
from vaetune.models.first_batch import SAMPLE_IMAGES, explain_range, peek
from vaetune.models.hypermodel import VAEHyperModel

SPACE = Space(
    filters_1=Pinned(value=2),
    filters_2=Pinned(value=3),
    dense_units=Pinned(value=4),
    latent_dim=Choice(values=(2, 3, 4)),
)

SHAPE = (8, 8, 1)

PIXELS = np.random.default_rng(0).integers(0, 256, (24, *SHAPE)).astype(np.uint8)
PIXELS[0, :2, 0, 0] = 0, 255

SCALED = PIXELS.astype(np.float32) / 255


class Batches(keras.utils.PyDataset):
    """Batches of eight images."""

    def __init__(self, images):
        super().__init__()
        self.images = images

    def __len__(self):
        return len(self.images) // 8

    def __getitem__(self, index):
        return (self.images[8 * index : 8 * index + 8],)


def generate(images):
    while True:
        for start in range(0, len(images), 8):
            yield (images[start : start + 8],)


KINDS = {
    "array": lambda images: images,
    "tensor": tf.constant,
    "tuple": lambda images: (images, images),
    "dataset": lambda images: tf.data.Dataset.from_tensor_slices((images,)).batch(8),
    "plain dataset": lambda images: tf.data.Dataset.from_tensor_slices(images).batch(8),
    "PyDataset": Batches,
    "generator": generate,
}


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS, "uint8 from 0 to 255. Divide them by 255."),
        (SCALED * 255, "float32 from 0 to 255. Divide them by 255, or by another value that is"),
        (PIXELS.astype(np.int64), "int64 from 0 to 255. Divide them by 255, or by"),
        (PIXELS.astype(np.uint16) * 257, "uint16 from 0 to 65535. Divide them by 65535, or by"),
        (SCALED * 1e6, "float32 from 0 to 1e+06. Divide them by the value that is white"),
        (SCALED * 2 - 1, "float32 from -1 to 1. Scale them with (x + 1) / 2."),
        (
            (PIXELS.astype(int) - 128).astype(np.int8),
            "int8 from -128 to 127. Scale them with (x + ",
        ),
        (SCALED * 6 - 3, "float32 from -3 to 3. Scale them with (x - low) / (high - low)"),
        (SCALED * 1.25 - 0.125, "float32 from -0.125 to 1.125. Clip them with numpy.clip(x, 0, 1)"),
        (SCALED.astype(np.float16) * 255, "float16 from 0 to 255. Divide them by 255"),
        (np.where(SCALED > 0.5, np.nan, SCALED), "values that are not finite"),
    ],
)
def test_a_wrong_scale_is_explained(images, message):
    explained = explain_range(images)
    assert explained.startswith(message) or message in explained
    assert "\n" not in explained


@pytest.mark.parametrize(
    "images",
    [SCALED, SCALED.astype(np.float16), SCALED > 0.5, PIXELS // 255, SCALED * (1 + 1e-6)],
    ids=["floats", "half", "bool", "binary bytes", "rounded"],
)
def test_the_right_scale_needs_no_explanation(images):
    assert explain_range(images) == ""


def test_images_scaled_as_advised_are_accepted():
    assert explain_range(PIXELS / 255) == ""
    assert explain_range((SCALED * 2 - 1 + 1) / 2) == ""
    assert explain_range(((PIXELS.astype(int) - 128).astype(np.int8) + 128.0) / 255) == ""
    assert explain_range(np.clip(SCALED * 1.25 - 0.125, 0, 1)) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_batch_of_any_kind_of_data_is_read_and_not_lost(kind):
    images, data = peek(KINDS[kind](PIXELS))
    assert np.array_equal(images[:8], PIXELS[:8])
    following = next(data) if kind == "generator" else peek(data)[0]
    assert np.array_equal((following[0] if kind == "generator" else following)[:8], PIXELS[:8])


def test_a_generator_still_yields_all_batches():
    batches = (PIXELS[start : start + 8] for start in (0, 8, 16))
    _, data = peek(batches)
    assert np.array_equal(np.concatenate(list(data)), PIXELS)
    endless = generate(PIXELS)
    _, data = peek(endless)
    next(data)
    data.close()  # Python closes a generator that is no longer referenced.
    assert next(endless), "the next trial must be able to continue the generator"
    images, data = peek(empty_generator())
    assert images is None
    assert list(data) == []


def empty_generator():
    yield from ()


def test_bright_images_anywhere_in_an_array_are_found():
    images = np.zeros((10 * SAMPLE_IMAGES, 1, 1, 1), np.float32)
    images[5 * SAMPLE_IMAGES :] = 255
    assert "from 0 to 255" in explain_range(peek(images)[0])
    assert len(peek(images)[0]) <= 2 * SAMPLE_IMAGES


@pytest.mark.parametrize("data", [None, (), {"images": PIXELS}, np.zeros((0, 8, 8, 1))])
def test_data_without_a_first_batch_are_passed_to_keras(data):
    images, passed = peek(data)
    assert images is None
    assert passed is data


def search(tmp_path, training, validation, **options):
    """Runs two trials of a Keras Tuner search. `search.built` counts the models that it builds."""
    built = []

    class Counting(VAEHyperModel):
        def build(self, hp):
            built.append(hp)
            return super().build(hp)

    tuner = keras_tuner.RandomSearch(
        Counting(SHAPE, SPACE),
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=2,
        seed=1,
        directory=tmp_path,
    )
    built.clear()  # A new tuner builds a model to learn the space.
    try:
        quiet = {"verbose": 0, "shuffle": False}
        tuner.search(training, validation_data=validation, epochs=1, **quiet, **options)
    finally:
        search.built = len(built)
    return tuner


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["array", "generator", *long("dataset", "PyDataset")])
def test_a_keras_tuner_search_of_unscaled_images_stops_with_one_line(tmp_path, kind):
    options = {"steps_per_epoch": 3} if kind == "generator" else {}
    with pytest.raises(keras_tuner.errors.FatalError) as stopped:
        search(tmp_path, KINDS[kind](PIXELS), (SCALED,), **options)
    assert str(stopped.value) == (
        "VAEHyperModel expects training images with values from 0 to 1. Received: uint8 from 0 to "
        "255. Divide them by 255."
    )
    assert isinstance(stopped.value, (DataError, vaetune.VaetuneError, ValueError))
    assert search.built == 1, "the search must stop in the first trial"


@pytest.mark.slow
def test_validation_images_of_another_scale_are_refused(tmp_path):
    with pytest.raises(keras_tuner.errors.FatalError, match=r"expects validation images .* uint8"):
        search(tmp_path, SCALED, (PIXELS,))


@pytest.mark.long  # The script in the README runs such a search on an array.
@pytest.mark.parametrize("kind", ["array", "dataset", "PyDataset", "generator"])
def test_a_keras_tuner_search_of_scaled_images_completes(tmp_path, kind):
    options = {"steps_per_epoch": 3} if kind == "generator" else {}
    tuner = search(tmp_path, KINDS[kind](SCALED), (SCALED,), **options)
    assert search.built >= 2
    trials = tuner.oracle.trials.values()
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
