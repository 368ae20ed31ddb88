"""Images, labels and splits are recognized by the names of their arrays."""

import gzip
import struct

import numpy as np
import pytest

from vaetune.config.reading import ReadingSpec
from vaetune.data.arrays.names import find_images
from vaetune.data.sources import load_images
from vaetune.errors import DataError


def random_images(count=24, value=0):
    """Random images of 9 x 10 pixels. Their first pixel is `value`, which is also the seed."""
    x = np.random.default_rng(value).integers(0, 200, (count, 9, 10)).astype(np.uint8)
    x[:, 0, 0] = value
    return x


def found(**arrays):
    return find_images(arrays, ReadingSpec(), "images.npz")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("x", "y"),
        ("X", "Y"),
        ("images", "labels"),
        ("data", "target"),
        ("arr_0", "arr_1"),
        ("x_train", "y_train"),
        ("X_train", "Y_train"),
        ("train_images", "train_labels"),
        ("training_x", "training_y"),
        ("xtrain", "ytrain"),
    ],
)
def test_usual_names_are_recognized(images, labels):
    x, y = random_images(), np.arange(24) % 3
    raw = found(**{images: x, labels: y})
    np.testing.assert_array_equal(raw.train.images[..., 0], x)
    np.testing.assert_array_equal(raw.train.labels, y)
    assert (raw.validation, raw.test, raw.notes) == (None, None, ())


@pytest.mark.parametrize(
    ("validation", "test"),
    [("x_val", "x_test"), ("val_images", "test_images"), ("X_valid", "X_test"), ("val", "test")],
)
def test_named_splits_are_used(validation, test):
    arrays = {
        "x_train": random_images(24, 1),
        validation: random_images(5, 2),
        test: random_images(6, 3),
    }
    read = load_images(arrays)
    assert (len(read.train), len(read.validation), len(read.test)) == (24, 5, 6)
    assert set(read.validation.images[:, 0, 0, 0]) == {2}
    assert set(read.test.images[:, 0, 0, 0]) == {3}
    np.testing.assert_array_equal(read.train.images, arrays["x_train"][..., None])


def test_test_images_are_held_out_if_only_validation_images_are_given():
    read = load_images({"x_train": random_images(24, 1), "x_val": random_images(5, 2)})
    assert (len(read.train), len(read.validation), len(read.test)) == (20, 5, 4)
    assert set(read.validation.images[:, 0, 0, 0]) == {2}


def test_an_array_x_is_used_for_training_if_there_is_an_x_test():
    read = load_images({"x": random_images(24, 1), "x_test": random_images(6, 3)})
    assert (len(read.train), len(read.validation), len(read.test)) == (20, 4, 6)


def test_arrays_that_are_not_used_are_named_with_their_shapes():
    raw = found(x=random_images(), embeddings=np.zeros((24, 128)), ids=np.arange(24))
    assert raw.notes == ("2 arrays were not used: embeddings (24, 128), ids (24,).",)


def test_a_second_array_that_cannot_be_labels_is_not_used():
    raw = found(arr_0=random_images(), arr_1=np.zeros((3, 3)))
    assert raw.train.labels is None
    assert raw.notes == ("1 array was not used: arr_1 (3, 3).",)


def test_the_only_array_of_images_needs_no_known_name():
    assert len(found(faces=random_images(), ages=np.arange(24)).train.images) == 24


def test_pickled_arrays_in_a_file_of_images_are_not_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", x=random_images(), names=np.array([{}] * 24, dtype=object))
    read = load_images(tmp_path / "a.npz")
    assert read.reading.notes == ("1 array was not used: names (0,).",)


def test_arrays_can_be_resized():
    read = load_images({"x": random_images()}, {"image_size": "16x12", "resize": "pad"})
    assert read.image_shape == (16, 12, 1)
    assert (read.reading.image_size, read.reading.resize) == ((16, 12), "pad")


def test_resized_masks_are_averaged():
    x = np.zeros((24, 16, 16), bool)
    x[:, ::2] = True
    x[:, 1] = np.eye(24, 16, dtype=bool) | np.eye(24, 16, -16, dtype=bool)
    read = load_images({"x": x}, {"image_size": 8})
    assert 100 < np.median(read.train.images) < 150


def test_padding_is_refused_if_zero_is_not_black():
    x = np.linspace(-1, 1, 24 * 90).reshape(24, 9, 10)
    with pytest.raises(DataError, match=r'resize = "crop" or "stretch"'):
        load_images({"x": x}, {"image_size": 16, "resize": "pad"})


def write_idx(path, array):
    kinds = {"uint8": 8, "int16": 11, "float32": 13}
    header = struct.pack(">HBB", 0, kinds[str(array.dtype)], array.ndim)
    header += struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_are_read_with_their_labels_and_test_images(tmp_path, ending):
    x, y = random_images(30), (np.arange(30) % 3).astype(np.uint8)
    for name, rows in (("train", slice(0, 24)), ("t10k", slice(24, 30))):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte{ending}", x[rows])
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte{ending}", y[rows])
    read = load_images(tmp_path / f"train-images-idx3-ubyte{ending}")
    assert (len(read.train), len(read.test)) == (20, 6)
    np.testing.assert_array_equal(read.test.images[..., 0], x[24:])
    np.testing.assert_array_equal(read.test.labels, y[24:])


def test_two_byte_idx_values_are_read_as_big_endian(tmp_path):
    x = (np.arange(24 * 64) * 41).astype(np.int16).reshape(24, 8, 8) % 4096
    write_idx(tmp_path / "camera.idx", x)
    assert load_images(tmp_path / "camera.idx").reading.high == x.max()


@pytest.mark.parametrize("name", ["x.npy", "x-idx3-ubyte", "x-idx3-ubyte.gz", "x.npz"])
@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0", b"\x1f\x8b\x08torn", b"PK\x03\x04"])
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_images(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_npy_file_is_read(tmp_path):
    np.save(tmp_path / "faces.npy", random_images())
    read = load_images(tmp_path / "faces.npy")
    assert (read.name, len(read.train)) == ("faces", 16)


@pytest.mark.parametrize("name", ["x_test", "x_val"])
def test_validation_or_test_images_without_training_images_are_refused(name):
    with pytest.raises(DataError, match="contains no images: expected arrays named x_train"):
        found(**{name: random_images()})
