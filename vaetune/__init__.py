"""Finds the best convolutional variational autoencoder for a set of images.

`VAEHyperModel` and `load_model` are imported on first use: TensorFlow takes seconds.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaetune.export import load_model
    from vaetune.hypermodel import VAEHyperModel

__version__ = "0.1.0"

__all__ = ["VAEHyperModel", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    if name == "VAEHyperModel":
        from vaetune.hypermodel import VAEHyperModel

        return VAEHyperModel
    if name == "load_model":
        from vaetune.export import load_model

        return load_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
