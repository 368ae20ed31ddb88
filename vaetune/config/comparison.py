"""Compares two experiments, setting by setting."""

import json
import math
from collections.abc import Mapping
from typing import Any

from vaetune.config.spec import Budget, SearchSpec, Training


def differences(ours: SearchSpec, theirs: SearchSpec) -> list[str]:
    """Returns the settings that differ between two experiments, as "key: theirs -> ours".

    What `with_settings_of` copies does not count, nor does the path of the images: compare their
    fingerprints instead.
    """
    left, right = _compared(theirs), _compared(ours)
    return [
        f"{key}: {_show(left.get(key))} -> {_show(right.get(key))}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def _show(value: Any) -> str:
    """Returns a setting as text; several values are separated by commas."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "not set" if value is None else str(value)


def experiment_key(spec: SearchSpec) -> str:
    """Returns a text that two experiments share if they do not differ; see `differences`."""
    compared = _compared(spec)
    if spec.ranked_by.is_loss:
        del compared["objective"]  # Earlier versions had no other objective.
    return json.dumps(compared, sort_keys=True)


def _compared(spec: SearchSpec) -> dict[str, Any]:
    """Returns the settings of an experiment, by dotted key."""
    included: Any = {
        **dict.fromkeys(("algorithm", "seed", "budget", "space", "start_with"), True),
        "data": {"binarize", "train_on", "likelihood", "leave_out"},
        "training": Training.model_fields.keys() - {"compile"},
    }
    settings = flatten(spec.model_dump(include=included, exclude_none=True))
    return {**settings, "objective": spec.objective}


def with_settings_of(session: SearchSpec, recorded: SearchSpec) -> SearchSpec:
    """Returns an experiment with the settings of a session, which may differ between sessions.

    Args:
        session: Experiment with the settings of the session.
        recorded: The experiment as it was begun.
    """
    changed = {
        name: getattr(session, name) for name in ("limits", "baseline", "device", "choose_by")
    }
    return recorded.with_compile(session.training.compile).model_copy(update=changed)


def is_larger(ours: Budget, theirs: Budget) -> bool:
    """Whether a budget differs from another only by more trials, epochs or iterations."""
    left, right = ours.model_dump(), theirs.model_dump()
    changed = {key for key in left if left[key] != right[key]}
    for key in ("hyperband_iterations", "total_epochs"):
        if changed == {key}:
            return bool(left[key] > right[key])
    if changed == {"max_trials"}:
        max_trials = left["max_trials"] or math.inf  # None means the complete grid.
        return bool(right["max_trials"] is not None and max_trials > right["max_trials"])
    return False


def flatten(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested tables as one table with dotted keys. A dimension stays one value."""
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping) and prefix != "space.":
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
