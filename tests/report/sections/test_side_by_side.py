"""Images of the winner and of the Keras example, side by side."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest
from stories import (
    ParsedPage,
    headline_of,
    make_finished_search,
    make_keras_example,
    page_of,
    words_of,
)

from vaetune.study.artifacts import PICTURES_NAME, Artifacts, ProbeImages


def images_of(page):
    """Alternative texts and sources of the images in the section of pictures."""
    (section,) = re.findall(r'<section class="pictures">.*?</section>', page, flags=re.DOTALL)
    return [(a["alt"], a["src"]) for tag, a in ParsedPage(section).elements if tag == "img"]


@pytest.mark.usefixtures("without_other_charts")
def test_pictures_of_both_models_are_embedded_in_the_page(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    make_keras_example(tmp_path).write()
    page = page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
    assert [alt for alt, _ in images_of(page)] == [
        "4 images above the reconstructions of the winner",
        "4 images above the reconstructions of the Keras example",
        "4 samples from the prior, decoded by the winner",
        "4 samples from the prior, decoded by the Keras example",
        "3 by 3 images over the two latent dimensions of the Keras example",
    ]
    for _, source in images_of(page):
        encoded = source.removeprefix("data:image/png;base64,")
        assert base64.b64decode(encoded, validate=True).startswith(b"\x89PNG")
    assert "not available, because the model has 4 latent dimensions" in words_of(page)
    labels = ParsedPage(page).values("aria-label")
    assert "Scatter of 12 latent means of the winner, coloured by 3 classes" in labels


@pytest.fixture
def without_other_charts(monkeypatch):
    """Replaces the other charts of the page by empty ones."""
    for module in ("page", "sections.section"):
        monkeypatch.setattr(f"vaetune.report.{module}.to_svg", lambda *given: "<svg/>")


def chart_of(page, model):
    (chart,) = re.findall(rf"<svg[^>]*latent means of the {model}.*?</svg>", page, flags=re.DOTALL)
    return chart


@pytest.mark.usefixtures("without_other_charts")
@pytest.mark.parametrize("is_finite", [True, False])
def test_thumbnails_are_at_the_points_of_both_models(tmp_path, is_finite):
    study = make_finished_search(tmp_path / "tiny").write()
    make_keras_example(tmp_path).write()
    probe_images = ProbeImages.load(study.folder)
    thumbnails = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1)).astype(np.uint8)
    replace(probe_images, thumbnails=thumbnails).save(study.folder)
    if not is_finite:
        folder = study.trial_folder(study.winner.trial_id)
        artifacts = Artifacts.load(folder)
        artifacts.z_mean[7] = np.nan
        artifacts.save(folder)
    page = page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
    label = "winner, coloured by 3 classes" + ", and images at some of them" * is_finite
    assert f"latent means of the {label}" in page
    assert (2 <= chart_of(page, "winner").count("<image ") <= 6) == is_finite
    (reference_folder,) = (tmp_path / "baselines").iterdir()
    assert "<image " not in chart_of(page, "Keras example"), "its gallery has no thumbnails"
    (reference_folder / PICTURES_NAME).unlink()
    page = page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
    assert "<image " in chart_of(page, "Keras example"), "the images of the search are shown"


def flip_bits(content):
    middle = len(content) // 3
    return content[:middle] + bytes(255 - byte for byte in content[middle:])


@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"no archive", flip_bits, None])
def test_a_page_with_damaged_or_missing_pictures_is_still_written(tmp_path, damage):
    study = make_finished_search(tmp_path / "tiny").write()
    archive = study.trial_folder("0003") / PICTURES_NAME
    archive.write_bytes(damage(archive.read_bytes())) if damage else archive.unlink()
    page = page_of(make_finished_search(tmp_path / "tiny"))
    assert "This search has no stored images." in words_of(page)
    assert "131.2" in headline_of(page)


@pytest.mark.usefixtures("without_charts")
def test_without_a_gallery_the_page_still_shows_samples(tmp_path):
    study = make_finished_search(tmp_path / "tiny").write()
    (study.folder / PICTURES_NAME).unlink()
    page = page_of(make_finished_search(tmp_path / "tiny"))
    assert [alt for alt, _ in images_of(page)] == [
        "4 samples from the prior, decoded by the winner"
    ]
