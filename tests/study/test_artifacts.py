"""Probe images and artifacts: how they are chosen, computed, saved and read back."""

import errno
import os

import numpy as np
import pytest
from scipy.stats import norm

from vaetune.errors import ResultsError
from vaetune.study.artifacts import (
    EXAMPLES,
    LATENT_POINTS,
    MANIFOLD_SIDE,
    PICTURES_NAME,
    PRIOR_SAMPLES,
    RECONSTRUCTIONS,
    Artifacts,
    ProbeImages,
    prior_grid,
    prior_samples,
)
from vaetune.training.snapshot import choose_probe_images, decode, take_snapshot

SHAPE = (4, 5, 1)


class FakeVAE:
    """Encodes an image as its brightness in every latent dimension, and decodes z to grey images.

    The first columns of a decoded image hold the cumulative normal of each latent dimension.
    """

    def __init__(self, latent_dim):
        self.latent_dim = latent_dim
        self.encoded = []

    def encode(self, images):
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
        self.encoded.append(images)
        return np.repeat(images.mean(axis=(1, 2, 3))[:, None], self.latent_dim, axis=1)

    def decode(self, z):
        assert z.dtype == np.float32
        images = np.zeros((len(z), *SHAPE), np.float32)
        images[:, :, : self.latent_dim, 0] = norm.cdf(z)[:, None, :]
        return images

    def reconstruct(self, images):
        return self.decode(self.encode(images))

    def generate(self, z, seed):
        return self.decode(z)


def make_numbered(count, shape=SHAPE):
    """Images that store their number in their first two pixels."""
    images = np.zeros((count, *shape), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(np.arange(count), 256)
    return images


def numbers_of(images):
    return (images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]).tolist()


# Probe images


def test_probe_images_contain_each_class_once_before_any_class_twice():
    labels = np.array([1] * 20 + [0] * 20 + [2] * 20)
    probe_images = choose_probe_images(make_numbered(60), labels)
    assert numbers_of(probe_images.originals) == [20, 0, 40, 21, 1, 41, 22, 2, 42, 23]


def test_a_rare_class_is_among_the_probe_images():
    labels = np.array([0] * 99 + [7])
    shown = numbers_of(choose_probe_images(make_numbered(100), labels).originals)
    assert len(shown) == RECONSTRUCTIONS
    assert shown[:2] == [0, 99]


def test_without_labels_the_first_images_are_the_probe_images():
    probe_images = choose_probe_images(make_numbered(30), None)
    assert numbers_of(probe_images.originals) == list(range(RECONSTRUCTIONS))
    assert probe_images.labels is None


def test_few_images_are_all_probe_images():
    probe_images = choose_probe_images(make_numbered(3), np.array([1, 0, 1]))
    assert sorted(numbers_of(probe_images.originals)) == [0, 1, 2]
    assert probe_images.labels.tolist() == [1, 0, 1]


def test_probe_images_keep_the_labels_of_the_latent_points():
    labels = np.arange(LATENT_POINTS + 5) % 3
    probe_images = choose_probe_images(np.zeros((LATENT_POINTS + 5, *SHAPE), np.uint8), labels)
    assert probe_images.labels.tolist() == labels[:LATENT_POINTS].tolist()


@pytest.mark.parametrize("classes", [2, 3, 7, 10, 25])
def test_neighbouring_probe_images_have_different_classes(classes):
    labels = np.random.default_rng(1).permutation(np.arange(300) % classes)
    chosen = labels[numbers_of(choose_probe_images(make_numbered(300), labels).originals)]
    assert (chosen[1:] != chosen[:-1]).all()


def test_float_images_are_stored_as_bytes():
    images = np.array([0.0, 0.2, 0.5, 1.0]).reshape(4, 1, 1, 1) * np.ones((1, *SHAPE))
    probe_images = choose_probe_images(images, None)
    assert probe_images.originals.dtype == np.uint8
    assert probe_images.originals[:, 0, 0, 0].tolist() == [0, 51, 128, 255]


def test_examples_are_at_most_40_images_of_alternating_classes():
    labels = np.arange(60) // 20
    examples = choose_probe_images(make_numbered(60), labels).examples
    assert numbers_of(examples)[:4] == [0, 20, 40, 1]
    assert len(examples) == EXAMPLES
    assert len(choose_probe_images(make_numbered(3), None).examples) == 3


@pytest.mark.parametrize("shape", [(28, 28, 1), (128, 96, 3), (30, 31, 32), (500, 9, 5)])
def test_examples_are_small_for_images_of_any_shape(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (50, *shape)).astype(np.uint8)
    probe_images = choose_probe_images(images, None)
    assert max(probe_images.examples.shape[1:3]) <= 32
    assert 1 <= len(probe_images.examples) <= EXAMPLES
    assert probe_images.examples.nbytes <= 123_000
    probe_images.save(tmp_path)
    np.testing.assert_array_equal(ProbeImages.load(tmp_path).examples, probe_images.examples)


