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
from vaetune.evaluation import anomalies
from vaetune.evaluation.embeddings import model_of_trial
from vaetune.evaluation.scores import Scores
from vaetune.evaluation.threshold import find_threshold
from vaetune.evaluation.validation_losses import (
    VALIDATION_LOSSES,
    ValidationLosses,
    read_validation_losses,
)
from vaetune.training.correction import fit_correction

pytestmark = pytest.mark.usefixtures("own_cache")

OTHERS = make_split(23, (9, 10, 1), 7)

COUNT = 960
"""Number of images of the search, enough to fit the correction to the validation images."""


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search on images of three classes without the last class, and the folder of all files."""
    folder = tmp_path_factory.mktemp("scored")
    split = make_split(COUNT, (9, 10, 1), 1)
    np.savez(folder / "squares.npz", x=split.images, y=split.labels)
    data = DataSpec(dataset=str(folder / "squares.npz"), leave_out=("2",))
    images = vaetune.data.load_prepared(data)
    study = run(folder / "results", changed(GRID, data=data), images=images)
    with pytest.MonkeyPatch.context() as patch:
        from exports import StubReader

        patch.setattr("vaetune.export.trial.Reader", StubReader)
        patch.setattr("vaetune.export.bundle.draw_showcase", lambda vae, study, trial: {})
        vaetune.export_trial(study, folder=folder / "results" / "best")
    return study, folder


@pytest.fixture(scope="module")
def own_scores(searched):
    """The scores of the search's images."""
    return vaetune.score_images(searched[0], samples=4, quantile=0.9)


def test_the_images_of_the_search_are_scored_in_their_order(searched, own_scores):
    assert own_scores.names.tolist() == [*range(COUNT)]
    assert set(own_scores.splits) == {"train", "validation", "test", "left_out"}
    assert (own_scores.splits == "left_out").tolist() == (own_scores.labels == 2).tolist()
    np.testing.assert_allclose(
        own_scores.score, own_scores.reconstruction + own_scores.kl - own_scores.expected_loss
    )
    assert own_scores.are_new.tolist() == np.isin(own_scores.splits, ["test", "left_out"]).tolist()
    known = own_scores.score[own_scores.splits == "validation"]
    assert own_scores.threshold == find_threshold(known, 0.9)
    assert own_scores.flagged.tolist() == (own_scores.score > own_scores.threshold.value).tolist()


def test_the_expected_loss_is_fitted_to_the_validation_images(own_scores):
    known = own_scores.splits == "validation"
    parts = (own_scores.negative_elbo, own_scores.lowest_loss, own_scores.compressed_size)
    assert own_scores.correction == fit_correction(*(part[known] for part in parts))
    assert own_scores.correction.images == known.sum() >= 100
    assert own_scores.score[known].mean() == pytest.approx(0, abs=1e-6)
    assert own_scores.compressed_size.std() > 0


def test_new_images_are_flagged_by_the_threshold_of_validation_images(searched, own_scores):
    arrays = {"x": OTHERS.images, "y": OTHERS.labels}
    found = vaetune.score_images(searched[0], arrays, samples=4, quantile=0.9)
    assert found.splits is None
    assert found.are_new.all()
    assert found.threshold.value == pytest.approx(own_scores.threshold.value, rel=1e-6)
    assert replace(found.threshold, value=0) == replace(own_scores.threshold, value=0)


def test_test_images_are_flagged_by_the_threshold_of_validation_images(searched, own_scores):
    found = vaetune.score_images(searched[0], splits=["test"], quantile=0.9, samples=4)
    assert found.threshold.value == pytest.approx(own_scores.threshold.value, rel=1e-6)
    np.testing.assert_allclose(
        found.score, own_scores.score[own_scores.splits == "test"], rtol=1e-5, atol=1e-6
    )


def test_the_validation_images_of_a_moved_image_set_give_the_threshold(
    searched, own_scores, tmp_path
):
    study, folder = searched
    (folder / "squares.npz").rename(tmp_path / "squares.npz")
    try:
        moved = tmp_path / "squares.npz"
        found = vaetune.score_images(study, moved, splits=["test"], quantile=0.9, samples=4)
    finally:
        (tmp_path / "squares.npz").rename(folder / "squares.npz")
    assert found.threshold.value == pytest.approx(own_scores.threshold.value, rel=1e-6)


def test_the_auroc_counts_test_images_and_left_out_images(own_scores):
    counted = np.isin(own_scores.splits, ["test", "left_out"])
    expected = roc_auc_score(own_scores.labels[counted] == 2, own_scores.score[counted])
    assert own_scores.auroc(odd="2") == own_scores.auroc(odd=2) == pytest.approx(expected)
    inverse = roc_auc_score(own_scores.labels[counted] != 0, own_scores.score[counted])
    assert own_scores.auroc(normal="0") == pytest.approx(inverse)
    with pytest.raises(ResultsError, match='There is no class "9"'):
        own_scores.auroc(odd="9")


