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
    FinalistsRescored,
    FinalistsRetrained,
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
from vaetune.summary import counted, describe_plan, short_hyperparameters
from vaetune.verdict import describe_lead


class SearchProgress:
    """Watches a search and its baseline; see `search.Watcher`.

    Args:
        console: Where to write.
        plan: The trials of the whole search.
        past: What earlier sessions left of it.
        quiet: Write nothing but warnings, to stderr.
        main: What is watched: a search beside its baseline, or the training of a baseline alone,
            which is told of epoch by epoch.
    """

    def __init__(
        self,
        console: Console,
        plan: Sequence[Rung],
        past: Study | None = None,
        quiet: bool = False,
        main: Kind = "search",
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._main: Kind = main
        self._before = past.environment if past else None
        self._trials = sum(rung.trials for rung in plan)
        self._trials_ended = sum(trial.ended is not None for trial in past.trials) if past else 0
        self._planned_epochs = sum(rung.epochs for rung in plan)
        self._epochs = self._planned_epochs
        ran = {(main, t.trial_id, e.epoch) for t in past.trials for e in t.epochs} if past else ()
        self._epochs_ended: set[tuple[str, str, int]] = set(ran)
        self._epochs_before = len(self._epochs_ended)
        lowest = past.ranking[0] if past and past.ranking else None
        self._best = (math.inf, "")
        if lowest and lowest.score is not None:
            self._best = (lowest.score, lowest.trial_id)
        self._reference: float | None = None
        self._told: dict[tuple[str, str], TrialStarted] = {}
        self._trial_epochs = 0
        self._is_in_trial = False
        self._began_s = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}"),
        )
        self._whole = self._bars.add_task(main, total=self._epochs, note="")
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

    def on_event(self, whose: str, event: Event) -> None:
        """Takes in an event of the search or of its baseline."""
        match event:
            case TrialStarted():
                self._told[whose, event.trial_id] = event
                if whose != self._main:
                    self._epochs += event.epoch_to
                self._draw(whose, event.trial_id, event.epoch_from)
            case EpochEnded():
                self._take_epoch(whose, event)
            case TrialEnded():
                self._take_end(whose, event)
            case SessionStarted() if whose == self._main:
                self._take_session(event)
            case TrialResumed():
                known = f"known up to epoch {event.epoch}"
                self._say(f"trial {event.trial_id} is taken up again, {known}", whose)
            case TrialRetried():
                self._say(f"trial {event.trial_id} is tried again after: {event.error}", whose)
            case PlanCorrected() if whose == self._main:
                self._take_plan(event.plan)
            case FinalistsRescored() | FinalistsRetrained():
                self._say(_judged(event))
            case FileSetAside():
                self._warn(describe_loss(event), whose)
            case _:
                pass

    def on_progress(self, share: float) -> None:
        """Takes in the share of the present epoch that is done."""
        if not self._is_in_trial:
            note = f"{share:.0%}"
            self._bars.update(
                self._part, description="finalists", total=1, completed=share, note=note
            )
            return
        self._bars.update(self._whole, completed=self._epochs_done + share)
        self._bars.update(self._part, completed=self._trial_epochs + share)

    @property
    def _epochs_done(self) -> int:
        return len(self._epochs_ended)

    def _take_epoch(self, whose: str, event: EpochEnded) -> None:
        self._epochs_ended.add((whose, event.trial_id, event.epoch))
        if whose == self._main and event.val_loss < self._best[0]:
            self._best = (event.val_loss, event.trial_id)
        if self._main == "baseline":
            self._tell_epoch(event)
        self._draw(whose, event.trial_id, event.epoch)

    def _tell_epoch(self, event: EpochEnded) -> None:
        of = self._told[self._main, event.trial_id].epoch_to
        is_best = event.val_loss == self._best[0]
        self._say(
            f"epoch {event.epoch:>{len(str(of))}} of {of}  {event.val_loss:8.2f} nats  "
            f"{event.train_s + event.validation_s:.1f} s{'  best so far' if is_best else ''}"
        )

    def _take_end(self, whose: str, event: TrialEnded) -> None:
        self._is_in_trial = False
        if self._main == "baseline":
            if event.status == "completed" and self._epochs_done < self._epochs:
                self._say("Its patience is over: no epoch was better for a while.")
            return  # its last epoch has been told, and what came of it comes next
        if whose == "baseline":
            self._reference = event.score
            name = "reference"
        elif whose != self._main:
            name = whose
        else:
            self._trials_ended += 1
            name = f"trial {event.trial_id} ({self._trials_ended} of {self._trials})"
        what = _what(self._told[whose, event.trial_id])
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

    def _say(self, text: str, whose: str = "search") -> None:
        if not self._quiet:
            told = text if whose in ("search", self._main) else f"{_name(whose)}: {text}"
            self._console.print(told, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _warn(self, text: str, whose: str = "search") -> None:
        """Says what a user wants to know even of a quiet search."""
        if self._quiet:
            Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._say(text, whose)

    def _draw(self, whose: str, trial_id: str, epoch: int) -> None:
        trial = self._told[whose, trial_id]
        self._trial_epochs = epoch - trial.epoch_from
        self._is_in_trial = True
        place = f"bracket {trial.bracket}, rung {trial.rung}, trial {trial_id}"
        self._bars.update(
            self._part,
            description=_name(whose) if whose != self._main else place,
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

    def on_event(self, whose: str, event: Event) -> None:
        """Takes in nothing: an evaluation is one event, at its end."""

    def on_progress(self, share: float) -> None:
        """Takes in the share that is done."""
        self._bar.update(self._task, completed=share)


def _name(whose: str) -> str:
    return "reference" if whose == "baseline" else whose


def _judged(event: FinalistsRescored | FinalistsRetrained) -> str:
    """What came of judging the finalists again, in a line."""
    if isinstance(event, FinalistsRescored):
        told, finalists = event.rescoring, counted(len(event.rescoring.finalists), "finalist")
        how = counted(event.rescoring.posterior_samples, "posterior sample")
        done = f"Rescored {finalists} with {how} of each image, in {event.duration_s:.1f} s"
        lead = told.lead
    else:
        finalists = counted(len(event.retraining.finalists), "finalist")
        seeds = counted(len(event.retraining.seeds), "other seed")
        done, lead = f"Trained {finalists} from {seeds} each", event.retraining.lead
    return f"{done}: {describe_lead(lead)}" if lead else f"{done}."


def _what(trial: TrialStarted) -> str:
    epochs = f"epochs {trial.epoch_from + 1} to {trial.epoch_to}"
    return f"{epochs:<14}  {short_hyperparameters(trial.hyperparameters)}"


def _outcome(event: TrialEnded) -> str:
    return f"failed: {event.error}" if event.score is None else f"{event.score:8.2f} nats"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
