"""Progress of a search: one line per trial in a pipe, bars in a terminal."""

import io
import math
import re

import pytest
from journals import (
    OPEN_PLAN,
    PLAN,
    START,
    make_environment,
    make_epoch,
    make_rescored,
    make_retrained,
    make_session,
    make_study,
    make_trial_events,
)
from rich.console import Console

from vaetune.cli.live.bars import EvaluationProgress
from vaetune.cli.live.progress import SearchProgress
from vaetune.config.space import REFERENCE
from vaetune.study.events import (
    CompilationBegan,
    FileSetAside,
    PlanCorrected,
    TrialResumed,
    TrialRetried,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.records import Rung


def make_console(terminal=False):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def write_events(console, *events, past=None, quiet=False, kind="search"):
    """The text that a search with these events writes to a console."""
    with SearchProgress(console, PLAN, past, quiet) as progress:
        for event in events:
            progress.on_event(kind, event)
            progress.on_progress(kind, getattr(event, "trial_id", None) or "0000", 0.5)
    return console.file.getvalue()


# In a pipe


def test_a_pipe_receives_one_line_per_trial():
    text = write_events(
        make_console(),
        make_session(),
        *make_trial_events("0000", [210.0, 200.125], duration_s=7.52),
        *make_trial_events("0003", [190.0], rung=1, epoch_from=1, epoch_to=3),
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    values = "filters 16/128, dense 64, latent 8, rate 0.0021"
    assert lines == [
        f"trial 0000 (1 of 4) 200.12 nats epochs 1 to 2 {values} 7.5 s",
        f"trial 0003 (2 of 4) 190.00 nats epochs 2 to 3 {values} 7.5 s",
    ]


def test_a_pipe_receives_no_control_characters():
    text = write_events(make_console(), *make_trial_events("0000", [210.0]))
    assert text.isprintable() or set(text) - set(filter(str.isprintable, text)) == {"\n"}


def test_the_line_of_a_trial_is_written_when_the_trial_ends():
    console = make_console()
    *before, end = make_trial_events("0000", [210.0])
    with SearchProgress(console, PLAN) as progress:
        for event in before:
            progress.on_event("search", event)
        assert console.file.getvalue() == ""
        progress.on_event("search", end)
        assert console.file.getvalue().count("\n") == 1


def test_a_long_line_is_not_wrapped():
    error = "no memory " * 40
    text = write_events(make_console(), *make_trial_events("0000", status="failed", error=error))
    assert text.count("\n") == 1
    assert error.strip() in text


def test_a_failed_trial_is_shown_with_its_error():
    events = make_trial_events("0000", [math.nan], status="failed", error="A loss became NaN.")
    assert "failed: A loss became NaN." in write_events(make_console(), *events)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "error",
    ["[red]alarm[/red]", "[/]", "[link=x]", "Expected shape [3] :warning: got [4]", "\\[b] a\\"],
)
def test_markup_in_an_error_is_shown_as_text(error, terminal):
    events = make_trial_events("0000", status="failed", error=error)
    assert f"failed: {error}  epochs" in write_events(make_console(terminal), *events)


def test_the_reference_is_shown_by_name_and_is_not_counted_as_a_trial():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for event in make_trial_events("0000", [230.0], hyperparameters=REFERENCE):
            progress.on_event("baseline", event)
        for event in make_trial_events("0000", [210.0]):
            progress.on_event("search", event)
    first, second = console.file.getvalue().splitlines()
    assert first.split()[:4] == ["Keras", "example", "230.00", "nats"]
    assert second.startswith("trial 0000 (1 of 4)")


def test_quiet_writes_nothing():
    events = make_trial_events("0000", [210.0])
    failed = make_trial_events("0001", status="failed", error="No memory.")
    for terminal in (False, True):
        assert write_events(make_console(terminal), *events, *failed, quiet=True) == ""


def test_a_resumed_search_counts_earlier_trials():
    past = make_study(
        *make_trial_events("0000", [210.0]),
        *make_trial_events("0001", status="failed", error="No memory."),
        *make_trial_events("0002", [205.0], status=None),
    )
    start, _, end = make_trial_events("0002", [205.0])
    text = write_events(make_console(), start, make_epoch("0002", 2, 204.0), end, past=past)
    assert text.startswith("trial 0002 (3 of 4)")


# In a terminal


def draw(*steps, past=None, width=120, height=50, plan=PLAN):
    """The screen of a terminal after steps of a search and its baseline.

    Args:
        steps: Each is a run and its event, the arguments of `on_progress`, or a function to call.
        past: The study of earlier sessions.
        width: Columns of the terminal.
        height: Lines of the terminal.
        plan: Rungs of the search.
    """
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        height=height,
        color_system=None,
        legacy_windows=False,
    )
    with SearchProgress(console, plan, past) as progress:
        for step in steps:
            if callable(step):
                step()
            else:
                (progress.on_event if len(step) == 2 else progress.on_progress)(*step)
    drawn = console.file.getvalue().rpartition("\x1b[2K")[2]  # after the last line is cleared
    drawn = re.sub(r"\x1b\[\?25[hl]", "", drawn)  # the cursor, hidden and shown
    assert all(len(line) <= width for line in drawn.splitlines())
    return drawn


