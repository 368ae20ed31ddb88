"""Scores of anomalies: how badly a model explains each image, and from where on this is odd.

This module does not import TensorFlow, because the device is chosen before TensorFlow uses one.

References:
    Serrà et al., "Input Complexity and Out-of-distribution Detection with Likelihood-based
    Generative Models", 2020: why the loss of an image alone is no score.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaetune.data import Dataset, ImageRows
from vaetune.device import exact_device
from vaetune.errors import ResultsError, VaetuneError
from vaetune.evaluation.embeddings import LoadableModel, Resizing, find_model, open_images
from vaetune.evaluation.scores import LOSSES, Scores
from vaetune.evaluation.threshold import QUANTILE, check_quantile, find_threshold
from vaetune.study import POSTERIOR_SAMPLES, Study, Trial

PerImage = NDArray[np.float64]

HELD_OUT = ("test", "left_out")
"""Splits that a model saw neither in training nor when its threshold was set."""


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
        model: Study, of which the winner is used, or folder of an export.
        dataset: Image set, see `load_images`. Default: the images of the search.
        trial: Trial of the study, or its id. Default: the winner.
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
    rows = open_images(found, dataset, resize)
    with exact_device():
        return score_opened(found, rows, quantile, samples)


def score_opened(
    model: LoadableModel,
    rows: ImageRows,
    quantile: float = QUANTILE,
    samples: int = POSTERIOR_SAMPLES,
    on_progress: Callable[[float], None] | None = None,
) -> Scores:
    """Scores images that were opened for a model, and sets the threshold.

    Args:
        model: The model.
        rows: The images.
        quantile: Share of the validation images that are not flagged, in (0, 1).
        samples: Number of samples of the posterior per image.
        on_progress: Function called with the completed share, in [0, 1]. It may raise.

    Raises:
        ResultsError: The weights were not kept, or the model takes images of another shape.
        DataError: An image cannot be read.
        DeviceError: There is not enough memory for a single image.
    """
    from vaetune.evaluation.scoring import score_rows  # It imports TensorFlow.

    is_known = _find(rows, ["validation"], others=False)
    held_out, reason = (None, "") if is_known.any() else _open_held_out(model)
    counts = len(rows), len(held_out or ())
    vae = model.load()
    scores = _scores_of(rows, score_rows(vae, rows, samples, _scaled(on_progress, 0, counts)))
    if is_known.any():
        known = scores.score[is_known]
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
    reconstruction, kl, error, complexity = (losses[name] for name in LOSSES)
    return Scores(
        names=rows.names,
        splits=rows.splits,
        labels=rows.labels,
        class_names=rows.class_names,
        reconstruction=reconstruction,
        kl=kl,
        reconstruction_error=error,
        complexity=complexity,
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
