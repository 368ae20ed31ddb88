"""The number and shape of images in the headers of files equal those of the loaded images."""

import gzip
import struct

import numpy as np
import pytest
from picture_folders import noise, save

from vaetune.data import outline
from vaetune.data.outline import Outline, read_outline
from vaetune.data.sources import load_images
from vaetune.errors import DataError, MissingImagesError


def write_idx(path, array):
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_mnist(folder):
    for part, count in (("train", 30), ("t10k", 14)):
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 3)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", noise(count, 9, 10))
    return folder / "train-images-idx3-ubyte.gz"


def write_npz(folder, **arrays):
    np.savez_compressed(folder / "images.npz", **arrays)
    return folder / "images.npz"


def write_npy(folder, array):
    np.save(folder / "images.npy", array)
    return folder / "images.npy"


def write_splits(folder):
    for part, count in (("train", 20), ("test", 13)):
        save(folder / part / "cat", noise(count, 9, 10, seed=count))
        save(folder / part / "dog", noise(count, 9, 10, 3, seed=count + 1))
    return folder


SOURCES = {
    "the packaged digits": lambda folder: "digits",
    "rows": lambda folder: write_npy(folder, noise(30, 81)),
    "channels first": lambda folder: write_npy(folder, noise(30, 3, 9, 10)),
    "Fortran order": lambda folder: write_npy(folder, np.asfortranarray(noise(30, 9, 10))),
    "own splits": lambda folder: write_npz(
        folder, x_train=noise(30, 9, 9, 2), y_train=np.arange(30) % 3, x_test=noise(14, 9, 9, 2)
    ),
    "images last": lambda folder: write_npz(folder, x=noise(9, 10, 30), y=np.arange(30) % 3),
    "other arrays": lambda folder: write_npz(folder, faces=noise(30, 9, 10), n=np.arange(4)),
    "idx files": write_mnist,
    "a folder": lambda folder: save(folder / "pictures", noise(30, 9, 12)),
    "a folder of splits and colours": write_splits,
}


@pytest.mark.parametrize("write", SOURCES.values(), ids=SOURCES)
def test_the_outline_matches_the_loaded_images(tmp_path, write):
    source = str(write(tmp_path))
    loaded = load_images(source)
    count = len(loaded.train)
    if "test" not in loaded.reading.own_splits:
        count += len(loaded.test)
    found = read_outline(source)
    assert found == Outline(count + len(loaded.validation), loaded.image_shape)


def test_outlines_of_keras_datasets_need_no_download():
    assert read_outline("mnist") == read_outline("fashion_mnist") == Outline(60_000, (28, 28, 1))


def test_pixel_values_are_not_read(tmp_path):
    """The header declares a terabyte of images, but the file ends after the header."""
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**8, 100, 100)}
        np.lib.format.write_array_header_1_0(file, header)
    assert read_outline(str(path)) == Outline(10**8, (100, 100, 1))


def test_only_some_headers_of_a_large_folder_are_read(tmp_path, monkeypatch):
    save(tmp_path, noise(31, 9, 10))
    read = []
    read_headers = outline.read_headers
    monkeypatch.setattr(outline, "MOST_HEADERS", 10)

    def spy(places, background):
        read.append(places)
        return read_headers(places, background)

    monkeypatch.setattr(outline, "read_headers", spy)
    assert read_outline(str(tmp_path)) == Outline(31, (9, 10, 1))
    assert len(read[0]) == 8


def test_missing_or_unreadable_images_are_refused(tmp_path):
    with pytest.raises(MissingImagesError):
        read_outline(str(tmp_path / "nothing.npz"))
    broken = tmp_path / "broken.npz"
    for content in (b"", b"PK", np.random.default_rng(0).bytes(400)):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.npz is not a complete \.npz file"):
            read_outline(str(broken))
    with pytest.raises(DataError, match="contains pickled objects"):
        read_outline(str(write_npz(tmp_path, x=np.array([object()]))))
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "a" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="contains 1 unreadable image file"):
        read_outline(str(tmp_path / "bad"))
