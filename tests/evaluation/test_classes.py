"""AUROC equals that of scikit-learn and counts only new images with labels."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from vaetune.errors import ResultsError
from vaetune.evaluation.classes import Comparison, compare_classes

LABELS = np.array([0, 1, 2, 2, -1, 1, 0, 2])
NAMES = ("cat", "dog", "7")
NEW = np.array([1, 1, 1, 0, 1, 1, 0, 1], bool)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [2, 7, 10**9])
def test_the_auroc_equals_scikit_learn_with_ties_and_infinite_scores(seed, levels):
    drawn = np.random.default_rng(seed)
    scores = drawn.integers(0, levels, 200).astype(float)
    is_odd = drawn.random(200) < 0.3
    scores[:20] = np.inf
    scores[20:25] = -np.inf
    finite = np.clip(scores, -1e12, 1e12)  # scikit-learn refuses infinite scores.
    area = Comparison(is_odd, ~is_odd, "", 0).auroc(scores)
    assert area == pytest.approx(roc_auc_score(is_odd, finite))


def test_one_class_is_odd_and_all_others_are_normal():
    found = compare_classes(LABELS, NAMES, NEW, odd="7")
    assert np.flatnonzero(found.odd).tolist() == [2, 7]
    assert np.flatnonzero(found.normal).tolist() == [0, 1, 5], "no unlabelled or known images"
    assert (found.name, found.trained) == ("7 against all others", 1)
    assert found.auroc(np.array([1, 1, 2, -9, 9, 2, 9, 3.0])) == pytest.approx(5.5 / 6)
    other = compare_classes(LABELS, NAMES, NEW, normal="cat")
    assert np.flatnonzero(other.normal).tolist() == [0]
    assert np.flatnonzero(other.odd).tolist() == [1, 2, 5, 7]
    assert (other.name, other.trained) == ("all others against cat", 1)


def test_a_class_is_found_by_its_name_before_its_index():
    for label in (1, "1", "dog"):
        assert np.flatnonzero(compare_classes(LABELS, NAMES, NEW, label).odd).tolist() == [1, 5]
    names = ("2", "0", "1")
    assert np.flatnonzero(compare_classes(LABELS, names, NEW, "0").odd).tolist() == [1, 5]
    assert np.flatnonzero(compare_classes(LABELS, None, NEW, "0").odd).tolist() == [0]


@pytest.mark.parametrize(
    ("labels", "new", "given", "message"),
    [
        (None, NEW, {"odd": "cat"}, "have no labels, so there is no AUROC"),
        (LABELS, NEW, {"odd": "bird"}, 'no class "bird". The classes are: cat, dog, 7.'),
        (LABELS, NEW, {"odd": "-1"}, 'no class "-1"'),
        (LABELS, NEW, {}, "Give either the odd or the normal class"),
        (LABELS, NEW, {"odd": "cat", "normal": "dog"}, "Give either the odd or the normal class"),
        (LABELS[2:4], NEW[2:3].repeat(2), {"odd": "7"}, "There are no normal images, so"),
    ],
)
def test_an_impossible_comparison_is_refused_with_the_reason(labels, new, given, message):
    with pytest.raises(ResultsError) as refused:
        compare_classes(labels, NAMES, new, **given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ("train validation test left_out", "among the test and left-out images, so there is no "),
        ("train validation test left_out", "Choose another class, or other images with --dataset."),
        ("test test test test", "no odd images among the test images, so there is no AUROC for 7"),
        ("test test test test", "Choose another class, or leave out --split (in Python: splits)."),
        ("train train validation train", "Received: train and validation images. Leave out --spl"),
    ],
)
def test_splits_without_images_of_both_kinds_are_named(splits, message):
    splits = np.array(splits.split())
    are_new = np.isin(splits, ["test", "left_out"])
    with pytest.raises(ResultsError) as refused:
        compare_classes(np.array([1, 0, 0, 1]), NAMES, are_new, "7", splits=splits)
    assert message in str(refused.value)


def test_many_classes_are_not_all_listed():
    names = [f"class {number}" for number in range(300)]
    with pytest.raises(ResultsError, match=r"class 19, \.\.\. \(300 classes\)\.$"):
        compare_classes(np.arange(300), names, np.ones(300, bool), "none")
