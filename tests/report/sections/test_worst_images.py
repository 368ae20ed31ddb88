"""The page shows the images that the winner reconstructs worst, if they are stored."""

import numpy as np
import pytest
from stories import make_finished_search, page_of, words_of

from vaetune.report.sections.worst_images import show_worst_images
from vaetune.study.artifacts import WORST_NAME, WorstImages

pytestmark = pytest.mark.usefixtures("without_charts")


def write_search_with_worst_images(folder, trial_id="0003"):
    story = make_finished_search(folder)
    study = story.write()
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 8, 8, 1)).astype(np.uint8)
    worst = WorstImages(images[0], images[1], np.array([90.26, 61.0, 60.44]))
    worst.save(study.trial_folder(trial_id))
    return story, study


def test_the_worst_images_of_the_winner_are_on_the_page(tmp_path):
    story, study = write_search_with_worst_images(tmp_path / "tiny")
    worst = show_worst_images(study)
    assert worst.count == 3
    assert worst.source.startswith("data:image/png;base64,")
    page = page_of(story)
    assert "Worst reconstructions" in words_of(page)
    assert (
        "Validation images above their reconstructions: the largest reconstruction losses of 12, "
        "90.3 to 60.4 nats above the entropy of their pixels."
    ) in words_of(page)
    assert worst.source in page


def test_missing_or_damaged_worst_images_are_not_shown(tmp_path):
    story, study = write_search_with_worst_images(tmp_path / "tiny", trial_id="0000")
    assert show_worst_images(study) is None
    assert "Worst reconstructions" not in page_of(story)
    (study.trial_folder("0003") / WORST_NAME).write_bytes(b"no archive")
    assert show_worst_images(study) is None
