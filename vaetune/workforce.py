"""Who trains: this process alone, or workers that it directs."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from vaetune.checkpoint import Arrays
from vaetune.device import ChosenDevice
from vaetune.environment import describe_environment
from vaetune.journal import Environment
from vaetune.rescorer import Measured
from vaetune.routine import Bench
from vaetune.training import OnProgress
from vaetune.tuner import VAETuner

Opening = AbstractContextManager[VAETuner | None]
"""Trials that are lent out: entered when there is someone to train them; None if all is done."""


class Workforce(Protocol):
    """Trains and measures models."""

    @property
    def workers(self) -> int:
        """How many models it trains at a time."""

    @property
    def environment(self) -> Environment:
        """Where it trains them."""

    def run(self, openings: Iterable[Opening], on_wait: Callable[[], None]) -> None:
        """Runs all trials of some searches, those of the first one first, and mends what was lost.

        Args:
            openings: The searches; each is closed when it is done.
            on_wait: Called now and then while others train; may raise.

        Raises:
            StoppedEarly: A limit of one of the searches is reached.
            VaetuneError: The disk is full, or there is nobody left to train.
        """

    def measure(
        self,
        models: Sequence[Arrays],
        samples: int,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[Measured]:
        """Measures models on the validation images; see `rescorer.Rescorer`.

        Args:
            models: The weights of each.
            samples: Of each image's posterior.
            seed: Of the samples.
            on_progress: Called with the share that is done; may raise.
        """


class InProcess:
    """Trains one model at a time, in this process.

    Args:
        bench: Where to.
        device: The device that TensorFlow was brought up on.
    """

    workers = 1

    def __init__(self, bench: Bench, device: ChosenDevice) -> None:
        self.environment = describe_environment(device)
        self._bench = bench

    def run(self, openings: Iterable[Opening], on_wait: Callable[[], None]) -> None:
        """Runs the searches one after the other; see `Workforce`."""
        for opening in openings:
            with opening as tuner:
                if tuner is not None:
                    tuner.search(self._bench)
                    tuner.mend(self._bench)

    def measure(
        self,
        models: Sequence[Arrays],
        samples: int,
        seed: int,
        on_progress: OnProgress | None = None,
    ) -> list[Measured]:
        """Measures models one after the other; see `Workforce`."""
        measured = []
        for done, weights in enumerate(models):

            def tell(share: float, done: int = done) -> None:
                if on_progress:
                    on_progress((done + share) / len(models))

            measured.append(self._bench.rescorer.measure(weights, samples, seed, tell))
        return measured
