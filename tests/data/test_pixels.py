"""The range of pixel values: certain, likely, given or refused."""

import numpy as np
import pytest
from hypothesis import event, given, strategies as st
from PIL import Image

from vaetune.data.pixels import decide_range, measure_values, scale_pixels
from vaetune.data.sources import load_images
from vaetune.errors import DataError, SpecError


def images(*values, dtype):
    """24 images that begin with the given values. All other pixels are zero."""
    x = np.zeros((24, 8, 8, 1), dtype)
    x.flat[: len(values)] = values
    return x


def decide(*values, dtype):
    return decide_range(measure_values([images(*values, dtype=dtype)], "x.npz"), source="x.npz")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ((255,), "uint8", (0, 255)),
        ((1,), "uint8", (0, 1)),
        ((True,), "bool", (0, 1)),
        ((200,), "int64", (0, 255)),
        ((1023,), "uint16", (0, 1023)),
        ((4000,), "uint16", (0, 4095)),
        ((16383,), "int32", (0, 16383)),
        ((65535,), "uint16", (0, 65535)),
        ((0.5, 1.0), "float32", (0, 1)),
        ((-0.1, 1.2), "float32", (0, 1)),
        ((-1.0, 1.0), "float64", (-1, 1)),
        ((-1.05, 0.9), "float32", (-1, 1)),
        ((255.0,), "float32", (0, 255)),
        ((0.5, 254.5), "float64", (0, 255)),
    ],
)
def test_a_certain_range_is_chosen_without_a_warning(values, dtype, expected):
    chosen = decide(*values, dtype=dtype)
    assert (chosen.low, chosen.high) == expected
    assert (chosen.rule, chosen.warning) == ("certain", "")


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "suggested"),
    [
        ((16,), "uint8", (0, 255), "[0, 16]"),
        ((200,), "uint16", (0, 255), "[0, 200]"),
        ((100,), "int64", (0, 255), "[0, 100]"),
        ((3000,), "uint16", (0, 4095), "[0, 3000]"),
        ((16.0,), "float64", (0, 16), "[0, 255]"),
        ((100.0,), "float64", (0, 100), "[0, 255]"),
        ((0.5, 100.0), "float64", (0, 100), "[0, 255]"),
        ((90.0,), "float32", (0, 255), "[0, 90]"),
        ((-0.5, 0.5), "float32", (-0.5, 0.5), "[0, 255]"),
        ((-0.8, 0.7), "float32", (-1, 1), "[-0.8, 0.7]"),
        ((-3.5, 260.5), "float32", (0, 255), "[-3.5, 260.5]"),
        ((65535.0,), "float64", (0, 65535), "[0, 255]"),
    ],
)
def test_a_likely_range_is_chosen_and_a_warning_suggests_another(
    values, dtype, expected, suggested
):
    chosen = decide(*values, dtype=dtype)
    assert (chosen.low, chosen.high) == expected
    assert chosen.rule == "likely"
    assert f"range = {suggested} under [data]" in chosen.warning


@pytest.mark.parametrize(
    ("values", "dtype", "line"),
    [
        ((-5, 200), "int16", "int16 values -5..200"),
        ((70000,), "int32", "range = [0, 70000] under [data]"),
        ((-2.5, 3.5), "float32", "range = [-2.5, 3.5] under [data]"),
        ((300,), "int64", "range = [0, 300] under [data]"),
        ((20.0,), "float32", "float32 values 0..20"),
        ((0.5, 20.5), "float32", "unclear which values are black and white"),
        ((-0.2, 0.2), "float32", "range = [-0.2, 0.2] under [data]"),
        ((1e9,), "float64", "unclear"),
    ],
)
def test_an_unclear_range_is_refused_with_an_explanation(values, dtype, line):
    with pytest.raises(DataError) as error:
        decide(*values, dtype=dtype)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.sampled_from(["uint8", "uint16", "int32", "float32", "float64"]),
    st.sampled_from([1, 7, 16, 100, 255, 1000, 4095, 65535]),
    st.sampled_from([0, -1, -0.5]),
)
def test_any_values_are_scaled_correctly_or_refused_or_give_a_warning(dtype, high, low):
    """A ramp from black to white ascends within 0 to 1 after scaling.

    Without a warning, bytes stay the same unless they are only 0 and 1. Other ramps end near 1
    and are not clipped.
    """
    kind = np.dtype(dtype)
    if kind.kind == "u" and low < 0:
        low = 0
    high = min(high, np.iinfo(kind).max) if kind.kind != "f" else high
    x = np.linspace(low, high, 24 * 64).astype(kind).reshape(24, 8, 8, 1)
    values = measure_values([x], "x.npz")
    try:
        chosen = decide_range(values)
    except DataError:
        event("refused")
        return
    unit, clipped = scale_pixels(x, values, chosen)
    scaled = unit / 255.0 if unit.dtype == np.uint8 else unit
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert (np.diff(scaled.ravel().astype(float)) >= 0).all()
    if kind == np.uint8 and not chosen.warning and x.max() > 1:
        np.testing.assert_array_equal(unit, x)
    elif not chosen.warning:
        assert scaled.max() > 0.85
        assert clipped == 0


