"""Rows are images for a trained model in the order of their files, with names and splits."""

import os
import weakref

import numpy as np
import pytest
from image_sets import make_split
from picture_folders import noise, save
from PIL import Image

from vaetune.config.reading import Reading
from vaetune.config.spec import DataSpec
from vaetune.data.for_model import Trained, open_rows
from vaetune.data.for_training import prepare_images
from vaetune.data.images import binarized, to_unit_interval
from vaetune.data.prepare import resize, to_unit
from vaetune.data.rows import SPLITS, rows_of
from vaetune.data.sources import load_images
from vaetune.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")

SQUARES = make_split(30, (9, 10, 1), 1)
OTHERS = make_split(12, (9, 10, 1), 2)
ARRAYS = {"x_train": SQUARES.images, "y_train": SQUARES.labels}


def trained_on(dataset, **options):
    """The record of a model trained on `dataset`, and its prepared images."""
    data = DataSpec(dataset=str(dataset) if not isinstance(dataset, dict) else "arrays", **options)
    images = prepare_images(load_images(dataset, data), data)
    count = sum(map(len, (images.train, images.validation, images.test)))
    return Trained(data, images.reading, images.image_shape, images.fingerprint, count), images


def trained_elsewhere(shape=(9, 10, 1), reading=None, **options):
    """The record of a model that was trained on images that no longer exist."""
    usual = Reading(kind="files", dtype="uint8", low=0, high=255, range=(0, 255))
    return Trained(DataSpec(dataset="gone", **options), reading or usual, shape, "0" * 64, 99)


def refusal(dataset, trained, **options):
    return one_line_error(lambda: open_rows(dataset, trained, **options).read(slice(None)))


