"""A watcher that prints one line per trial, for scripts and notebooks."""

from typing import TYPE_CHECKING

from vaetune.config import KERAS_EXAMPLE
from vaetune.report import (
    COMPILES,
    counted,
    describe_example,
    describe_finalists,
    describe_lead_over,
    describe_plan,
    describe_session,
    describe_share,
    describe_small_space,
    describe_winner_by_loss,
    trial_line,
)
from vaetune.search.watcher import NoWatcher
from vaetune.study import (
    CompilationBegan,
    EpochEnded,
    Event,
    FileSetAside,
    FinalistsRescored,
    FinalistsRetrained,
    PlanCorrected,
    SessionEnded,
    SessionStarted,
    Study,
    Trial,
    TrialEnded,
    TrialResumed,
    TrialRetried,
    TrialStarted,
    WorkerLost,
    describe_loss,
    describe_trial,
    find_baseline,
    find_example,
    is_open,
)

if TYPE_CHECKING:
    from vaetune.search.session import SearchSession

_CONTINUE = "Call run_search again with the same arguments to continue."


class PrintingWatcher(NoWatcher):
    """Prints the plan of a search, its events and its winner, one line each.

    Args:
        session: The open search.
    """

    def __init__(self, session: "SearchSession") -> None:
        past = session.past
        self._session = session
        self._searched = session.spec.space.searched()
        self._plan = session.plan
        self._epochs = past.epochs_trained if past else 0
        self._ended = sum(trial.ended is not None for trial in past.trials) if past else 0
        self._started: dict[tuple[str, str], TrialStarted] = {}

    def announce(self) -> None:
        """Prints the plan of the search, before the first trial."""
        session = self._session
        name, past = session.started.name, session.past
        example = f", and the {KERAS_EXAMPLE} to compare" * session.spec.baseline
        plan = f"{describe_plan(session.plan)}{example}"
        print_line(f"Search {name}: {plan}. Folder: {session.folder}")
        small_space = describe_small_space(session.spec, session.plan)
        if small_space:
            print_line(small_space)
        if session.is_done:
            print_line("The search is complete: nothing is left to train.")
        elif past:
            epochs = counted(past.epochs_trained, "epoch")
            share = describe_share(self._plan, self._ended, past.epochs_trained)
            trained = "" if is_open(self._plan) else f" trials and {epochs}"
            print_line(f"Continuing after {share}{trained}.")

    def conclude(self, study: Study) -> None:
        """Prints the winner, and the score of the Keras example to compare.

        Args:
            study: The study after this session.
        """
        if study.winner is None:
            if study.is_complete:
                print_line(f"Every trial failed, the first with: {study.failures[0].error}")
            return
        so_far = "" if study.is_complete else " so far"
        print_line(f"Winner{so_far}: {describe_trial(study.winner)}")
        if by_loss := describe_winner_by_loss(study):
            print_line(f"Winner by loss: {by_loss}.")
        if study.is_complete:
            self._compare(study.winner, find_baseline(study, study.results))
            if note := describe_example(find_example(study, study.results)):
                print_line(f"{KERAS_EXAMPLE}: {note}.")

    def _compare(self, winner: Trial, reference: Study | None) -> None:
        score = reference.winner.score if reference and reference.winner else None
        if reference is None or score is None or winner.score is None:
            return
        objective = winner.objective
        distance = describe_lead_over(objective, winner.score, score)
        name = reference.reference_name
        print_line(f"{name}: {objective.text(score)}; the winner is {distance}.")

    def on_event(self, run: str, event: Event) -> None:
        """Prints an event that matters to a user; see `Watcher.on_event`."""
        match event:
            case SessionStarted() if run == "search":
                print_line(f"Training on {describe_trainers(event)}.")
                if warning := describe_session(self._session.past, event):
                    print_line(warning)
            case TrialStarted():
                self._started[run, event.trial_id] = event
            case EpochEnded():
                self._epochs += run == "search"
            case TrialEnded():
                print_line(self._end(run, event))
            case TrialResumed():
                print_line(f"{_label(run, event.trial_id)} continues after epoch {event.epoch}")
            case CompilationBegan():
                print_line(f"{_label(run, event.trial_id)} {COMPILES}")
            case TrialRetried():
                print_line(f"{_label(run, event.trial_id)} is trained again after: {event.error}")
            case PlanCorrected() if run == "search":
                self._plan = event.plan
                print_line(
                    f"Because trials failed, the whole search is now {describe_plan(event.plan)}."
                )
            case WorkerLost():
                print_line(f"Worker {event.worker} is lost: {event.error}")
            case FileSetAside():
                print_line(describe_loss(event))
            case FinalistsRescored() | FinalistsRetrained():
                print_line(describe_finalists(event))
            case SessionEnded() if run == "search":
                self._print_stop(event)
            case _:
                pass

    def _end(self, run: str, event: TrialEnded) -> str:
        label = _label(run, event.trial_id)
        if run == "search":
            self._ended += 1
            share = describe_share(self._plan, self._ended, self._epochs)
            label = f"{label} ({share})"
        objective = self._session.spec.ranked_by
        started = self._started[run, event.trial_id]
        return trial_line(label, started, event, self._searched, objective)

    def _print_stop(self, event: SessionEnded) -> None:
        match event.reason:
            case "interrupted":
                print_line(f"Stopped. Everything found so far is kept. {_CONTINUE}")
            case "time_budget":
                print_line(f"{event.message} {_CONTINUE}")
            case "failures":
                print_line(f"{event.message} A larger limits.max_failure_rate lets it continue.")
            case _:
                pass


def describe_trainers(session: SessionStarted) -> str:
    """Returns the device of a session, and the number of its workers or threads."""
    is_single = session.workers == 1
    threads = counted(session.environment.threads, "thread")
    return f"{session.environment.device}, {threads if is_single else f'{session.workers} workers'}"


def print_line(text: str) -> None:
    """Prints a line on standard output, where notebooks show it at once."""
    print(text, flush=True)  # noqa: T201  printing is its purpose


def _label(run: str, trial_id: str) -> str:
    if run == "search":
        return f"trial {trial_id}"
    return KERAS_EXAMPLE if run == "baseline" else run
