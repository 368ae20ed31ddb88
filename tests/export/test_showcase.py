"""The figures of an export are drawn in batches from all the data that a search has kept."""

import io

import numpy as np
import pytest
from journals import make_study, make_trial_events
from PIL import Image

from vaetune.config.reading import Reading
from vaetune.config.space import REFERENCE
from vaetune.export import showcase
from vaetune.export.showcase import draw_showcase
from vaetune.models.build import build_vae
from vaetune.study.artifacts import PICTURES_NAME, Artifacts
from vaetune.training.snapshot import choose_probe_images

SHAPE = (9, 10, 1)
ALWAYS = {"prior_samples.png"}
OF_PROBE_IMAGES = {"reconstructions.png", "interpolations.png"}
OF_Z_MEAN = {"traversal.png", "clusters.png"}


class FakeVAE:
    """A model with known outputs.

    Every value of z_mean is the mean brightness of the image. Channel c of a decoded image is 1
    in all pixels if dimension c of z is above 0, else 0. If there are more channels than latent
    dimensions, they take the dimensions in turn.
    """

    level_shapes = ()

    def __init__(self, latent_dim=3, shape=SHAPE):
        self.latent_dim = latent_dim
        self.image_shape = shape
        self.decoded = []
        self.encoded = []

    def posterior(self, images):
        assert images.dtype == np.float32
        self.encoded.append(len(images))
        z_mean = np.repeat(images.mean(axis=(1, 2, 3))[:, None], self.latent_dim, axis=1)
        return z_mean, np.zeros_like(z_mean)

    def decoder(self, z, training):
        assert not training
        assert z.dtype == np.float32
        self.decoded.append(len(z))
        channels = self.image_shape[2]
        above = (z[:, np.arange(channels) % self.latent_dim] > 0).astype(np.float32)
        return np.broadcast_to(above[:, None, None, :], (len(z), *self.image_shape))


def make_study_with_images(folder, latent_dim=3, shape=SHAPE, images=10, **data):
    """A study of one trial with the images that a search keeps.

    Args:
        folder: Folder of the study.
        latent_dim: Number of latent dimensions.
        shape: Height, width and channels of the images.
        images: Number of images.
        data: Further arguments of `make_study`.
    """
    events = make_trial_events("0000", [180.0])
    study = make_study(*events, folder=folder, image_shape=shape, **data)
    random = np.random.default_rng(0)
    labels = np.arange(images) % 3
    pixels = random.integers(0, 256, (images, *shape), dtype=np.uint8)
    choose_probe_images(pixels, labels).save(folder)
    z_mean = random.standard_normal((images, latent_dim)).astype(np.float32)
    Artifacts(pixels, pixels, z_mean, None).save(study.trial_folder("0000"))
    return study


