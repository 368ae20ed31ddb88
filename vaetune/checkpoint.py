"""The state of a trial after an epoch, in one file that is there whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vaetune.archive import DamagedArchiveError, read_arrays, write_arrays
from vaetune.errors import ResultsError

CHECKPOINT_NAME = "checkpoint.npz"

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a trial can go on from, and what it is to export.

    Attributes:
        epoch: The last finished epoch, absolute.
        weights: The model's variables after it, random state of the sampler included.
        optimizer: The optimizer's variables after it.
        best_epoch: The epoch of the trial with the lowest validation loss.
        best_val_loss: That loss, nats per image.
        best_weights: The model's variables after the best epoch.
    """

    epoch: int
    weights: Arrays
    optimizer: Arrays
    best_epoch: int
    best_val_loss: float
    best_weights: Arrays

    def save(self, folder: Path) -> None:
        """Writes the checkpoint into a trial's folder, replacing the one before in one step.

        Raises:
            ResultsError: It cannot be written; the one before is unharmed.
        """
        write_arrays(folder / CHECKPOINT_NAME, self._to_arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads the checkpoint of a trial's folder.

        Raises:
            ResultsError: It is missing or damaged.
        """
        path = folder / CHECKPOINT_NAME
        try:
            return cls._from_arrays(read_arrays(path))
        except FileNotFoundError:
            raise ResultsError(f"There is no checkpoint at {path}.") from None
        except (OSError, KeyError, ValueError, DamagedArchiveError) as error:
            raise ResultsError(f"The checkpoint {path} is damaged: {error}.") from error

    def _to_arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best_val_loss,
        }
        for group in ("weights", "optimizer", "best_weights"):
            values = getattr(self, group)
            arrays |= {f"{group}/{index}": value for index, value in enumerate(values)}
        return arrays

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        def group(name: str) -> Arrays:
            count = sum(key.startswith(f"{name}/") for key in arrays)
            return tuple(arrays[f"{name}/{index}"] for index in range(count))

        return cls(
            epoch=int(arrays["epoch"]),
            weights=group("weights"),
            optimizer=group("optimizer"),
            best_epoch=int(arrays["best_epoch"]),
            best_val_loss=float(arrays["best_val_loss"]),
            best_weights=group("best_weights"),
        )


def read_variables(variables: Sequence[Any]) -> Arrays:
    """Copies variables of a model or an optimizer, in their order."""
    return tuple(np.array(variable) for variable in variables)


def write_variables(variables: Sequence[Any], arrays: Arrays) -> None:
    """Puts arrays back into the variables they were read from.

    Raises:
        ResultsError: Number or shapes differ: the arrays are of another model.
    """
    ours = [tuple(variable.shape) for variable in variables]
    theirs = [array.shape for array in arrays]
    if ours != theirs:
        raise ResultsError(
            f"A checkpoint is of another model: it has shapes {theirs}, this one {ours}."
        )
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