def one_line_error(call):
    with pytest.raises(DataError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def photos(tmp_path):
    """A folder of grey images with labels, and the pixels of each file by its name."""
    images = noise(14)
    save(tmp_path / "photos" / "cat", images[:8])
    save(tmp_path / "photos" / "dog", images[8:])
    names = [f"cat/{i:03d}.png" for i in range(8)] + [f"dog/{i:03d}.png" for i in range(6)]
    return tmp_path / "photos", dict(zip(names, images[..., np.newaxis], strict=True))


@pytest.mark.parametrize("own_test", [True, False])
def test_rows_of_arrays_keep_their_order_and_the_splits_of_training(own_test):
    arrays = ARRAYS | ({"x_test": OTHERS.images, "y_test": OTHERS.labels} if own_test else {})
    trained, images = trained_on(arrays)
    rows = open_rows(arrays, trained)
    assert rows.are_trained_on
    pixels = np.concatenate([SQUARES.images, OTHERS.images] if own_test else [SQUARES.images])
    np.testing.assert_array_equal(rows.read(slice(None)), pixels)
    expected = [*range(30), *range(12)] if own_test else [*range(30)]
    assert rows.names.tolist() == expected
    labels = [*SQUARES.labels, *OTHERS.labels] if own_test else [*SQUARES.labels]
    assert rows.labels.tolist() == labels
    for name, split in zip(SPLITS, (images.train, images.validation, images.test), strict=True):
        chosen = rows.of_splits([name])
        assert set(chosen.splits) == {name}
        read = {image.tobytes() for image in chosen.read(slice(None))}
        assert read == {image.tobytes() for image in split.images}
    both = rows.of_splits(["train", "test"])
    assert len(both) == len(images.train) + len(images.test)
    np.testing.assert_array_equal(both.read(np.array([3, 1])), both.read(slice(None))[[3, 1]])


@pytest.mark.parametrize("from_disk", [None, True])
def test_rows_of_a_folder_have_the_names_of_its_files(photos, from_disk):
    folder, pixels = photos
    trained, _ = trained_on(folder, from_disk=from_disk)
    rows = open_rows(str(folder), trained)
    assert rows.are_trained_on
    assert rows.names.tolist() == list(pixels)
    assert [rows.class_names[label] for label in rows.labels] == [n[:3] for n in pixels]
    for name, image in zip(rows.names, rows.read(slice(None)), strict=True):
        np.testing.assert_array_equal(image, pixels[name])
    again = open_rows(str(folder), trained)
    assert again.names.tolist() == list(pixels), "the cache contains the names"


@pytest.mark.parametrize("from_disk", [None, True])
def test_names_in_another_encoding_than_utf_8_have_their_bytes_escaped(photos, from_disk):
    folder, _ = photos
    (folder / "cat").rename(folder / os.fsdecode(b"caf\xe9"))
    (folder / "dog" / "000.png").rename(folder / "dog" / os.fsdecode(b"\xe9.png"))
    trained, images = trained_on(folder, from_disk=from_disk)
    names = open_rows(str(folder), trained).names.tolist()
    assert names[0] == r"caf\udce9/000.png"
    assert names[-1] == r"dog/\udce9.png"
    assert images.class_names == (r"caf\udce9", "dog")


def test_images_in_a_moved_folder_keep_their_splits(photos, tmp_path):
    trained, _ = trained_on(photos[0])
    moved = photos[0].rename(tmp_path / "moved")
    rows = open_rows(str(moved), trained)
    assert (rows.are_trained_on, rows.has_splits) == (True, True)
    (moved / "cat" / "000.png").unlink()
    rows = open_rows(str(moved), trained)
    assert (rows.are_trained_on, rows.has_splits, len(rows)) == (False, False, 13)


@pytest.mark.parametrize("options", [{"binarize": "threshold"}, {"binarize": "stochastic"}])
def test_training_images_are_binarised_as_in_training(options):
    trained, images = trained_on(ARRAYS, **options, train_on="train+validation")
    rows = open_rows(ARRAYS, trained)
    assert rows.are_trained_on
    train = binarized(images.train, images.binarize)
    for name, split in zip(SPLITS, (train, images.validation, images.test), strict=True):
        order = np.argsort(split.positions)
        read = to_unit_interval(rows.of_splits([name]).read(slice(None)))
        np.testing.assert_array_equal(read, to_unit_interval(split.images[order]))


def test_rows_of_an_image_set_in_memory_are_numbered():
    images = load_images(ARRAYS)
    assert rows_of(images).names.tolist() == [*range(30)]


def test_other_images_are_neither_split_nor_shuffled(photos):
    folder, pixels = photos
    rows = open_rows(str(folder), trained_elsewhere())
    assert (rows.has_splits, rows.splits, rows.are_trained_on) == (False, None, False)
    assert rows.names.tolist() == list(pixels)
    np.testing.assert_array_equal(rows.read(slice(None)), np.stack(list(pixels.values())))
    np.testing.assert_array_equal(rows.read(np.array([9]))[0], pixels["dog/001.png"])
    message = one_line_error(lambda: rows.of_splits(["train"]))
    assert "has no splits, because the model was not trained on it" in message


def test_other_images_keep_their_own_splits(photos):
    folder, _ = photos
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    rows = open_rows(str(folder), trained_elsewhere())
    assert rows.splits.tolist() == ["train"] * 8 + ["test"] * 6
    (name,) = {name[:4] for name in rows.of_splits(["test"]).names}
    assert name == "test"
    assert "no validation images" in one_line_error(lambda: rows.of_splits(["validation"]))


def test_a_single_image_is_enough(tmp_path):
    save(tmp_path, noise(1))
    assert len(open_rows(str(tmp_path), trained_elsewhere())) == 1


def test_files_are_decoded_when_rows_are_read_and_are_not_kept(photos, monkeypatch):
    folder, _ = photos
    from vaetune.data.folders import stream

    decoded, alive = [], []
    original = stream.decode_into

    def spy(images, at, file, plan, background):
        decoded.append(file.place.path.name)
        alive.append(weakref.ref(images))
        return original(images, at, file, plan, background)

    monkeypatch.setattr(stream, "decode_into", spy)
    rows = open_rows(str(folder), trained_elsewhere())
    assert decoded == []
    rows.read(slice(2, 5))
    assert decoded == ["002.png", "003.png", "004.png"]
    assert sum(image() is not None for image in alive) == 1, "only the last file is kept"


def test_npy_files_are_read_in_parts(tmp_path):
    np.save(tmp_path / "x.npy", SQUARES.images)
    rows = open_rows(str(tmp_path / "x.npy"), trained_elsewhere())
    assert not isinstance(rows.parts[0], np.ndarray)
    np.testing.assert_array_equal(rows.read(slice(3, 7)), SQUARES.images[3:7])
    np.save(tmp_path / "y.npy", np.asfortranarray(SQUARES.images))
    rows = open_rows(str(tmp_path / "y.npy"), trained_elsewhere())
    np.testing.assert_array_equal(rows.read(slice(3, 7)), SQUARES.images[3:7])


@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("source", ["folder", "array"])
def test_images_of_another_size_are_resized_on_request_or_as_in_training(tmp_path, how, source):
    images = noise(3, 20, 13)
    save(tmp_path / "large", images)
    dataset = str(tmp_path / "large") if source == "folder" else images
    expected = np.stack([resize(image[..., np.newaxis], (9, 10), how) for image in images])
    rows = open_rows(dataset, trained_elsewhere(), how)
    np.testing.assert_array_equal(rows.read(slice(None)), expected)
    assert any("resized" in note for note in rows.notes)
    rows = open_rows(dataset, trained_elsewhere(image_size=(9, 10), resize=how))
    np.testing.assert_array_equal(rows.read(slice(None)), expected)
    message = refusal(dataset, trained_elsewhere())
    assert "has images of 20 x 13 pixels, but the model takes 9 x 10. Resize them with" in message


def test_files_of_several_sizes_are_refused_with_the_size_of_the_model(tmp_path):
    save(tmp_path / "a", noise(2, 20, 13))
    save(tmp_path / "b", noise(2, 9, 10))
    save(tmp_path / "c", noise(2, 30, 13))
    assert "20 x 13 pixels and other sizes, but the model takes 9 x 10" in refusal(
        str(tmp_path), trained_elsewhere()
    )


def test_values_are_scaled_by_the_range_of_training(tmp_path):
    deep = noise(4, high=1000, dtype=np.uint16)
    reading = Reading(kind="files", dtype="uint16", low=0, high=4000, range=(0, 4095))
    for dataset in (str(save(tmp_path, deep)), deep):
        read = open_rows(dataset, trained_elsewhere(reading=reading)).read(slice(None))
        np.testing.assert_array_equal(read[..., 0], to_unit(deep, 0, 4095)[0])


@pytest.mark.parametrize(
    ("values", "reading", "limits", "note"),
    [
        (SQUARES.images / 255.0, ("uint8", (0, 255)), (0, 1), "were taken as 0..1: the model"),
        (SQUARES.images, ("float32", (0, 1)), (0, 255), "uint8 values 0..250 were taken as 0..255"),
        (SQUARES.images * 1.0, ("float32", (0, 1)), (0, 255), "taken as 0..255: the model"),
        (SQUARES.images / 250.0 * 99, ("float64", (0, 40)), (0, 40), "were clipped to 0..40"),
        (SQUARES.images // 240, ("uint8", (0, 1)), (0, 1), ""),
        (SQUARES.images, ("uint8", (0, 1)), (0, 255), "were taken as 0..255"),
    ],
)
def test_another_range_than_in_training_is_reported_in_a_note(values, reading, limits, note):
    dtype, bounds = reading
    known = Reading(kind="arrays", dtype=dtype, low=0, high=1, range=bounds)
    rows = open_rows(values, trained_elsewhere(reading=known))
    read = to_unit_interval(rows.read(slice(None)))
    np.testing.assert_array_equal(read, to_unit(values, *limits)[0])
    assert note in " ".join(rows.notes)
    assert len(rows.notes) == bool(note)


def test_values_of_another_type_without_a_clear_range_are_refused():
    reading = Reading(kind="arrays", dtype="uint8", low=0, high=255, range=(0, 255))
    message = refusal(SQUARES.images - 100.0, trained_elsewhere(reading=reading))
    assert "but the model was trained on uint8 values 0..255. Convert the images." in message


def test_grey_images_fill_three_channels_and_equal_channels_become_grey(tmp_path):
    grey = noise(3)
    rows = open_rows(str(save(tmp_path / "grey", grey)), trained_elsewhere((9, 10, 3)))
    np.testing.assert_array_equal(rows.read(slice(None)), np.stack([grey] * 3, axis=-1))
    equal = [Image.fromarray(np.stack([image] * 3, axis=-1)) for image in grey]
    rows = open_rows(str(save(tmp_path / "equal", equal)), trained_elsewhere())
    np.testing.assert_array_equal(rows.read(slice(None))[..., 0], grey)
    colour = save(tmp_path / "colour", [Image.fromarray(noise(1, 9, 10, 3)[0])])
    assert "in colour, but the model takes grey ones" in refusal(str(colour), trained_elsewhere())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: str(folder), "contains no images: expected files such as PNG"),
        (lambda folder: str(folder / "none"), "There is no image set at"),
        (lambda folder: noise(14, 9, 10, 5), "has images of 5 channels, but the model takes 1"),
        (lambda folder: damaged(folder, 0), "000.png"),
        (lambda folder: damaged(folder, 90), "000.png cannot be read"),
    ],
)
def test_unusable_images_are_refused_in_one_line(tmp_path, make, message):
    assert message in refusal(make(tmp_path), trained_elsewhere())


