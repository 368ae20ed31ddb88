"""Progress bars of running trials and of an evaluation."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vaetune.study import Event, TrialStarted

_BAR_WIDTH = 12

MAX_BARS = 8
"""Number of running trials that have a bar."""

OTHER_LINES = 4
"""Lines besides those of trials: the whole search, "and 24 more", the best loss, the cursor."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is being trained.

    Attributes:
        run: Run of the trial, see `search.Watcher`.
        trial_id: Id of the trial, unique within its run.
        started: The start of the trial.
        worker: Number of its worker, from 1; None for this process.
        epoch: Last epoch that ended, counted from the first epoch of its configuration.
        share: Share of the next epoch that is done, in [0, 1].
        is_compiling: Whether its training steps are being compiled.
    """

    run: str
    trial_id: str
    started: TrialStarted
    worker: int | None
    epoch: int
    share: float = 0.0
    is_compiling: bool = False

    @property
    def epochs(self) -> float:
        """Number of epochs trained so far, including the done share of the current one."""
        return self.epoch - self.started.epoch_from + self.share

    @property
    def epochs_in_all(self) -> int:
        """Number of epochs that the trial trains."""
        return self.started.epoch_to - self.started.epoch_from

    @property
    def epoch_of(self) -> str:
        """The current epoch, such as "epoch 3 of 9"."""
        if self.is_compiling:
            return "compiles training steps"
        of = self.started.epoch_to
        return f"epoch {min(self.epoch + 1, of)} of {of}"


def place_of(one: RunningTrial, main: str, has_rungs: bool) -> str:
    """Returns the worker, the bracket and the rung of a running trial, and its id.

    Args:
        one: The trial.
        main: Run of the search.
        has_rungs: Whether the search has several rungs.
    """
    worker = "" if one.worker is None else f"worker {one.worker}: "
    if one.run != main:
        return worker + run_label(one.run)
    rung = f"bracket {one.started.bracket}, rung {one.started.rung}, " * has_rungs
    return f"{worker}{rung}trial {one.trial_id}"


class EvaluationProgress:
    """Shows the progress of an evaluation in a terminal; see `search.Watcher`.

    Args:
        console: Console that shows the bar. In a file or a pipe, nothing is shown.
        what: Name of the evaluated model.
        on: The images.
    """

    def __init__(self, console: Console, what: str, on: str = "on the test images") -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(f"{what} {on}", total=1.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def on_event(self, run: str, event: Event) -> None:
        """Does nothing: an evaluation has one event, at its end."""

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Moves the bar to the done share."""
        self._bar.update(self._task, completed=share)

    def on_wait(self) -> None:
        """Does nothing: a thread updates the time."""


def add_bar(bars: Table, text: str, completed: float, total: float) -> None:
    """Adds a row with a bar and a text to a table of bars."""
    label = Text(text, no_wrap=True, overflow="ellipsis")
    bars.add_row(ProgressBar(total, min(completed, total), width=_BAR_WIDTH), label)


def fitting(running: int, height: int) -> int:
    """Returns the number of running trials with bars that fit.

    Args:
        running: Number of running trials.
        height: Height of the terminal in lines.
    """
    most = min(MAX_BARS, max(1, height - OTHER_LINES))
    return running if running <= most + 1 else most  # "and 1 more" would use a line, too.


def run_label(run: str) -> str:
    """Returns the name of a run in texts: the Keras example's run is called "baseline"."""
    return "Keras example" if run == "baseline" else run


def clock(seconds: float) -> str:
    """Formats a duration such as "1:03:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
