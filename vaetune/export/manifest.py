"""The manifest of an export, and the preprocessing of images that it describes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaetune.config import DataSpec
from vaetune.study import Study, Trial

MANIFEST = "hyperparameters.json"

PROGRAM = "vaetune"


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """What a folder says of itself, if it says that it is an export; else None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("program") == PROGRAM
    return manifest if is_ours else None


def build_manifest(study: Study, trial: Trial) -> dict[str, Any]:
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
            # Not where the images are: an export is for others.
            **study.search.data.model_dump(include={"binarize", "train_on"}),
        },
        "seed": study.search.seed,
        "versions": dict(study.environment.versions) if study.environment else {},
    }


@dataclass(frozen=True)
class Exported:
    """An export of a model, as its manifest describes it.

    Attributes:
        folder: Folder of the export.
        trial_id: The trial that it was.
        epoch: The epoch of its weights.
        seed: Random seed of the search.
        data: Data set that the model was trained on. `dataset` is the name of the images and not a
            path.
        fingerprint: Fingerprint of those images.
    """

    folder: Path
    trial_id: str
    epoch: int
    seed: int
    data: DataSpec
    fingerprint: str


def find_export(folder: Path) -> Exported | None:
    """What is exported to a folder; None if that is no export of vaetune."""
    manifest = read_manifest(folder)
    try:
        return None if manifest is None else _read_export(folder, manifest)
    except (KeyError, TypeError, ValueError):
        return None


def _read_export(folder: Path, manifest: Mapping[str, Any]) -> Exported:
    data = manifest["data"]
    ways = {key: data[key] for key in ("binarize", "train_on") if key in data}
    return Exported(
        folder=folder,
        trial_id=str(manifest["trial_id"]),
        epoch=int(manifest["epochs"]),
        seed=int(manifest["seed"]),
        data=DataSpec(dataset=data["name"], **ways),
        fingerprint=str(data["fingerprint"]),
    )


THRESHOLD = 0.5


def describe_preprocessing(study: Study) -> dict[str, Any]:
    """What `preprocessing.json` says; `predict.py` does it in this order.

    It is what was done to the training images, and for a file of another size what comes next to
    it: those were of one size.
    """
    height, width, channels = study.started.data.image_shape
    method = study.search.data.binarize
    return {
        "image": {
            "height": height,
            "width": width,
            "channels": channels,
            "colour": "grey" if channels == 1 else "RGB",
            "transparent": "on black",
        },
        "resize": {
            "policy": "resize",
            "policies": "resize | refuse, where an image has another size",
            "filter": "bilinear",
            "keeps_proportions": False,
        },
        "scale": {"divide_by": 255, "range": [0.0, 1.0], "dtype": "float32"},
        "binarize": {
            "method": method,
            "threshold": THRESHOLD if method == "threshold" else None,
        },
        "layout": ["image", "height", "width", "channel"],
    }
