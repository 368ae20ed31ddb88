"""The measurements of a model for the metadata of its card, as the Hugging Face Hub reads them."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from vaetune.config import NAMED_SETS
from vaetune.report import printable
from vaetune.study import EpochEnded, Evaluation, Study, Trial

OWN_IMAGES = "custom"
"""Type of a data set that has no name of its own."""

Metric = tuple[str, str, float | None]
"""Type, name and value of a metric. Those without a finite value are left out."""


@dataclass(frozen=True)
class Measured:
    """The metrics of a model on one part of the images.

    Attributes:
        split: Part of the images, "validation" or "test".
        metrics: Type, name and value of each metric, as YAML.
    """

    split: str
    metrics: tuple[tuple[str, str, str], ...]


def list_measured(study: Study, trial: Trial) -> list[Measured]:
    """Returns the metrics of a trial's best epoch: on validation images, and on test images."""
    event = study.evaluation(trial)
    of_splits = {
        "validation": _on_validation(study, trial.best) if trial.best else (),
        "test": _on_test(event.evaluation) if event else (),
    }
    found = {split: _as_yaml(metrics) for split, metrics in of_splits.items()}
    return [Measured(split, metrics) for split, metrics in found.items() if metrics]


def _on_validation(study: Study, best: EpochEnded) -> tuple[Metric, ...]:
    objective = study.objective
    use = () if objective.is_loss else ((objective.name, objective.title, best.value),)
    return (
        *use,
        ("loss", "validation loss: negative ELBO, nats per image", best.val_loss),
        ("reconstruction_loss", "reconstruction loss, nats", best.val_reconstruction_loss),
        ("kl_loss", "KL divergence, nats", best.val_kl_loss),
        ("bits_per_dimension", "validation loss, bits per dimension", study.bits(best.val_loss)),
    )


def _on_test(found: Evaluation) -> tuple[Metric, ...]:
    samples = found.protocol.importance_samples
    bound = f"importance-weighted bound (k = {samples}), nats per image"
    return (
        ("negative_elbo", "negative ELBO, nats per image", found.negative_elbo.mean),
        ("importance_weighted_bound", bound, found.importance_weighted_bound.mean),
        ("bits_per_dimension", "negative ELBO, bits per dimension", found.bits_per_dimension),
        ("psnr", "PSNR of reconstructions, dB", found.psnr),
        ("ssim", "SSIM of reconstructions", found.ssim),
        ("accuracy", "accuracy of nearest neighbours by z_mean", found.knn_accuracy),
    )


def _as_yaml(metrics: Iterable[Metric]) -> tuple[tuple[str, str, str], ...]:
    # Without an exponent, which YAML would read as text.
    return tuple(
        (kind, quoted(name), f"{value:.4f}")
        for kind, name, value in metrics
        if value is not None and math.isfinite(value)
    )


def dataset_type(study: Study) -> str:
    """Returns the name of a known image set, or `OWN_IMAGES`. It contains no path."""
    source = study.started.data.source
    return source if source in NAMED_SETS else OWN_IMAGES


def quoted(text: str) -> str:
    """Returns a text as YAML, in quotation marks. Names come from files and may hold anything."""
    return json.dumps(printable(text, longest=100), ensure_ascii=False)
