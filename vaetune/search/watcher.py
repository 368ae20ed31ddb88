"""The interface of an object that follows a search."""

from typing import Protocol

from vaetune.config import Likelihood, example_name
from vaetune.study import Event


def run_of_reference(likelihood: Likelihood) -> str:
    """Returns the run of the Keras example's network, trained with a likelihood.

    It is "baseline" for the Keras example itself.
    """
    return "baseline" if likelihood == "bernoulli" else example_name(likelihood)


class Watcher(Protocol):
    """Receives the events and the progress of a search."""

    def on_event(self, run: str, event: Event) -> None:
        """Called with each event after the journal holds it.

        Args:
            run: Run of the event: "search", that of `run_of_reference`, or a label such as
                "configuration 3 seed 1".
            event: The event.
        """

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Called within each epoch, and while finalists are measured.

        Args:
            run: As for `on_event`.
            trial_id: Id of the trial that is trained; None while finalists are measured.
            share: Share of the epoch, or of the measurements, that is done, in [0, 1].
        """

    def on_wait(self) -> None:
        """Called a few times per second while workers train and send no message."""


class NoWatcher:
    """Ignores everything. A base class for watchers that need only some of the calls."""

    def on_event(self, run: str, event: Event) -> None:
        """Ignores an event; see `Watcher.on_event`."""

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Ignores progress; see `Watcher.on_progress`."""

    def on_wait(self) -> None:
        """Does nothing; see `Watcher.on_wait`."""
