"""The table of recorded learning curves that simulated searches use.

The configurations are a scrambled Sobol sequence (seed 7) over the default space. Each was trained
for 27 epochs on the first 2,048 MNIST training images and validated on 512 others.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import qmc
from workloads import LEARNING_RATES, SPACE, append_line

TABLE = Path(__file__).parent / "curves.jsonl"
EPOCHS = 27
NAMES = ("latent_dim", "filters_1", "filters_2", "dense_units", "learning_rate")
_SOBOL_SEED = 7

GIVE_UP_S = 100_000.0
"""Simulated seconds after which a search is stopped."""


@dataclass(frozen=True)
class Curve:
    """The learning curve of a configuration.

    Attributes:
        number: Index of the configuration in the sequence.
        values: Hyperparameters by name.
        val_loss: Validation loss after each epoch, in nats per image.
        cpu_s: CPU seconds of each epoch's training and validation on one thread.
    """

    number: int
    values: dict[str, Any]
    val_loss: tuple[float, ...]
    cpu_s: tuple[float, ...]


def configurations(count: int) -> list[dict[str, Any]]:
    """Returns the first configurations of the sequence."""
    low, high = LEARNING_RATES
    # Sobol sequences are balanced only for powers of two.
    drawn = qmc.Sobol(len(NAMES), scramble=True, seed=_SOBOL_SEED).random_base2(count.bit_length())
    found = []
    for *choices, rate in drawn[:count].tolist():
        values: dict[str, Any] = {
            name: SPACE[name][int(share * len(SPACE[name]))]
            for name, share in zip(NAMES, choices, strict=False)
        }
        found.append(values | {"learning_rate": low * (high / low) ** rate})
    return found


def read_curves(path: Path = TABLE) -> Iterator[Curve]:
    """Yields the curves of a table, except a last line that is incomplete."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        values = {name: row[name] for name in NAMES}
        yield Curve(row["i"], values, tuple(row["val"]), tuple(row["cpu_s"]))


def write_curve(curve: Curve, path: Path) -> None:
    """Appends a curve to a table."""
    row = {
        "i": curve.number,
        **curve.values,
        "val": [round(loss, 3) for loss in curve.val_loss],
        "cpu_s": [round(seconds, 2) for seconds in curve.cpu_s],
    }
    append_line(path, json.dumps(row))
