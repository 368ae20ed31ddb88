"""The order of the axes: found where it is certain, otherwise asked for."""

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
def test_a_certain_layout_is_read(shape, labels, layout, image_shape):
    arrays = {"x": ramp(*shape)}
    if labels:
        arrays["y"] = np.arange(labels) % 2
    read = load_images(arrays)
    assert read.reading.layout == layout
    assert read.image_shape == image_shape


@pytest.mark.parametrize(
    ("layout", "order"), [("channels_first", (0, 2, 3, 1)), ("images_last", (3, 0, 1, 2))]
)
def test_every_pixel_keeps_its_place(layout, order):
    x = ramp(20, 9, 10, 3)
    turned = x.transpose(np.argsort(order))
    expected = load_images({"x": x})
    read = load_images({"x": turned}, {"layout": layout})
    np.testing.assert_array_equal(read.train.images, expected.train.images)


@pytest.mark.parametrize("shape", [(28, 28, 600), (40, 16, 16, 16)])
def test_an_unclear_layout_is_refused_with_the_lines_that_settle_it(shape):
    with pytest.raises(DataError) as error:
        load_images(ramp(*shape))
    message = str(error.value)
    assert str(shape) in message
    assert message.count("layout = ") == 2
    assert "\n" not in message


def test_a_given_layout_settles_it():
    read = load_images(ramp(28, 28, 600), {"layout": "images_last"})
    assert len(read.train) + len(read.validation) + len(read.test) == 600


def test_rows_of_square_images_are_read_with_a_warning():
    x = ramp(30, 9, 9)
    read = load_images(x.reshape(30, 81))
    np.testing.assert_array_equal(read.train.images, load_images(x).train.images)
    assert "Each row of 81 values was taken as an image of 9 x 9" in read.reading.warnings[0]


@pytest.mark.parametrize("shape", [(30,), (30, 90), (30, 9, 9, 1, 1), (30, 9, 9, 40)])
def test_shapes_that_are_no_images(shape):
    with pytest.raises(DataError, match=r"has shape|contains no images"):
        load_images(ramp(*shape))
