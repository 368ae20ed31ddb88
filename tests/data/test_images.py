"""Image sets: loading, splits, binarisation, and errors."""

import os
import subprocess
import sys
import tracemalloc
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from prepared_commands import PreparedCommand

from vaetune.config.spec import DataSpec
from vaetune.data import images as images_module
from vaetune.data.for_training import prepare_images
from vaetune.data.images import Split, entropy_floor, to_unit_interval
from vaetune.data.sources import load_images
from vaetune.errors import DataError


def noise(count=24, height=9, width=10, channels=None, seed=0):
    shape = (count, height, width) if channels is None else (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def save(tmp_path):
    """Saves arrays as an .npz file and returns its path."""

    def to_file(name="images.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return to_file


@pytest.fixture
def pictures(tmp_path):
    """Saves images as PNG files in a folder, with the given names or numbers."""

    def to_folder(images, names=None, folder="pictures"):
        for number, image in enumerate(images):
            name = names[number] if names else f"{number:03d}.png"
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        return tmp_path / folder

    return to_folder


def refusal(dataset):
    with pytest.raises(DataError) as error:
        load_images(dataset)
    message = str(error.value)
    assert "\n" not in message
    return message


def all_images(images):
    return np.concatenate([s.images for s in (images.train, images.validation, images.test)])


def as_set(images):
    return sorted(image.tobytes() for image in images)


# The packaged digits.


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_the_packaged_digits_have_known_splits_shape_and_classes(digits):
    assert [len(s) for s in (digits.train, digits.validation, digits.test)] == [5000, 1000, 1000]
    assert digits.image_shape == (28, 28, 1)
    assert digits.class_names == tuple("0123456789")


def test_the_packaged_digits_are_balanced(digits):
    in_training_file = np.concatenate([digits.train.labels, digits.validation.labels])
    assert np.bincount(in_training_file).tolist() == [600] * 10
    assert np.bincount(digits.test.labels).tolist() == [100] * 10


def test_the_packaged_digits_have_the_entropy_of_mnist(digits):
    # The floors of the full sets are 45.76 and 45.53 nats per image.
    assert entropy_floor(digits.train.images) == pytest.approx(45.76, abs=0.6)
    assert entropy_floor(digits.test.images) == pytest.approx(45.53, abs=1.2)


def test_the_packaged_digits_include_their_licence_notice():
    notice = (files("vaetune.data.digits") / "LICENSE.md").read_text()
    assert "Yann LeCun and Corinna Cortes" in notice
    assert "Creative Commons Attribution-Share Alike 3.0" in notice


def test_the_digits_fingerprint_never_changes(digits):
    # Journals of users contain the fingerprint. A change would make their searches unusable.
    assert digits.fingerprint.startswith("8ca5b0994627")


# Keras's named sets, without a network: a stub replaces the download.


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_keras_sets_are_loaded_through_keras(monkeypatch, name):
    keras_datasets = pytest.importorskip("keras").datasets
    train, test = (noise(), np.arange(24) % 3), (noise(12, seed=1), np.arange(12) % 3)
    train[0].flags.writeable = False  # Keras returns read-only arrays, too.
    monkeypatch.setattr(getattr(keras_datasets, name), "load_data", lambda: (train, test))
    images = load_images(name)
    assert (images.name, images.source) == (name, name)
    assert [len(s) for s in (images.train, images.validation, images.test)] == [20, 4, 12]


def test_a_failed_download_suggests_images_that_need_no_download(monkeypatch):
    keras_datasets = pytest.importorskip("keras").datasets

    def fail():
        raise Exception("URL fetch failure on https://host/mnist.npz:\n Name or service not known")

    monkeypatch.setattr(keras_datasets.mnist, "load_data", fail)
    message = refusal("mnist")
    assert "could not be downloaded" in message
    assert "--dataset digits" in message
    assert ".npz" in message


@pytest.mark.slow
@pytest.mark.long  # tests/test_device.py shows that TensorFlow prints nothing.
def test_a_download_without_a_network_prints_only_the_error(tmp_path):
    code = (
        "from vaetune.data import load_images\n"
        "from vaetune.errors import DataError\n"
        "try:\n"
        "    load_images('mnist')\n"
        "except DataError as error:\n"
        "    print(error)"
    )
    nowhere = "http://127.0.0.1:9"  # No process listens on this port.
    environment = os.environ | {"https_proxy": nowhere, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "mnist could not be downloaded" in done.stdout
    assert done.stderr == ""


# Arrays.


def test_arrays_in_keras_layout_are_read(save):
    path = save(
        x_train=noise(24), y_train=np.arange(24) % 2, x_test=noise(6), y_test=np.arange(6) % 2
    )
    images = load_images(path)
    assert [len(s) for s in (images.train, images.validation, images.test)] == [20, 4, 6]
    assert (images.name, images.source) == ("images", str(path))
    np.testing.assert_array_equal(images.test.images, noise(6)[..., np.newaxis])
    assert images.train.labels.dtype == np.int64


def test_a_single_array_is_divided_into_three_splits(save):
    images = load_images(save(x=noise(24)))
    assert [len(s) for s in (images.train, images.validation, images.test)] == [16, 4, 4]
    assert images.class_names is None
    assert images.train.labels is None


def test_labels_stay_with_their_images(save):
    x = noise(24)
    x[:, 0, 0] = np.arange(24)
    images = load_images(save(x=x, y=np.arange(24) + 100))
    for split in (images.train, images.validation, images.test):
        np.testing.assert_array_equal(split.images[:, 0, 0, 0], split.labels)
    assert images.class_names == tuple(str(number + 100) for number in range(24))


def test_labels_in_a_column_are_accepted(save):
    assert load_images(save(x=noise(), y=np.zeros((24, 1)))).class_names == ("0",)


def test_test_and_training_labels_share_their_class_indices(save):
    path = save(
        x_train=noise(), y_train=np.full(24, 7), x_test=noise(3), y_test=np.array([3, 7, 9])
    )
    images = load_images(path)
    assert images.class_names == ("3", "7", "9")
    assert set(images.train.labels) == {1}
    assert images.test.labels.tolist() == [0, 1, 2]


@given(count=st.integers(12, 200), has_test=st.booleans())
def test_every_image_is_in_exactly_one_split(tmp_path_factory, count, has_test):
    x = np.zeros((count, 8, 8), np.uint8)
    x[:, 0, 0], x[:, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    x[:, 1, 1] = 9
    path = tmp_path_factory.getbasetemp() / "partition.npz"
    np.savez(path, **({"x_train": x, "x_test": x[:2]} if has_test else {"x": x}))
    images = load_images(path)
    splits = (
        [images.train, images.validation]
        if has_test
        else [images.train, images.validation, images.test]
    )
    together = np.concatenate([split.images for split in splits])
    assert as_set(together) == as_set(x[..., np.newaxis])
    assert all(len(split) >= 1 for split in splits)
    assert len(images.validation) == round(count / 6)


def test_splits_do_not_depend_on_random_seeds(save):
    path = save(x=noise())
    first = load_images(path)
    np.random.default_rng(1).random()
    np.random.seed(5)
    second = load_images(path)
    np.testing.assert_array_equal(first.validation.images, second.validation.images)


# Pixels.


def test_bytes_stay_bytes(save):
    images = load_images(save(x=noise()))
    assert images.train.images.dtype == np.uint8
    assert as_set(all_images(images)) == as_set(noise()[..., np.newaxis])


@pytest.mark.parametrize("kind", ["int16", "int64", "uint16", "float32", "float64"])
def test_whole_numbers_up_to_255_become_bytes(save, kind):
    images = load_images(save(x=noise().astype(kind)))
    assert images.train.images.dtype == np.uint8
    assert as_set(all_images(images)) == as_set(noise()[..., np.newaxis])


def test_floats_up_to_1_are_not_scaled(save):
    x = np.random.default_rng(0).random((24, 9, 10)).astype(np.float32)
    images = load_images(save(x=x))
    assert images.train.images.dtype == np.float32
    assert as_set(all_images(images)) == as_set(x[..., np.newaxis])


def test_floats_above_1_are_divided_by_255(save):
    x = np.random.default_rng(0).random((24, 9, 10)) * 255
    together = all_images(load_images(save(x=x)))
    assert together.dtype == np.float32
    assert together.max() == pytest.approx(x.max() / 255)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_masks_of_zeros_and_ones_are_black_and_white(save, kind):
    x = noise() > 127
    together = all_images(load_images(save(x=x.astype(kind))))
    assert together.dtype == np.uint8
    assert set(np.unique(together)) == {0, 255}


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_kept(save, channels):
    assert load_images(save(x=noise(channels=channels))).image_shape == (9, 10, channels)


def test_training_and_test_images_share_a_type(save):
    images = load_images(save(x_train=noise(), x_test=noise(4).astype(np.float32) / 255))
    assert images.train.images.dtype == images.test.images.dtype == np.float32


def test_bytes_are_divided_by_255_for_the_unit_interval():
    assert to_unit_interval(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    as_floats = np.array([0.25], np.float32)
    np.testing.assert_array_equal(to_unit_interval(as_floats), as_floats)


def test_the_entropy_floor_is_the_entropy_of_the_pixels():
    one_grey_pixel = np.zeros((2, 8, 8, 1), np.float32)
    one_grey_pixel[0, 0, 0] = 0.5
    assert entropy_floor(one_grey_pixel) == pytest.approx(np.log(2) / 2)


def test_black_and_white_pixels_have_no_entropy():
    assert entropy_floor(np.array([0, 255] * 32, np.uint8).reshape(1, 8, 8, 1)) == 0.0


# The fingerprint.


def test_the_same_arrays_in_another_file_have_the_same_fingerprint(save):
    first = load_images(save("one.npz", x=noise(), y=np.arange(24)))
    second = load_images(save("two.npz", x=noise(), y=np.arange(24)))
    assert first.fingerprint == second.fingerprint
    assert len(first.fingerprint) == 64


@pytest.mark.parametrize("change", ["pixel", "label", "no labels", "order"])
def test_any_change_gives_another_fingerprint(save, change):
    arrays = {"x": noise(), "y": np.arange(24) % 3}
    first = load_images(save("one.npz", **arrays)).fingerprint
    if change == "pixel":
        arrays["x"][5, 4, 3] ^= 1
    elif change == "label":
        arrays["y"][5] = (arrays["y"][5] + 1) % 3
    elif change == "no labels":
        del arrays["y"]
    else:
        arrays = {name: array[::-1] for name, array in arrays.items()}
    assert load_images(save("two.npz", **arrays)).fingerprint != first


# Folders.


def test_a_folder_of_grey_files_is_read(pictures):
    folder = pictures(noise(24))
    images = load_images(folder)
    assert images.name == "pictures"
    assert images.image_shape == (9, 10, 1)
    assert as_set(all_images(images)) == as_set(noise(24)[..., np.newaxis])


def test_a_folder_and_a_file_of_the_same_images_are_the_same_set(pictures, save):
    folder = load_images(pictures(noise(24)))
    assert folder.fingerprint == load_images(save(x=noise(24))).fingerprint


def test_sub_folders_are_labels(pictures):
    names = [f"{'cat' if number % 2 else 'Dog'}/{number}.PNG" for number in range(24)]
    x = noise(24)
    x[:, 0, 0] = np.arange(24) % 2
    images = load_images(pictures(x, names))
    assert images.class_names == ("Dog", "cat")
    np.testing.assert_array_equal(images.train.images[:, 0, 0, 0], images.train.labels)


def test_one_colour_file_gives_all_images_three_channels(pictures):
    folder = pictures(noise(24))
    Image.fromarray(noise(1, channels=3)[0]).save(folder / "005.png")
    together = all_images(load_images(folder))
    assert together.shape[1:] == (9, 10, 3)


def test_jpeg_files_are_read(pictures):
    names = [f"{number}.{'jpeg' if number % 2 else 'JPG'}" for number in range(24)]
    assert load_images(pictures(noise(24), names)).image_shape == (9, 10, 1)


def test_reading_a_folder_needs_little_more_memory_than_its_pixels(pictures):
    folder = pictures(noise(300, 64, 64))
    size = 300 * 64 * 64
    Image.init()  # Pillow loads its readers once. They are not measured.
    tracemalloc.start()
    load_images(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * size  # The splits are views of one array.


@pytest.mark.slow
def test_images_of_a_folder_are_never_converted_to_floats_all_at_once(tmp_path):
    """Images are read into one array of bytes, and training on the CPU does not copy it."""
    script = Path(__file__).parents[1] / "stress" / "memory_of_images.py"
    with PreparedCommand([10_000, 64, 64, 3], tmp_path, program=script) as process:
        code, out, error = process.finish()
    assert (code, error) == (0, "")
    measured = {line.split()[0]: float(line.split()[1]) for line in out.splitlines()}
    assert measured["read"] < 1.5 * measured["bytes"]
    assert measured["trained"] < 2 * measured["bytes"]


@given(st.permutations(range(9)))
def test_images_are_reordered_in_place(order):
    x, order = noise(9), np.array(order)
    expected = x[order]
    images_module._put_in_order(x, order)
    np.testing.assert_array_equal(x, expected)


def test_the_entropy_floor_is_computed_in_parts():
    x = np.full((80, 128, 128, 3), 51, np.uint8)
    tracemalloc.start()
    floor = entropy_floor(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24 < x.size * 8, "only a part is converted to float64"
    expected = -(0.2 * np.log(0.2) + 0.8 * np.log(0.8)) * x[0].size
    assert floor == pytest.approx(expected)


# Errors.


def test_a_missing_path_is_refused(tmp_path):
    message = refusal(tmp_path / "none.npz")
    assert "There is no image set at" in message
    assert "digits, mnist, fashion_mnist" in message


def test_a_misspelt_name_gets_a_suggestion():
    assert 'Did you mean "fashion_mnist"?' in refusal("fashion-mnist")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "images.csv").write_text("1,2,3")
    assert "is not an image set: expected" in refusal(tmp_path / "images.csv")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn"])
def test_a_file_that_is_not_an_npz_archive_is_refused(tmp_path, content):
    (tmp_path / "images.npz").write_bytes(content)
    assert "images.npz is not a complete .npz file" in refusal(tmp_path / "images.npz")


def test_an_npy_array_in_an_npz_file_is_refused(tmp_path):
    with (tmp_path / "images.npz").open("wb") as file:
        np.save(file, noise())
    assert "images.npz is not a complete .npz file" in refusal(tmp_path / "images.npz")


def test_an_npz_file_truncated_at_any_position_is_refused(save):
    path = save(x=noise())
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert "images.npz" in refusal(path)


def test_an_npz_file_damaged_at_any_position_is_refused(tmp_path):
    path = tmp_path / "images.npz"
    np.savez_compressed(path, x=noise())
    content = path.read_bytes()
    for place in range(60, len(content) - 200, 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        assert "images.npz is not a complete .npz file" in refusal(path)


def test_arrays_with_unknown_names_are_listed(save):
    message = refusal(save(pictures=noise(), names=noise()))
    assert "expected arrays named x_train" in message
    assert "found pictures (24, 9, 10), names (24, 9, 10)" in message


def test_pickled_arrays_are_never_loaded(tmp_path):
    created = tmp_path / "unpickled"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(created),)

    np.savez(tmp_path / "images.npz", x=np.array([Payload()] * 20, dtype=object))
    assert "never loaded" in refusal(tmp_path / "images.npz")
    assert not created.exists()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_reported_with_their_image(save, wrong):
    x = noise().astype(np.float64)
    x[17, 3, 2] = wrong
    assert "the first in image 17" in refusal(save(x=x))


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (np.full((24, 9, 10), "a"), "values of type <U1, expected numbers"),
        (np.zeros((24, 9, 10), complex), "values of type complex128"),
        (noise(0), "contains 0 training images, expected at least 12"),
        (noise(1), "contains 1 training images, expected at least 12"),
        (noise(11), "contains 11 training images, expected at least 12"),
        (noise(24, 7, 9), "images of 7 x 9 pixels, expected at least 8 x 8"),
        (np.zeros((24, 90), np.uint8), r"has shape (24, 90), expected"),
        (noise(24, channels=33), "unclear which axis has the channels"),
    ],
)
def test_arrays_unsuitable_for_training_are_refused(save, x, expected):
    assert expected in refusal(save(x=x))


def test_test_images_of_another_shape_are_refused(save):
    message = refusal(save(x_train=noise(), x_test=noise(12, 9, 11)))
    assert "shape (9, 10, 1), but x_test has images of shape (9, 11, 1)" in message


def test_reading_images_imports_no_tensorflow(save):
    path = save(x=noise())
    code = (
        "import sys\n"
        "from vaetune.data import load_images\n"
        f"load_images({str(path)!r}); load_images('digits')\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_split_is_as_long_as_its_images():
    assert len(Split(noise(5), None)) == 5


def test_the_sample_of_digits_is_balanced_and_reproducible():
    from vaetune.data.digits.draw import draw

    labels = np.repeat(np.arange(10), 30).astype(np.uint8)
    first, second = (draw(labels, 20, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(set(first.tolist())) == 200
    assert np.bincount(labels[first]).tolist() == [20] * 10
    assert images_module.HELD_OUT_ONE_IN == 6


# Binarisation, and training on the validation images too.


def prepared(images, **data):
    return prepare_images(images, DataSpec(**data))


def test_images_do_not_change_if_no_preparation_is_requested(save):
    images = load_images(save(x=noise(24)))
    assert prepared(images) is images


def test_a_threshold_makes_pixels_of_at_least_one_half_white(save):
    grey = load_images(save(x=noise(240)))
    images = prepared(grey, binarize="threshold")
    for split, before in (
        (images.train, grey.train),
        (images.validation, grey.validation),
        (images.test, grey.test),
    ):
        np.testing.assert_array_equal(split.images, np.where(before.images >= 128, 255, 0))
        np.testing.assert_array_equal(split.labels, before.labels)
    assert images.binarize == "threshold"


def test_floats_are_binarised_like_bytes(save):
    x = noise(24)
    from_bytes, from_floats = (
        prepared(load_images(save(x=values)), binarize="threshold")
        for values in (x, (x / np.float32(255)).astype(np.float32))
    )
    np.testing.assert_array_equal(all_images(from_bytes), all_images(from_floats))


def test_pixels_are_drawn_reproducibly_with_their_value_as_probability(save):
    ramp = np.tile(np.arange(16, dtype=np.uint8)[:, None] * 17, (3000, 1, 16))
    ramp[:, 1, :12] += ((np.arange(3000)[:, None] >> np.arange(12)) % 2).astype(np.uint8)
    grey = load_images(save(x=ramp))  # No two images are equal.
    first, second = (prepared(grey, binarize="stochastic") for _ in range(2))
    for split in ("validation", "test"):
        pixels = getattr(first, split).images
        assert set(np.unique(pixels)) == {0, 255}
        means = pixels.mean(axis=(0, 2, 3)) / 255
        np.testing.assert_allclose(means, np.arange(16) / 15, atol=0.03)
        assert means[0] == 0
        assert means[15] == 1
        np.testing.assert_array_equal(pixels, getattr(second, split).images)
    assert not np.array_equal(first.validation.images, first.test.images)
    np.testing.assert_array_equal(first.train.images, grey.train.images)
    assert entropy_floor(first.validation.images) == 0


def test_every_preparation_has_its_own_fingerprint(save):
    grey = load_images(save(x=noise(24)))
    ways = [
        {},
        {"binarize": "threshold"},
        {"binarize": "stochastic"},
        {"train_on": "train+validation"},
        {"train_on": "train+validation", "binarize": "stochastic"},
    ]
    assert len({prepared(grey, **way).fingerprint for way in ways}) == len(ways)


def test_training_on_validation_images_holds_out_one_image_in_twenty(save):
    labels = np.arange(120) % 3
    images = load_images(save(x_train=noise(120), y_train=labels, x_test=noise(12, seed=1)))
    joined = prepared(images, train_on="train+validation")
    assert [len(s) for s in (joined.train, joined.validation, joined.test)] == [114, 6, 12]
    np.testing.assert_array_equal(joined.test.images, images.test.images)
    assert as_set(all_images(joined)) == as_set(all_images(images))
    label_of = {image.tobytes(): label for image, label in zip(noise(120), labels, strict=True)}
    for split in (joined.train, joined.validation):
        assert [label_of[image.tobytes()] for image in split.images] == split.labels.tolist()


def test_joined_training_images_stay_grey_for_stochastic_binarisation(save):
    images = load_images(save(x=noise(240)))
    joined = prepared(images, train_on="train+validation", binarize="stochastic")
    assert len(np.unique(joined.train.images)) > 200
    assert set(np.unique(joined.validation.images)) == {0, 255}


def test_arrays_of_the_caller_are_not_changed():
    arrays = {"x": noise(), "y": np.arange(len(noise())) % 3}
    before = {name: array.copy() for name, array in arrays.items()}
    first = load_images(arrays)
    assert all(np.array_equal(array, before[name]) for name, array in arrays.items())
    assert load_images(arrays).fingerprint == first.fingerprint
    assert load_images(arrays["x"]).train.images.shape == first.train.images.shape
    assert np.array_equal(arrays["x"], before["x"])
