"""Progress of a search: bars in a terminal, one line per trial in a file or a pipe."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vaetune.cli.live.bars import RunningTrial, add_bar, clock, fitting, place_of, run_label
from vaetune.cli.live.lines import BestSoFar, as_sentence, subject_of
from vaetune.cli.live.workers import WorkerStatus
from vaetune.config import VALIDATION_LOSS, Objective
from vaetune.report import (
    COMPILES,
    describe_finalists,
    describe_plan,
    describe_session,
    describe_share,
    trial_line,
)
from vaetune.study import (
    CompilationBegan,
    EpochEnded,
    Event,
    FileSetAside,
    FinalistsRescored,
    FinalistsRetrained,
    Kind,
    PlanCorrected,
    Rung,
    SessionStarted,
    Study,
    Trial,
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    WorkerJoined,
    WorkerLost,
    describe_loss,
    is_open,
)


class SearchProgress:
    """Prints the progress of a search or of a single training; see `search.Watcher`.

    A thread draws the bars a few times per second. The running trials are one dictionary that is
    replaced and never changed, so the thread needs no lock.

    Args:
        console: Console to print to.
        plan: The trials of the whole search.
        past: The search as earlier sessions left it; None for a new one.
        quiet: Print nothing but warnings, to stderr.
        main: The kind of run: "search", with its Keras example, or "baseline" for a single
            training, whose epochs are printed one by one.
        searched: Names of the hyperparameters that are searched.
        reference: Run that the search can be compared with; see `search.run_of_reference`.
        objective: Objective of the search.
    """

    def __init__(
        self,
        console: Console,
        plan: Sequence[Rung],
        past: Study | None = None,
        quiet: bool = False,
        main: Kind = "search",
        searched: Collection[str] = (),
        reference: str = "baseline",
        objective: Objective = VALIDATION_LOSS,
    ) -> None:
        self._objective = objective
        self._best = BestSoFar(objective, past)
        self._reference_run = reference
        self._console = console
        self._quiet = quiet
        self._main: Kind = main
        self._searched = searched
        self._past = past
        trials = past.trials if past else ()
        self._plan = tuple(plan)
        self._trials_ended = sum(trial.ended is not None for trial in trials)
        self._epochs_of_others = 0
        ran = ((main, t.trial_id, e.epoch) for t in trials for e in t.epochs)
        self._epochs_ended: set[tuple[str, str, int]] = set(ran)
        self._epochs_before = len(self._epochs_ended)
        self._epochs_left_out = sum(
            t.epoch_to - _last_epoch(t) for t in trials if t.ended is not None
        )
        self._reference = ""
        self._started: dict[tuple[str, str], TrialStarted] = {}
        self._running: dict[tuple[str, str], RunningTrial] = {}
        self._rescored: float | None = None
        self._workers = WorkerStatus()
        self._began_s = time.monotonic()
        self._training_since_s = math.inf
        self._is_live = console.is_terminal and not quiet
        self._live = Live(console=console, get_renderable=self._draw)

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

    def on_event(self, run: str, event: Event) -> None:
        """Updates the progress after an event, and prints a line if the event needs one."""
        match event:
            case TrialStarted():
                self._on_start(run, event)
            case EpochEnded():
                self._on_epoch(run, event)
            case TrialEnded():
                self._on_end(run, event)
            case SessionStarted() if run == self._main:
                self._on_session(event)
            case WorkerJoined() if run == self._main:
                self._on_worker(event)
            case WorkerLost():
                self._on_loss(run, event)
            case TrialResumed():
                self._on_resumption(run, event)
            case CompilationBegan():
                self._on_compilation(run, event)
            case TrialRetried():
                self._print(f"trial {event.trial_id} is trained again after: {event.error}", run)
            case PlanCorrected() if run == self._main:
                self._on_plan(event.plan)
            case FinalistsRescored() | FinalistsRetrained():
                self._rescored = None
                self._print(describe_finalists(event))
            case FileSetAside():
                self._warn(describe_loss(event), run)
            case _:
                pass

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Updates the done share of a trial's epoch, or of rescoring if `trial_id` is None."""
        if trial_id is None:
            self._rescored = share
        elif one := self._running.get((run, trial_id)):
            self._set(replace(one, share=share, is_compiling=one.is_compiling and not share))

    def on_wait(self) -> None:
        """Does nothing: a thread updates the times."""

    @property
    def _epochs(self) -> int:
        return sum(rung.epochs for rung in self._plan) + self._epochs_of_others

    @property
    def _epochs_done(self) -> int:
        return len(self._epochs_ended)

    def _on_start(self, run: str, event: TrialStarted) -> None:
        key = run, event.trial_id
        if run != self._main and key not in self._started:
            self._epochs_of_others += event.epoch_to
        self._started[key] = event
        self._run(key, event.worker, event.epoch_from)

    def _on_resumption(self, run: str, event: TrialResumed) -> None:
        key = run, event.trial_id
        started = self._started[key]
        epochs = range(started.epoch_from + 1, event.epoch + 1)
        known = {(*key, epoch) for epoch in epochs} - self._epochs_ended
        self._epochs_ended |= known
        self._epochs_before += len(known)
        self._run(key, event.worker, event.epoch)
        where = "" if event.worker is None else f" on worker {event.worker}"
        what = f"continues{where} after epoch {event.epoch}" if epochs else f"starts again{where}"
        self._print(f"trial {event.trial_id} {what}", run)

    def _on_compilation(self, run: str, event: CompilationBegan) -> None:
        if running := self._running.get((run, event.trial_id)):
            self._set(replace(running, is_compiling=True))
        if not self._is_live:
            self._print(f"trial {event.trial_id} {COMPILES}", run)

    def _run(self, key: tuple[str, str], worker: int | None, epoch: int) -> None:
        self._workers.occupy(worker)
        self._training_since_s = min(self._training_since_s, time.monotonic())
        self._set(RunningTrial(*key, self._started[key], worker, epoch))

    def _set(self, running: RunningTrial) -> None:
        self._running = self._running | {(running.run, running.trial_id): running}

    def _remove(self, gone: Callable[[RunningTrial], bool]) -> None:
        self._running = {key: one for key, one in self._running.items() if not gone(one)}

    def _on_epoch(self, run: str, event: EpochEnded) -> None:
        key = run, event.trial_id
        self._epochs_ended.add((*key, event.epoch))
        if running := self._running.get(key):
            self._set(replace(running, epoch=event.epoch, share=0.0, is_compiling=False))
        is_best = run == self._main and self._best.is_improved_by(event)
        if self._main == "baseline":
            self._print_epoch(event, is_best)

    def _print_epoch(self, event: EpochEnded, is_best: bool) -> None:
        of = self._started[self._main, event.trial_id].epoch_to
        score = self._objective.short(event.value)
        self._print(
            f"epoch {event.epoch:>{len(str(of))}} of {of}  {score:>13}  "
            f"{event.train_s + event.validation_s:.1f} s{'  best so far' if is_best else ''}"
        )

    def _on_end(self, run: str, event: TrialEnded) -> None:
        self._trials_ended += run == self._main
        if run == self._reference_run and event.score is not None:
            self._reference = self._objective.number(self._objective.value(event.score))
        key = run, event.trial_id
        self._epochs_left_out += self._count_untrained(key)
        running = self._running.get(key)
        if running and running.worker is not None:
            self._workers.release(running.worker)
            self._print_workers(self._workers.report_ready())
        self._print_end(run, event)
        # Removed last: a printed line redraws the bars, and the next trial takes this one's place.
        self._remove(lambda one: one is running)

    def _count_untrained(self, key: tuple[str, str]) -> int:
        """Returns the number of epochs that a trial left out because it ended early."""
        epochs = range(self._started[key].epoch_from + 1, self._started[key].epoch_to + 1)
        return sum((*key, epoch) not in self._epochs_ended for epoch in epochs)

    def _print_end(self, run: str, event: TrialEnded) -> None:
        if self._main == "baseline":
            if event.status == "completed" and self._epochs_done < self._epochs:
                self._print("Stopped early: no improvement for several epochs.")
            return  # Its last epoch is printed already, and its result comes next.
        name = f"trial {event.trial_id} ({self._share()})" if run == self._main else run_label(run)
        started = self._started[run, event.trial_id]
        self._print(trial_line(name, started, event, self._searched, self._objective))

    def _share(self) -> str:
        """Returns the done part of the search, without the Keras example, such as "4 of 23"."""
        epochs = sum(run == self._main for run, _, _ in self._epochs_ended)
        return describe_share(self._plan, self._trials_ended, epochs)

    def _on_session(self, event: SessionStarted) -> None:
        self._workers = WorkerStatus(event)
        if warning := describe_session(self._past, event):
            self._warn(warning)

    def _on_worker(self, event: WorkerJoined) -> None:
        self._print_workers(self._workers.join(event))

    def _print_workers(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._print(line)
        for line in self._workers.differences():
            self._warn(line)

    def _on_loss(self, run: str, event: WorkerLost) -> None:
        parts = []
        if self._workers.lose(event):
            parts.append(f"worker {event.worker} is lost: {as_sentence(event.error)}")
        self._remove(lambda one: one.worker == event.worker)
        if event.trial_id is not None:
            parts.append(
                f"{subject_of(run, event.trial_id, self._main)} continues on another worker."
            )
        if parts:
            self._print(" ".join(parts))

    def _on_plan(self, plan: Sequence[Rung]) -> None:
        """Counts the trials of the corrected plan, which follows a failure."""
        self._plan = tuple(plan)
        self._print(f"Because trials failed, the whole search is now {describe_plan(plan)}.")

    def _print(self, text: str, run: str = "search") -> None:
        if not self._quiet:
            line = text if run in ("search", self._main) else f"{run_label(run)}: {text}"
            self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _warn(self, text: str, run: str = "search") -> None:
        """Prints a warning, which a quiet search prints too."""
        if self._quiet:
            Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._print(text, run)

    def _draw(self) -> Group:
        """Returns the bars of the whole search and of the running trials, in order of workers."""
        running = sorted(self._running.values(), key=lambda one: one.worker or 0)
        bars = Table.grid(padding=(0, 1))
        self._draw_whole(bars, sum(one.share for one in running))
        shown = running[: fitting(len(running), self._console.height)]
        places = [place_of(one, self._main, len(self._plan) > 1) for one in shown]
        width = max(map(len, places), default=0)
        for place, one in zip(places, shown, strict=True):
            add_bar(bars, f"{place:<{width}}  {one.epoch_of}", one.epochs, one.epochs_in_all)
        if len(running) > len(shown):
            bars.add_row("", f"and {len(running) - len(shown)} more")
        if self._rescored is not None:
            add_bar(bars, f"finalists  {self._rescored:.0%}", self._rescored, 1)
        return Group(bars, *self._remarks())

    def _draw_whole(self, bars: Table, shares: float) -> None:
        done = self._epochs_done
        is_bound = is_open(self._plan)
        trials = f"{self._trials_ended if is_bound else self._share()} trials"
        epochs = f"{done} of {'at most ' * is_bound}{self._epochs} epochs"
        label = f"{trials}, {epochs}, {self._times(done, shares)}"
        add_bar(bars, label, done + shares, self._epochs - self._epochs_left_out)

    def _times(self, done: int, shares: float) -> str:
        """Returns the elapsed time, and the remaining time at the speed so far.

        Args:
            done: Number of epochs that ended, in all sessions.
            shares: Sum of the done shares of running epochs, in epochs.
        """
        now_s = time.monotonic()
        gone = clock(now_s - self._began_s)
        trained = done - self._epochs_before
        left = self._epochs - self._epochs_left_out - done - shares
        if trained <= 0 or left <= 0:
            return gone
        epoch_s = (now_s - self._training_since_s) / (trained + shares)
        return f"{gone}, about {clock(epoch_s * left)} to go"

    def _remarks(self) -> Iterator[Text]:
        """Yields a line with the best value so far and the idle workers."""
        parts = self._best.describe()
        if self._reference:
            parts.append(f"{run_label(self._reference_run)} {self._reference}")
        parts += self._workers.remarks(is_rescoring=self._rescored is not None)
        if parts:
            yield Text(", ".join(parts), no_wrap=True, overflow="ellipsis")


def _last_epoch(trial: Trial) -> int:
    return trial.epochs[-1].epoch if trial.epochs else trial.epoch_from
