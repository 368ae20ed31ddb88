"""Encodes images for scripts and notebooks, with the winner of a search or with an export.

This module does not import TensorFlow, because the device is chosen before TensorFlow uses one.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaetune.data import Dataset, ImageRows, Trained, open_rows
from vaetune.device import exact_device
from vaetune.errors import DataError, MissingImagesError, ResultsError, VaetuneError
from vaetune.evaluation.image_table import ImageTable
from vaetune.evaluation.validation_losses import VALIDATION_LOSSES
from vaetune.study import (
    Exported,
    Study,
    Trial,
    find_export,
    has_begun,
    load_study,
    pick,
)

if TYPE_CHECKING:
    import pandas as pd

    from vaetune.models import VAE

Resizing = Literal["crop", "pad", "stretch"]
"""Methods of resizing, see `prepare.resize`."""


@dataclass(frozen=True, eq=False)
class LoadableModel:
    """A model that can encode images.

    Attributes:
        name: Name in a sentence, such as "trial 0012 of hyperband".
        images: Images that it was trained on.
        dataset: These images; None if their place is unknown.
        load: Function that loads the model, with TensorFlow.
        losses: File with the losses of validation images, which may not exist; None if the model
            is not an export.
        scored_images: Number of images in this file; None if it is not known.
    """

    name: str
    images: Trained
    dataset: str | None
    load: "Callable[[], VAE]"
    losses: Path | None = None
    scored_images: int | None = None


def model_of_trial(study: Study, trial: Trial) -> LoadableModel:
    """Returns the model of a trial with the weights of its best epoch.

    Args:
        study: Search or baseline of the trial.
        trial: The trial.
    """

    def load() -> "VAE":
        from vaetune.training import restore_best

        return restore_best(study, trial)

    found = study.started.data
    data = study.search.data
    what = "the winner" if trial == study.winner else f"trial {trial.trial_id}"
    return LoadableModel(
        name=f"{what} of {study.name}",
        images=Trained(data, found.reading, found.image_shape, found.fingerprint, found.images),
        dataset=data.dataset if study.names_images else None,
        load=load,
    )


def model_of_export(exported: Exported, nearby: bool = False) -> LoadableModel:
    """Returns an exported model.

    Args:
        exported: The export.
        nearby: Whether to find the place of the images through the search of the export, if it is
            in the same folder of results. The export itself does not name it.
    """

    def load() -> "VAE":
        from vaetune.models import load_model

        return load_model(exported.folder / "vae.keras")

    data = exported.data
    images = Trained(
        data, exported.reading, exported.image_shape, exported.fingerprint, exported.images
    )
    dataset = exported.named_set or (_find_nearby(exported) if nearby else None)
    losses = exported.folder / VALIDATION_LOSSES
    return LoadableModel(
        f"the model in {exported.folder}", images, dataset, load, losses, exported.scored_images
    )


def _find_nearby(exported: Exported) -> str | None:
    """Returns the place of an export's images, if its search is in the same folder of results."""
    folder = exported.folder.resolve().parent / exported.search
    if not exported.search or not has_begun(folder):
        return None
    with suppress(VaetuneError):
        study = load_study(folder)
        is_same = study.started.data.fingerprint == exported.fingerprint
        return study.search.data.dataset if is_same and study.names_images else None
    return None


def open_images(
    model: LoadableModel, dataset: Dataset | None, resize: Resizing | None = None
) -> ImageRows:
    """Opens images for a model.

    Args:
        model: The model.
        dataset: Image set, see `load_images`. Default: the images of the model's search.
        resize: Method of resizing images of another size.

    Raises:
        ResultsError: No images are given, and the place of those of the search is unknown.
        DataError: The images cannot be read, or the model cannot take them.
    """
    source = model.dataset if dataset is None else dataset
    if source is None:
        raise ResultsError(
            f"{describe_unknown_place(model)} Give their path with --dataset (in Python: "
            "dataset=...)."
        )
    try:
        rows = open_rows(source, model.images, resize)
    except MissingImagesError as error:
        if dataset is not None:
            raise
        advice = "If the images have moved, name their new place with --dataset."
        raise MissingImagesError(f"{error} {advice}") from error
    if not len(rows):
        raise DataError(f"{rows.source} contains no images.")
    return rows


