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

OTHER_LINES = 4
"""Of a terminal: the whole search, "and 24 more", the best so far, and the cursor's."""


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way.

    Attributes:
        epoch: The last one that ended, absolute.
        share: Share of the next epoch that is done, in [0, 1].
    """

    run: str
    trial_id: str
    started: TrialStarted
    worker: int | None
    epoch: int
    share: float = 0.0

    @property
    def epochs(self) -> float:
        """How many it has trained."""
        return self.epoch - self.started.epoch_from + self.share

    @property
    def epochs_in_all(self) -> int:
        return self.started.epoch_to - self.started.epoch_from

    @property
    def epoch_of(self) -> str:
        of = self.started.epoch_to
        return f"epoch {min(self.epoch + 1, of)} of {of}"


class EvaluationProgress:
    """Shows how far an evaluation is, in a terminal; see `search.Watcher`.

    Args:
        console: Console that shows the bar. In a file or a pipe nothing is shown.
        what: Is evaluated.
    """

    def __init__(self, console: Console, what: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(f"{what} on the test images", total=1.0)

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
        """Takes in nothing: an evaluation is one event, at its end."""

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Takes in the share that is done."""
        self._bar.update(self._task, completed=share)

    def on_wait(self) -> None:
        """Does nothing: its clock moves by itself."""


def add_bar(bars: Table, text: str, completed: float, total: float) -> None:
    told = Text(text, no_wrap=True, overflow="ellipsis")
    bars.add_row(ProgressBar(total, min(completed, total), width=_BAR_WIDTH), told)


def run_label(run: str) -> str:
    return "reference" if run == "baseline" else run


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
