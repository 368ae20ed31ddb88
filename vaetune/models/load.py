"""Loads exported models."""

from pathlib import Path

import keras

from vaetune.errors import ResultsError, one_line
from vaetune.files import DAMAGED_FILE_ERRORS
from vaetune.models.ladder import LadderVAE
from vaetune.models.optimizer import Adam
from vaetune.models.vae import VAE

REGISTERED = (VAE, LadderVAE, Adam)
"""Classes in a model file. Keras finds them because they are imported."""


def load_model(path: str | Path) -> VAE:
    """Loads a VAE from a `.keras` file that vaetune exported.

    Args:
        path: Path of the file.

    Raises:
        ResultsError: The file does not exist or does not contain a VAE of vaetune.
    """
    if not Path(path).is_file():
        raise ResultsError(f"There is no model at {path}. `vaetune best --export` writes one.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (*DAMAGED_FILE_ERRORS, OSError, KeyError) as error:
        raise ResultsError(_why_unreadable(path, error)) from error
    if not isinstance(model, VAE):
        raise ResultsError(
            f"{path} contains a {type(model).__name__}, expected a VAE such as vae.keras. "
            "Load encoder.keras and decoder.keras with keras.saving.load_model."
        )
    return model


def _why_unreadable(path: str | Path, error: Exception) -> str:
    reason = one_line(error)
    if "unsafe" in reason or "arbitrary code" in reason:
        return (
            f"{path} contains code to be run, such as a Lambda layer, so it was not loaded. "
            "Models that vaetune exports contain none: export the model again."
        )
    return f"{path} is not a readable Keras model: {reason}"
