"""The files of an export for programs: hyperparameters.json and preprocessing.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaetune.config import DataSpec, ReadingSpec
from vaetune.study import Study, Trial

MANIFEST = "hyperparameters.json"

PROGRAM = "vaetune"

_READING_OPTIONS = set(ReadingSpec.model_fields)
"""Options of the search file without which the same images would be read in another way."""


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """The manifest of an export, or None if the folder is not an export of vaetune."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("program") == PROGRAM
    return manifest if is_ours else None


def build_manifest(study: Study, trial: Trial) -> dict[str, Any]:
    """The facts of hyperparameters.json about a trial, its losses and its data."""
    best = trial.best
    data = study.started.data
    return {
        "program": PROGRAM,
        "search": study.name,
        "trial_id": trial.trial_id,
        "configuration": trial.configuration,
        "hyperparameters": dict(trial.hyperparameters),
        "epochs": best.epoch if best else None,
        "parameters": trial.parameters,
        "validation": {
            "negative_elbo": best.val_loss if best else None,
            "reconstruction_loss": best.val_reconstruction_loss if best else None,
            "kl_loss": best.val_kl_loss if best else None,
            "unit": "nats per image, one posterior sample",
            "images": data.validation_images,
        },
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.image_shape),
            "pixel_range": [0.0, 1.0],
            # The path of the images is left out, because exports are shared.
            **study.search.data.model_dump(include={"binarize", "train_on", "likelihood"}),
            **study.search.data.model_dump(include=_READING_OPTIONS, exclude_none=True),
        },
        "seed": study.search.seed,
        "versions": dict(study.environment.versions) if study.environment else {},
    }


@dataclass(frozen=True)
class Exported:
    """An export, as its manifest describes it.

    Attributes:
        folder: Folder of the export.
        trial_id: Id of the exported trial.
        epoch: Epoch of the exported weights.
        seed: Random seed of the search.
        data: Data that the model was trained on. `dataset` is the name of the images and not a
            path.
        fingerprint: Hash of the images.
    """

    folder: Path
    trial_id: str
    epoch: int
    seed: int
    data: DataSpec
    fingerprint: str


def find_export(folder: Path) -> Exported | None:
    """Reads the export in a folder; None if the folder is not an export of vaetune."""
    manifest = read_manifest(folder)
    try:
        return None if manifest is None else _read_export(folder, manifest)
    except (KeyError, TypeError, ValueError):
        return None


def _read_export(folder: Path, manifest: Mapping[str, Any]) -> Exported:
    data = manifest["data"]
    keys = ("binarize", "train_on", "likelihood", *_READING_OPTIONS)
    options = {key: data[key] for key in keys if key in data}
    return Exported(
        folder=folder,
        trial_id=str(manifest["trial_id"]),
        epoch=int(manifest["epochs"]),
        seed=int(manifest["seed"]),
        data=DataSpec(dataset=data["name"], **options),
        fingerprint=str(data["fingerprint"]),
    )