def draw_lines(*steps, **terminal):
    """The lines of the screen that `draw` returns, without trailing spaces."""
    return [line.rstrip() for line in draw(*steps, **terminal).splitlines()]


class Clock:
    """A clock with the time that a test sets."""

    def __init__(self):
        self.now_s = 0.0

    def monotonic(self):
        return self.now_s

    def at(self, seconds):
        """A step that sets the clock."""

        def set_time():
            self.now_s = seconds

        return set_time


@pytest.fixture
def clock(monkeypatch):
    """Replaces the clock of the progress display."""
    clock = Clock()
    for module in ("cli.live.progress", "cli.live.workers"):
        monkeypatch.setattr(f"vaetune.{module}.time", clock)
    return clock


def steps_of(run, events, worker=None):
    """Pairs of a run and its events. The first event, the start of a trial, names the worker."""
    start, *others = events
    return [(run, event) for event in (start.model_copy(update={"worker": worker}), *others)]


def test_a_terminal_shows_the_progress_of_the_search():
    past = make_study(*make_trial_events("0000", [210.0]))
    events = make_trial_events("0001", [200.0], status=None, epoch_to=2, rung=1)
    screen = draw(*steps_of("search", events), past=past)
    for shown in (
        "1 of 4 trials",
        "2 of 5 epochs",
        "to go",
        "best 200.00 (trial 0001)",
        "bracket 1, rung 1, trial 0001",
        "epoch 2 of 2",
    ):
        assert shown in screen


def test_the_best_trial_of_an_earlier_session_stays_the_best():
    past = make_study(*make_trial_events("0000", [190.0]))
    events = make_trial_events("0001", [math.nan, 200.0], status=None)
    assert "best 190.00 (trial 0000)" in draw(*steps_of("search", events), past=past)


def test_a_better_reference_does_not_replace_the_best_trial():
    reference = make_trial_events("0000", [180.0], hyperparameters=REFERENCE)
    screen = draw(
        *steps_of("baseline", reference),
        *steps_of("search", make_trial_events("0000", [210.0])),
    )
    assert "best 210.00 (trial 0000), Keras example 180.00" in screen


def test_the_epochs_of_the_reference_are_counted():
    start, epoch, _ = make_trial_events("0000", [230.0], epoch_to=3, hyperparameters=REFERENCE)
    screen = draw(("baseline", start), ("baseline", epoch))
    assert "1 of 8 epochs" in screen
    assert "epoch 2 of 3" in screen


def test_the_bar_of_a_promotion_starts_empty():
    events = make_trial_events("0003", [200.0, 190.0], rung=1, epoch_from=1, status=None)

    def bar_line(count):
        return draw(*steps_of("search", events[:count])).splitlines()[1]

    began, half, full = (bar_line(count).count("\u2501") for count in (1, 2, 3))
    assert began == 0
    assert full / 2 - 1 <= half < full
    assert "epoch 2 of 3" in bar_line(1)
    assert "epoch 3 of 3" in bar_line(2)
    assert "epoch 3 of 3" in bar_line(3)


def test_the_progress_of_a_long_search_fits_80_columns(clock):
    plan = (
        Rung(bracket=2, rung=0, trials=20, epoch_from=0, epoch_to=5),
        Rung(bracket=2, rung=1, trials=2, epoch_from=5, epoch_to=55),
    )
    reference = make_trial_events("0000", [1234.56] * 55, hyperparameters=REFERENCE)
    events = make_trial_events("0010", [1200.25] * 12, rung=1, status=None, epoch_to=55)
    screen = draw(
        *steps_of("baseline", reference),
        *steps_of("search", events),
        clock.at(3795),
        width=80,
        plan=plan,
    )
    assert [line.rstrip() for line in screen.splitlines()[:3]] == [
        "━━━          0 of 22 trials, 67 of 255 epochs, 1:03:15, about 2:57:29 to go",
        "━━╸          bracket 1, rung 1, trial 0010  epoch 13 of 55",
        "best 1200.25 (trial 0010), Keras example 1234.56",
    ]


