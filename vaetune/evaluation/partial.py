"""Sums over the samples of an evaluation, kept on the disk so that it can continue.

An evaluation with thousands of samples takes hours. After an interruption, the next evaluation of
the same weights by the same protocol continues, and its result is the same to the last bit.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vaetune.data import ImageSet
from vaetune.files import DamagedArchiveError, read_arrays, write_arrays
from vaetune.models import VAE
from vaetune.study import EvaluationProtocol

PARTIAL_NAME = "evaluation.npz"
"""File in the folder of a trial, as long as its evaluation is not complete."""

INTERVAL_S = 10.0
"""Seconds between two writes."""

SCHEME = 1
"""Number of the way in which samples are drawn. Sums of another number are dropped."""

Sums = Sequence[NDArray[np.float64]]


class PartialSums:
    """Sums over the samples so far, by name.

    As a context, it writes the sums if its body is interrupted, and removes the file otherwise.

    Args:
        path: File of the sums. None: they are not kept.
        key: Description of everything that the sums depend on. Sums with another key are dropped.
    """

    def __init__(self, path: Path | None = None, key: str = "") -> None:
        self._path = path
        self._key = key
        self._began_s = self._written_s = time.monotonic()
        self._earlier_s, self._sums = _read(path, key) if path else (0.0, {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self._write()
        elif self._path:
            self._path.unlink(missing_ok=True)

    @property
    def duration_s(self) -> float:
        """Duration of the evaluation so far, with its interrupted parts, in seconds."""
        return self._earlier_s + time.monotonic() - self._began_s

    def get(self, name: str) -> tuple[int, Sums]:
        """Returns the number of samples so far, and their sums; 0 and none at the beginning."""
        return self._sums.get(name, (0, ()))

    def update(self, name: str, samples: int, sums: Sums) -> None:
        """Keeps the sums over some samples. From time to time, they are written.

        Args:
            name: Name of the sums.
            samples: Number of samples.
            sums: Their sums. The arrays must not change afterwards.
        """
        self._sums[name] = (samples, sums)
        if time.monotonic() - self._written_s > INTERVAL_S:
            self._write()

    def _write(self) -> None:
        if self._path is None or not self._sums:
            return
        arrays: dict[str, Any] = {"key": np.array(self._key), "duration_s": self.duration_s}
        for name, (samples, sums) in self._sums.items():
            arrays[f"{name}/samples"] = samples
            arrays |= {f"{name}/{index}": one for index, one in enumerate(sums)}
        write_arrays(self._path, arrays)
        self._written_s = time.monotonic()


def _read(path: Path, key: str) -> tuple[float, dict[str, tuple[int, Sums]]]:
    """Reads duration and sums; none if there is no file, or it is damaged or has another key."""
    try:
        arrays = read_arrays(path)
        if str(arrays["key"]) != key:
            return 0.0, {}
        names = [name.removesuffix("/samples") for name in arrays if name.endswith("/samples")]
        sums: dict[str, tuple[int, Sums]] = {
            name: (
                int(arrays[f"{name}/samples"]),
                [arrays[f"{name}/{i}"] for i in range(_count(name, arrays))],
            )
            for name in names
        }
        return float(arrays["duration_s"]), sums
    except (OSError, KeyError, ValueError, DamagedArchiveError):
        return 0.0, {}


def _count(name: str, arrays: dict[str, Any]) -> int:
    return sum(one.startswith(f"{name}/") for one in arrays) - 1


def describe_evaluation(vae: VAE, images: ImageSet, protocol: EvaluationProtocol) -> str:
    """Returns a hash of weights, images and protocol of an evaluation.

    Args:
        vae: Model to evaluate.
        images: Image set with the test images.
        protocol: Sample counts and other evaluation settings.
    """
    settings = {"scheme": SCHEME, "images": images.fingerprint, **asdict(protocol)}
    found = hashlib.sha256(json.dumps(settings).encode())
    for variable in vae.ordered_variables:
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return found.hexdigest()
