"""Losses of validation images, with which other images are compared.

An export takes them along as a file, so that it finds odd images without those of its search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaetune.errors import ResultsError, one_line
from vaetune.evaluation.threshold import Threshold, find_threshold
from vaetune.training import Correction, fit_correction

VALIDATION_LOSSES = "validation_losses.csv"
"""Name of the file in an export."""

PerImage = NDArray[np.float64]

_REPLACE = "Export the model again with `vaetune best --export`."

_COLUMNS = ("negative_elbo", "lowest_loss", "compressed_size")


@dataclass(frozen=True, eq=False)
class ValidationLosses:
    """Losses of images on which the model was not trained, in nats.

    Attributes:
        negative_elbo: Negative ELBO, (n,). NaN counts as infinite.
        lowest_loss: Lowest reconstruction loss that any reconstruction could have, (n,).
        compressed_size: Size of the image after lossless compression, (n,).
    """

    negative_elbo: PerImage
    lowest_loss: PerImage
    compressed_size: PerImage

    @cached_property
    def correction(self) -> Correction:
        """Loss that is expected of an image, fitted to these images."""
        return fit_correction(self.negative_elbo, self.lowest_loss, self.compressed_size)

    def find_threshold(self, quantile: float) -> Threshold:
        """Returns the score above which other images are flagged; see `find_threshold`."""
        losses = self.negative_elbo, self.lowest_loss, self.compressed_size
        return find_threshold(self.correction.score(*losses), quantile)

    def write(self, path: Path) -> None:
        """Writes a CSV file with a row for each image."""
        import pandas as pd

        table = pd.DataFrame({name: getattr(self, name) for name in _COLUMNS})
        table.to_csv(path, index=False, float_format="%.6f")


def losses_of(measured: Mapping[str, PerImage]) -> ValidationLosses:
    """Returns the losses of images that were measured as in `scoring.score_rows`."""
    elbo = measured["reconstruction"] + measured["kl"]
    return ValidationLosses(elbo, measured["lowest_loss"], measured["compressed_size"])


def read_validation_losses(path: Path, images: int | None = None) -> ValidationLosses | None:
    """Reads the file of an export; None if there is none, as in exports of 0.1.

    Args:
        path: The file.
        images: Number of its images according to the manifest. Default: not known.

    Raises:
        ResultsError: The file is damaged.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
        columns = [table[name].to_numpy(np.float64) for name in _COLUMNS]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{path} is damaged: {one_line(error)}. {_REPLACE}") from error
    if images not in (None, len(table)):
        raise ResultsError(f"{path} has {len(table):,} rows, expected {images:,}. {_REPLACE}")
    if not len(table):
        raise ResultsError(f"{path} has no rows. {_REPLACE}")
    return ValidationLosses(*columns)