def test_values_outside_a_given_range_are_clipped_and_counted(tmp_path):
    ramp = np.linspace(0, 20, 64)
    x = np.stack([np.roll(ramp, shift) for shift in range(24)]).reshape(24, 8, 8)
    read = load_images({"x": x}, {"range": [0, 16]})
    assert read.train.images.max() == 1.0
    assert read.reading.range == (0, 16)
    assert read.reading.rule == "given"
    assert read.reading.clipped == int((x > 16).sum())
    assert any("outside 0..16 and clipped" in text for text in read.reading.warnings)


@pytest.mark.parametrize("kind", [np.int8, np.int64])
def test_negative_values_of_integer_masks_are_clipped(kind):
    x = np.random.default_rng(0).integers(-1, 2, (24, 8, 8)).astype(kind)
    read = load_images({"x": x}, {"range": [0, 1]})
    splits = [split.images for split in (read.train, read.validation, read.test)]
    assert sum(split.sum() for split in splits) == (x == 1).sum()
    assert {float(value) for split in splits for value in np.unique(split)} == {0.0, 1.0}
    assert read.reading.clipped == (x == -1).sum()


def test_an_image_file_with_nan_is_named(tmp_path):
    for number, image in enumerate(np.random.default_rng(0).random((14, 8, 9), np.float32)):
        image[0, 0] = np.nan if number == 3 else 0.5
        Image.fromarray(image).save(tmp_path / f"{number:03d}.tif")
    with pytest.raises(DataError, match=r"NaN or infinite, the first in 003\.tif\. Replace"):
        load_images(tmp_path)


def test_16_bit_values_keep_their_precision():
    x = np.arange(24 * 64, dtype=np.uint16).reshape(24, 8, 8) * np.uint16(42)
    x.flat[-1] = 65535
    read = load_images({"x": x})
    assert len(np.unique(read.train.images)) > 1000
    assert read.train.images.dtype == np.float32


def test_all_splits_are_scaled_by_the_same_range():
    dark = np.random.default_rng(0).integers(0, 101, (24, 8, 8)).astype(np.uint16)
    dark[:, 0, 0] = 100
    bright = np.full((12, 8, 8), 4095, np.uint16)
    read = load_images({"x_train": dark, "x_test": bright})
    assert read.train.images.max() == pytest.approx(100 / 4095)
    assert any("largest values of the splits are 100, 4095" in w for w in read.reading.warnings)
    assert read.test.images.max() == 1.0


def test_splits_of_bytes_and_floats_are_scaled_separately_with_a_warning():
    read = load_images(
        {
            "x_train": np.random.default_rng(0).integers(0, 256, (24, 8, 8)).astype(np.uint8),
            "x_test": np.full((12, 8, 8), 0.5),
        }
    )
    assert (read.train.images.max(), read.test.images.max()) == (1.0, 0.5)
    assert any("uint8 and float64" in text for text in read.reading.warnings)


@pytest.mark.parametrize("wrong", [[16, 0], [1, 1], "0..16", [0, "x"]])
def test_an_invalid_range_is_refused(wrong):
    with pytest.raises(SpecError, match=r"data\.range"):
        load_images("digits", {"range": wrong})


def test_a_range_that_would_clip_many_values_is_refused():
    x = np.random.default_rng(0).random((24, 8, 8)) - 0.13
    with pytest.raises(DataError, match=r"unclear which values are black and white\. Add range ="):
        load_images(x)


@pytest.mark.parametrize(("high", "dtype"), [(30.0, "uint8"), (0.1, "float64"), (255, "uint16")])
def test_images_that_use_little_of_their_range_give_a_warning(high, dtype):
    x = (np.random.default_rng(0).random((200, 8, 8)) * high).astype(dtype)
    x[0, 0, 0] = {"uint8": 255, "float64": 1, "uint16": 65535}[dtype]
    (warning,) = load_images(x).reading.warnings
    assert "almost black" in warning
    assert "range = [0, " in warning


def test_a_warning_suggests_another_range_than_the_chosen_one():
    assert "range = [0, 65535]" in decide(255, dtype="uint16").warning
