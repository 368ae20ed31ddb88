"""Images of a compiled call: from the disk as from memory, bit for bit, and few at a time."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from long_forms import long

from vaetune.config.spec import SearchSpec
from vaetune.data.disk.images import DiskImages, ImageFile
from vaetune.data.sources import load_images
from vaetune.evaluation import rescore as rescore_module
from vaetune.evaluation.rescore import Rescorer
from vaetune.models.build import build_vae
from vaetune.training import feed as feed_module, functions, runner as runner_module
from vaetune.training.feed import (
    DeviceData,
    feed_parts,
    first_images,
    images_per_call,
    put_on_device,
)
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import plan_epoch
from vaetune.training.snapshot import choose_probe_images, take_snapshot
from vaetune.training.tasks import TrainedModel

pytestmark = pytest.mark.usefixtures("own_cache")

TINY = {
    "filters_1": 4,
    "filters_2": 4,
    "dense_units": 8,
    "latent_dim": 3,
    "learning_rate": 1e-3,
    "batch_size": 16,
}


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture
def saved(tmp_path):
    """A file of 200 images with values of a type."""

    def save(dtype, count=200):
        pixels = np.random.default_rng(1).integers(0, 250, (count, 8, 9, 1)).astype(dtype)
        np.save(tmp_path / "images.npy", 16 * pixels if dtype == np.uint16 else pixels)
        return tmp_path / "images.npy"

    return save


def initial_weights(shape):
    tf.keras.utils.set_random_seed(1)
    return build_vae(shape, TINY)


def losses_of(images, epochs=2):
    """The losses of some epochs, of a validation of each, and of a rescoring; and the weights."""
    vae = initial_weights(images.image_shape)
    data = put_on_device(images)
    runner = EpochRunner(vae, data)
    runner.begin(read_variables(vae.variables), TINY["learning_rate"])
    found = []
    for epoch in range(1, epochs + 1):
        found.append(runner.train(plan_epoch(SearchSpec(), TINY, len(images.train), 0, epoch)))
        found.append(runner.validate())
    weights, _ = runner.read()
    return (
        found,
        weights,
        Rescorer(lambda *_: runner, data.validation).measure(TrainedModel(TINY, weights), 3, 0),
        runner,
    )


@pytest.mark.parametrize(
    ("dtype", "call_bytes"),
    [
        (np.uint8, 32 * 72),
        (np.uint16, 2**26),
        *long((np.uint8, 2**26), (np.uint16, 32 * 72)),
    ],
)
def test_losses_from_the_disk_are_those_from_memory(saved, monkeypatch, dtype, call_bytes):
    monkeypatch.setattr(feed_module, "CALL_BYTES", call_bytes)
    path = saved(dtype)
    on_disk, in_memory = (load_images(path, {"from_disk": each}) for each in (True, False))
    assert isinstance(put_on_device(on_disk).train, DiskImages)
    ours, weights, rescored, runner = losses_of(on_disk)
    theirs, other_weights, other_rescored, other = losses_of(in_memory)
    assert ours == theirs
    for one, two in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(rescored.negative_elbo, other_rescored.negative_elbo)
    for name, worst in vars(rescored.worst).items():
        np.testing.assert_array_equal(worst, getattr(other_rescored.worst, name))
    pictures = [
        take_snapshot(model, choose_probe_images(split.images, split.labels), split.images)
        for model, split in ((runner, on_disk.validation), (other, in_memory.validation))
    ]
    np.testing.assert_array_equal(pictures[0].z_mean, pictures[1].z_mean)
    np.testing.assert_array_equal(pictures[0].reconstructions, pictures[1].reconstructions)


def test_validation_in_several_calls_adds_the_same_losses(saved, monkeypatch):
    images = load_images(saved(np.uint8, 1800), {"from_disk": True})
    assert len(images.validation) == 300
    (_, whole), *_ = losses_of(images, epochs=1)
    monkeypatch.setattr(feed_module, "CALL_BYTES", 1)
    (_, split), *_ = losses_of(images, epochs=1)
    assert whole == split


def test_an_epoch_reads_a_bounded_part_at_a_time(saved, monkeypatch):
    read = []
    original = ImageFile.read

    def spy(self, rows):
        read.append(len(rows))
        return original(self, rows)

    images = load_images(saved(np.uint8, 300), {"from_disk": True})
    monkeypatch.setattr(ImageFile, "read", spy)
    monkeypatch.setattr(feed_module, "CALLS_PER_EPOCH", 1)
    for module in (runner_module, functions, rescore_module):
        monkeypatch.setattr(module, "VALIDATION_BATCH_SIZE", 8)
    monkeypatch.setattr(feed_module, "CALL_BYTES", 40 * 72)
    monkeypatch.setattr(rescore_module, "_CHUNK_VALUES", 40 * 72)
    losses_of(images, epochs=1)
    assert max(read) == 40  # of the validation; training takes whole batches of 16
    assert read[:7] == [32] * 6 + [8]


def test_a_call_has_whole_batches_and_at_least_one(saved):
    images = load_images(saved(np.uint8), {"from_disk": True}).train.images
    in_memory = tf.zeros((5, 8, 9, 1), tf.float32)
    assert images_per_call(images, 100) == 2**26 // 72 // 100 * 100
    assert images_per_call(in_memory, 100) == 2**26 // 288 // 100 * 100
    assert images_per_call(images, 2**26) == 2**26


def test_images_in_memory_are_never_copied():
    images = tf.zeros((5, 8, 9, 1), tf.uint8)
    for fed, _ in feed_parts(images, [np.arange(3, dtype=np.int32)] * 2):
        assert fed is images


def test_an_unfinished_epoch_leaves_no_thread(saved):
    images = load_images(saved(np.uint8), {"from_disk": True}).train.images
    parts = feed_parts(images, [np.arange(3)] * 9)
    next(parts)
    parts.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("images")]


def test_a_failed_read_reaches_the_training(saved):
    path = saved(np.uint8)
    images = load_images(path, {"from_disk": True}).train.images
    path.write_bytes(b"")
    with pytest.raises(Exception, match="another size or time"):
        list(feed_parts(images, [np.arange(3)]))


def test_the_first_images_stay_where_they_are(saved):
    images = load_images(saved(np.uint8), {"from_disk": True})
    data = DeviceData(images.train.images, images.validation.images)
    assert len(first_images(data.validation, 4)) == 4
    assert isinstance(first_images(data.validation, 4), DiskImages)
