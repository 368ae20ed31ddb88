"""The lines that a search prints in a script or a notebook, event by event."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from journals import (
    OPEN_PLAN,
    PLAN,
    SPEC,
    make_environment,
    make_retrained,
    make_session,
    make_session_end,
    make_started,
    make_study,
    make_trial_events,
)

from vaetune.search.printer import PrintingWatcher
from vaetune.study.events import (
    CompilationBegan,
    FileSetAside,
    PlanCorrected,
    SessionEnded,
    SessionStarted,
    TrialResumed,
    TrialRetried,
    WorkerLost,
)


@pytest.fixture
def printer():
    return make_printer()


def make_printer(past=None):
    session = SimpleNamespace(
        started=make_started(),
        folder=Path("results/tiny"),
        plan=PLAN,
        past=past,
        spec=SPEC,
        is_done=False,
    )
    return PrintingWatcher(session)


def test_a_continued_search_prints_its_progress(capsys):
    make_printer(make_study(*make_trial_events("0000", [150.0]))).announce()
    assert capsys.readouterr().out == (
        "Search tiny: 4 trials of 3 configurations, 5 epochs, and the Keras example to compare. "
        "Folder: results/tiny\n"
        "Continuing after 1 of 4 trials and 1 epoch.\n"
    )


@pytest.mark.parametrize(
    ("run", "event", "line"),
    [
        ("search", make_session(), "Training on CPU, 2 threads."),
        (
            "search",
            SessionStarted(environment=make_environment(device="GPU"), workers=3),
            "Training on GPU, 3 workers.",
        ),
        ("baseline", make_session(), ""),
        (
            "search",
            TrialRetried(trial_id="0001", attempt=1, error="out of memory", traceback="..."),
            "trial 0001 is trained again after: out of memory",
        ),
        (
            "baseline",
            CompilationBegan(trial_id="0000"),
            "Keras example compiles training steps, once for all trials of its structure",
        ),
        ("search", TrialResumed(trial_id="0001", epoch=2), "trial 0001 continues after epoch 2"),
        (
            "baseline",
            TrialResumed(trial_id="0000", epoch=2),
            "Keras example continues after epoch 2",
        ),
        (
            "search",
            PlanCorrected(plan=PLAN[:1]),
            "Because trials failed, the whole search is now 3 trials of 3 configurations, "
            "3 epochs.",
        ),
        (
            "search",
            WorkerLost(worker=2, trial_id=None, error="it was killed"),
            "Worker 2 is lost: it was killed",
        ),
        (
            "search",
            FileSetAside(file="a.npz", aside="a.npz.1", remedy="It is made again."),
            "a.npz was damaged, see a.npz.1. It is made again.",
        ),
        ("search", make_retrained({"0001": [143.0]}), "Trained 1 finalist from 1 other seed each."),
        (
            "search",
            make_session_end("interrupted"),
            "Stopped. Everything found so far is kept. Call run_search again with the same "
            "arguments to continue.",
        ),
        ("baseline", make_session_end("interrupted"), ""),
        (
            "search",
            SessionEnded(reason="failures", message="6 of 10 trials failed."),
            "6 of 10 trials failed. A larger limits.max_failure_rate lets it continue.",
        ),
        ("search", make_session_end(), ""),
    ],
)
def test_each_event_prints_at_most_one_line(capsys, printer, run, event, line):
    printer.on_event(run, event)
    assert capsys.readouterr().out == line + "\n" * bool(line)


def test_another_number_of_threads_prints_a_warning(capsys):
    printer = make_printer(make_study())
    printer.on_event("search", SessionStarted(environment=make_environment(threads=7)))
    assert capsys.readouterr().out.splitlines()[1] == (
        "Warning: this session differs from the one before: threads: 2 -> 7. The same trial may "
        "give other numbers on it."
    )


@pytest.mark.parametrize(
    ("before", "now", "device", "is_warned"),
    [
        ("none", "padded", "CPU", True),
        ("auto", "none", "GPU (a card)", True),
        ("auto", "none", "CPU", False),
        ("padded", "padded", "CPU", False),
        (None, "padded", "CPU", False),
    ],
)
def test_a_change_of_compiled_steps_prints_a_warning(capsys, before, now, device, is_warned):
    first, second = (
        make_session(device=device).model_copy(update={"compile": one}) for one in (before, now)
    )
    printer = make_printer(replace(make_study(), sessions=(first,)))
    printer.on_event("search", second)
    warning = (
        f"Warning: this session differs from the one before: training.compile: {before} -> {now}. "
        "The same trial may give other numbers on it."
    )
    assert capsys.readouterr().out.splitlines()[1:] == [warning] * is_warned


def test_only_trials_of_the_search_are_counted(capsys, printer):
    for run in ("search", "configuration 3 seed 1", "baseline", "search"):
        for event in make_trial_events("0000", [150.0]):
            printer.on_event(run, event)
    lines = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "trial 0000 (1 of 4)",
        "configuration 3 seed 1",
        "Keras example",
        "trial 0000 (2 of 4)",
    ]


def test_the_winner_so_far_is_printed_when_a_search_stops_early(capsys, printer):
    printer.conclude(make_study(*make_trial_events("0000", [150.0])))
    assert capsys.readouterr().out.startswith("Winner so far: trial 0000, 150.00 nats per image, ")
    printer.conclude(make_study())
    assert capsys.readouterr().out == ""


def test_epochs_are_counted_for_an_open_plan(capsys):
    past = make_study(*make_trial_events("0000", [150.0, 149.0]))
    session = SimpleNamespace(
        started=make_started(),
        folder=Path("results/tiny"),
        plan=OPEN_PLAN,
        past=past,
        spec=SPEC,
        is_done=False,
    )
    printer = PrintingWatcher(session)
    printer.announce()
    for event in make_trial_events("0001", [140.0], configuration=1):
        printer.on_event("search", event)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("Search tiny: at most 11 epochs, and the Keras example to compare.")
    assert second == "Continuing after 2 of at most 11 epochs."
    assert third.startswith("trial 0001 (3 of at most 11 epochs)")
