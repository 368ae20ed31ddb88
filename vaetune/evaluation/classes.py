"""Odd and normal images by their labels, and how well scores separate them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import ResultsError
from vaetune.evaluation.image_table import list_splits
from vaetune.training import area_under_curve

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Images that are compared by their labels.

    Attributes:
        odd: Mask of the compared images that are of an odd class, (n,).
        normal: Mask of the compared images that are of a normal class, (n,).
        name: Name of the comparison, such as "7 against all others".
        trained: Number of odd images among those that the model saw in training.
    """

    odd: Flags
    normal: Flags
    name: str
    trained: int

    def auroc(self, scores: NDArray[np.float64]) -> float:
        """Returns the area under the ROC curve of the scores of all images, (n,).

        It is the share of pairs of an odd and a normal image in which the odd one has the higher
        score. Equal scores count half.
        """
        return float(area_under_curve(scores[self.normal], scores[self.odd]).mean())


def compare_classes(
    labels: NDArray[np.int64] | None,
    class_names: Sequence[str] | None,
    are_new: Flags,
    odd: str | int | None = None,
    normal: str | int | None = None,
    splits: NDArray[np.str_] | None = None,
) -> Comparison:
    """Chooses odd and normal images. Images without a label do not count.

    Args:
        labels: Class indices, (n,), negative for an image without a label; None without labels.
        class_names: Class names by class index; None without names.
        are_new: Whether the model saw the image neither in training nor when the threshold was
            set, (n,). Other images do not count.
        odd: Name or index of the odd class. All others are normal.
        normal: Name or index of the normal class. All others are odd.
        splits: Names of the splits, (n,); None without splits.

    Raises:
        ResultsError: Both or none are given, there are no labels, there is no such class, or all
            images are of one kind.
    """
    given = normal if odd is None else odd
    if given is None or (odd is not None and normal is not None):
        raise ResultsError("Give either the odd or the normal class: odd=... or normal=...")
    if labels is None:
        raise ResultsError(
            "The images have no labels, so there is no AUROC. Put the images of each class into a "
            "folder of its own, or leave out the odd and the normal class."
        )
    is_given = labels == _find_class(given, labels, class_names)
    is_odd = is_given if normal is None else ~is_given
    counted = are_new & (labels >= 0)
    found = Comparison(
        odd=counted & is_odd,
        normal=counted & ~is_odd,
        name=f"{given} against all others" if normal is None else f"all others against {given}",
        trained=int((is_odd & (labels >= 0) & ~are_new).sum()),
    )
    for kind, chosen in (("odd", found.odd), ("normal", found.normal)):
        if not chosen.any():
            raise ResultsError(_explain_none(kind, found.name, are_new, splits))
    return found


def _explain_none(kind: str, name: str, are_new: Flags, splits: NDArray[np.str_] | None) -> str:
    """Returns why there are no odd or no normal images, and what to do."""
    other = "Choose another class, or other images with --dataset."
    if splits is None:
        return f"There are no {kind} images, so there is no AUROC for {name}. {other}"
    counted = _name_splits(splits[are_new])
    if not counted:
        return (
            "The AUROC counts images that the model saw neither in training nor for the threshold: "
            f"test images and those left out. Received: {_name_splits(splits)} images. Leave out "
            "--split (in Python: splits), or choose the splits test and left_out."
        )
    if not {"train", "test"} <= set(splits.tolist()):  # All images of a set have both.
        other = "Choose another class, or leave out --split (in Python: splits)."
    return (
        f"There are no {kind} images among the {counted} images, so there is no AUROC for {name}. "
        + other
    )


def _name_splits(splits: NDArray[np.str_]) -> str:
    """Returns the names of the splits that occur, such as "test and left-out"."""
    return " and ".join(name.replace("_", "-") for name in list_splits(splits))


def _find_class(
    label: str | int, labels: NDArray[np.int64], class_names: Sequence[str] | None
) -> int:
    """Returns the index of a class, given by its name or its index."""
    names = list(class_names or ())
    if str(label) in names:
        return names.index(str(label))
    present = set(labels[labels >= 0].tolist())
    if str(label).isdecimal() and int(label) in present:
        return int(label)
    shown = names or [str(each) for each in sorted(present)]
    more = f", ... ({len(shown)} classes)" if len(shown) > 20 else ""
    raise ResultsError(
        f'There is no class "{label}". The classes are: {", ".join(shown[:20])}{more}.'
    )
