"""A search of images with any number of channels, from its trials to its report."""

from dataclasses import replace

import numpy as np
import pytest
from image_sets import make_images
from long_forms import long
from tiny_searches import GRID, run

from vaetune.config.reading import Reading
from vaetune.report.output import write_report
from vaetune.study.artifacts import ProbeImages
from vaetune.study.builder import load_study


@pytest.mark.slow
@pytest.mark.usefixtures("without_charts")
@pytest.mark.parametrize("channels", [32, *long(2, 5)])
def test_images_with_any_number_of_channels_are_searched_and_reported(tmp_path, channels):
    reading = Reading(
        kind="arrays", dtype="uint8", low=0, high=255, range=(0, 255), show=(1, 0), notes=("N",)
    )
    images = replace(make_images(shape=(9, 10, channels)), reading=reading)
    study = run(tmp_path, GRID, images=images)
    assert study.winner is not None
    assert [trial.status for trial in study.trials] == ["completed"] * 2
    data = load_study(study.folder).started.data
    assert data.reading == reading
    labels = np.concatenate([images.train.labels, images.validation.labels, images.test.labels])
    assert data.class_counts == tuple(np.bincount(labels).tolist())
    examples = ProbeImages.load(study.folder).examples
    assert examples.shape == (14, 9, 10, channels)
    page = write_report(tmp_path).read_text()
    assert f"channels 1 and 0 of {channels} as red and green" in page
