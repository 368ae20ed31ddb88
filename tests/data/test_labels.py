"""Labels are converted to classes. Unusable labels give a warning and are left out."""

import numpy as np
import pytest

from vaetune.data.labels import convert_labels


def convert(*labels, counts=None):
    names = ("training", "validation", "test")[: len(labels)]
    return convert_labels(labels, counts or [len(one) for one in labels], names)


@pytest.mark.parametrize(
    ("given", "indices", "class_names"),
    [
        (np.array([7, 3, 7]), [1, 0, 1], ("3", "7")),
        (np.array([[7], [3], [7]]), [1, 0, 1], ("3", "7")),
        (np.array([7.0, 3.0, 7.0]), [1, 0, 1], ("3", "7")),
        (np.array([True, False, True]), [1, 0, 1], ("0", "1")),
        (np.array(["dog", "cat", "dog"]), [1, 0, 1], ("cat", "dog")),
        (np.array([b"dog", b"cat", b"dog"]), [1, 0, 1], ("cat", "dog")),
        (np.array([[0, 1], [1, 0], [0, 1]]), [1, 0, 1], ("0", "1")),
    ],
)
def test_labels_become_classes(given, indices, class_names):
    found = convert(given)
    assert found.indices[0].tolist() == indices
    assert found.class_names == class_names
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.zeros(23, int), "they have shape (23,), and there are 24 images"),
        (np.ones((24, 5), int), "they have 5 values for each image"),
        (np.linspace(0, 1, 24), "are not whole numbers or names"),
        (np.full(24, np.nan), "are not whole numbers or names"),
        (np.zeros((24, 2, 2)), "they have shape (24, 2, 2)"),
        (np.array([None] * 24, dtype=object), "pickled objects"),
    ],
)
def test_unusable_labels_are_left_out_with_the_reason(given, reason):
    found = convert(given, counts=[24])
    assert found.indices == (None,)
    assert found.class_names is None
    assert found.warnings[0].startswith("The training labels were not used: ")
    assert reason in found.warnings[0]


def test_all_splits_share_the_same_classes():
    found = convert(np.array(["b", "c"]), np.array(["a"]), np.array(["c"]))
    assert [one.tolist() for one in found.indices] == [[1, 2], [0], [2]]
    assert found.class_names == ("a", "b", "c")


def test_one_split_may_have_no_usable_labels():
    found = convert(np.array([1, 2]), np.array([0.5]))
    assert found.indices[0].tolist() == [0, 1]
    assert found.indices[1] is None
    assert "The validation labels" in found.warnings[0]
