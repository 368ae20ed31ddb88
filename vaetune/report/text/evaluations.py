"""Prints evaluations on the test images as a table or as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vaetune.config import LIKELIHOODS, Binarize
from vaetune.report.text.units import counted, with_error
from vaetune.study import Evaluation, TrialEvaluated


def evaluations_as_table(evaluations: Mapping[str, TrialEvaluated]) -> str:
    """A table with a column for each model, below the evaluation protocol.

    Args:
        evaluations: Evaluations on the same images by the same protocol, by name of the model.
    """
    rows = [("", *evaluations), *evaluation_rows([*evaluations.values()])]
    first, *others = zip(*rows, strict=True)
    widths = [max(map(len, column)) for column in others]
    table = [
        f"  {key:<{max(map(len, first))}}  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        for key, *cells in rows
    ]
    details = [
        f"  {name}{f', {kind}' if kind else ''}: {values}"
        for name, event in evaluations.items()
        for kind, values in kl_by_level(event.evaluation).items()
    ]
    several = any(event.evaluation.lower_levels for event in evaluations.values())
    lines = [
        describe_protocol(next(iter(evaluations.values())).evaluation),
        *table,
        f"KL of each latent dimension{_OF_CHANNELS if several else ''}, nats",
        *details,
    ]
    return "\n".join(line.rstrip() for line in lines)


_OF_CHANNELS = ", and of each channel of lower levels"


def kl_by_level(evaluation: Evaluation) -> dict[str, str]:
    """The KL of each latent dimension and of each channel of lower levels, by name of the level.

    The name of the only level of a model is empty.
    """
    name = "level 1" if evaluation.lower_levels else ""
    levels = [evaluation.kl_per_dimension, *(one.kl_per_channel for one in evaluation.lower_levels)]
    values = [", ".join(f"{kl:.2f}" for kl in level) for level in levels]
    lower = (f"level {number}" for number in range(2, 2 + len(evaluation.lower_levels)))
    return dict(zip((name, *lower), values, strict=True))


PIXELS: Mapping[Binarize, str] = {
    "none": "pixels as they are: not comparable with likelihoods of binarised images",
    "threshold": "pixels binarised by a threshold: 1 from one half on, else 0",
    "stochastic": "pixels binarised at random, once: 1 with their value as the probability, else 0",
}
"""Descriptions of the pixels that losses and likelihoods are computed for."""


def describe_protocol(evaluation: Evaluation) -> str:
    """The evaluation protocol, in a few lines."""
    protocol, window = evaluation.protocol, evaluation.ssim_window
    lower = " (a channel of a lower level: its mean, summed over positions)"
    return (
        f"  {counted(evaluation.test_images, 'test image')}; "
        f"{counted(protocol.posterior_samples, 'posterior sample')} of each, seed "
        f"{protocol.seed}; +- is the standard error over images\n"
        f"  {PIXELS[protocol.binarize]}\n"
        f"{_describe_likelihood(evaluation)}"
        f"  importance-weighted bound: k = {protocol.importance_samples:,} on the first "
        f"{counted(protocol.importance_images, 'test image')}\n"
        f"  active: z_mean varies by more than {protocol.active_variance:g}"
        f"{lower if evaluation.lower_levels else ''}; kNN: the "
        f"{protocol.neighbours} nearest z_mean of training images; SSIM in windows of "
        f"{window} x {window}"
    )


def _describe_likelihood(evaluation: Evaluation) -> str:
    """The likelihood of the pixels as a line; empty for that of the Keras example."""
    words = LIKELIHOODS[evaluation.likelihood]
    if words.shift is None:
        return ""
    added = "; bits per dimension of a density on [0, 1] plus 8, as for 256 levels"
    return f"  {words.label} likelihood{added if words.shift else ''}\n"


def evaluations_as_json(evaluations: Mapping[str, TrialEvaluated]) -> str:
    """A JSON array with an object for each model. Numbers that are not finite become null."""
    rows = []
    for name, event in evaluations.items():
        evaluation = event.evaluation
        derived: dict[str, Any] = {
            "above_entropy_floor": evaluation.above_entropy_floor,
            "active_units": evaluation.active_units,
        }
        numbers = asdict(evaluation)
        if evaluation.lower_levels:
            derived["active_channels"] = evaluation.active_channels
        else:
            del numbers["lower_levels"]
        if evaluation.likelihood == "bernoulli":
            del numbers["likelihood"], numbers["pixel_values"]
        else:
            derived["bits_per_dimension"] = evaluation.bits_per_dimension
            derived["bound_bits_per_dimension"] = evaluation.bound_bits_per_dimension
        source = event.model_dump(mode="json", exclude={"event", "evaluation"})
        rows.append({"model": name, **source, **numbers, **derived})
    return json.dumps(_finite_throughout(rows), indent=2, allow_nan=False)


def evaluation_rows(events: Sequence[TrialEvaluated]) -> list[tuple[str, ...]]:
    """The results of evaluations: a row with the name of each result and its values.

    The names of parts are indented below the sum that they belong to.

    Args:
        events: Evaluations on the same images by the same protocol, at least one.
    """
    most = max(len(event.evaluation.lower_levels) for event in events)
    columns = [_results(event, most) for event in events]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def _results(event: TrialEvaluated, lower_levels: int) -> dict[str, str]:
    """The results of an evaluation by name, in the order of the table.

    Args:
        event: The evaluation.
        lower_levels: Number of lower levels that the table has rows for.
    """
    evaluation = event.evaluation
    bound = evaluation.importance_weighted_bound
    accuracy = evaluation.knn_accuracy
    decoded = "means decoded" if lower_levels else "z_mean decoded"
    return {
        "evaluated": f"{event.time:%Y-%m-%d %H:%M} UTC, {event.duration_s:.0f} s",
        "best epoch": str(event.epoch),
        "negative ELBO, nats per image": with_error(evaluation.negative_elbo),
        "  reconstruction": with_error(evaluation.reconstruction),
        "  KL": with_error(evaluation.kl),
        **_above_floor(evaluation),
        **_bits("  in bits per dimension", evaluation.bits_per_dimension),
        "negative log-likelihood, bound": with_error(bound),
        **_bits("  bound in bits per dimension", evaluation.bound_bits_per_dimension),
        "active units": f"{evaluation.active_units} of {len(evaluation.kl_per_dimension)}",
        **_active_channels(evaluation, lower_levels),
        "kNN accuracy of z_mean": "no labels" if accuracy is None else f"{accuracy:.1%}",
        f"{decoded} (no ELBO), PSNR": f"{evaluation.psnr:.2f} dB",
        f"{decoded} (no ELBO), SSIM": f"{evaluation.ssim:.3f}",
    }


def _above_floor(evaluation: Evaluation) -> dict[str, str]:
    above = evaluation.above_entropy_floor
    if above is None:
        return {}
    return {f"  above the entropy floor, {evaluation.entropy_floor:.2f}": f"{above:.2f}"}


def _bits(name: str, bits: float | None) -> dict[str, str]:
    return {} if bits is None else {name: f"{bits:.3f}"}


def _active_channels(evaluation: Evaluation, lower_levels: int) -> dict[str, str]:
    found = [
        f"{active} of {len(level.kl_per_channel)} ({level.size[0]} x {level.size[1]})"
        for active, level in zip(evaluation.active_channels, evaluation.lower_levels, strict=True)
    ]
    missing = ["-"] * (lower_levels - len(found))
    shown = enumerate([*found, *missing], start=2)
    return {f"  active channels, level {number}": text for number, text in shown}


def _finite_throughout(value: Any) -> Any:
    match value:
        case dict():
            return {key: _finite_throughout(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite_throughout(part) for part in value]
        case float() if not math.isfinite(value):
            return None
    return value
