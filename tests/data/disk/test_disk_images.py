"""Images on the disk equal those in memory. They are read in parts and never written."""

import json
import pickle

import numpy as np
import pytest

from vaetune.config.reading import ReadingSpec
from vaetune.config.spec import DataSpec
from vaetune.data.disk import arrays as from_disk, images as disk_images
from vaetune.data.disk.images import DiskImages, ImageFile
from vaetune.data.examples import choose_examples
from vaetune.data.images import Split, entropy_floor, fingerprint_of
from vaetune.data.sources import load_images, load_prepared
from vaetune.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")

VALUES = {
    "uint8": lambda r, shape: r.integers(0, 256, shape).astype(np.uint8),
    "uint16": lambda r, shape: r.integers(0, 4096, shape).astype(np.uint16),
    "big-endian": lambda r, shape: r.integers(0, 65536, shape).astype(">u2"),
    "masks": lambda r, shape: r.integers(0, 2, shape).astype(bool),
    "floats": lambda r, shape: r.random(shape),
    "signed floats": lambda r, shape: (2.04 * r.random(shape) - 1.02).astype(np.float32),
}


def values(kind, shape=(60, 9, 10, 3)):
    pixels = VALUES[kind](np.random.default_rng(3), shape)
    return pixels


@pytest.fixture
def saved(tmp_path):
    """Saves pixels as an .npy file, and returns its path."""

    def save(pixels, name="images.npy"):
        np.save(tmp_path / name, pixels)
        return tmp_path / name

    return save


def both(path, **keys):
    """The images of a file, once on the disk and once in memory."""
    on_disk, in_memory = (load_images(path, {**keys, "from_disk": each}) for each in (True, False))
    assert isinstance(on_disk.train.images, DiskImages)
    assert isinstance(in_memory.train.images, np.ndarray)
    return on_disk, in_memory


def splits_of(images):
    return images.train, images.validation, images.test


def assert_equal_except_for_a_note(ours, theirs):
    assert ours.notes[-1].startswith("Each epoch reads the images from the disk")
    assert ours.model_copy(update={"notes": ours.notes[:-1]}) == theirs


def assert_same_images(on_disk, in_memory):
    for ours, theirs in zip(splits_of(on_disk), splits_of(in_memory), strict=True):
        assert (ours.images.shape, ours.images.dtype) == (theirs.images.shape, theirs.images.dtype)
        assert ours.images.nbytes == theirs.images.nbytes
        np.testing.assert_array_equal(ours.images[:], theirs.images)
    assert on_disk.fingerprint == in_memory.fingerprint
    assert_equal_except_for_a_note(on_disk.reading, in_memory.reading)


@pytest.mark.parametrize("kind", VALUES)
def test_images_on_the_disk_equal_those_in_memory(saved, kind):
    assert_same_images(*both(saved(values(kind))))


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ((60, 9, 10), {}),
        ((60, 100), {}),
        ((60, 3, 9, 10), {}),
        ((60, 9, 10, 3), {"image_size": "12x8", "resize": "pad"}),
        ((60, 9, 10, 3), {"range": (10, 200)}),
    ],
)
def test_layouts_sizes_and_ranges_are_handled_as_in_memory(saved, shape, keys):
    assert_same_images(*both(saved(values("uint8", shape)), **keys))


def test_masks_are_resized_as_in_memory(saved):
    assert_same_images(*both(saved(values("masks")), image_size="12x8"))


def test_padding_of_signed_images_is_refused_as_in_memory(saved):
    path = saved(values("signed floats"))
    for on_disk in (True, False):
        with pytest.raises(DataError, match="not black in images with negative values"):
            load_images(path, {"image_size": 12, "resize": "pad", "from_disk": on_disk})


def test_rows_are_read_in_any_order(saved):
    pixels = values("uint8")
    images = load_images(saved(pixels), {"from_disk": True}).train.images
    images = DiskImages(images.file)
    for rows in ([3], [5, 4, 6, 4], [-1, 0], [], [*range(60)], [59, *range(59)]):
        rows = np.array(rows, np.int64)
        np.testing.assert_array_equal(images[rows], pixels[rows])
        np.testing.assert_array_equal(images.take(rows)[:], pixels[rows])
    np.testing.assert_array_equal(images[7], pixels[7])
    np.testing.assert_array_equal(images[3:50:7], pixels[3:50:7])
    np.testing.assert_array_equal(images.take(slice(5, 30)).take(np.array([9, 2]))[1], pixels[7])


