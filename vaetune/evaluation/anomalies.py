"""Scores of anomalies: how badly a model explains each image, and from where on this is odd.

This module does not import TensorFlow, because the device is chosen before TensorFlow uses one.

References:
    Serrà et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based
    Generative Models", 2020: why the loss of an image alone is no score.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaetune.data import Dataset, ImageRows, open_rows, rows_of
from vaetune.device import exact_device
from vaetune.errors import MissingImagesError, ResultsError, VaetuneError
from vaetune.evaluation.embeddings import (
    LoadableModel,
    Resizing,
    describe_unknown_place,
    find_model,
    open_images,
)
from vaetune.evaluation.images import PreparedImages
from vaetune.evaluation.scores import LOSSES, Scores
from vaetune.evaluation.threshold import QUANTILE, check_quantile
from vaetune.evaluation.validation_losses import (
    ValidationLosses,
    losses_of,
    read_validation_losses,
)
from vaetune.study import POSTERIOR_SAMPLES, Study, Trial

PerImage = NDArray[np.float64]

HELD_OUT = ("test", "left_out")
"""Splits that a model saw neither in training nor when its threshold was set."""

MOST_EXPORTED = 2000
"""Maximum number of validation images in the file of losses of an export."""

_EXPORT_WITH_IMAGES = (
    "export the model with them: `vaetune best --export --dataset PATH` (in Python: "
    "export_trial(..., images=...))."
)


def score_images(
    model: Study | str | os.PathLike[str],
    dataset: Dataset | None = None,
    *,
    trial: Trial | str | None = None,
    splits: Sequence[str] = (),
    quantile: float = QUANTILE,
    samples: int = POSTERIOR_SAMPLES,
    resize: Resizing | None = None,
) -> Scores:
    """Scores images: how badly a model explains each of them, compared with images that it knows.

    The images are prepared as those that the model was trained on. Rows are in the order of the
    files or arrays. Images with a score above the threshold are flagged. The threshold is a
    quantile of the scores of the validation images of the model's search.

    Args:
        model: Study or folder of an export. Of a study, the winner is used.
        dataset: Image set, see `load_images`. Default: the images of the search.
        trial: Trial of the study, or its id. Default: the winner.
        splits: Splits to score, of "train", "validation", "test" and "left_out". Default: all
            images.
        quantile: Share of the validation images that are not flagged, in (0, 1).
        samples: Number of samples of the posterior per image.
        resize: Method of resizing images of another size: "crop", "pad" or "stretch". Default:
            that of the search; without one, such images are refused.

    Raises:
        ResultsError: There is no such trial or export, its weights were not kept, the quantile is
            not in (0, 1), or there is not even one sample.
        DataError: The images cannot be read, or the model cannot take them.

    Example:
        >>> scores = vaetune.score_images(study, "photos")
        >>> scores.to_frame().sort_values("score").tail(10)
    """
    check_quantile(quantile)
    if samples < 1:
        raise ResultsError(f"The number of samples must be at least 1. Received: {samples}.")
    found = find_model(model, trial, nearby=True)
    every = open_images(found, dataset, resize)
    rows = every.of_splits(splits)
    with exact_device():
        return score_opened(found, rows, quantile, samples, every=every)


def score_opened(
    model: LoadableModel,
    rows: ImageRows,
    quantile: float = QUANTILE,
    samples: int = POSTERIOR_SAMPLES,
    on_progress: Callable[[float], None] | None = None,
    every: ImageRows | None = None,
) -> Scores:
    """Scores images that were opened for a model, and sets the threshold.

    Args:
        model: The model.
        rows: The images.
        quantile: Share of the validation images that are not flagged, in (0, 1).
        samples: Number of samples of the posterior per image.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.
        every: Images of all splits, if `rows` are those of some. Default: `rows`.

    Raises:
        ResultsError: The weights were not kept, or the model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """
    from vaetune.evaluation.scoring import score_rows  # It imports TensorFlow.

    is_known = _find(rows, ["validation"], others=False)
    every = rows if every is None else every
    known, held_out, reason = (None, None, "") if is_known.any() else _find_known(model, every)
    counts = len(rows), len(held_out or ())
    vae = model.load()
    measured = score_rows(vae, rows, samples, _scaled(on_progress, 0, counts))
    if is_known.any():
        known = losses_of({name: losses[is_known] for name, losses in measured.items()})
    elif held_out is not None:
        known = losses_of(score_rows(vae, held_out, samples, _scaled(on_progress, 1, counts)))
    scores = _scores_of(rows, measured)
    if known is None:
        return replace(scores, no_threshold=reason)
    return replace(scores, correction=known.correction, threshold=known.find_threshold(quantile))


def score_validation(
    model: LoadableModel, images: PreparedImages | None = None
) -> ValidationLosses:
    """Scores the validation images of the search of a model, or as many of them as an export needs.

    Args:
        model: The model.
        images: Images of the search. Default: read from their place.

    Raises:
        VaetuneError: The images cannot be read, or have changed since the search.
    """
    from vaetune.evaluation.scoring import score_rows  # It imports TensorFlow.

    rows = _open_own(model) if images is None else rows_of(images)
    rows = rows.of_splits(["validation"])
    every = math.ceil(len(rows) / MOST_EXPORTED)
    return losses_of(score_rows(model.load(), rows.take(slice(None, None, every))))


def _find_known(
    model: LoadableModel, every: ImageRows
) -> tuple[ValidationLosses | None, ImageRows | None, str]:
    """Returns the losses of validation images, or these images, or the reason why there are none.

    Args:
        model: The model.
        every: Images of all splits that were opened, in which the validation images may be.

    Raises:
        ResultsError: The losses that an export contains are damaged.
    """
    if _find(every, ["validation"], others=False).any():
        return None, every.of_splits(["validation"]), ""
    losses = None
    if model.losses is not None:
        losses = read_validation_losses(model.losses, model.scored_images)
    if losses is not None:
        return losses, None, ""
    try:
        return None, _open_own(model).of_splits(["validation"]), ""
    except VaetuneError as error:
        lost = "" if model.losses is None else f" There is no {model.losses}."
        return None, None, f"No threshold could be set, so no image is flagged.{lost} {error}"


def _open_own(model: LoadableModel) -> ImageRows:
    """Opens the images of the search of a model.

    Raises:
        VaetuneError: They cannot be read, or have changed since the search.
    """
    if model.dataset is None:
        raise ResultsError(
            f"{describe_unknown_place(model)} If you have them, {_EXPORT_WITH_IMAGES}"
        )
    try:
        rows = open_rows(model.dataset, model.images)
    except MissingImagesError as error:
        advice = f"If the images have moved, {_EXPORT_WITH_IMAGES}"
        raise MissingImagesError(f"{error} {advice}") from error
    if not rows.are_trained_on:
        raise ResultsError(f"{rows.source} has changed since the search.")
    return rows


def _scores_of(rows: ImageRows, measured: Mapping[str, PerImage]) -> Scores:
    reconstruction, kl, error, lowest, compressed = (measured[name] for name in LOSSES)
    return Scores(
        names=rows.names,
        splits=rows.splits,
        labels=rows.labels,
        class_names=rows.class_names,
        reconstruction=reconstruction,
        kl=kl,
        reconstruction_error=error,
        lowest_loss=lowest,
        compressed_size=compressed,
        are_new=find_new(rows),
    )


def find_new(rows: ImageRows) -> NDArray[np.bool_]:
    """Returns whether a model saw an image neither in training nor for its threshold, (n,).

    Args:
        rows: Images that were opened for the model.
    """
    return _find(rows, HELD_OUT, others=True)


def _find(rows: ImageRows, splits: Sequence[str], others: bool) -> NDArray[np.bool_]:
    """Returns whether an image is of some splits of the model's search, (n,).

    Args:
        rows: Images that were opened for the model.
        splits: Names of the splits.
        others: Result for images that are not those of the search.
    """
    if rows.splits is None or not rows.are_trained_on:
        return np.full(len(rows), others)
    return np.isin(rows.splits, splits)


def _scaled(
    on_progress: Callable[[float], None] | None, part: int, counts: tuple[int, int]
) -> Callable[[float], None] | None:
    """Returns a function that reports the progress of one of two parts as that of both."""
    if on_progress is None:
        return None
    total, before = sum(counts), sum(counts[:part])
    return lambda share: on_progress((before + share * counts[part]) / total)
