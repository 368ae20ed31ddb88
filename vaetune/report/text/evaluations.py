"""Prints evaluations on the test images as a table or as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vaetune.config import Binarize
from vaetune.report.text.units import counted, with_error
from vaetune.study import Evaluation, TrialEvaluated


def evaluations_as_table(evaluations: Mapping[str, TrialEvaluated]) -> str:
    """A table with a column for each model, below the evaluation protocol.

    Args:
        evaluations: Evaluations on the same images by the same protocol, by name of the model.
    """
    columns = [evaluation_rows(event) for event in evaluations.values()]
    rows = [
        ("", *evaluations),
        *((key, *(column[key] for column in columns)) for key in columns[0]),
    ]
    first, *others = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in others]
    table = [
        f"  {key:<{max(map(len, first))}}  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        for key, *cells in rows
    ]
    details = [
        f"  {name}: {', '.join(f'{kl:.2f}' for kl in event.evaluation.kl_per_dimension)}"
        for name, event in evaluations.items()
    ]
    lines = [
        describe_protocol(next(iter(evaluations.values())).evaluation),
        *table,
        "KL of each latent dimension, nats",
        *details,
    ]
    return "\n".join(line.rstrip() for line in lines)


PIXELS: Mapping[Binarize, str] = {
    "none": "pixels as they are: not comparable with likelihoods of binarised images",
    "threshold": "pixels binarised by a threshold: 1 from one half on, else 0",
    "stochastic": "pixels binarised at random, once: 1 with their value as the probability, else 0",
}
"""Descriptions of the pixels that losses and likelihoods are computed for."""


def describe_protocol(evaluation: Evaluation) -> str:
    """The evaluation protocol, in a few lines."""
    protocol, window = evaluation.protocol, evaluation.ssim_window
    return (
        f"  {counted(evaluation.test_images, 'test image')}; "
        f"{counted(protocol.posterior_samples, 'posterior sample')} of each, seed "
        f"{protocol.seed}; +- is the standard error over images\n"
        f"  {PIXELS[protocol.binarize]}\n"
        f"  importance-weighted bound: k = {protocol.importance_samples:,} on the first "
        f"{counted(protocol.importance_images, 'test image')}\n"
        f"  active: z_mean varies by more than {protocol.active_variance:g}; kNN: the "
        f"{protocol.neighbours} nearest z_mean of training images; SSIM in windows of "
        f"{window} x {window}"
    )


def evaluations_as_json(evaluations: Mapping[str, TrialEvaluated]) -> str:
    """A JSON array with an object for each model. Numbers that are not finite become null."""
    rows = []
    for name, event in evaluations.items():
        evaluation = event.evaluation
        derived = {
            "above_entropy_floor": evaluation.above_entropy_floor,
            "active_units": evaluation.active_units,
        }
        source = event.model_dump(mode="json", exclude={"event", "evaluation"})
        rows.append({"model": name, **source, **asdict(evaluation), **derived})
    return json.dumps(_finite_throughout(rows), indent=2, allow_nan=False)


def evaluation_rows(event: TrialEvaluated) -> dict[str, str]:
    """The results of an evaluation by name, in the order of the table.

    The names of parts are indented below the sum that they belong to.
    """
    evaluation = event.evaluation
    bound = evaluation.importance_weighted_bound
    accuracy = evaluation.knn_accuracy
    dimensions = len(evaluation.kl_per_dimension)
    return {
        "evaluated": f"{event.time:%Y-%m-%d %H:%M} UTC, {event.duration_s:.0f} s",
        "best epoch": str(event.epoch),
        "negative ELBO, nats per image": with_error(evaluation.negative_elbo),
        "  reconstruction": with_error(evaluation.reconstruction),
        "  KL": with_error(evaluation.kl),
        f"  above the entropy floor, {evaluation.entropy_floor:.2f}": (
            f"{evaluation.above_entropy_floor:.2f}"
        ),
        "negative log-likelihood, bound": with_error(bound),
        "active units": f"{evaluation.active_units} of {dimensions}",
        "kNN accuracy of z_mean": "no labels" if accuracy is None else f"{accuracy:.1%}",
        "z_mean decoded (no ELBO), PSNR": f"{evaluation.psnr:.2f} dB",
        "z_mean decoded (no ELBO), SSIM": f"{evaluation.ssim:.3f}",
    }


def _finite_throughout(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite_throughout(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite_throughout(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value