def test_rows_are_read_from_the_file_in_ascending_order(saved, monkeypatch):
    pixels = values("uint8")
    images = DiskImages(load_images(saved(pixels), {"from_disk": True}).train.images.file)
    positions = []
    original = disk_images.os.preadv

    def spy(descriptor, buffers, position):
        positions.append(position)
        return original(descriptor, buffers, position)

    monkeypatch.setattr(disk_images.os, "preadv", spy)
    rows = np.random.default_rng(0).permutation(60)[:40]
    np.testing.assert_array_equal(images[rows], pixels[rows])
    assert positions == sorted(positions)
    assert len(positions) < 40  # Adjacent rows are read in one call.


def test_many_adjacent_rows_are_read_in_several_calls(saved, monkeypatch):
    pixels = values("uint8")
    monkeypatch.setattr(disk_images, "_MAX_BYTES", 1000)
    images = load_images(saved(pixels), {"from_disk": True}).train.images
    np.testing.assert_array_equal(DiskImages(images.file)[:], pixels)


def test_values_computed_from_images_are_the_same_as_in_memory(saved):
    on_disk, in_memory = both(saved(values("uint16")))
    assert entropy_floor(on_disk.test.images) == entropy_floor(in_memory.test.images)
    np.testing.assert_array_equal(choose_examples(on_disk, 20), choose_examples(in_memory, 20))
    ours, theirs = (fingerprint_of([each.train.take(slice(9))]) for each in (on_disk, in_memory))
    assert ours == theirs


@pytest.mark.parametrize("keys", [{"binarize": "threshold"}, {"train_on": "train+validation"}])
def test_prepared_images_are_the_same_as_in_memory(saved, keys):
    path = saved(values("uint16"))
    ours, theirs = (
        load_prepared(DataSpec(dataset=str(path), from_disk=each, **keys)) for each in (True, False)
    )
    assert isinstance(ours.train.images, DiskImages)
    assert_same_images(ours, theirs)


def test_stochastic_binarisation_of_images_on_the_disk_is_refused(saved):
    data = DataSpec(dataset=str(saved(values("uint8"))), from_disk=True, binarize="stochastic")
    with pytest.raises(DataError, match='Use binarize = "threshold", or from_disk = false'):
        load_prepared(data)


def test_the_file_is_never_changed(saved):
    path = saved(values("uint16"))
    path.chmod(0o444)
    before, changed_ns = path.read_bytes(), path.stat().st_mtime_ns
    images = load_images(path, {"from_disk": True})
    assert fingerprint_of(splits_of(images)) == images.fingerprint
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, changed_ns)
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk_images.os.pwrite(images.train.images.file._descriptor, b"x", 0)


def test_pickled_images_are_small_and_refer_to_their_file(saved):
    images = load_images(saved(values("uint8", (60, 30, 30, 3))), {"from_disk": True}).train
    content = pickle.dumps(images)
    assert len(content) < 5000
    np.testing.assert_array_equal(pickle.loads(content).images[:], images.images[:])


@pytest.mark.parametrize("change", ["missing", "shorter", "touched"])
def test_a_worker_refuses_a_missing_or_changed_file(saved, change):
    path = saved(values("uint8"))
    content = pickle.dumps(load_images(path, {"from_disk": True}).train)
    if change == "missing":
        path.unlink()
    elif change == "shorter":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        disk_images.os.utime(path, ns=(0, 0))
    reason = "are not on this machine" if change == "missing" else "another size or time"
    with pytest.raises(DataError, match=reason) as error:
        pickle.loads(content).images.file.check()
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=reason):
        pickle.loads(content).images[0]


def test_a_truncated_file_is_refused(saved):
    path = saved(values("uint8"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="shorter than its header says"):
        load_images(path, {"from_disk": True})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense", "damaged or not an .npy file"),
        (np.asfortranarray(values("uint8")), "does not hold one image after the other"),
        (np.zeros((60, 9, 10), complex), "values of type complex128"),
    ],
)
def test_files_that_cannot_be_read_in_parts_are_refused(saved, content, message):
    path = saved(np.zeros(1) if isinstance(content, bytes) else content)
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_images(path, {"from_disk": True})


def test_the_layout_images_last_is_refused(saved):
    with pytest.raises(DataError, match="the images as the first axis"):
        load_images(
            saved(values("uint8", (9, 10, 3, 60))), {"from_disk": True, "layout": "images_last"}
        )


def test_large_files_stay_on_the_disk(saved, monkeypatch):
    path = saved(values("uint8"))
    for memory, kind in ((60 * 9 * 10 * 3 * 2, np.ndarray), (60 * 9 * 10 * 3 * 2 - 2, DiskImages)):
        monkeypatch.setattr(from_disk, "available_memory", lambda memory=memory: memory)
        assert isinstance(load_images(path).train.images, kind)
    assert isinstance(load_images(path, {"from_disk": False}).train.images, np.ndarray)