def draw(vae, study):
    return draw_showcase(vae, study, study.trials[0])


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def colours_of(png):
    """The colours of a picture, as (red, green, blue)."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    return {colour for _, colour in picture.getcolors(picture.width * picture.height)}


@pytest.fixture
def unrendered(monkeypatch):
    """Writes empty files, for tests that check what is decoded or which files exist."""
    monkeypatch.setattr(showcase, "to_png", lambda figure, dpi: b"")


@pytest.fixture
def samples_only(monkeypatch):
    """Draws only the samples of the prior."""
    name = "prior_samples.png"
    monkeypatch.setattr(showcase, "_FIGURES", {name: showcase._FIGURES[name]})


def test_two_latent_dimensions_add_the_manifold(tmp_path):
    drawn = draw(FakeVAE(2), make_study_with_images(tmp_path, 2))
    assert set(drawn) == ALWAYS | OF_PROBE_IMAGES | OF_Z_MEAN | {"manifold.png"}


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_other_numbers_of_latent_dimensions_have_no_manifold(tmp_path, latent_dim):
    drawn = draw(FakeVAE(latent_dim), make_study_with_images(tmp_path, latent_dim))
    assert set(drawn) == ALWAYS | OF_PROBE_IMAGES | OF_Z_MEAN
    for png in drawn.values():
        assert min(pixels_of(png).shape[:2]) > 50


def test_figures_of_the_same_model_are_identical(tmp_path):
    study = make_study_with_images(tmp_path)
    assert draw(FakeVAE(), study) == draw(FakeVAE(), study)


@pytest.mark.usefixtures("unrendered")
def test_figures_of_a_keras_model_are_drawn(tmp_path):
    vae = build_vae(SHAPE, {**REFERENCE, "filters_1": 2, "filters_2": 3, "dense_units": 4})
    drawn = draw(vae, make_study_with_images(tmp_path, 2))
    assert set(drawn) == ALWAYS | OF_PROBE_IMAGES | OF_Z_MEAN | {"manifold.png"}


@pytest.mark.usefixtures("unrendered")
def test_images_are_encoded_and_decoded_in_batches(tmp_path):
    vae = FakeVAE(2)
    draw(vae, make_study_with_images(tmp_path, 2))
    assert vae.encoded == [10]
    # Reconstructions; samples of the prior; the manifold; interpolations; the traversal.
    assert vae.decoded == [10, 128, 128, *[128] * 7, 4, 55, 22]


@pytest.mark.usefixtures("unrendered")
def test_a_traversal_has_only_the_active_dimensions(tmp_path):
    study = make_study_with_images(tmp_path, 40)
    z_mean = np.zeros((10, 40), np.float32)
    # Dimension 20 has a variance of 0.0025. An active unit has more than 0.01.
    z_mean[::2, 7], z_mean[::2, 3], z_mean[::2, 20] = 1.0, 2.0, 0.1
    pictures = Artifacts.load(study.trial_folder("0000"))
    images = pictures.reconstructions
    Artifacts(images, images, z_mean, None).save(study.trial_folder("0000"))
    vae = FakeVAE(40)
    draw(vae, study)
    assert vae.decoded[-1] == 2 * 11


@pytest.mark.usefixtures("unrendered")
def test_a_traversal_has_at_most_32_dimensions(tmp_path):
    vae = FakeVAE(40)
    draw(vae, make_study_with_images(tmp_path, 40))
    assert sum(vae.decoded[-3:]) == 32 * 11


@pytest.mark.usefixtures("samples_only")
def test_colour_images_keep_their_colours(tmp_path):
    shape = (9, 11, 3)
    drawn = draw(FakeVAE(3, shape), make_study_with_images(tmp_path, 3, shape))
    colours = colours_of(drawn["prior_samples.png"])
    assert colours == {(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)}


def test_images_of_many_channels_are_drawn_in_grey(tmp_path):
    shape = (9, 11, 5)
    grey = draw(FakeVAE(3, shape), make_study_with_images(tmp_path, 3, shape))
    assert set(grey) == ALWAYS | OF_PROBE_IMAGES | OF_Z_MEAN
    samples = pixels_of(grey["prior_samples.png"])
    assert (samples == samples[..., :1]).all()


@pytest.mark.usefixtures("samples_only")
def test_chosen_channels_are_drawn_as_red_green_and_blue(tmp_path):
    shape = (9, 11, 5)
    reading = Reading(kind="arrays", dtype="uint8", low=0, high=255, range=(0, 255), show=(4, 1, 0))
    study = make_study_with_images(tmp_path, 3, shape, reading=reading)
    chosen = draw(FakeVAE(3, shape), study)["prior_samples.png"]
    colours = colours_of(chosen)
    # Channels 4 and 1 decode to the same values here.
    assert colours == {(r, r, b) for r in (0, 255) for b in (0, 255)}


@pytest.mark.usefixtures("unrendered")
def test_a_collapsed_model_has_no_traversal(tmp_path):
    study = make_study_with_images(tmp_path)
    images = Artifacts.load(study.trial_folder("0000")).reconstructions
    Artifacts(images, images, np.zeros((10, 3), np.float32), None).save(study.trial_folder("0000"))
    assert set(draw(FakeVAE(), study)) == ALWAYS | OF_PROBE_IMAGES | {"clusters.png"}


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("images", "pairs"), [(1, 0), (2, 1), (7, 3)])
def test_few_images_give_fewer_interpolations(tmp_path, images, pairs):
    vae = FakeVAE()
    drawn = draw(vae, make_study_with_images(tmp_path, images=images))
    assert ("interpolations.png" in drawn) == (pairs > 0)
    assert (11 * pairs in vae.decoded) == (pairs > 0)


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("damage", ["gone", "torn", "of another shape"])
def test_damaged_probe_images_only_omit_their_figures(tmp_path, damage):
    study = make_study_with_images(tmp_path)
    damage_file(tmp_path / PICTURES_NAME, damage, originals=np.zeros((4, 5, 5, 1), np.uint8))
    assert set(draw(FakeVAE(), study)) == ALWAYS | OF_Z_MEAN


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("damage", ["gone", "torn", "of another shape"])
def test_damaged_artifacts_only_omit_the_figures_of_z_mean(tmp_path, damage):
    study = make_study_with_images(tmp_path)
    images = np.zeros((4, *SHAPE), np.uint8)
    damage_file(
        study.trial_folder("0000") / PICTURES_NAME,
        damage,
        reconstructions=images,
        prior_samples=images,
        z_mean=np.zeros((4, 7), np.float16),
    )
    assert set(draw(FakeVAE(), study)) == ALWAYS | OF_PROBE_IMAGES


def damage_file(path, damage, **arrays):
    whole = path.read_bytes()
    if damage == "of another shape":
        np.savez(path, **arrays)
        return
    path.unlink()
    if damage == "torn":
        path.write_bytes(whole[: len(whole) // 2])