def test_an_interruption_stops_the_bars_and_restores_the_cursor():
    console = make_console(terminal=True)

    def stop():
        with SearchProgress(console, PLAN) as progress:
            progress.on_event("search", make_trial_events("0000", status=None)[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    text = console.file.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    console.print("after")
    assert console.file.getvalue().endswith("after\n")


# A single training


def training_lines(*events, quiet=False):
    """The lines that a single training of 12 epochs writes to a pipe, each split into words."""
    console = make_console()
    plan = (Rung(bracket=0, rung=0, trials=1, epoch_from=0, epoch_to=12),)
    with SearchProgress(console, plan, quiet=quiet, main="baseline") as progress:
        for event in events:
            progress.on_event("baseline", event)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_a_training_prints_one_line_per_epoch():
    losses = [210.0, 190.5, 191.0, *range(180, 171, -1)]
    lines = training_lines(*make_trial_events("0000", losses, epoch_to=12))
    assert [line[:5] for line in lines[:3]] == [
        ["epoch", "1", "of", "12", "210.00"],
        ["epoch", "2", "of", "12", "190.50"],
        ["epoch", "3", "of", "12", "191.00"],
    ]
    is_best = [line[-3:] == ["best", "so", "far"] for line in lines]
    assert is_best == [True, True, False] + [True] * 9


def test_early_stopping_of_a_training_is_reported():
    *_, last = training_lines(*make_trial_events("0000", [210.0, 220.0], epoch_to=12))
    assert " ".join(last) == "Stopped early: no improvement for several epochs."
    failed = make_trial_events("0000", [210.0], status="failed", error="No.", epoch_to=12)
    assert len(training_lines(*failed)) == 1


def test_a_quiet_training_prints_nothing():
    assert training_lines(*make_trial_events("0000", [210.0], epoch_to=12), quiet=True) == []


def test_a_training_counts_only_its_own_epochs():
    plan = (Rung(bracket=0, rung=0, trials=1, epoch_from=0, epoch_to=12),)
    console = make_console(terminal=True)
    with SearchProgress(console, plan, main="baseline") as progress:
        for event in make_trial_events("0000", [210.0], status=None, epoch_to=12):
            progress.on_event("baseline", event)
    assert "1 of 12 epochs" in console.file.getvalue()


def test_compilation_is_shown_until_the_epoch_progresses():
    start, *_ = make_trial_events("0000", [210.0], status=None)
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        progress.on_event("search", start)
        progress.on_event("search", CompilationBegan(trial_id="0000"))
        console.file.seek(0)
        console.file.truncate()
        progress.on_progress("search", "0000", 0.0)  # A share of 0 does not end the compilation.
    assert "trial 0000  compiles training steps" in console.file.getvalue()
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        progress.on_event("search", start)
        progress.on_event("search", CompilationBegan(trial_id="0000"))
        progress.on_progress("search", "0000", 0.5)
        console.file.seek(0)
        console.file.truncate()
    assert "trial 0000  epoch 1 of" in console.file.getvalue()
    assert "compiles" not in console.file.getvalue()


def test_a_pipe_receives_a_line_when_training_steps_are_compiled():
    start, *_ = make_trial_events("0000", [210.0], status=None)
    assert write_events(make_console(), start, CompilationBegan(trial_id="0000")) == (
        "trial 0000 compiles training steps, once for all trials of its structure\n"
    )


# Trials on several workers

TWO_TRIALS = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=4),)
"""A plan of two trials with four epochs each."""


def make_workers(count, **environment):
    """Events of a session: it starts, and all of its workers become ready."""
    session = make_session(threads=1).model_copy(update={"workers": count})
    joined = [make_worker(number, **environment) for number in range(1, count + 1)]
    return [session, *joined]


def make_worker(number, host="node1", **environment):
    return WorkerJoined(
        time=START,
        worker=number,
        host=host,
        environment=make_environment(**{"threads": 1} | environment),
    )


def make_loss(number, trial_id=None, error="Out of memory."):
    return WorkerLost(time=START, worker=number, trial_id=trial_id, error=error)


def make_resumed(trial_id, epoch, worker=None):
    return TrialResumed(time=START, trial_id=trial_id, epoch=epoch, worker=worker)


def begin_trial(trial_id, worker=None, run="search", epoch_to=4, **changes):
    """The step that begins a trial."""
    events = make_trial_events(trial_id, status=None, epoch_to=epoch_to, **changes)
    return steps_of(run, events, worker)[0]


