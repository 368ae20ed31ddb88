"""A checkpoint returns exactly what was saved, or raises an error."""

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest

from vaetune.errors import ResultsError
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.training.restore import read_variables, write_variables


class Variable:
    """A stand-in for a Keras variable."""

    def __init__(self, value):
        self.value = np.array(value)

    @property
    def shape(self):
        return self.value.shape

    def assign(self, value):
        self.value[...] = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype) if copy else np.asarray(self.value, dtype)


def make_checkpoint(epoch=3, optimizer=None):
    generator = np.random.default_rng(epoch)
    # The names of more than ten arrays do not sort in the order of their numbers.
    weights = tuple(generator.normal(size=(2, n + 1)).astype(np.float32) for n in range(12))
    default = (np.int64(7), np.array([0, 2**32 - 1], np.uint32), np.zeros((0, 3), np.float64))
    return Checkpoint(
        epoch=epoch,
        weights=weights,
        optimizer=default if optimizer is None else optimizer,
        best_epoch=epoch - 1,
        best_val_loss=187.123456789012345,
        best_weights=tuple(weight + 1 for weight in weights),
    )


def assert_same(ours, theirs):
    assert (ours.epoch, ours.best_epoch) == (theirs.epoch, theirs.best_epoch)
    assert ours.best_val_loss == theirs.best_val_loss
    for group in ("weights", "optimizer", "best_weights"):
        left, right = getattr(ours, group), getattr(theirs, group)
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert one.dtype == other.dtype
            assert one.shape == other.shape
            assert one.tobytes() == other.tobytes()


