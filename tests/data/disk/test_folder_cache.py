"""Large folders are decoded once into a file, and again after a change."""

import errno
import json
import os
import pickle

import numpy as np
import pytest
from picture_folders import noise, save

from vaetune.data.disk import arrays as from_disk, folders as folder_cache
from vaetune.data.disk.cache import clear_cache, list_cache
from vaetune.data.disk.images import DiskImages
from vaetune.data.folders import reader as image_folder
from vaetune.data.sources import load_images
from vaetune.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")

ON_DISK = {"from_disk": True}


@pytest.fixture
def folder(tmp_path):
    """A folder with splits and labels: 32 colour images, and 2 grey images of another size."""
    for number, name in enumerate(("train/cat", "train/dog", "val/cat", "test/dog")):
        images = noise(8, 9, 10, 3, seed=number)
        save(tmp_path / "set" / name, images)
    save(tmp_path / "set" / "train" / "cat", noise(2, 12, 12, seed=9), ending=".bmp")
    return tmp_path / "set"


SIZE = {"image_size": "8x9"}


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded."""
    names = []
    original = image_folder.decode_into

    def spy(images, at, file, plan, background):
        names.append(file.place.path.name)
        return original(images, at, file, plan, background)

    monkeypatch.setattr(image_folder, "decode_into", spy)
    return names


def both(folder, **keys):
    return (load_images(folder, {**SIZE, **keys, "from_disk": each}) for each in (True, False))


def assert_equal_except_for_a_note(ours, theirs):
    assert ours.notes[-1].startswith("Each epoch reads the images from the disk")
    assert ours.model_copy(update={"notes": ours.notes[:-1]}) == theirs


def assert_same_images(ours, theirs):
    assert isinstance(ours.train.images, DiskImages)
    assert isinstance(theirs.train.images, np.ndarray)
    for one, two in zip(
        (ours.train, ours.validation, ours.test),
        (theirs.train, theirs.validation, theirs.test),
        strict=True,
    ):
        np.testing.assert_array_equal(one.images[:], two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
    assert (ours.fingerprint, ours.class_names) == (theirs.fingerprint, theirs.class_names)
    assert_equal_except_for_a_note(ours.reading, theirs.reading)


def images_in(cache):
    return sorted(path.name for path in cache.glob("*.npy"))


def test_a_folder_is_decoded_once_and_equals_the_folder_in_memory(folder, decoded):
    assert_same_images(*both(folder))
    decoded.clear()
    again = load_images(folder, SIZE | ON_DISK)
    assert decoded == []
    assert_same_images(again, load_images(folder, SIZE | {"from_disk": False}))


@pytest.mark.parametrize("high", [200, 60000])
def test_files_of_8_and_16_bits_are_read_as_in_memory(tmp_path, high):
    save(tmp_path / "set", noise(20))
    save(tmp_path / "set", noise(20, high=high, seed=1, dtype=np.uint16), ending=".tiff")
    ours, theirs = (load_images(tmp_path / "set", {"from_disk": each}) for each in (True, False))
    assert_same_images(ours, theirs)
    if high == 200:
        files = np.concatenate([noise(20), noise(20, high=high, seed=1)])[..., np.newaxis]
        read = np.concatenate([split.images for split in (theirs.train, theirs.validation)])
        known = {image.tobytes() for image in files}
        assert read.dtype == np.uint8
        assert all(image.tobytes() in known for image in read)


def test_unreadable_files_are_left_out_as_in_memory(tmp_path):
    folder = save(tmp_path / "set", noise(24))
    (folder / "bad.png").write_bytes((folder / "000.png").read_bytes()[:-30])
    keys = {"skip_unreadable": True}
    ours, theirs = (load_images(folder, keys | {"from_disk": each}) for each in (True, False))
    assert_same_images(ours, theirs)
    assert len(ours.train) + len(ours.validation) + len(ours.test) == 24


def test_only_large_folders_are_cached(folder, own_cache, monkeypatch):
    messages = []
    load_images(folder, SIZE, messages.append)
    assert not own_cache.exists()
    assert not messages
    monkeypatch.setattr(from_disk, "available_memory", lambda: 34 * 8 * 9 * 3 * 2 - 2)
    assert isinstance(load_images(folder, SIZE, messages.append).train.images, DiskImages)
    (sentence,) = messages
    assert sentence.startswith(f"34 images are decoded once into {own_cache}")
    assert isinstance(load_images(folder, SIZE, messages.append).train.images, DiskImages)
    assert len(messages) == 1
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(own_cache.parents[1]))
    assert isinstance(load_images(folder, SIZE).train.images, np.ndarray)


def test_a_changed_folder_is_decoded_again_and_the_old_file_is_removed(folder, own_cache, decoded):
    before = load_images(folder, SIZE | ON_DISK)
    (name,) = images_in(own_cache)
    save(folder / "train" / "cat", noise(1, 9, 10, 3, seed=77))
    after = load_images(folder, SIZE | ON_DISK)
    assert after.fingerprint != before.fingerprint
    assert len(images_in(own_cache)) == 1
    assert images_in(own_cache) != [name]
    np.testing.assert_array_equal(before.train.images[:3].shape, (3, 8, 9, 3))
    decoded.clear()
    os.utime(folder / "train" / "cat" / "001.png", ns=(5, 5))
    load_images(folder, SIZE | ON_DISK)
    assert len(decoded) == 34


def test_other_image_sizes_have_their_own_files_but_other_ranges_do_not(folder, own_cache):
    load_images(folder, SIZE | ON_DISK)
    load_images(folder, {"image_size": 8} | ON_DISK)
    load_images(folder, {"image_size": 8, "range": (0, 200)} | ON_DISK)
    assert len(images_in(own_cache)) == 2


@pytest.mark.parametrize("fault", ["fallocate", "free", "flush", "interrupt", "facts"])
def test_a_failed_or_interrupted_decoding_leaves_no_file(folder, own_cache, monkeypatch, fault):
    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def interrupted(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if fault == "fallocate":
            patch.setattr(os, "posix_fallocate", full)
        elif fault == "free":
            usage = folder_cache.shutil.disk_usage(folder)._replace(free=10)
            patch.setattr(folder_cache.shutil, "disk_usage", lambda _: usage)
        elif fault == "flush":
            patch.setattr(np.memmap, "flush", full)
        elif fault == "facts":
            patch.setattr("vaetune.files.os.fsync", full)
        else:
            patch.setattr(image_folder, "split_up", interrupted)
        error_class = KeyboardInterrupt if fault == "interrupt" else DataError
        with pytest.raises(error_class) as error:
            load_images(folder, SIZE | ON_DISK)
    assert "\n" not in str(error.value)
    if fault in ("fallocate", "free", "flush"):
        assert "No space left on device. Free disk space, set XDG_CACHE_HOME" in str(error.value)
    assert {path.suffix for path in own_cache.iterdir()} <= {".lock"}
    assert_same_images(*both(folder))


def test_the_partial_file_of_a_killed_process_is_removed(folder, own_cache):
    load_images(folder, SIZE | ON_DISK)
    (name,) = images_in(own_cache)
    clear_cache()
    partial = own_cache / f".{name.removesuffix('.npy')}.12345.tmp"
    partial.write_bytes(b"half")
    load_images(folder, SIZE | ON_DISK)
    assert not partial.exists()
    assert images_in(own_cache) == [name]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"format": 0}'])
def test_a_folder_with_a_damaged_record_is_decoded_again(folder, own_cache, decoded, damage):
    load_images(folder, SIZE | ON_DISK)
    (name,) = images_in(own_cache)
    (own_cache / name).with_suffix(".json").write_bytes(damage)
    decoded.clear()
    assert_same_images(*both(folder))
    assert decoded


def test_a_truncated_file_is_replaced(folder, own_cache):
    load_images(folder, SIZE | ON_DISK)
    (name,) = images_in(own_cache)
    (own_cache / name).write_bytes(b"short")
    assert_same_images(*both(folder))


def test_a_process_waits_for_another_that_decodes_the_same_folder(
    folder, own_cache, decoded, monkeypatch
):
    original = folder_cache.FileLock

    class Slow(original):
        def acquire(self, *args, **kwargs):
            monkeypatch.setattr(folder_cache, "FileLock", original)
            load_images(folder, SIZE | ON_DISK)  # Another process decodes it first.
            return super().acquire(*args, **kwargs)

    monkeypatch.setattr(folder_cache, "FileLock", Slow)
    load_images(folder, SIZE | ON_DISK)
    assert len(decoded) == 34
    assert len(images_in(own_cache)) == 1


def test_the_cache_is_listed_and_cleared(folder, own_cache):
    images = load_images(folder, SIZE | ON_DISK)
    first = list_cache()[0]
    assert (first.path.suffix, first.size, first.source) == (".npy", 34 * 8 * 9 * 3, str(folder))
    number, size = clear_cache()
    assert number == len({".npy", ".json", ".lock", "facts"})
    assert size > first.size
    assert list(own_cache.iterdir()) == []
    assert len(images.train.images[:]) == 18  # A running search can still read its file.
    assert clear_cache() == (0, 0)


def test_a_file_that_is_being_written_is_not_cleared(folder, own_cache, monkeypatch):
    load_images(folder, {"image_size": 8} | ON_DISK)
    (other,) = images_in(own_cache)
    flush = np.memmap.flush
    cleared = []

    def clear_and_flush(array):
        cleared.append(clear_cache())
        flush(array)

    monkeypatch.setattr(np.memmap, "flush", clear_and_flush)
    assert_same_images(*both(folder))
    assert cleared[0][0] > 0
    assert len(images_in(own_cache)) == 1
    assert images_in(own_cache) != [other]


def test_the_record_and_pickled_images_contain_no_pixels(folder, own_cache):
    load_images(folder, SIZE | ON_DISK)
    (name,) = images_in(own_cache)
    record = json.loads((own_cache / name).with_suffix(".json").read_text())
    count, labels, names = record["splits"]["train"]
    assert (count, labels, len(names)) == (18, [0] * 10 + [1] * 8, 18)
    sent = pickle.dumps(load_images(folder, SIZE | ON_DISK))
    clear_cache()
    with pytest.raises(DataError, match="are not on this machine"):
        pickle.loads(sent).check_on_disk()