def test_an_export_contains_the_losses_of_validation_images(searched, own_scores, tmp_path):
    study, folder = searched
    shutil.copytree(folder / "results" / "best", tmp_path / "moved")
    found = vaetune.score_images(tmp_path / "moved", OTHERS.images, quantile=0.9)
    expected = vaetune.score_images(study, OTHERS.images, quantile=0.9)
    assert found.threshold.value == pytest.approx(expected.threshold.value, abs=1e-4)
    assert replace(found.threshold, value=0) == replace(own_scores.threshold, value=0)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-4)
    np.testing.assert_array_equal(found.flagged, expected.flagged)
    with pytest.raises(ResultsError, match="does not say where its images"):
        vaetune.score_images(tmp_path / "moved")


def test_an_export_contains_a_subset_of_many_validation_losses(searched, monkeypatch):
    model = model_of_trial(searched[0], searched[0].winner)
    monkeypatch.setattr(anomalies, "MOST_EXPORTED", 50)
    assert 25 < len(anomalies.score_validation(model).negative_elbo) <= 50


def test_an_export_without_validation_losses_gives_scores_and_no_threshold(
    searched, own_scores, tmp_path
):
    moved = shutil.copytree(searched[1] / "results" / "best", tmp_path / "moved")
    (moved / VALIDATION_LOSSES).unlink()
    found = vaetune.score_images(moved, OTHERS.images, samples=2)
    assert (found.threshold, found.flagged) == (None, None)
    assert 'does not say where its images "squares" are' in found.no_threshold
    assert "flagged" not in found.to_frame()
    np.testing.assert_allclose(found.score, found.negative_elbo - found.lowest_loss)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "No columns to parse"),
        ("negative_elbo,lowest_loss\n1,2\n", "'compressed_size'"),
        ("negative_elbo,lowest_loss,compressed_size\n1,2,x\n", "could not convert"),
        ("negative_elbo,lowest_loss,compressed_size\n", "has no rows"),
    ],
)
def test_damaged_losses_of_an_export_are_refused(tmp_path, content, message):
    path = tmp_path / VALIDATION_LOSSES
    path.write_text(content)
    with pytest.raises(ResultsError, match=f"{message}.*Export the model again"):
        read_validation_losses(path)


def test_incomplete_losses_of_an_export_are_refused(searched, tmp_path):
    moved = shutil.copytree(searched[1] / "results" / "best", tmp_path / "moved")
    losses = moved / VALIDATION_LOSSES
    lines = losses.read_text().splitlines(keepends=True)
    losses.write_text("".join(lines[:-3]))
    rows = len(lines) - 1
    with pytest.raises(ResultsError, match=f"has {rows - 3} rows, expected {rows}. Export"):
        vaetune.score_images(moved, OTHERS.images, samples=1)


def test_infinite_losses_are_written_and_read(tmp_path):
    losses = ValidationLosses(np.array([1.5, np.inf]), np.array([0.5, 1]), np.array([9.0, 8]))
    losses.write(tmp_path / "losses.csv")
    found = read_validation_losses(tmp_path / "losses.csv")
    assert found.negative_elbo.tolist() == [1.5, np.inf]
    assert found.lowest_loss.tolist() == [0.5, 1]
    assert found.compressed_size.tolist() == [9, 8]


@pytest.mark.parametrize(
    ("change", "message"), [("removed", "There is no image set"), ("changed", "has changed since")]
)
def test_missing_or_changed_images_of_the_search_give_no_threshold(
    searched, tmp_path, change, message
):
    study, folder = searched
    path = folder / "squares.npz"
    path.rename(tmp_path / "squares.npz")
    try:
        if change == "changed":
            np.savez(path, x=OTHERS.images)
        found = vaetune.score_images(study, OTHERS.images, samples=1)
    finally:
        (tmp_path / "squares.npz").rename(path)
    assert message in found.no_threshold
    assert found.threshold is None


def test_the_table_has_a_row_for_each_image(own_scores):
    frame = own_scores.to_frame()
    facts = ["name", "split", "label", "class_name"]
    values = ["score", "negative_elbo", "expected_loss", "reconstruction", "kl"]
    values += ["reconstruction_error", "lowest_loss", "compressed_size"]
    assert [*frame] == [*facts, *values, "flagged"]
    assert frame["score"].tolist() == own_scores.score.tolist()
    assert frame["flagged"].dtype == bool


def scores_of(reconstruction):
    count = len(reconstruction)
    zeros = np.zeros(count)
    facts = (np.arange(count), None, None, None)
    values = np.array(reconstruction, float)
    return Scores(*facts, values, *[zeros] * 4, np.ones(count, bool))


def test_images_with_nan_losses_are_the_most_anomalous():
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


def test_invalid_options_and_unusable_images_are_refused(searched, tmp_path):
    study, _ = searched
    with pytest.raises(ResultsError, match=r"above 0 and below 1.*Received: 99"):
        vaetune.score_images(study, OTHERS.images, quantile=99)
    with pytest.raises(ResultsError, match=r"at least 1\. Received: 0"):
        vaetune.score_images(study, OTHERS.images, samples=0)
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        vaetune.score_images(tmp_path, OTHERS.images)
    with pytest.raises(DataError, match=r"takes 9 x 10\. Resize them"):
        vaetune.score_images(study, np.zeros((3, 20, 20), np.uint8))