def pipe_lines(*events, quiet=False):
    """The lines that a search with these events writes to a pipe."""
    return write_events(make_console(), *events, quiet=quiet).splitlines()


def test_parallel_trials_have_one_bar_each_and_a_common_estimate(clock):
    screen = draw_lines(
        clock.at(10),
        begin_trial("0000", worker=1),
        begin_trial("0001", worker=2),
        ("search", "0000", 0.5),
        ("search", "0001", 0.25),
        ("search", make_epoch("0000", 1, 210.0)),
        ("search", "0000", 0.5),
        ("search", "0001", 0.5),
        clock.at(110),
        plan=TWO_TRIALS,
    )
    assert screen == [
        # Two epochs took 100 s, so the remaining six take 300 s.
        "━━━          0 of 2 trials, 1 of 8 epochs, 1:50, about 5:00 to go",
        "━━━━╸        worker 1: trial 0000  epoch 2 of 4",
        "━╸           worker 2: trial 0001  epoch 1 of 4",
        "best 210.00 (trial 0000)",
    ]


def test_the_next_trial_of_a_worker_takes_the_place_of_the_previous_one():
    first = steps_of("search", make_trial_events("0000", [210.0]), worker=1)
    second = begin_trial("0001", worker=2)
    ended = draw_lines(first[0], second, *first[1:])
    assert [line.split()[:2] for line in ended[1:-1]] == [["worker", "2:"]]
    both = draw_lines(first[0], second, *first[1:], begin_trial("0002", worker=1))
    assert ["trial 0002" in both[1], "trial 0001" in both[2]] == [True, True]


def test_the_reference_has_a_bar_above_the_trials_on_workers():
    screen = draw_lines(
        begin_trial("0000", worker=1),
        begin_trial("0000", run="baseline", epoch_to=8),
        ("baseline", make_epoch("0000", 1, 230.0)),
        ("baseline", "0000", 0.5),
        ("search", "0000", 0.25),
        plan=TWO_TRIALS,
    )
    assert screen[0].startswith("━            0 of 2 trials, 1 of 16 epochs")
    assert screen[1:] == [
        "━━           Keras example         epoch 2 of 8",
        "╸            worker 1: trial 0000  epoch 1 of 4",
    ]


def test_trainings_with_the_same_trial_id_are_distinguished():
    screen = draw_lines(
        begin_trial("0000", worker=1, run="configuration 4 seed 1"),
        begin_trial("0000", worker=2, run="configuration 4 seed 2"),
        ("configuration 4 seed 2", "0000", 0.5),
    )
    assert [line.strip() for line in screen[1:]] == [
        "worker 1: configuration 4 seed 1  epoch 1 of 4",
        "━╸           worker 2: configuration 4 seed 2  epoch 1 of 4",
    ]


def test_the_trial_of_a_lost_worker_has_no_bar_until_the_trial_resumes(clock):
    steps = [
        *steps_of("search", make_workers(2)),
        begin_trial("0000", worker=1),
        begin_trial("0001", worker=2),
        ("search", make_epoch("0001", 1, 210.0)),
        ("search", "0001", 0.75),
        ("search", make_loss(2, "0001")),
        clock.at(100),
    ]
    lost = draw_lines(*steps, ("search", "0001", 0.9), plan=TWO_TRIALS)
    assert lost == [
        "━╸           0 of 2 trials, 1 of 8 epochs, 1:40, about 11:40 to go",
        "             worker 1: trial 0000  epoch 1 of 4",
        "best 210.00 (trial 0001), 1 of 2 workers are ready",
    ]
    clock.at(0)()
    resumed = draw_lines(*steps, ("search", make_resumed("0001", 1, worker=3)), plan=TWO_TRIALS)
    assert resumed[0] == lost[0]
    assert resumed[2] == "━━━          worker 3: trial 0001  epoch 2 of 4"


def test_the_bar_of_a_resumed_trial_includes_its_earlier_epochs(clock):
    begun = make_trial_events("0000", [215.0, 210.0], epoch_to=4, status=None)
    screen = draw_lines(
        begin_trial("0000", worker=1),
        ("search", make_resumed("0000", 2, worker=1)),
        ("search", make_epoch("0000", 3, 205.0)),
        ("search", "0000", 0.5),
        clock.at(30),
        past=make_study(*begun),
        plan=TWO_TRIALS,
    )
    assert screen[:2] == [
        # This session trained one and a half epochs in 30 s.
        "━━━━━        0 of 2 trials, 3 of 8 epochs, 0:30, about 1:30 to go",
        "━━━━━━━━━━╸  worker 1: trial 0000  epoch 4 of 4",
    ]


