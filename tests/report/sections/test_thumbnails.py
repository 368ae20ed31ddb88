"""Thumbnails of trials: pixels, points, classes, and the byte budget of a page."""

import base64
import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from journals import make_study, make_trial_events
from PIL import Image

from vaetune.config.reading import Reading
from vaetune.report.sections.thumbnails import LEVELS, STEPS, collect_thumbnails, place_points
from vaetune.study.artifacts import PICTURES_NAME, Artifacts, ProbeImages

LABELS = np.arange(12) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 6, 1)).astype(np.uint8)


def make_pictures(images=IMAGES, latent_dim=4, z_mean=None):
    if z_mean is None:
        z_mean = np.random.default_rng(1).normal(size=(12, latent_dim)).astype(np.float32)
    return Artifacts(255 - images, images, z_mean, None)


def make_search(folder, losses=(220.0, 200.0, 210.0), labels=LABELS, images=IMAGES, **options):
    """Completed trials with these losses and a failed one, each with pictures."""
    events = [
        event
        for number, loss in enumerate(losses)
        for event in make_trial_events(f"{number:04d}", [loss], configuration=number)
    ]
    failed = make_trial_events("9999", [], configuration=9999, status="failed", error="NaN")
    study = make_study(*failed, *events, folder=folder, **options)
    ProbeImages(images, labels).save(folder)
    for trial in study.trials:
        make_pictures(images).save(study.trial_folder(trial.trial_id))
    return study


def decode(url):
    encoded = url.removeprefix("data:image/png;base64,")
    image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
    return image.mode, np.asarray(image.convert("RGBA")).astype(int)


def json_bytes(thumbnails):
    return len(json.dumps(asdict(thumbnails), separators=(",", ":")))


def ids(thumbnails):
    return [one.trial_id for one in thumbnails.trials]


def test_the_best_trial_comes_first_and_failed_trials_last(tmp_path):
    assert ids(collect_thumbnails(make_search(tmp_path))) == ["0001", "0002", "0000", "9999"]


def test_a_thumbnail_has_one_pixel_for_each_pixel_of_an_image(tmp_path):
    first = collect_thumbnails(make_search(tmp_path)).trials[0]
    mode, shown = decode(first.reconstructions)
    assert mode == "L", "grey images have a grey file"
    originals, reconstructions = shown[:8, :6], shown[-8:, :6]
    rounding_error = 255 / (LEVELS - 1) / 2 + 0.5
    assert np.abs(originals[..., 0] - IMAGES[0, ..., 0]).max() <= rounding_error
    assert (
        np.abs(reconstructions[..., 0] - (255 - IMAGES[0, ..., 0].astype(int))).max()
        <= rounding_error
    )
    assert (originals[..., 3] == 255).all()
    assert (shown[8:-8, :, 3] == 0).all(), "gaps are transparent"


def test_rows_have_ten_samples(tmp_path):
    images = np.full((50, 4, 4, 3), (200, 0, 0), np.uint8)
    first = collect_thumbnails(make_search(tmp_path, images=images)).trials[0]
    mode, shown = decode(first.samples)
    assert mode == "RGB"
    assert [shown.shape[side] // size for side, size in ((0, 4), (1, 4))] == [7, 14]
    starts = shown[::6, ::6]
    assert starts.shape[:2] == (5, 10)
    assert (starts[..., 3] == 255).all()
    assert (np.abs(starts[..., :3] - (200, 0, 0)) <= 5).all()


def test_large_images_are_averaged_down(tmp_path):
    images = np.zeros((2, 130, 100, 1), np.uint8)
    images[:, :, ::3] = 240
    _, shown = decode(collect_thumbnails(make_search(tmp_path, images=images)).trials[0].samples)
    assert shown.shape[:2] == (43, 2 * 33 + 2)
    assert (np.abs(shown[:, :33, 0] - 80) <= 5).all()


def test_many_channels_are_side_by_side_or_as_chosen(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 5)).astype(np.uint8)
    first = collect_thumbnails(make_search(tmp_path, images=images)).trials[0]
    mode, shown = decode(first.reconstructions)
    assert mode == "L"
    assert shown.shape[:2] == (2 * 32 + 2, 30), "one image in two rows of three channels"
    reading = Reading(kind="arrays", dtype="uint8", low=0, high=9, range=(0, 9), show=(3, 1, 0))
    study = make_search(tmp_path, images=images, reading=reading)
    mode, shown = decode(collect_thumbnails(study).trials[0].samples)
    assert mode == "RGB"
    assert (np.abs(shown[:8, :8, :3] - images[0][..., [3, 1, 0]].astype(int)) <= 5).all()


