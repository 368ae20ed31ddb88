"""Names for the folders of configurations that are trained outside a search."""

import hashlib
from itertools import count
from pathlib import Path

from vaetune.config import (
    BASELINES,
    OPTIONAL,
    REFERENCE,
    SearchSpec,
    Value,
    differences,
    short_value,
)
from vaetune.data import ImageSet
from vaetune.errors import JournalError
from vaetune.search.resume import find_past
from vaetune.study import Study


def free_name(stem: str, spec: SearchSpec, images: ImageSet, results: Path) -> str:
    """Returns a name that is free, or that belongs to this very experiment already.

    Args:
        stem: Beginning of the name.
        spec: The experiment.
        images: The image set.
        results: Folder of all results.
    """
    stem = f"{stem}-{images.name}-{spec.budget.max_epochs}"
    for attempt in count(1):
        name = stem if attempt == 1 else f"{stem}-{attempt}"
        try:
            past = find_past(results / BASELINES / name)
        except JournalError:
            continue  # The damaged baseline is left as it is, so that the user can repair it.
        if past is None or _is_same(past, spec, images):
            return name
    raise AssertionError("unreachable: count() does not end")


def _is_same(past: Study, spec: SearchSpec, images: ImageSet) -> bool:
    same_data = past.started.data.fingerprint == images.fingerprint
    return same_data and not differences(spec, past.started.search)


def configuration_name(spec: SearchSpec) -> str:
    """Returns a name for a single configuration, such as "reference" or "filters-16-32-...".

    Args:
        spec: A search with a single configuration.
    """
    values = spec.space.used({name: one.listed()[0] for name, one in spec.space.dimensions()})
    likelihood = spec.data.likelihood
    end = "" if likelihood == "bernoulli" else f"-{likelihood.replace('_', '-')}"
    if values == REFERENCE:
        return f"reference{end}"
    filters = [str(values[name]) for name in ("filters_1", "filters_2") if name in values]
    words = [f"filters-{'-'.join(filters)}"] if filters else []
    words += [f"{_LABELS[name]}-{_number(values[name])}" for name in _LABELS if name in values]
    words += [
        short_value(name, value).replace(" ", "-")
        for name, value in values.items()
        if name not in _LABELS and name in OPTIONAL and value != OPTIONAL[name]
    ]
    return _shortened("-".join(words) + end)


def _number(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_LABELS = {
    "dense_units": "dense",
    "latent_dim": "latent",
    "learning_rate": "rate",
    "batch_size": "batch",
    "beta": "beta",
}

_MAX_NAME = 120
"""Largest number of characters of a name. File systems allow 255."""


def _shortened(name: str) -> str:
    """Returns a name in which a checksum replaces the end, if it is too long."""
    if len(name) <= _MAX_NAME:
        return name
    checksum = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _MAX_NAME - len(checksum) - 1]}-{checksum}"