def test_the_bar_of_a_resumed_reference_includes_its_earlier_epochs(clock):
    screen = draw_lines(
        begin_trial("0000", run="baseline"),
        ("baseline", make_resumed("0000", 2)),
        ("baseline", "0000", 0.9),
        ("baseline", make_epoch("0000", 3, 205.0)),
        clock.at(30),
        plan=TWO_TRIALS,
    )
    assert screen[:2] == [
        "━━━          0 of 2 trials, 3 of 12 epochs, 0:30, about 4:30 to go",
        "━━━━━━━━━    Keras example  epoch 4 of 4",
    ]


def test_untrained_epochs_of_a_failed_trial_are_not_in_the_estimate(clock):
    failed = make_trial_events("0000", [210.0], status="failed", error="No.", epoch_to=4)
    running = [begin_trial("0001"), ("search", make_epoch("0001", 1, 210.0))]
    screen = draw_lines(*steps_of("search", failed), *running, clock.at(20), plan=TWO_TRIALS)
    assert screen[0] == "━━━━╸        1 of 2 trials, 2 of 8 epochs, 0:20, about 0:30 to go"


def test_untrained_epochs_of_an_earlier_failed_trial_are_not_in_the_estimate(clock):
    failed = make_trial_events("0000", [210.0], status="failed", error="No.", epoch_to=4)
    running = [begin_trial("0001"), ("search", make_epoch("0001", 1, 210.0))]
    screen = draw_lines(*running, clock.at(10), past=make_study(*failed), plan=TWO_TRIALS)
    assert screen[0] == "━━━━╸        1 of 2 trials, 2 of 8 epochs, 0:10, about 0:30 to go"


def test_no_remaining_time_is_shown_after_the_last_epoch(clock):
    trials = [make_trial_events(trial_id, [210.0] * 4) for trial_id in ("0000", "0001")]
    screen = draw_lines(
        *steps_of("search", trials[0]),
        *steps_of("search", trials[1]),
        clock.at(60),
        plan=TWO_TRIALS,
    )
    assert screen[0] == "━━━━━━━━━━━━ 2 of 2 trials, 8 of 8 epochs, 1:00"


def running_trials(count):
    """Steps that begin trials, each on its own worker."""
    return [begin_trial(f"{number:04d}", worker=number + 1) for number in range(count)]


def test_trials_without_room_on_the_screen_are_counted():
    screen = draw_lines(*reversed(running_trials(32)), width=80, height=24)
    assert len(screen) == 10
    assert [line.split()[1] for line in screen[1:9]] == [f"{n}:" for n in range(1, 9)]
    assert screen[9].strip() == "and 24 more"
    *_, last = draw_lines(*running_trials(9), width=80, height=24)
    assert "worker 9:" in last, '"and 1 more" would need the same line'


def test_the_display_fits_a_low_terminal():
    ended = steps_of("search", make_trial_events("0099", [210.0]))
    for height in (10, 6):
        screen = draw_lines(*ended, *running_trials(32), width=80, height=height)
        assert len(screen) == height - 1
        assert screen[-2].strip() == f"and {32 - (height - 4)} more"
        assert screen[-1] == "best 210.00 (trial 0099)"


def test_progress_of_a_trial_that_does_not_run_is_ignored():
    assert draw_lines(begin_trial("0000"), ("search", "0007", 0.5), ("baseline", "0000", 0.5))[
        1
    ].startswith("             bracket")


def test_waiting_workers_are_counted_after_a_second(clock):
    def waiting_lines(*steps):
        clock.at(0)()
        lines = draw_lines(
            *steps_of("search", make_workers(3)), begin_trial("0000", worker=1), *steps
        )
        return [line for line in lines if "wait" in line]

    assert waiting_lines(clock.at(0.9)) == []
    assert waiting_lines(clock.at(1.1)) == ["2 workers wait"]
    ended = ("search", make_trial_events("0000", [210.0])[-1])
    assert waiting_lines(clock.at(8), ended, clock.at(8.9)) == ["2 workers wait"]
    assert waiting_lines(clock.at(8), ended, clock.at(9.1)) == ["3 workers wait"]
    assert waiting_lines(begin_trial("0001", worker=2), clock.at(9)) == ["1 worker waits"]
    assert waiting_lines(("search", make_loss(2)), clock.at(9)) == [
        "2 of 3 workers are ready, 1 worker waits"
    ]
    assert waiting_lines(ended, ("search", None, 0.5), clock.at(9)) == []