def test_probe_images_of_earlier_versions_have_no_examples_or_thumbnails(tmp_path):
    ProbeImages(np.zeros((2, *SHAPE), np.uint8), None).save(tmp_path)
    assert ProbeImages.load(tmp_path).examples is None
    assert ProbeImages.load(tmp_path).thumbnails is None


def test_thumbnails_show_the_latent_points_in_their_order():
    labels = np.arange(600) % 3
    thumbnails = choose_probe_images(make_numbered(600), labels).thumbnails
    assert numbers_of(thumbnails) == list(range(LATENT_POINTS))


@pytest.mark.parametrize("shape", [(28, 28, 1), (128, 96, 3), (30, 31, 32), (500, 9, 5)])
def test_thumbnails_are_small_for_images_of_any_shape(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (500, *shape)).astype(np.uint8)
    probe_images = choose_probe_images(images, None)
    assert max(probe_images.thumbnails.shape[1:3]) <= 32
    assert 13 <= len(probe_images.thumbnails) <= LATENT_POINTS
    assert probe_images.thumbnails.nbytes <= 392_000
    assert len(probe_images.thumbnails) == 500 or probe_images.thumbnails.nbytes > 350_000
    probe_images.save(tmp_path)
    np.testing.assert_array_equal(ProbeImages.load(tmp_path).thumbnails, probe_images.thumbnails)


# The prior


def test_the_prior_grid_is_evenly_spaced_in_probability():
    across, up = np.moveaxis(norm.cdf(prior_grid(3)), -1, 0)
    assert across == pytest.approx(np.array([[1 / 6, 1 / 2, 5 / 6]] * 3), abs=1e-6)
    assert up == pytest.approx(across.T[::-1], abs=1e-6)


def test_the_prior_grid_increases_to_the_right_and_upwards():
    grid = prior_grid(5)
    assert grid.shape == (5, 5, 2)
    assert (np.diff(grid[:, :, 0], axis=1) > 0).all()
    assert (np.diff(grid[:, :, 1], axis=0) < 0).all(), "the first row is the top"
    assert np.isfinite(grid).all()


def test_more_prior_samples_begin_with_the_same_vectors():
    assert (prior_samples(3, 256)[:PRIOR_SAMPLES] == prior_samples(3)).all()


def test_latent_vectors_are_decoded_in_batches_and_stay_in_order():
    batch_sizes = []

    class Counting:
        def decoder(self, z, training):
            batch_sizes.append(len(z))
            return np.broadcast_to(z[:, :1, None, None], (len(z), *SHAPE))

    z = np.linspace(0.0, 1.0, 300)[:, None]
    decoded = decode(Counting(), z)
    assert batch_sizes == [128, 128, 44]
    assert decoded[:, 0, 0, 0].tolist() == np.rint(z[:, 0].astype(np.float32) * 255).tolist()


def test_prior_samples_are_the_same_on_every_call():
    samples = prior_samples(4)
    assert samples.shape == (PRIOR_SAMPLES, 4)
    assert (samples == prior_samples(4)).all()
    assert abs(samples.mean()) < 0.3
    assert 0.7 < samples.std() < 1.3


# Snapshots of a model


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_model_with_two_latent_dimensions_has_all_artifacts(kind):
    images = make_numbered(30) if kind == np.uint8 else make_numbered(30).astype(kind) / 255
    artifacts = take_snapshot(FakeVAE(2), choose_probe_images(images, None), images)
    assert artifacts.reconstructions.shape == (RECONSTRUCTIONS, *SHAPE)
    assert artifacts.prior_samples.shape == (PRIOR_SAMPLES, *SHAPE)
    assert artifacts.z_mean.shape == (30, 2)
    assert artifacts.manifold.shape == (MANIFOLD_SIDE, MANIFOLD_SIDE, *SHAPE)
    for decoded in (artifacts.reconstructions, artifacts.prior_samples, artifacts.manifold):
        assert decoded.dtype == np.uint8


def test_a_model_with_more_latent_dimensions_has_no_manifold():
    images = make_numbered(12)
    artifacts = take_snapshot(FakeVAE(3), choose_probe_images(images, None), images)
    assert artifacts.manifold is None
    assert artifacts.z_mean.shape == (12, 3)
    assert artifacts.prior_samples.shape == (PRIOR_SAMPLES, *SHAPE)


def test_the_manifold_varies_the_first_dimension_across_and_the_second_upwards():
    images = make_numbered(12)
    manifold = take_snapshot(FakeVAE(2), choose_probe_images(images, None), images).manifold
    first, second = manifold[:, :, 0, 0, 0].astype(int), manifold[:, :, 0, 1, 0].astype(int)
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(second, axis=0) < 0).all()
    assert (first == first[0]).all()
    assert (second == second[:, :1]).all()


