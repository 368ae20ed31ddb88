"""How a search goes, while it goes: live in a terminal, a line a trial in a pipe."""

import math
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vaetune.environment import changes
from vaetune.journal import (
    EpochEnded,
    Event,
    FileSetAside,
    Kind,
    PlanCorrected,
    Rung,
    SessionStarted,
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    describe_loss,
)
from vaetune.study import Study
from vaetune.summary import describe_plan, short_hyperparameters


class SearchProgress:
    """Watches a search and its baseline; see `search.Watcher`.

    Args:
        console: Where to write.
        plan: The trials of the whole search.
        past: What earlier sessions left of it.
        quiet: Write nothing but warnings, to stderr.
    """

    def __init__(
        self,
        console: Console,
        plan: Sequence[Rung],
        past: Study | None = None,
        quiet: bool = False,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._before = past.environment if past else None
        self._trials = sum(rung.trials for rung in plan)
        self._trials_ended = sum(trial.ended is not None for trial in past.trials) if past else 0
        self._planned_epochs = sum(rung.epochs for rung in plan)
        self._epochs = self._planned_epochs
        ran = (
            {("search", t.trial_id, e.epoch) for t in past.trials for e in t.epochs} if past else ()
        )
        self._epochs_ended: set[tuple[str, str, int]] = set(ran)
        self._epochs_before = len(self._epochs_ended)
        winner = past.winner if past else None
        self._best = (math.inf, "")
        if winner and winner.score is not None:
            self._best = (winner.score, winner.trial_id)
        self._reference: float | None = None
        self._told: dict[tuple[Kind, str], TrialStarted] = {}
        self._trial_epochs = 0
        self._began_s = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}"),
        )
        self._whole = self._bars.add_task("search", total=self._epochs, note="")
        self._part = self._bars.add_task("trial", total=1, note="")
        self._leader = Text()
        self._is_live = console.is_terminal and not quiet
        self._live = Live(Group(self._bars, self._leader), console=console)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def on_event(self, kind: Kind, event: Event) -> None:
        """Takes in an event of the search or of its baseline."""
        match event:
            case TrialStarted():
                self._told[kind, event.trial_id] = event
                if kind == "baseline":
                    self._epochs += event.epoch_to
                self._draw(kind, event.trial_id, event.epoch_from)
            case EpochEnded():
                self._take_epoch(kind, event)
            case TrialEnded():
                self._take_end(kind, event)
            case SessionStarted() if kind == "search":
                self._take_session(event)
            case TrialResumed():
                known = f"known up to epoch {event.epoch}"
                self._say(f"trial {event.trial_id} is taken up again, {known}", kind)
            case TrialRetried():
                self._say(f"trial {event.trial_id} is tried again after: {event.error}", kind)
            case PlanCorrected() if kind == "search":
                self._take_plan(event.plan)
            case FileSetAside():
                self._warn(describe_loss(event), kind)
            case _:
                pass

    def on_progress(self, share: float) -> None:
        """Takes in the share of the present epoch that is done."""
        self._bars.update(self._whole, completed=self._epochs_done + share)
        self._bars.update(self._part, completed=self._trial_epochs + share)

    @property
    def _epochs_done(self) -> int:
        return len(self._epochs_ended)

    def _take_epoch(self, kind: Kind, event: EpochEnded) -> None:
        self._epochs_ended.add((kind, event.trial_id, event.epoch))
        if kind == "search" and event.val_loss < self._best[0]:
            self._best = (event.val_loss, event.trial_id)
        self._draw(kind, event.trial_id, event.epoch)

    def _take_end(self, kind: Kind, event: TrialEnded) -> None:
        if kind == "baseline":
            self._reference = event.score
            name = "reference"
        else:
            self._trials_ended += 1
            name = f"trial {event.trial_id} ({self._trials_ended} of {self._trials})"
        what = _what(self._told[kind, event.trial_id])
        self._say(f"{name:<20} {_outcome(event)}  {what}  {event.duration_s:.1f} s")

    def _take_session(self, event: SessionStarted) -> None:
        changed = changes(self._before, event.environment) if self._before else []
        if changed:
            self._warn(
                f"Warning: this session differs from the one before: {'; '.join(changed)}. The "
                "same trial may give other numbers on it."
            )

    def _take_plan(self, plan: Sequence[Rung]) -> None:
        """Counts anew: after a failure other trials are to come than were announced."""
        baseline_epochs = self._epochs - self._planned_epochs
        self._trials = sum(rung.trials for rung in plan)
        self._planned_epochs = sum(rung.epochs for rung in plan)
        self._epochs = self._planned_epochs + baseline_epochs
        self._say(f"After failures the whole search is {describe_plan(plan)}.")

    def _say(self, text: str, kind: Kind = "search") -> None:
        if not self._quiet:
            told = text if kind == "search" else f"reference: {text}"
            self._console.print(told, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _warn(self, text: str, kind: Kind = "search") -> None:
        """Says what a user wants to know even of a quiet search."""
        if self._quiet:
            Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._say(text, kind)

    def _draw(self, kind: Kind, trial_id: str, epoch: int) -> None:
        trial = self._told[kind, trial_id]
        self._trial_epochs = epoch - trial.epoch_from
        place = f"bracket {trial.bracket}, rung {trial.rung}, trial {trial_id}"
        self._bars.update(
            self._part,
            description="reference" if kind == "baseline" else place,
            total=trial.epoch_to - trial.epoch_from,
            completed=self._trial_epochs,
            note=f"epoch {min(epoch + 1, trial.epoch_to)} of {trial.epoch_to}",
        )
        self._bars.update(
            self._whole,
            description=f"{self._trials_ended} of {self._trials} trials",
            total=self._epochs,
            completed=self._epochs_done,
            note=f"{self._epochs_done} of {self._epochs} epochs, {self._times()}",
        )
        self._leader.plain = self._leaders()

    def _times(self) -> str:
        gone_s = time.monotonic() - self._began_s
        epochs = self._epochs_done - self._epochs_before
        if not epochs:
            return _clock(gone_s)
        left_s = gone_s / epochs * (self._epochs - self._epochs_done)
        return f"{_clock(gone_s)}, about {_clock(left_s)} to go"

    def _leaders(self) -> str:
        told = [f"best {self._best[0]:.2f} (trial {self._best[1]})"] if self._best[1] else []
        if self._reference is not None:
            told.append(f"reference {self._reference:.2f}")
        return ", ".join(told)


class EvaluationProgress:
    """Shows how far an evaluation is, in a terminal; see `search.Watcher`.

    Args:
        console: Where to show it; in a file or a pipe it shows nothing.
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

    def on_event(self, kind: Kind, event: Event) -> None:
        """Takes in nothing: an evaluation is one event, at its end."""

    def on_progress(self, share: float) -> None:
        """Takes in the share that is done."""
        self._bar.update(self._task, completed=share)


def _what(trial: TrialStarted) -> str:
    epochs = f"epochs {trial.epoch_from + 1} to {trial.epoch_to}"
    return f"{epochs:<14}  {short_hyperparameters(trial.hyperparameters)}"


def _outcome(event: TrialEnded) -> str:
    return f"failed: {event.error}" if event.score is None else f"{event.score:8.2f} nats"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