def test_the_finalists_have_a_bar_until_the_rescoring_ends():
    rescoring = [*steps_of("search", make_trial_events("0000", [210.0])), ("search", None, 0.5)]
    assert draw_lines(*rescoring)[1:] == ["━━━━━━       finalists  50%", "best 210.00 (trial 0000)"]
    rescored = make_rescored({("0000", 1): 180.5})
    assert draw_lines(*rescoring, ("search", rescored))[1:] == ["best 210.00 (trial 0000)"]


def test_ready_workers_are_counted_until_all_are_ready():
    session, first, *_ = make_workers(4)
    assert draw_lines(("search", session))[1:] == ["0 of 4 workers are ready"]
    assert draw_lines(("search", session), ("search", first))[1:] == ["1 of 4 workers are ready"]
    assert draw_lines(*steps_of("search", make_workers(4)))[1:] == []


def test_a_search_without_workers_does_not_mention_workers():
    assert pipe_lines(make_session()) == []
    assert draw_lines(("search", make_session()))[1:] == []


# Workers in a pipe


@pytest.mark.parametrize("count", [4, 64])
def test_equal_workers_are_announced_in_one_line(count):
    assert pipe_lines(*make_workers(count)[:-1]) == []
    assert pipe_lines(*make_workers(count)) == [f"{count} workers are ready: CPU, 1 thread each"]


def test_the_machines_of_workers_are_counted():
    session, *_ = make_workers(4)
    joined = [make_worker(number, host=f"node{number % 2}") for number in range(1, 5)]
    assert pipe_lines(session, *joined) == ["4 workers are ready: CPU on 2 machines, 1 thread each"]


def test_each_kind_of_worker_is_announced_in_its_own_line():
    session, *_ = make_workers(4)
    gpu = make_worker(2, "node7", device="GPU (NVIDIA H100)")
    others = [make_worker(number) for number in (1, 3, 4)]
    assert pipe_lines(session, others[2], gpu, *others[:2])[:2] == [
        "workers 1, 3 and 4 are ready: CPU on node1, 1 thread each",
        "worker 2 is ready: GPU (NVIDIA H100) on node7, 1 thread",
    ]


def test_the_numbers_of_many_workers_are_abbreviated():
    def names(numbers):
        session, *_ = make_workers(64)
        joined = [make_worker(n, device="GPU" if n in numbers else "CPU") for n in range(1, 65)]
        lines = pipe_lines(session, *joined)
        return next(line.partition(" ready")[0] for line in lines if "GPU on" in line)

    assert names({*range(1, 33)}) == "workers 1 to 32 are"
    assert names({5, 6, *range(9, 21), 40}) == "workers 5, 6, 9 to 20 and 40 are"
    assert names({*range(2, 65, 2)}) == "32 workers (2, 4, 6, ...) are"


def test_late_workers_are_announced():
    session, *joined = make_workers(4)
    trial = [step for _, step in steps_of("search", make_trial_events("0000", [210.0]), worker=2)]
    lines = pipe_lines(session, *joined[:3], *trial, *trial, joined[3])
    assert [lines[0], lines[3]] == [
        "3 of 4 workers are ready: CPU, 1 thread each",
        "4 workers are ready: CPU, 1 thread each",
    ]
    assert [line[:10] for line in lines[1:3]] == ["trial 0000"] * 2
    late = make_worker(4, "node7", device="GPU")
    assert pipe_lines(session, *joined[:3], *trial, late)[2] == (
        "worker 4 is ready: GPU on node7, 1 thread"
    )
    alone = pipe_lines(session, joined[0], *trial)
    assert alone[0] == "1 of 4 workers is ready: CPU, 1 thread"


def test_a_trial_in_this_process_does_not_announce_workers():
    session, *joined = make_workers(4)
    (line,) = pipe_lines(session, joined[0], *make_trial_events("0000", [210.0]))
    assert line.startswith("trial 0000")


def test_the_loss_and_the_return_of_a_worker_are_announced():
    trial = steps_of(
        "search", make_trial_events("0012", [210.0], status=None, epoch_to=3), worker=2
    )
    begun = [event for _, event in trial]
    loss = make_loss(2, "0012", error="Out of\n memory")
    lines = pipe_lines(*make_workers(2), *begun, loss, make_worker(2), make_resumed("0012", 1, 1))
    assert lines[1:] == [
        "worker 2 is lost: Out of memory. Trial 0012 continues on another worker.",
        "worker 2 is back",
        "trial 0012 continues on worker 1 after epoch 1",
    ]
    moved = pipe_lines(*make_workers(2), make_loss(2), make_worker(2, "node9"))
    assert moved[1:] == [
        "worker 2 is lost: Out of memory.",
        "worker 2 is back: CPU on node9, 1 thread",
    ]