def test_the_estimated_memory_includes_the_scaled_copy(saved, monkeypatch):
    path = saved(values("uint16"))
    monkeypatch.setattr(from_disk, "available_memory", lambda: 60 * 9 * 10 * 3 * 6 * 2 - 2)
    assert isinstance(load_images(path).train.images, DiskImages)


def test_the_memory_limit_of_a_container_is_read(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    limit = tmp_path / "a" / "memory.max"
    limit.write_text("max\n")
    assert list(from_disk._limit_in(limit)) == []
    limit.write_text("1000\n")
    assert list(from_disk._limit_in(limit)) == [1000]
    assert from_disk.available_memory() > 0


def test_an_npz_file_larger_than_memory_is_refused_with_a_command(tmp_path, monkeypatch):
    path = tmp_path / "images.npz"
    np.savez(path, images=values("uint8"), labels=np.arange(60))
    monkeypatch.setattr(from_disk, "available_memory", lambda: 10_000)
    with pytest.raises(DataError, match="do not fit into memory") as error:
        load_images(path)
    command = f"np.save('images.npy', np.load('{path}')['images'])"
    assert command in str(error.value)
    monkeypatch.chdir(tmp_path)
    exec(f"import numpy as np; {command}")
    assert isinstance(load_images("images.npy").train.images, DiskImages)


@pytest.mark.parametrize("name", ["images.npz", "t.idx"])
def test_from_disk_is_refused_for_other_file_formats(tmp_path, name):
    np.savez(tmp_path / "images.npz", x=values("uint8"))
    (tmp_path / "t.idx").write_bytes(b"")
    with pytest.raises(DataError, match=r"needs an \.npy file or a folder"):
        load_images(tmp_path / name, {"from_disk": True})


def test_only_images_of_the_same_file_are_joined(saved):
    train, *_ = splits_of(load_images(saved(values("uint8")), {"from_disk": True}))
    other = ImageFile(saved(values("uint8"), "other.npy"), 128, np.uint8, (60, 9, 10, 3))
    with pytest.raises(ValueError, match="two files"):
        train.images.followed_by(DiskImages(other))
    assert len(Split(train.images.followed_by(train.images), None)) == 2 * len(train)


def test_from_disk_is_a_key_of_search_files():
    assert ReadingSpec(from_disk=True).from_disk


def fact_files(folder):
    return [path.name for path in folder.glob("facts-*.json")]


def test_facts_of_an_unchanged_file_are_not_computed_again(saved, own_cache, monkeypatch):
    path = saved(values("signed floats"))
    read = []
    original = ImageFile.read

    def spy(self, rows):
        read.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(ImageFile, "read", spy)
    first = load_images(path, {"from_disk": True})
    entropy_floor(first.validation.images)
    assert sum(read) > 3 * 60
    assert len(fact_files(own_cache)) == 1
    read.clear()
    again = load_images(path, {"from_disk": True})
    entropy_floor(again.validation.images)
    assert (again.fingerprint, again.reading) == (first.fingerprint, first.reading)
    assert sum(read) < 6  # Only images that show the type after scaling are read.
    load_images(path, {"from_disk": True, "range": (-1.5, 1.5)})
    assert sum(read) > 60


def test_facts_of_a_changed_file_are_computed_again(saved, own_cache):
    pixels = values("uint8")
    path = saved(pixels)
    before = load_images(path, {"from_disk": True})
    pixels[3, 0, 0] ^= 1
    saved(pixels)
    disk_images.os.utime(path, ns=(1, 1))
    (name,) = fact_files(own_cache)
    known = len(json.loads((own_cache / name).read_text())["facts"])
    after = load_images(path, {"from_disk": True})
    assert len(json.loads((own_cache / name).read_text())["facts"]) == known
    assert after.fingerprint != before.fingerprint
    assert after.fingerprint == load_images(path, {"from_disk": False}).fingerprint
    assert len(fact_files(own_cache)) == 1


def test_damaged_facts_are_computed_again(saved, own_cache):
    path = saved(values("uint8"))
    first = load_images(path, {"from_disk": True}).fingerprint
    (name,) = fact_files(own_cache)
    for content in (b"", b"[]", b'{"facts": 3}', b"\xff"):
        (own_cache / name).write_bytes(content)
        assert load_images(path, {"from_disk": True}).fingerprint == first


def test_facts_are_computed_if_the_cache_folder_cannot_be_created(saved, own_cache):
    own_cache.parent.parent.write_text("a file")
    assert_same_images(*both(saved(values("uint8"))))