def test_probe_images_are_reconstructed_and_validation_images_are_encoded():
    images = np.full((LATENT_POINTS + 5, *SHAPE), 51, np.uint8)
    images[0] = 255
    vae = FakeVAE(2)
    probe_images = choose_probe_images(images, None)
    artifacts = take_snapshot(vae, probe_images, images)
    assert [len(batch) for batch in vae.encoded] == [RECONSTRUCTIONS, LATENT_POINTS]
    assert artifacts.z_mean[:2, 0] == pytest.approx([1.0, 0.2])
    expected = np.rint(norm.cdf([1.0, 0.2]) * 255)
    assert artifacts.reconstructions[:2, 0, 0, 0].tolist() == expected.tolist()


# Files


def make_artifacts(latent_dim=2):
    images = make_numbered(30)
    return take_snapshot(FakeVAE(latent_dim), choose_probe_images(images, None), images)


@pytest.mark.parametrize("labels", [None, np.arange(30) % 3])
def test_saved_probe_images_are_read_back(tmp_path, labels):
    probe_images = choose_probe_images(make_numbered(30), labels)
    probe_images.save(tmp_path / "new")
    loaded = ProbeImages.load(tmp_path / "new")
    assert (loaded.originals == probe_images.originals).all()
    assert loaded.originals.dtype == np.uint8
    assert (loaded.labels is None) if labels is None else (loaded.labels == labels).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == [PICTURES_NAME]


@pytest.mark.parametrize("latent_dim", [2, 3])
def test_saved_artifacts_are_read_back(tmp_path, latent_dim):
    artifacts = make_artifacts(latent_dim)
    artifacts.save(tmp_path)
    loaded = Artifacts.load(tmp_path)
    assert (loaded.reconstructions == artifacts.reconstructions).all()
    assert (loaded.prior_samples == artifacts.prior_samples).all()
    assert loaded.z_mean.dtype == np.float32
    assert loaded.z_mean == pytest.approx(artifacts.z_mean, rel=1e-3, abs=1e-6)
    if latent_dim == 2:
        assert (loaded.manifold == artifacts.manifold).all()
    else:
        assert loaded.manifold is None


def test_a_missing_file_is_read_as_none(tmp_path):
    assert Artifacts.load(tmp_path) is None
    assert ProbeImages.load(tmp_path / "nowhere") is None


def test_a_file_of_the_other_class_is_read_as_none(tmp_path):
    choose_probe_images(make_numbered(12), None).save(tmp_path)
    assert Artifacts.load(tmp_path) is None
    make_artifacts().save(tmp_path)
    assert ProbeImages.load(tmp_path) is None


def test_truncated_probe_images_are_read_as_none(tmp_path):
    choose_probe_images(make_numbered(12), np.arange(12)).save(tmp_path)
    path = tmp_path / PICTURES_NAME
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert ProbeImages.load(tmp_path) is None


def test_probe_images_with_a_flipped_byte_are_unchanged_or_none(tmp_path):
    probe_images = choose_probe_images(make_numbered(12), None)
    probe_images.save(tmp_path)
    path = tmp_path / PICTURES_NAME
    whole = path.read_bytes()
    rejected = 0
    for place in range(len(whole)):
        for flip in (0x01, 0xFF):
            flipped = bytearray(whole)
            flipped[place] ^= flip
            path.write_bytes(flipped)
            loaded = ProbeImages.load(tmp_path)
            rejected += loaded is None
            assert loaded is None or (loaded.originals == probe_images.originals).all()
    assert rejected > len(whole)


def test_a_bare_array_or_a_folder_is_read_as_none(tmp_path):
    with (tmp_path / PICTURES_NAME).open("wb") as file:
        np.save(file, np.zeros(3))
    assert ProbeImages.load(tmp_path) is None
    (tmp_path / PICTURES_NAME).unlink()
    (tmp_path / PICTURES_NAME).mkdir()
    assert ProbeImages.load(tmp_path) is None


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / PICTURES_NAME
    np.savez(path, originals=np.array([{"a": 1}], dtype=object))
    assert ProbeImages.load(tmp_path) is None


def test_a_full_disk_is_reported_and_leaves_the_earlier_file(tmp_path, monkeypatch):
    choose_probe_images(make_numbered(12), None).save(tmp_path)

    def write_half(file, **arrays):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez_compressed", write_half)
    for arrays in (choose_probe_images(make_numbered(20), None), make_artifacts()):
        with pytest.raises(ResultsError, match=r"pictures\.npz cannot be written: No space left"):
            arrays.save(tmp_path)
    assert numbers_of(ProbeImages.load(tmp_path).originals) == list(range(10))