def describe_unknown_place(model: LoadableModel) -> str:
    """Returns a sentence about a model without the place of its images."""
    if model.losses is None:  # It is a trial of a search.
        return f"The images of {model.name} were given by a script."
    name = f"{model.name[0].upper()}{model.name[1:]}"
    return f'{name} does not say where its images "{model.images.data.dataset}" are.'


@dataclass(frozen=True, eq=False)
class Embeddings(ImageTable):
    """Images as points in the latent space of a model, one row per image.

    Attributes:
        latents: Parameters of the posteriors by name: z_mean and z_log_var, (n, latent_dim), and
            u_2_mean, u_2_log_var and so on of lower levels, (n, height, width, channels).
    """

    latents: dict[str, NDArray[np.float32]]

    @property
    def z_mean(self) -> NDArray[np.float32]:
        """Posterior means, (n, latent_dim)."""
        return self.latents["z_mean"]

    @property
    def z_log_var(self) -> NDArray[np.float32]:
        """Posterior log-variances, (n, latent_dim)."""
        return self.latents["z_log_var"]

    def to_frame(self, log_var: bool = False) -> "pd.DataFrame":
        """Returns a pandas table with the columns of `vaetune encode`.

        Args:
            log_var: Whether to include log-variances.
        """
        columns: dict[str, NDArray[Any]] = {}
        for name, values in self.latents.items():
            if log_var or not name.endswith("log_var"):
                flat = values.reshape(len(values), -1)
                columns |= {f"{name}_{k}": flat[:, k] for k in range(flat.shape[1])}
        return self.frame_with(columns)


def encode_images(
    model: Study | str | os.PathLike[str],
    dataset: Dataset | None = None,
    *,
    trial: Trial | str | None = None,
    splits: Sequence[str] = (),
    levels: bool = False,
    resize: Resizing | None = None,
) -> Embeddings:
    """Encodes images as points in the latent space of a model.

    The images are prepared as those that the model was trained on. Rows are in the order of the
    files or arrays.

    Args:
        model: Study or folder of an export. Of a study, the winner is used.
        dataset: Image set, see `load_images`. Default: the images of the search.
        trial: Trial of the study, or its id. Default: the winner.
        splits: Splits to encode, of "train", "validation", "test" and "left_out". Default: all
            images.
        levels: Whether to return the lower levels of latent variables too.
        resize: Method of resizing images of another size: "crop", "pad" or "stretch". Default:
            that of the search; without one, such images are refused.

    Raises:
        ResultsError: There is no such trial or export, or its weights were not kept.
        DataError: The images cannot be read, or the model cannot take them.

    Example:
        >>> embeddings = vaetune.encode_images(study, "photos")
        >>> embeddings.to_frame().to_parquet("photos.parquet")
    """
    found = find_model(model, trial)
    rows = open_images(found, dataset, resize).of_splits(splits)
    with exact_device():
        from vaetune.evaluation.encoding import encode_rows  # It imports TensorFlow.

        parts = list(encode_rows(found.load(), rows, levels))
    latents = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Embeddings(rows.names, rows.splits, rows.labels, rows.class_names, latents)


def find_model(
    model: Study | str | os.PathLike[str], trial: Trial | str | None, nearby: bool = False
) -> LoadableModel:
    """Returns the model of a study's trial, or that of an export.

    Args:
        model: Study, or folder of an export.
        trial: Trial of the study, or its id. None: the winner.
        nearby: See `model_of_export`.

    Raises:
        ResultsError: There is no such trial or export.
    """
    if not isinstance(model, Study):
        exported = find_export(Path(model))
        if exported is None:
            raise ResultsError(
                f"{model} is not an export of vaetune. `vaetune best --export` writes one. For a "
                "search, pass the result of vaetune.load_study."
            )
        if trial is not None:
            raise ResultsError(f"{model} is an export of one trial: leave out `trial`.")
        return model_of_export(exported, nearby)
    current = load_study(model.folder)
    picked = pick(current, trial.trial_id if isinstance(trial, Trial) else trial)
    return model_of_trial(current, picked)
