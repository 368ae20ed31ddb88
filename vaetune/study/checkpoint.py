"""The state of a trial after an epoch, in one file that is there whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from vaetune.errors import ResultsError
from vaetune.files import DamagedArchiveError, read_arrays, write_arrays

CHECKPOINT_NAME = "checkpoint.npz"

Arrays = Sequence[NDArray[Any]]

_GROUPS = ("weights", "optimizer", "best_weights", "best_optimizer")

_LATEST = {"best_weights": "weights", "best_optimizer": "optimizer"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state that a trial continues from, and its best weights.

    Attributes:
        epoch: The last finished epoch, absolute.
        weights: The model's variables after it, random state of the sampler included.
        optimizer: The optimizer's variables after it.
        best_epoch: The epoch of the trial with the lowest validation loss.
        best_val_loss: Validation loss of the best epoch, nats per image.
        best_weights: The model's variables after the best epoch.
        best_optimizer: Optimizer variables after the best epoch, if promotions continue from it.
    """

    epoch: int
    weights: Arrays
    optimizer: Arrays
    best_epoch: int
    best_val_loss: float
    best_weights: Arrays
    best_optimizer: Arrays = ()

    @property
    def is_trainable(self) -> bool:
        """Whether training can continue from it."""
        return len(self.optimizer) > 0

    def weights_only(self) -> "Checkpoint":
        """What an export needs: a third of the size, or a quarter."""
        return replace(self, weights=(), optimizer=(), best_optimizer=())

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
            raise ResultsError(
                f"There is no checkpoint at {path}. Run the search again: it makes it anew."
            ) from None
        except (OSError, KeyError, ValueError, DamagedArchiveError) as error:
            raise ResultsError(
                f"The checkpoint {path} is damaged: {error}. Run the search again: it mends it."
            ) from error

    def _to_arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best_val_loss,
        }
        for group in _GROUPS:
            if group in _LATEST and self.is_trainable and self.best_epoch == self.epoch:
                continue  # the same arrays as the latest
            values = getattr(self, group)
            arrays |= {f"{group}/{index}": value for index, value in enumerate(values)}
        return arrays

    @classmethod
    def _from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        def group(name: str) -> Arrays:
            count = sum(key.startswith(f"{name}/") for key in arrays)
            return tuple(arrays[f"{name}/{index}"] for index in range(count))

        groups = {name: group(name) for name in _GROUPS}
        epoch, best_epoch = int(arrays["epoch"]), int(arrays["best_epoch"])
        if epoch == best_epoch:
            groups |= {name: groups[name] or groups[latest] for name, latest in _LATEST.items()}
        return cls(
            epoch=epoch,
            best_epoch=best_epoch,
            best_val_loss=float(arrays["best_val_loss"]),
            **groups,
        )
