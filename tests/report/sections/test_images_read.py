"""The page describes the images that were read, and shows some of them if they are stored."""

import base64
import io
import re

import numpy as np
from journals import START, make_study, make_trial_events
from PIL import Image

from vaetune.config.reading import Reading
from vaetune.report.page import render_report
from vaetune.report.sections.images_read import describe_images_read
from vaetune.study.artifacts import ProbeImages
from vaetune.training.snapshot import choose_probe_images

WARNINGS = ("37 images are <copies>.", "Almost black.")


def make_reading(**changes):
    defaults = {"kind": "files", "dtype": "uint16", "low": 0, "high": 4095, "range": (0, 4095)}
    return Reading(**defaults | changes)


def make_search(folder, shape=(28, 28, 1), count=50, **reading):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(np.uint8)
    choose_probe_images(images, None).save(folder)
    events = make_trial_events("0000", [180.0])
    record = make_reading(**reading)
    return make_study(*events, folder=folder, image_shape=shape, reading=record), images


def page_of(study):
    return render_report([study], {}, START)


def section_of(page):
    (section,) = re.findall(r'<section class="read">.*?</section>', page, flags=re.DOTALL)
    return section


def test_the_section_shows_forty_images_in_their_order(tmp_path):
    study, images = make_search(tmp_path)
    read = describe_images_read(study)
    assert read.count == 40
    assert not read.is_reduced
    assert describe_images_read(make_search(tmp_path / "large", (64, 64, 1))[0]).is_reduced
    encoded = read.source.removeprefix("data:image/png;base64,")
    png = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))))
    scale = png.shape[1] // (10 * 30 - 2)
    np.testing.assert_array_equal(png[: 28 * scale : scale, : 28 * scale : scale, :1], images[0])


def test_channels_are_shown_as_the_user_chose(tmp_path):
    grey, _ = make_search(tmp_path / "grey", (28, 28, 6))
    chosen, _ = make_search(tmp_path / "chosen", (28, 28, 6), show=(5,))
    assert describe_images_read(grey).count == 25, "five images in a row"
    assert describe_images_read(chosen).count == 24, "eight images in a row"


def test_an_old_search_has_the_section_without_images(tmp_path):
    study = make_study(*make_trial_events("0000", [180.0]), folder=tmp_path)
    ProbeImages(np.zeros((4, 28, 28, 1), np.uint8), None).save(tmp_path)
    section = section_of(page_of(study))
    assert "5,000 training and 1,000 validation images of 28 x 28 x 1." in section
    assert "<img" not in section
    assert "warning" not in page_of(study).partition("<body>")[2].partition("<script")[0].lower()


def test_the_headline_links_to_the_warnings_in_the_section(tmp_path):
    study, _ = make_search(tmp_path, warnings=WARNINGS, notes=("The folder tmp is not used.",))
    page = page_of(study)
    top = page[page.index("<h2 ") : page.index('<section class="read">')]
    assert re.search(r'<a href="#search-1-images">2 warnings</a> about how', top)
    section = section_of(page)
    assert 'id="search-1-images"' in section
    assert "7,000 images of 28 x 28 x 1, uint16 0..4095 taken as 0..1." in section
    assert section.count("<b>Warning:</b>") == 2
    assert section.count("37 images are &lt;copies&gt;.") == 1
    assert ">Note</th><td>The folder tmp is not used.</td>" in section
    assert 'alt="40 validation images of the search"' in section