def test_a_worker_that_returns_before_all_are_ready_counts_as_ready():
    session, first, second = make_workers(2)
    assert pipe_lines(session, first, make_loss(1), second, first) == [
        "worker 1 is lost: Out of memory.",
        "2 workers are ready: CPU, 1 thread each",
    ]


def test_a_second_loss_for_the_same_reason_is_announced():
    loss = make_loss(2)
    lines = pipe_lines(*make_workers(2), loss, make_worker(2), loss, loss)
    assert lines[1:] == [
        "worker 2 is lost: Out of memory.",
        "worker 2 is back",
        "worker 2 is lost: Out of memory.",
    ]


def test_worker_events_of_a_baseline_are_not_announced():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for event in make_workers(2):
            progress.on_event("baseline", event)
    assert console.file.getvalue() == ""


def test_a_reference_that_begins_twice_is_counted_once():
    screen = draw_lines(
        begin_trial("0000", run="baseline"), begin_trial("0000", run="baseline"), plan=TWO_TRIALS
    )
    assert "0 of 12 epochs" in screen[0]


def test_a_lost_worker_in_two_journals_is_announced_once():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for event in make_workers(2):
            progress.on_event("search", event)
        progress.on_event(*begin_trial("0000", worker=2, run="baseline"))
        progress.on_event("search", make_loss(2))
        progress.on_event("baseline", make_loss(2, "0000"))
        progress.on_event(*begin_trial("0000", worker=1, run="configuration 4 seed 1"))
        progress.on_event("configuration 4 seed 1", make_loss(1, "0000", error="Killed."))
    assert console.file.getvalue().splitlines()[1:] == [
        "worker 2 is lost: Out of memory.",
        "The Keras example continues on another worker.",
        "worker 1 is lost: Killed. Configuration 4 seed 1 continues on another worker.",
    ]


def test_a_trial_without_a_recorded_epoch_starts_again():
    events = make_trial_events("0003", status=None, epoch_from=1, epoch_to=3)
    assert pipe_lines(*events, make_resumed("0003", 1)) == ["trial 0003 starts again"]


def test_a_warning_about_different_workers_is_printed_once():
    session, first, *_ = make_workers(4)
    older = {"versions": {"keras": "3.14.0", "tensorflow": "2.21.0"}}
    joined = [make_worker(2, **older), make_worker(3, python="3.12.1"), make_worker(4, **older)]
    lines = pipe_lines(session, first, *joined, make_loss(4), make_worker(4, **older))
    assert lines[1:3] == [
        "Warning: workers 2 and 4 differ from this session: keras: 3.15.1 -> 3.14.0. The same "
        "trial may give other numbers on them.",
        "Warning: worker 3 differs from this session: Python: 3.11.2 -> 3.12.1. The same trial may "
        "give other numbers on it.",
    ]
    assert lines[3:] == ["worker 4 is lost: Out of memory.", "worker 4 is back"]


def test_a_worker_that_returns_with_another_processor_causes_a_warning():
    loss, other = make_loss(2), make_worker(2, cpu="another processor")
    *_, back, warning = pipe_lines(*make_workers(2), loss, other)
    assert back == "worker 2 is back"
    assert warning.startswith(
        "Warning: worker 2 differs from this session: processor: a processor -> another processor."
    )


def test_a_quiet_search_prints_only_warnings_about_workers(capsys):
    session, first, _ = make_workers(2)
    assert pipe_lines(session, first, make_worker(2, threads=2), make_loss(1), quiet=True) == []
    assert capsys.readouterr().err == (
        "Warning: worker 2 differs from this session: threads: 1 -> 2. The same trial may give "
        "other numbers on it.\n"
    )


# Events of a search


def output(*events, past=None):
    """The text that a search with these events writes to a pipe, with single spaces."""
    return " ".join(write_events(make_console(), *events, past=past).split())


def test_resumptions_retries_and_lost_files_are_reported():
    start, *_ = make_trial_events("0000", status=None)
    moment = {"time": start.time, "trial_id": "0000"}
    assert "trial 0000 continues after epoch 4" in output(start, TrialResumed(**moment, epoch=4))
    retry = TrialRetried(**moment, attempt=1, error="OOM [red]", traceback="where")
    assert "trial 0000 is trained again after: OOM [red]" in output(start, retry)
    lost = {"time": start.time, "file": "trials/0/x.npz", "remedy": "It is made again."}
    assert (
        output(FileSetAside(**lost, aside=None)) == "trials/0/x.npz was missing. It is made again."
    )
    shown = output(FileSetAside(**lost, aside="trials/0/y"))
    assert shown == "trials/0/x.npz was damaged, see trials/0/y. It is made again."


