"""Names, splits and labels of images, to which a table adds what a model says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

_SPLITS = ("train", "validation", "test", "left_out")
"""Names of splits, in the order in which they are listed."""


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Images with one row each.

    Attributes:
        names: Paths of files within the folder, or indices in the array, (n,) str or int64.
        splits: Names of the splits, (n,): "train", "validation", "test" or "left_out"; None
            without splits.
        labels: Class indices, (n,), -1 for an image without a label; None without labels.
        class_names: Class names by class index; None without labels.
    """

    names: NDArray[Any]
    splits: NDArray[np.str_] | None
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def split_names(self) -> list[str]:
        """Names of the splits that occur; empty without splits."""
        return [] if self.splits is None else list_splits(self.splits)

    def frame_with(self, columns: Mapping[str, NDArray[Any]]) -> "pd.DataFrame":
        """Returns a pandas table with name, split, label and class name, and further columns.

        Args:
            columns: Further columns by name, each (n,).
        """
        import pandas as pd

        facts: dict[str, Any] = {"name": self.names.tolist()}
        if self.splits is not None:
            facts["split"] = self.splits
        if self.labels is not None:
            known = pd.Series(self.labels, dtype="Int64")
            facts["label"] = known.mask(known < 0) if (self.labels < 0).any() else self.labels
            facts["class_name"] = name_classes(self.labels, self.class_names)
        return pd.DataFrame(facts | dict(columns))


def list_splits(splits: NDArray[np.str_]) -> list[str]:
    """Returns the names of the splits that occur, training images first."""
    return [name for name in _SPLITS if name in splits]


def name_classes(labels: NDArray[np.int64], class_names: Sequence[str] | None) -> list[str | None]:
    """Returns the class name of each label, or None for an image without a label."""
    known = dict(enumerate(class_names or ()))
    return [known.get(label) for label in labels.tolist()]
