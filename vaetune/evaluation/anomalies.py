"""Scores of anomalies: how badly a model explains each image, and from where on this is odd.

This module does not import TensorFlow, because the device is chosen before TensorFlow uses one.

References:
    Serrà et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based
    Generative Models", 2020: why the loss of an image alone is no score.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaetune.data import Dataset, ImageRows
from vaetune.device import exact_device
from vaetune.errors import VaetuneError
from vaetune.evaluation.classes import compare_classes
from vaetune.evaluation.embeddings import (
    LoadableModel,
    Resizing,
    find_model,
    name_classes,
    open_images,
)
from vaetune.evaluation.threshold import QUANTILE, Threshold, check_quantile, find_threshold
from vaetune.study import POSTERIOR_SAMPLES, Study, Trial

if TYPE_CHECKING:
    import pandas as pd

    from vaetune.models import VAE

PerImage = NDArray[np.float64]

HELD_OUT = ("test", "left_out")
"""Splits that a model saw neither in training nor when its threshold was set."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of images, one row per image. The higher a score, the odder is the image.

    Attributes:
        names: Paths of files within the folder, or indices in the array, (n,) str or int64.
        splits: Names of the splits, (n,): "train", "validation", "test" or "left_out"; None
            without splits.
        labels: Class indices, (n,), -1 for an image without a label; None without labels.
        class_names: Class names by class index; None without labels.
        reconstruction: Reconstruction loss, a mean over samples of the posterior, (n,) in nats.
        kl: KL divergence, (n,) in nats.
        reconstruction_error: Mean squared error of the reconstruction through the posterior means,
            (n,), of pixels in [0, 1].
        complexity: Lowest reconstruction loss that any reconstruction of the image could have,
            (n,) in nats.
        are_new: Whether the model saw the image neither in training nor when the threshold was
            set, (n,).
        threshold: Score above which images are flagged; None if none could be set.
        no_threshold: Reason why there is no threshold; empty with one.
    """

    names: NDArray[Any]
    splits: NDArray[np.str_] | None
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...] | None
    reconstruction: PerImage
    kl: PerImage
    reconstruction_error: PerImage
    complexity: PerImage
    are_new: NDArray[np.bool_]
    threshold: Threshold | None = None
    no_threshold: str = ""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def negative_elbo(self) -> PerImage:
        """Negative ELBO, (n,) in nats."""
        return self.reconstruction + self.kl

    @property
    def score(self) -> PerImage:
        """Negative ELBO less `complexity`, (n,) in nats. NaN counts as infinite."""
        return to_score(self.negative_elbo, self.complexity)

    @property
    def flagged(self) -> NDArray[np.bool_] | None:
        """Whether the score is above the threshold, (n,); None without a threshold."""
        return None if self.threshold is None else self.score > self.threshold.value

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns of numbers, in the order of the table of `vaetune score`."""
        names = ("score", "negative_elbo", "reconstruction", "kl")
        columns = {name: getattr(self, name) for name in names}
        columns |= {name: getattr(self, name) for name in ("reconstruction_error", "complexity")}
        return columns if self.flagged is None else {**columns, "flagged": self.flagged}

    def highest(self, count: int) -> NDArray[np.int64]:
        """Returns the rows of the images with the highest scores, highest first.

        Args:
            count: Number of images, at most.
        """
        return np.argsort(-self.score, kind="stable")[:count]

    def middle(self, count: int, besides: int = 0) -> NDArray[np.int64]:
        """Returns the rows of images with scores around the median, in order.

        Args:
            count: Number of images, at most.
            besides: Number of images with the highest scores that are left out.
        """
        order = np.argsort(-self.score, kind="stable")
        start = max(besides, (len(order) - count) // 2)
        return order[start : start + count]

    def class_of(self, row: int) -> str | None:
        """Returns the name of an image's class, or None if it has none."""
        if self.labels is None:
            return None
        (found,) = name_classes(self.labels[row : row + 1], self.class_names)
        return found

    def auroc(self, odd: str | int | None = None, normal: str | int | None = None) -> float:
        """Returns the area under the ROC curve: how well scores separate odd from normal images.

        It is the probability that an odd image has a higher score than a normal one. Images of the
        search count only if they are test images or were left out.

        Args:
            odd: Class of the odd images. All other classes are normal.
            normal: Class of the normal images. All other classes are odd.

        Raises:
            ResultsError: There are no labels, no such class or no images of both kinds.
        """
        found = compare_classes(self.labels, self.class_names, self.are_new, odd, normal)
        return found.auroc(self.score)

    def to_frame(self) -> "pd.DataFrame":
        """Returns a pandas table with the columns of `vaetune score`."""
        import pandas as pd

        columns: dict[str, Any] = {"name": self.names.tolist()}
        if self.splits is not None:
            columns["split"] = self.splits
        if self.labels is not None:
            known = pd.Series(self.labels, dtype="Int64")
            columns["label"] = known.mask(known < 0) if (self.labels < 0).any() else self.labels
            columns["class_name"] = name_classes(self.labels, self.class_names)
        return pd.DataFrame(columns | self.columns)


def to_score(negative_elbo: PerImage, complexity: PerImage) -> PerImage:
    """Returns the scores of images, (n,).

    Args:
        negative_elbo: Negative ELBO, (n,) in nats.
        complexity: Lowest reconstruction loss that any reconstruction could have, (n,) in nats.
    """
    score = negative_elbo - complexity
    return np.where(np.isnan(score), np.inf, score)


def score_images(
    model: Study | str | os.PathLike[str],
    dataset: Dataset | None = None,
    *,
    trial: Trial | str | None = None,
    quantile: float = QUANTILE,
    samples: int = POSTERIOR_SAMPLES,
    resize: Resizing | None = None,
) -> Scores:
    """Scores images: how badly a model explains each of them, compared with images that it knows.

    The images are prepared as those that the model was trained on. Rows are in the order of the
    files or arrays. Images with a score above the threshold are flagged. The threshold is a
    quantile of the scores of the validation images of the model's search.

    Args:
        model: Study, whose winner scores, or the folder of an export.
        dataset: Image set, see `load_images`. Default: the images of the search.
        trial: Trial of the study, or its id. Default: the winner.
        quantile: Share of the validation images that are not flagged, in (0, 1).
        samples: Number of samples of the posterior per image.
        resize: Method of resizing images of another size: "crop", "pad" or "stretch". Default:
            that of the search; without one, such images are refused.

    Raises:
        ResultsError: There is no such trial or export, or its weights were not kept, or the
            quantile is not in (0, 1).
        DataError: The images cannot be read, or the model cannot take them.

    Example:
        >>> scores = vaetune.score_images(study, "photos")
        >>> scores.to_frame().sort_values("score").tail(10)
    """
    check_quantile(quantile)
    found = find_model(model, trial, nearby=True)
    rows = open_images(found, dataset, resize)
    with exact_device():
        return score_opened(found, found.load(), rows, quantile, samples)


def score_opened(
    model: LoadableModel,
    vae: "VAE",
    rows: ImageRows,
    quantile: float = QUANTILE,
    samples: int = POSTERIOR_SAMPLES,
    on_progress: Callable[[float], None] | None = None,
) -> Scores:
    """Scores images that were opened for a model, and sets the threshold.

    Args:
        model: Where the model and the images of its search are from.
        vae: The model, loaded.
        rows: The images.
        quantile: Share of the validation images that are not flagged, in (0, 1).
        samples: Number of samples of the posterior per image.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.

    Raises:
        ResultsError: The model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """
    from vaetune.evaluation.scoring import score_rows  # It imports TensorFlow.

    held_out, reason = (None, "") if rows.are_trained_on else _open_held_out(model)
    counts = len(rows), len(held_out or ())
    losses = score_rows(vae, rows, samples, _scaled(on_progress, 0, counts))
    scores = _scores_of(rows, losses)
    if rows.splits is not None and rows.are_trained_on:
        known = scores.score[rows.splits == "validation"]
    elif held_out is not None:
        losses = score_rows(vae, held_out, samples, _scaled(on_progress, 1, counts))
        known = _scores_of(held_out, losses).score
    else:
        return replace(scores, no_threshold=reason)
    return replace(scores, threshold=find_threshold(known, quantile))


def _open_held_out(model: LoadableModel) -> tuple[ImageRows | None, str]:
    """Returns the validation images of the model's search, or the reason why there are none."""
    none = "No threshold could be set, so no image is flagged"
    if model.dataset is None:
        return None, (
            f'{none}: {model.name} does not say where its images "{model.images.data.dataset}" '
            "are. Score with the search instead of its export, or keep the export in the folder of "
            "results of its search."
        )
    try:
        rows = open_images(model, None)
    except VaetuneError as error:
        return None, f"{none}, because the images of the search cannot be read. {error}"
    if rows.are_trained_on:
        return rows.of_splits(["validation"]), ""
    return None, f"{none}: {rows.source} has changed since the search."


def _scores_of(rows: ImageRows, losses: Mapping[str, PerImage]) -> Scores:
    facts = rows.names, rows.splits, rows.labels, rows.class_names
    return Scores(*facts, **losses, are_new=find_new(rows))


def find_new(rows: ImageRows) -> NDArray[np.bool_]:
    """Returns whether a model saw an image neither in training nor for its threshold, (n,).

    Args:
        rows: Images that were opened for the model.
    """
    if rows.splits is None or not rows.are_trained_on:
        return np.ones(len(rows), bool)
    return np.isin(rows.splits, HELD_OUT)


def _scaled(
    on_progress: Callable[[float], None] | None, part: int, counts: tuple[int, int]
) -> Callable[[float], None] | None:
    """Returns a function that reports the progress of one of two parts as that of both."""
    if on_progress is None:
        return None
    total, before = sum(counts), sum(counts[:part])
    return lambda share: on_progress((before + share * counts[part]) / total)
