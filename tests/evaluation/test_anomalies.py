"""Scores of a search or an export: threshold, flagged images, AUROC and tables."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from image_sets import make_split
from sklearn.metrics import roc_auc_score
from tiny_searches import GRID, changed, run

import vaetune
from vaetune.config.spec import DataSpec
from vaetune.errors import DataError, ResultsError
from vaetune.evaluation.anomalies import score_opened
from vaetune.evaluation.embeddings import model_of_trial, open_images
from vaetune.evaluation.scores import Scores
from vaetune.evaluation.threshold import find_threshold

pytestmark = pytest.mark.usefixtures("own_cache")

OTHERS = make_split(23, (9, 10, 1), 7)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search of images on the disk, of three classes, without the last one."""
    folder = tmp_path_factory.mktemp("scored")
    split = make_split(60, (9, 10, 1), 1)
    np.savez(folder / "squares.npz", x=split.images, y=split.labels)
    data = DataSpec(dataset=str(folder / "squares.npz"), leave_out=("2",))
    images = vaetune.data.load_prepared(data)
    study = run(folder / "results", changed(GRID, data=data), images=images)
    with pytest.MonkeyPatch.context() as patch:
        from exports import StubReader

        patch.setattr("vaetune.export.trial.Reader", StubReader)
        vaetune.export_trial(study, folder=folder / "results" / "best")
    return study, folder


@pytest.fixture(scope="module")
def own(searched):
    return vaetune.score_images(searched[0], samples=4, quantile=0.9)


def test_the_images_of_the_search_are_scored_in_their_order(searched, own):
    assert own.names.tolist() == [*range(60)]
    assert set(own.splits) == {"train", "validation", "test", "left_out"}
    assert (own.splits == "left_out").tolist() == (own.labels == 2).tolist()
    np.testing.assert_allclose(own.score, own.reconstruction + own.kl - own.complexity)
    assert own.are_new.tolist() == np.isin(own.splits, ["test", "left_out"]).tolist()
    known = own.score[own.splits == "validation"]
    assert own.threshold == find_threshold(known, 0.9)
    assert own.flagged.tolist() == (own.score > own.threshold.value).tolist()


def test_other_images_are_flagged_by_the_validation_images_of_the_search(searched, own):
    study, folder = searched
    arrays = {"x": OTHERS.images, "y": OTHERS.labels}
    by_study = vaetune.score_images(study, arrays, samples=4, quantile=0.9)
    by_export = vaetune.score_images(folder / "results" / "best", arrays, samples=4, quantile=0.9)
    assert by_study.splits is None
    assert by_study.are_new.all()
    for found in (by_study, by_export):
        assert found.threshold.value == pytest.approx(own.threshold.value, rel=1e-6)
        assert replace(found.threshold, value=0) == replace(own.threshold, value=0)
        np.testing.assert_allclose(found.score, by_study.score, rtol=1e-5)


def test_test_images_alone_are_flagged_by_the_validation_images(searched, own):
    model = model_of_trial(searched[0], searched[0].winner)
    rows = open_images(model, None).of_splits(["test"])
    found = score_opened(model, rows, 0.9, 4)
    assert found.threshold.value == pytest.approx(own.threshold.value, rel=1e-6)
    np.testing.assert_allclose(found.score, own.score[own.splits == "test"], rtol=1e-5)


def test_the_auroc_counts_test_images_and_those_left_out(own):
    counted = np.isin(own.splits, ["test", "left_out"])
    expected = roc_auc_score(own.labels[counted] == 2, own.score[counted])
    assert own.auroc(odd="2") == own.auroc(odd=2) == pytest.approx(expected)
    inverse = roc_auc_score(own.labels[counted] != 0, own.score[counted])
    assert own.auroc(normal="0") == pytest.approx(inverse)
    with pytest.raises(ResultsError, match='There is no class "9"'):
        own.auroc(odd="9")


def test_an_export_without_the_images_of_its_search_gives_scores_and_the_reason(searched, tmp_path):
    study, folder = searched
    shutil.copytree(folder / "results" / "best", tmp_path / "moved")
    found = vaetune.score_images(tmp_path / "moved", OTHERS.images, samples=2)
    assert (found.threshold, found.flagged) == (None, None)
    assert 'does not say where its images "squares" are' in found.no_threshold
    assert "flagged" not in found.to_frame()
    expected = vaetune.score_images(study, OTHERS.images, samples=2).score
    np.testing.assert_allclose(found.score, expected, rtol=1e-5)
    with pytest.raises(ResultsError, match="does not say where its images"):
        vaetune.score_images(tmp_path / "moved")


@pytest.mark.parametrize(
    ("change", "message"), [("removed", "cannot be read"), ("changed", "has changed since")]
)
def test_images_of_the_search_that_are_gone_set_no_threshold(tmp_path, change, message):
    split = make_split(30, (9, 10, 1), 1)
    path = tmp_path / "squares.npz"
    np.savez(path, x=split.images)
    data = DataSpec(dataset=str(path))
    study = run(tmp_path / "results", changed(GRID, data=data), images=vaetune.load_images(path))
    if change == "removed":
        path.unlink()
    else:
        np.savez(path, x=split.images[:20])
    found = vaetune.score_images(study, OTHERS.images, samples=1)
    assert message in found.no_threshold
    assert found.threshold is None


def test_the_table_has_a_row_for_each_image(own):
    frame = own.to_frame()
    facts = ["name", "split", "label", "class_name"]
    values = ["score", "negative_elbo", "reconstruction", "kl", "reconstruction_error"]
    assert [*frame] == [*facts, *values, "complexity", "flagged"]
    assert frame["score"].tolist() == own.score.tolist()
    assert frame["flagged"].dtype == bool


def scores_of(reconstruction):
    count = len(reconstruction)
    zeros = np.zeros(count)
    facts = (np.arange(count), None, None, None)
    values = np.array(reconstruction, float)
    return Scores(*facts, values, zeros, zeros, zeros, np.ones(count, bool))


def test_losses_that_are_no_numbers_are_the_most_anomalous():
    scores = scores_of([1.0, np.nan, 3.0, np.inf, 2.0])
    assert scores.score.tolist() == [1.0, np.inf, 3.0, np.inf, 2.0]
    assert scores.highest(3).tolist() == [1, 3, 2]
    flagged = replace(scores, threshold=find_threshold(np.array([1.5]))).flagged
    assert flagged.tolist() == [False, True, True, True, True]


def test_images_in_the_middle_are_not_among_the_highest():
    scores = scores_of(np.arange(20))
    assert scores.middle(4, besides=8).tolist() == [11, 10, 9, 8]
    assert scores_of([5.0, 1.0]).middle(4, besides=8).tolist() == []
    assert scores_of(np.arange(10)).middle(4, besides=8).tolist() == [1, 0]


def test_what_cannot_score_is_refused(searched, tmp_path):
    study, _ = searched
    with pytest.raises(ResultsError, match=r"above 0 and below 1.*Received: 99"):
        vaetune.score_images(study, OTHERS.images, quantile=99)
    with pytest.raises(ResultsError, match=r"at least 1\. Received: 0"):
        vaetune.score_images(study, OTHERS.images, samples=0)
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        vaetune.score_images(tmp_path, OTHERS.images)
    with pytest.raises(DataError, match=r"takes 9 x 10\. Resize them"):
        vaetune.score_images(study, np.zeros((3, 20, 20), np.uint8))