def test_a_corrected_plan_is_shown_and_used_to_count_trials():
    fewer = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=1),)
    events = make_trial_events("0000", [210.0])
    text = output(PlanCorrected(time=events[0].time, plan=fewer), *events)
    assert (
        "Because trials failed, the whole search is now 2 trials of 2 configurations, 2 epochs."
        in text
    )
    assert "trial 0000 (1 of 2)" in text


def test_a_change_of_device_causes_a_warning():
    past = make_study(*make_trial_events("0000", [210.0]))
    text = output(make_session(device="GPU (a card)"), past=past)
    assert text.startswith("Warning: this session differs from the one before: device: CPU -> GPU")
    assert output(make_session(), past=past) == ""
    assert output(make_session(device="GPU (a card)")) == "", "there was no earlier session"


def test_a_repeated_epoch_counts_once():
    start, epoch, *_ = make_trial_events("0000", [210.0], status=None)
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        for event in (start, epoch, epoch):
            progress.on_event("search", event)
    assert "1 of 5 epochs" in console.file.getvalue()
    assert "2 of 5 epochs" not in console.file.getvalue()


# Finalists


def test_rescored_and_retrained_finalists_are_summarized_in_a_line():
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 1): 181.25})
    assert output(rescored) == (
        "Rescored 2 finalists with 32 posterior samples of each image, in 12.5 s: trial 0001 leads "
        "trial 0000 by 0.75 +- 0.25 nats, beyond the noise."
    )
    assert output(make_rescored({("0001", 1): 180.5})).endswith(
        "Rescored 1 finalist with 32 posterior samples of each image, in 12.5 s."
    )
    retrained = make_retrained({"0000": (181.0, 185.0), "0001": (184.0, 185.0)})
    assert output(retrained) == (
        "Trained 2 finalists from 2 other seeds each: trial 0000 leads trial 0001 by 1.50 +- 2.06 "
        "nats, inside the noise."
    )


def test_a_training_from_another_seed_is_named_by_its_configuration():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for seed in (1, 2):
            for event in make_trial_events("0000", [230.0]):
                progress.on_event(f"configuration 4 seed {seed}", event)
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("configuration 4 seed 1   230.00 nats")
    assert second.startswith("configuration 4 seed 2   230.00 nats")
    screen = draw(*steps_of("configuration 4 seed 1", make_trial_events("0000", [230.0])))
    assert "reference" not in screen
    assert "1 of 6 epochs" in screen


def test_the_best_trial_has_the_lowest_loss_even_if_another_trial_wins():
    past = make_study(
        *make_trial_events("0000", [190.0]),
        *make_trial_events("0001", [191.0], configuration=1),
        make_rescored({("0001", 1): 190.5, ("0000", 1): 191.5}),
    )
    assert past.winner.trial_id == "0001"
    events = make_trial_events("0002", [200.0], configuration=2, status=None)
    assert "best 190.00 (trial 0000)" in draw(*steps_of("search", events), past=past)


def test_the_progress_of_the_rescoring_is_shown():
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        for event in make_trial_events("0000", [210.0]):
            progress.on_event("search", event)
        progress.on_progress("search", None, 0.25)
    assert "finalists" in console.file.getvalue()
    assert "25%" in console.file.getvalue()


# An evaluation


def test_an_evaluation_shows_its_progress_only_in_a_terminal():
    for terminal in (True, False):
        console = make_console(terminal=terminal)
        with EvaluationProgress(console, "trial 0018") as progress:
            progress.on_progress("search", None, 0.25)
        text = console.file.getvalue()
        assert ("trial 0018 on the test images" in text) is terminal
        assert ("25%" in text) is terminal
        assert terminal or text == ""


# Freeze-thaw: the number of trials is unknown


def test_a_search_with_an_open_plan_counts_epochs():
    console = make_console()
    with SearchProgress(console, OPEN_PLAN) as progress:
        for event in make_trial_events("0000", [230.0], hyperparameters=REFERENCE):
            progress.on_event("baseline", event)
        for event in make_trial_events("0000", [210.0, 205.0]):
            progress.on_event("search", event)
    assert console.file.getvalue().splitlines()[1].startswith("trial 0000 (2 of at most 11 epochs)")


def test_the_bar_of_an_open_plan_shows_upper_bounds():
    console = make_console(terminal=True)
    with SearchProgress(console, OPEN_PLAN) as progress:
        for event in make_trial_events("0000", [210.0], status=None):
            progress.on_event("search", event)
    assert "0 trials, 1 of at most 11 epochs" in console.file.getvalue()
