"""Images of compiled calls: those on the disk give the results of those in memory, bit for bit."""

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
    to_feed,
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
def save_images(tmp_path):
    """Returns a function that saves random images of a type, and returns the path of the file."""

    def save(dtype, count=200):
        pixels = np.random.default_rng(1).integers(0, 250, (count, 8, 9, 1)).astype(dtype)
        np.save(tmp_path / "images.npy", 16 * pixels if dtype == np.uint16 else pixels)
        return tmp_path / "images.npy"

    return save


def make_vae(shape):
    tf.keras.utils.set_random_seed(1)
    return build_vae(shape, TINY)


def runner_of(images):
    """A runner with a new model. Its weights are the same for all images of one shape."""
    vae = make_vae(images.image_shape)
    runner = EpochRunner(vae, put_on_device(images))
    runner.begin(read_variables(vae.variables), TINY["learning_rate"])
    return runner


def losses_of(images):
    """Trains and validates two epochs, and rescores.

    Returns:
        Losses of the epochs, weights, losses of the rescoring, and the runner.
    """
    runner, validation = runner_of(images), to_feed(images.validation.images)
    found = []
    for epoch in (1, 2):
        found.append(runner.train(plan_epoch(SearchSpec(), TINY, len(images.train), 0, epoch)))
        found.append(runner.validate())
    weights, _ = runner.read()
    return (
        found,
        weights,
        Rescorer(lambda *_: runner, validation).measure(TrainedModel(TINY, weights), 3, 0),
        runner,
    )


@pytest.fixture
def reads(monkeypatch):
    """The number of images in each read from the disk."""
    found = []
    original = ImageFile.read

    def spy(self, rows):
        found.append(len(rows))
        return original(self, rows)

    monkeypatch.setattr(ImageFile, "read", spy)
    return found


# Largest number of images per call, and the reads of an epoch. Training reads whole batches of 16.
SMALL, LARGE = (40, [*6 * [32], 8]), (208, [200])


@pytest.mark.parametrize(
    ("dtype", "largest", "epoch"),
    [
        (np.uint16, *SMALL),
        *long((np.uint8, *SMALL), (np.uint8, *LARGE), (np.uint16, *LARGE)),
    ],
)
def test_training_from_the_disk_in_small_reads_equals_training_from_memory(
    save_images, reads, monkeypatch, dtype, largest, epoch
):
    monkeypatch.setattr(feed_module, "CALLS_PER_EPOCH", 1)
    monkeypatch.setattr(rescore_module, "_CHUNK_VALUES", largest * 72)
    for module in (runner_module, functions, rescore_module):
        monkeypatch.setattr(module, "VALIDATION_BATCH_SIZE", 8)
    path = save_images(dtype, 300)
    on_disk, in_memory = (load_images(path, {"from_disk": each}) for each in (True, False))
    assert isinstance(put_on_device(on_disk).train, DiskImages)
    value = np.dtype(on_disk.train.images.dtype)
    monkeypatch.setattr(feed_module, "CALL_BYTES", largest * 72 * value.itemsize)
    reads.clear()
    ours, weights, rescored, runner = losses_of(on_disk)
    assert reads[: len(epoch)] == epoch
    assert max(reads) == min(largest, 200)
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


def test_validation_in_several_calls_gives_the_same_losses(save_images, reads, monkeypatch):
    images = load_images(save_images(np.uint8, 1800), {"from_disk": True})
    runner = runner_of(images)
    reads.clear()
    whole = runner.validate()
    monkeypatch.setattr(feed_module, "CALL_BYTES", 1)
    assert runner.validate() == whole
    assert reads == [300, 250, 50]


def test_a_call_has_whole_batches_and_at_least_one_batch(save_images):
    images = load_images(save_images(np.uint8), {"from_disk": True}).train.images
    in_memory = tf.zeros((5, 8, 9, 1), tf.float32)
    assert images_per_call(images, 100) == 2**26 // 72 // 100 * 100
    assert images_per_call(in_memory, 100) == 2**26 // 288 // 100 * 100
    assert images_per_call(images, 2**26) == 2**26


def test_images_in_memory_are_never_copied():
    images = tf.zeros((5, 8, 9, 1), tf.uint8)
    for fed, _ in feed_parts(images, [np.arange(3, dtype=np.int32)] * 2):
        assert fed is images


def test_an_unfinished_epoch_leaves_no_thread_running(save_images):
    images = load_images(save_images(np.uint8), {"from_disk": True}).train.images
    parts = feed_parts(images, [np.arange(3)] * 9)
    next(parts)
    parts.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("images")]


def test_a_failed_read_raises_an_error(save_images):
    path = save_images(np.uint8)
    images = load_images(path, {"from_disk": True}).train.images
    path.write_bytes(b"")
    with pytest.raises(Exception, match="another size or time"):
        list(feed_parts(images, [np.arange(3)]))


def test_the_first_images_of_a_disk_feed_stay_on_the_disk(save_images):
    images = load_images(save_images(np.uint8), {"from_disk": True})
    data = DeviceData(images.train.images, images.validation.images)
    assert len(first_images(data.validation, 4)) == 4
    assert isinstance(first_images(data.validation, 4), DiskImages)
