"""The state of a trial after an epoch, in one file that is replaced atomically."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from vaetune.errors import ResultsError
from vaetune.files import DamagedArchiveError, read_arrays, write_arrays

CHECKPOINT_NAME = "checkpoint.npz"

Arrays = Sequence[NDArray[Any]]

_GROUPS = (
    "weights",
    "optimizer",
    "average",
    "best_weights",
    "best_raw_weights",
    "best_optimizer",
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State from which a trial continues, and its best weights.

    Attributes:
        epoch: Last finished epoch, absolute.
        weights: Variables of the model after `epoch`, with the random state of its sampler.
        optimizer: Variables of the optimizer after `epoch`; empty if only the best weights are
            kept.
        average: Average of the variables after `epoch`; empty if they are not averaged.
        best_epoch: Best epoch of the trial, absolute; see `Trial.best`.
        best_val_loss: Validation loss of `best_epoch`, nats per image.
        best_objective: Value of the objective of `best_epoch`; None if it is the validation loss.
        best_weights: Variables after `best_epoch` that were validated: averages, if there are any.
        best_raw_weights: Variables of the model after `best_epoch`; empty unless they are
            averaged and promotions continue from the best epoch.
        best_optimizer: Variables of the optimizer after `best_epoch`; empty unless promotions
            continue from the best epoch.
    """

    epoch: int
    weights: Arrays
    optimizer: Arrays
    best_epoch: int
    best_val_loss: float
    best_weights: Arrays
    best_optimizer: Arrays = ()
    average: Arrays = ()
    best_raw_weights: Arrays = ()
    best_objective: float | None = None

    @property
    def best_value(self) -> float:
        """Value of the objective of `best_epoch`."""
        return self.best_val_loss if self.best_objective is None else self.best_objective

    @property
    def is_trainable(self) -> bool:
        """Whether training can continue from this checkpoint."""
        return len(self.optimizer) > 0

    def weights_only(self) -> "Checkpoint":
        """Returns the part that an export needs, a quarter to a third of the size."""
        return replace(
            self, weights=(), optimizer=(), average=(), best_raw_weights=(), best_optimizer=()
        )

    def save(self, folder: Path) -> None:
        """Writes the checkpoint to a trial's folder and atomically replaces the previous one.

        Raises:
            ResultsError: The file cannot be written. The previous checkpoint is unchanged.
        """
        write_arrays(folder / CHECKPOINT_NAME, self._to_arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads the checkpoint in a trial's folder.

        Raises:
            ResultsError: The file is missing or damaged.
        """
        path = folder / CHECKPOINT_NAME
        try:
            return cls._from_arrays(read_arrays(path))
        except FileNotFoundError:
            raise ResultsError(
                f"There is no checkpoint at {path}. Run the search again to recreate it."
            ) from None
        except (OSError, KeyError, ValueError, DamagedArchiveError) as error:
            raise ResultsError(
                f"The checkpoint {path} is damaged: {error}. Run the search again to repair it."
            ) from error

    def _to_arrays(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "best_val_loss": self.best_val_loss,
        }
        if self.best_objective is not None:
            arrays["best_objective"] = self.best_objective
        is_latest = self.is_trainable and self.best_epoch == self.epoch
        for group in _GROUPS:
            if group.startswith("best_") and is_latest:
                continue  # They equal the latest arrays, so they are not stored twice.
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
        best_objective = arrays.get("best_objective")
        if epoch == best_epoch:
            latest = {
                "best_weights": groups["average"] or groups["weights"],
                "best_raw_weights": groups["weights"] if groups["average"] else (),
                "best_optimizer": groups["optimizer"],
            }
            groups |= {name: groups[name] or values for name, values in latest.items()}
        return cls(
            epoch=epoch,
            best_epoch=best_epoch,
            best_val_loss=float(arrays["best_val_loss"]),
            best_objective=None if best_objective is None else float(best_objective),
            **groups,
        )
