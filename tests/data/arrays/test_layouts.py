"""The order of the axes is recognized if it is certain. Otherwise the user must give it."""

import numpy as np
import pytest

from vaetune.data.sources import load_images
from vaetune.errors import DataError


def ramp(*shape):
    return (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("shape", "labels", "layout", "image_shape"),
    [
        ((30, 9, 10), None, "channels_last", (9, 10, 1)),
        ((30, 9, 10, 3), None, "channels_last", (9, 10, 3)),
        ((30, 3, 9, 10), None, "channels_first", (9, 10, 3)),
        ((30, 1, 9, 9), None, "channels_first", (9, 9, 1)),
        ((30, 12, 9, 9), None, "channels_first", (9, 9, 12)),
        ((30, 9, 9, 12), None, "channels_last", (9, 9, 12)),
        ((32, 32, 3, 40), None, "images_last", (32, 32, 3)),
        ((9, 9, 30), 30, "images_last", (9, 9, 1)),
        ((30, 30, 9), 30, "channels_last", (30, 9, 1)),
    ],
)
def test_a_certain_layout_is_recognized(shape, labels, layout, image_shape):
    arrays = {"x": ramp(*shape)}
    if labels:
        arrays["y"] = np.arange(labels) % 2
    read = load_images(arrays)
    assert read.reading.layout == layout
    assert read.image_shape == image_shape


@pytest.mark.parametrize(
    ("layout", "order"), [("channels_first", (0, 2, 3, 1)), ("images_last", (3, 0, 1, 2))]
)
def test_every_pixel_keeps_its_position(layout, order):
    x = ramp(20, 9, 10, 3)
    transposed = x.transpose(np.argsort(order))
    expected = load_images({"x": x})
    read = load_images({"x": transposed}, {"layout": layout})
    np.testing.assert_array_equal(read.train.images, expected.train.images)


@pytest.mark.parametrize("shape", [(28, 28, 600), (28, 28, 28), (40, 16, 16, 16)])
def test_an_unclear_layout_is_refused_with_both_possible_settings(shape):
    message = message_of_refusal(shape)
    assert str(shape) in message
    assert message.count("layout = ") == 2
    assert "\n" not in message


def test_the_error_says_that_square_images_may_have_too_many_channels():
    message = message_of_refusal((40, 16, 16, 33))
    assert message.endswith(" If the last axis has the channels, 33 are too many: at most 32.")
    assert "too many" not in message_of_refusal((40, 16, 17, 16))


def message_of_refusal(shape):
    with pytest.raises(DataError) as error:
        load_images(ramp(*shape))
    return str(error.value)


def test_a_given_layout_is_used():
    read = load_images(ramp(28, 28, 600), {"layout": "images_last"})
    assert len(read.train) + len(read.validation) + len(read.test) == 600


def test_rows_of_square_images_are_read_with_a_warning():
    x = ramp(30, 9, 9)
    read = load_images(x.reshape(30, 81))
    np.testing.assert_array_equal(read.train.images, load_images(x).train.images)
    assert "Each row of 81 values was taken as an image of 9 x 9" in read.reading.warnings[0]


@pytest.mark.parametrize("shape", [(30,), (30, 90), (30, 9, 9, 1, 1), (30, 9, 9, 40)])
def test_shapes_that_cannot_be_images_are_refused(shape):
    with pytest.raises(DataError, match=r"has shape|contains no images"):
        load_images(ramp(*shape))


def test_very_wide_images_are_read_with_a_warning():
    x = np.random.default_rng(0).integers(0, 256, (20, 24, 500)).astype(np.uint8)
    (warning,) = load_images(x).reading.warnings
    assert 'layout = "images_last"' in warning


def test_few_images_on_the_last_axis_are_recognized():
    assert load_images(ramp(32, 32, 3, 20)).reading.layout == "images_last"


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((784, 600), "try x.T"),
        ((100, 3072), "x.reshape(-1, 3, 32, 32)"),
        ((100, 785), "x.reshape(-1, HEIGHT, WIDTH)"),
    ],
)
def test_rows_of_other_lengths_are_refused_with_a_suitable_hint(shape, hint):
    with pytest.raises(DataError) as error:
        load_images({"x": ramp(*shape)})
    assert hint in str(error.value)
