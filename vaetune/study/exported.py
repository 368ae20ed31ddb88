"""Exports as their files for programs describe them: hyperparameters.json and preprocessing.json.

`vaetune.export` writes exports. This module reads what other packages need to know about one.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaetune.config import NAMED_SETS, DataSpec, Reading, ReadingSpec

MANIFEST = "hyperparameters.json"

PREPROCESSING = "preprocessing.json"

PROGRAM = "vaetune"

READING_OPTIONS = frozenset(ReadingSpec.model_fields)
"""Options of the search file without which the same images would be read in another way."""


def read_manifest(folder: Path) -> Mapping[str, Any] | None:
    """The manifest of an export, or None if the folder is not an export of vaetune."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_ours = isinstance(manifest, dict) and manifest.get("program") == PROGRAM
    return manifest if is_ours else None


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
        image_shape: Height, width and channels of the images.
        images: Number of images in all splits together, with those left out; None in exports of
            0.1.
        reading: Record of the reading; None if the search did not record it.
        search: Name of the search; empty if the manifest does not name it.
        scored_images: Number of validation images in the export's file of losses; None without
            this file.
    """

    folder: Path
    trial_id: str
    epoch: int
    seed: int
    data: DataSpec
    fingerprint: str
    image_shape: tuple[int, int, int]
    images: int | None = None
    reading: Reading | None = None
    search: str = ""
    scored_images: int | None = None

    @property
    def named_set(self) -> str | None:
        """Name of the data set if vaetune knows it, such as "digits"; None for a user's images."""
        return self.data.dataset if self.data.dataset in NAMED_SETS else None


def find_export(folder: Path) -> Exported | None:
    """Reads the export in a folder; None if the folder is not an export of vaetune."""
    manifest = read_manifest(folder)
    try:
        return None if manifest is None else _read_export(folder, manifest)
    except (KeyError, TypeError, ValueError):
        return None


def _read_export(folder: Path, manifest: Mapping[str, Any]) -> Exported:
    data = manifest["data"]
    keys = ("binarize", "train_on", "likelihood", "leave_out", *READING_OPTIONS)
    options = {key: data[key] for key in keys if key in data}
    height, width, channels = map(int, data["image_shape"])
    return Exported(
        folder=folder,
        trial_id=str(manifest["trial_id"]),
        epoch=int(manifest["epochs"]),
        seed=int(manifest["seed"]),
        data=DataSpec(dataset=data["name"], **options),
        fingerprint=str(data["fingerprint"]),
        image_shape=(height, width, channels),
        images=data.get("images"),
        reading=_read_reading(folder),
        search=str(manifest.get("search", "")),
        scored_images=manifest.get("validation_losses"),
    )


def _read_reading(folder: Path) -> Reading | None:
    """Returns how the training images were read, from preprocessing.json."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        steps = json.loads((folder / PREPROCESSING).read_text(encoding="utf-8"))
        low, high = steps["input"]["range"]
        return Reading(**steps["input"], low=low, high=high)
    return None