def test_points_keep_their_distances():
    z_mean = np.array([[0.0, 10.0], [4.0, 10.0], [4.0, 12.0]], np.float32)
    latent = place_points(z_mean, None)
    assert latent.x == (0, STEPS, STEPS)
    assert latent.y == (64, 64, 191), "the shorter axis has the same scale and is centred"
    assert latent.axis_names == ("z_mean[0], 0.00 to 4.00", "z_mean[1], 10.00 to 12.00")


def test_more_dimensions_are_projected():
    names = place_points(np.diag([3.0, 2.0, 1.0]).astype(np.float32), None).axis_names
    assert [name.partition(" (")[0] for name in names] == [
        "principal component 1",
        "principal component 2",
    ]


def test_one_dimension_has_a_strip_for_each_class():
    z_mean = np.linspace(-1, 1, 12, dtype=np.float32)[:, None]
    latent = place_points(z_mean, LABELS)
    assert latent.x[0] == 0
    assert latent.x[-1] == STEPS
    strips = [np.array(latent.y)[label == LABELS] for label in range(3)]
    assert strips[0].max() < strips[1].min() < strips[1].max() < strips[2].min()
    assert latent.axis_names == ("z_mean[0], \N{MINUS SIGN}1.00 to 1.00", "class")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_latent_means_that_are_not_finite_or_empty_have_no_points(value):
    z_mean = np.ones((12, 2), np.float32)
    z_mean[3, 1] = value
    assert place_points(z_mean, LABELS) is None
    assert place_points(np.empty((0, 2), np.float32), None) is None


def test_equal_points_have_equal_positions():
    latent = place_points(np.ones((5, 3), np.float32), None)
    assert set(latent.x) == set(latent.y) == {128}


def test_only_classes_that_have_points_are_listed(tmp_path):
    thumbnails = collect_thumbnails(make_search(tmp_path, labels=np.array([2, 7, 2, 0])))
    assert thumbnails.class_names == ("zero", "two", "7")
    assert thumbnails.labels == (1, 2, 1, 0)
    assert all(len(one.latent.x) == 4 for one in thumbnails.trials)


def test_without_labels_there_are_no_classes(tmp_path):
    thumbnails = collect_thumbnails(make_search(tmp_path, labels=None))
    assert thumbnails.labels is None
    assert thumbnails.class_names == ()
    assert len(thumbnails.trials[0].latent.x) == 12


def test_thumbnails_beyond_the_byte_budget_are_left_out_and_counted(tmp_path):
    study = make_search(tmp_path)
    budget = json_bytes(collect_thumbnails(study)) // 2
    thumbnails = collect_thumbnails(study, budget_bytes=budget)
    assert ids(thumbnails) == ["0001", "0002"]
    assert thumbnails.left_out == 2
    assert json_bytes(thumbnails) <= budget + 100, "the budget excludes the names of fields"
    assert collect_thumbnails(study, budget_bytes=0).left_out == 4


@pytest.mark.parametrize("damage", [None, b"", b"no archive"])
def test_a_trial_with_missing_or_damaged_pictures_is_left_out(tmp_path, damage):
    study = make_search(tmp_path)
    archive = study.trial_folder("0001") / PICTURES_NAME
    archive.write_bytes(damage) if damage is not None else archive.unlink()
    assert ids(collect_thumbnails(study)) == ["0002", "0000", "9999"]


def test_without_a_gallery_samples_and_points_remain(tmp_path):
    study = make_search(tmp_path)
    (tmp_path / PICTURES_NAME).unlink()
    thumbnails = collect_thumbnails(study)
    assert thumbnails.labels is None
    assert [one.reconstructions for one in thumbnails.trials] == [""] * 4
    assert all(one.samples and one.latent for one in thumbnails.trials)


def test_a_search_without_pictures_has_no_thumbnails(tmp_path):
    study = make_study(*make_trial_events("0000", [200.0]), folder=tmp_path)
    thumbnails = collect_thumbnails(study)
    assert (thumbnails.trials, thumbnails.left_out) == ((), 0)


def test_some_of_a_hundred_trials_fit_the_default_byte_budget(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (50, 28, 28, 1)).astype(np.uint8)
    study = make_search(tmp_path, losses=[300.0 - n for n in range(100)], images=images)
    thumbnails = collect_thumbnails(study)
    assert json_bytes(thumbnails) < 1_200_100
    assert min(len(thumbnails.trials), thumbnails.left_out) > 5
    assert len(thumbnails.trials) + thumbnails.left_out == 101