def test_a_checkpoint_returns_every_array_exactly(tmp_path):
    make_checkpoint().save(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert_same(loaded, make_checkpoint())
    assert loaded.weights[11].shape == (2, 12)
    assert [array.dtype for array in loaded.optimizer] == [np.int64, np.uint32, np.float64]


def test_special_floats_are_read_back_bit_for_bit(tmp_path):
    odd = (np.array([np.nan, -np.inf, -0.0, 1e-45], np.float32),)
    make_checkpoint(optimizer=odd).save(tmp_path)
    assert Checkpoint.load(tmp_path).optimizer[0].tobytes() == odd[0].tobytes()


def test_a_checkpoint_before_the_first_finite_loss_has_no_best_weights(tmp_path):
    Checkpoint(1, (), (), 0, float("inf"), ()).save(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert (loaded.best_val_loss, loaded.best_weights) == (float("inf"), ())


def test_a_checkpoint_creates_its_folder_and_no_other_file(tmp_path):
    make_checkpoint().save(tmp_path / "trials" / "0000")
    assert [path.name for path in (tmp_path / "trials" / "0000").iterdir()] == [CHECKPOINT_NAME]


def test_a_checkpoint_replaces_the_earlier_one(tmp_path):
    make_checkpoint(3).save(tmp_path)
    make_checkpoint(4).save(tmp_path)
    assert_same(Checkpoint.load(tmp_path), make_checkpoint(4))


# Interrupted writes


def no_space(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_half(file, **arrays):
    file.write(b"half of it")
    no_space()


@pytest.mark.parametrize(
    ("owner", "step", "failure"),
    [(np, "savez", write_half), (os, "fsync", no_space), (os, "replace", no_space)],
)
def test_a_full_disk_leaves_the_earlier_checkpoint_intact(
    tmp_path, monkeypatch, owner, step, failure
):
    make_checkpoint(3).save(tmp_path)
    monkeypatch.setattr(owner, step, failure)
    with pytest.raises(ResultsError, match=r"checkpoint\.npz cannot be written: No space left"):
        make_checkpoint(4).save(tmp_path)
    assert_same(Checkpoint.load(tmp_path), make_checkpoint(3))


def test_a_process_killed_while_writing_leaves_the_earlier_checkpoint_intact(tmp_path, monkeypatch):
    make_checkpoint(3).save(tmp_path)

    def exit_process(*arguments, **named):
        raise SystemExit

    monkeypatch.setattr(os, "replace", exit_process)
    with pytest.raises(SystemExit):
        make_checkpoint(4).save(tmp_path)
    monkeypatch.undo()
    assert_same(Checkpoint.load(tmp_path), make_checkpoint(3))
    make_checkpoint(5).save(tmp_path)
    assert_same(Checkpoint.load(tmp_path), make_checkpoint(5))


def test_a_checkpoint_is_synced_to_the_disk_before_renaming(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *a: (steps.append("fsync"), fsync(*a)))
    monkeypatch.setattr(os, "replace", lambda *a: (steps.append("replace"), replace(*a)))
    make_checkpoint().save(tmp_path)
    assert steps[:2] == ["fsync", "replace"]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "trials").write_text("a file")
    with pytest.raises(ResultsError, match="cannot be written: Not a directory"):
        make_checkpoint().save(tmp_path / "trials" / "0000")


# Damage


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory):
    """The bytes of a checkpoint with one small array."""
    folder = tmp_path_factory.mktemp("small")
    weights = (np.arange(3, dtype=np.float32),)
    Checkpoint(1, weights, (), 1, 200.0, ()).save(folder)
    return (folder / CHECKPOINT_NAME).read_bytes()


def test_a_checkpoint_truncated_at_any_byte_is_reported_as_damaged(tmp_path, small_checkpoint):
    path = tmp_path / CHECKPOINT_NAME
    for end in range(len(small_checkpoint)):
        path.write_bytes(small_checkpoint[:end])
        with pytest.raises(ResultsError, match=r"checkpoint\.npz is damaged"):
            Checkpoint.load(tmp_path)


def test_a_flipped_byte_is_refused_or_changes_no_array(tmp_path, small_checkpoint):
    path = tmp_path / CHECKPOINT_NAME
    path.write_bytes(small_checkpoint)
    whole = Checkpoint.load(tmp_path)
    variables = [Variable(array) for array in whole.weights]
    refused = 0
    for place in range(len(small_checkpoint)):
        for flip in (0x01, 0xFF):
            flipped = bytearray(small_checkpoint)
            flipped[place] ^= flip
            path.write_bytes(flipped)
            try:
                loaded = Checkpoint.load(tmp_path)
                write_variables(variables, loaded.weights)
            except ResultsError:
                refused += 1
            else:
                assert_same(loaded, whole)
    assert refused > len(small_checkpoint)


def test_a_missing_checkpoint_is_reported(tmp_path):
    with pytest.raises(ResultsError, match=r"There is no checkpoint at .*checkpoint\.npz"):
        Checkpoint.load(tmp_path)


@pytest.mark.parametrize("missing", ["epoch", "best_val_loss", "weights/0"])
def test_a_checkpoint_with_a_missing_array_is_reported_as_damaged(tmp_path, missing):
    path = tmp_path / CHECKPOINT_NAME
    make_checkpoint().save(tmp_path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != missing}
    np.savez(path, **arrays)
    with pytest.raises(ResultsError, match="is damaged"):
        Checkpoint.load(tmp_path)


def test_a_bare_array_is_reported_as_a_damaged_checkpoint(tmp_path):
    with (tmp_path / CHECKPOINT_NAME).open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ResultsError, match="is damaged"):
        Checkpoint.load(tmp_path)


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_pickles_are_never_loaded(tmp_path):
    folder = tmp_path / "exploded"
    path = tmp_path / CHECKPOINT_NAME
    payload = Payload(folder)

    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(ResultsError, match="is damaged"):
        Checkpoint.load(tmp_path)

    make_checkpoint().save(tmp_path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(path, **arrays | {"weights/0": np.array([payload], dtype=object)})
    assert "weights/0.npy" in zipfile.ZipFile(path).namelist()
    with pytest.raises(ResultsError, match="is damaged"):
        Checkpoint.load(tmp_path)

    assert not folder.exists()
    pickle.loads(pickle.dumps(payload))
    assert folder.exists(), "the payload must create its folder when it is unpickled"


# Variables


def test_values_read_from_variables_are_written_back():
    variables = [Variable(np.ones((2, 3), np.float32)), Variable(np.int64(5))]
    arrays = read_variables(variables)
    for variable in variables:
        variable.assign(np.zeros_like(variable.value))
    assert arrays[0].sum() == 6, "the arrays must be copies and not views"
    write_variables(variables, arrays)
    assert variables[0].value.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert variables[1].value == 5


@pytest.mark.parametrize(
    "arrays",
    [
        (np.ones((2, 3)),),
        (np.ones((2, 3)), np.ones(4), np.ones(1)),
        (np.ones((3, 2)), np.ones(4)),
        (np.ones((2, 3)), np.ones((4, 1))),
        (np.ones(4), np.ones((2, 3))),
    ],
)
def test_arrays_of_another_model_are_refused_before_any_is_written(arrays):
    variables = [Variable(np.zeros((2, 3))), Variable(np.zeros(4))]
    with pytest.raises(ResultsError, match=r"another model: .*\(2, 3\), \(4,\)"):
        write_variables(variables, arrays)
    assert all(not variable.value.any() for variable in variables)