def test_the_option_of_a_search_is_not_advised_for_other_images(tmp_path):
    message = refusal(damaged(tmp_path, 0), trained_elsewhere())
    assert message.endswith(". Repair or remove them.")


def damaged(folder, kept):
    """A folder of two image files. The first one is cut after `kept` bytes."""
    save(folder, noise(2))
    (folder / "000.png").write_bytes((folder / "000.png").read_bytes()[:kept])
    return str(folder)


def test_left_out_files_are_named(tmp_path):
    folder = damaged(tmp_path, 0)
    (tmp_path / "notes.txt").write_text("no image")
    rows = open_rows(folder, trained_elsewhere(skip_unreadable=True))
    assert rows.names.tolist() == ["001.png"]
    unused, unreadable = rows.notes
    assert unused == "1 file was not used: 1 .txt."
    assert "000.png" in unreadable


def test_pages_are_images_or_channels_as_in_training(tmp_path):
    pages = [Image.fromarray(page) for page in noise(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    rows = open_rows(str(tmp_path), trained_elsewhere())
    assert rows.names.tolist() == ["scan.tif[0]", "scan.tif[1]", "scan.tif[2]"]
    np.testing.assert_array_equal(rows.read(slice(None))[..., 0], noise(3))
    reading = Reading(kind="files", dtype="uint8", low=0, high=255, range=(0, 255))
    stacked = reading.model_copy(update={"pages": "channels"})
    rows = open_rows(str(tmp_path), trained_elsewhere((9, 10, 3), stacked))
    assert rows.names.tolist() == ["scan.tif"]
    np.testing.assert_array_equal(rows.read(slice(None))[0], np.moveaxis(noise(3), 0, -1))


def test_transparent_images_get_the_background_of_training(tmp_path):
    Image.new("LA", (10, 9), (0, 0)).save(tmp_path / "clear.png")
    reading = Reading(kind="files", dtype="uint8", low=0, high=255, range=(0, 255))
    for background, value in (("white", 255), (None, 0)):
        known = reading.model_copy(update={"background": background})
        assert (
            open_rows(str(tmp_path), trained_elsewhere(reading=known)).read(slice(None)) == value
        ).all()


def test_other_images_are_binarised_as_in_training(tmp_path):
    read = open_rows(SQUARES.images, trained_elsewhere(binarize="threshold")).read(slice(None))
    expected = binarized(SQUARES, "threshold").images
    np.testing.assert_array_equal(to_unit_interval(read), to_unit_interval(expected))
    rows = open_rows(SQUARES.images, trained_elsewhere(binarize="stochastic"))
    read = rows.read(slice(None))
    assert set(np.unique(read)) == {0.0, 1.0}
    np.testing.assert_array_equal(rows.read(slice(4, 9)), read[4:9])
