"""How a search is told while it goes: a line a trial in a pipe, bars in a terminal."""

import io
import itertools
import math
from types import SimpleNamespace

import pytest
from rich.console import Console

from journals import (
    PLAN,
    make_epoch,
    make_rescored,
    make_retrained,
    make_session,
    make_study,
    make_trial_events,
)
from vaetune.journal import FileSetAside, PlanCorrected, Rung, TrialResumed, TrialRetried
from vaetune.progress import EvaluationProgress, SearchProgress
from vaetune.spec import REFERENCE


def make_console(terminal=False):
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def tell(console, *events, past=None, quiet=False, kind="search"):
    """What a search with these events writes."""
    with SearchProgress(console, PLAN, past, quiet) as progress:
        for event in events:
            progress.on_event(kind, event)
            progress.on_progress(0.5)
    return console.file.getvalue()


# In a pipe


def test_a_pipe_gets_a_line_a_trial():
    text = tell(
        make_console(),
        make_session(),
        *make_trial_events("0000", [210.0, 200.125], duration_s=7.52),
        *make_trial_events("0003", [190.0], rung=1, epoch_from=1, epoch_to=3),
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    what = "filters 16/128, dense 64, latent 8, rate 0.0021"
    assert lines == [
        f"trial 0000 (1 of 4) 200.12 nats epochs 1 to 2 {what} 7.5 s",
        f"trial 0003 (2 of 4) 190.00 nats epochs 2 to 3 {what} 7.5 s",
    ]


def test_a_pipe_gets_no_control_characters():
    text = tell(make_console(), *make_trial_events("0000", [210.0]))
    assert text.isprintable() or set(text) - set(filter(str.isprintable, text)) == {"\n"}


def test_a_line_is_written_when_its_trial_ends_and_not_before():
    console = make_console()
    *before, end = make_trial_events("0000", [210.0])
    with SearchProgress(console, PLAN) as progress:
        for event in before:
            progress.on_event("search", event)
        assert console.file.getvalue() == ""
        progress.on_event("search", end)
        assert console.file.getvalue().count("\n") == 1


def test_a_long_line_is_not_broken():
    error = "no memory " * 40
    text = tell(make_console(), *make_trial_events("0000", status="failed", error=error))
    assert text.count("\n") == 1
    assert error.strip() in text


def test_a_failed_trial_is_told_with_its_error():
    events = make_trial_events("0000", [math.nan], status="failed", error="A loss became NaN.")
    assert "failed: A loss became NaN." in tell(make_console(), *events)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "error",
    ["[red]alarm[/red]", "[/]", "[link=x]", "Expected shape [3] :warning: got [4]", "\\[b] a\\"],
)
def test_the_text_of_an_error_is_only_text(error, terminal):
    events = make_trial_events("0000", status="failed", error=error)
    assert f"failed: {error}  epochs" in tell(make_console(terminal), *events)


def test_the_reference_is_told_by_its_name_and_counts_as_no_trial():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for event in make_trial_events("0000", [230.0], hyperparameters=REFERENCE):
            progress.on_event("baseline", event)
        for event in make_trial_events("0000", [210.0]):
            progress.on_event("search", event)
    first, second = console.file.getvalue().splitlines()
    assert first.split()[:3] == ["reference", "230.00", "nats"]
    assert second.startswith("trial 0000 (1 of 4)")


def test_quiet_writes_nothing():
    events = make_trial_events("0000", [210.0])
    failed = make_trial_events("0001", status="failed", error="No memory.")
    for terminal in (False, True):
        assert tell(make_console(terminal), *events, *failed, quiet=True) == ""


def test_a_resumed_search_counts_on():
    past = make_study(
        *make_trial_events("0000", [210.0]),
        *make_trial_events("0001", status="failed", error="No memory."),
        *make_trial_events("0002", [205.0], status=None),
    )
    start, _, end = make_trial_events("0002", [205.0])
    text = tell(make_console(), start, make_epoch("0002", 2, 204.0), end, past=past)
    assert text.startswith("trial 0002 (3 of 4)")


# In a terminal


def show(*events, past=None, width=120, plan=PLAN):
    """The screen of a terminal once a search and its baseline had these events."""
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=width,
        color_system=None,
        legacy_windows=False,
    )
    with SearchProgress(console, plan, past) as progress:
        for kind, event in events:
            progress.on_event(kind, event)
    drawn = console.file.getvalue().rpartition("\x1b[2K")[2]  # after the last line is cleared
    assert all(len(line) <= width for line in drawn.splitlines())
    return drawn


def of(kind, events):
    return [(kind, event) for event in events]


def test_a_terminal_shows_where_the_search_is():
    past = make_study(*make_trial_events("0000", [210.0]))
    events = make_trial_events("0001", [200.0], status=None, epoch_to=2, rung=1)
    screen = show(*of("search", events), past=past)
    for told in (
        "1 of 4 trials",
        "2 of 5 epochs",
        "to go",
        "best 200.00 (trial 0001)",
        "bracket 1, rung 1, trial 0001",
        "epoch 2 of 2",
    ):
        assert told in screen


def test_the_best_of_earlier_sessions_stays_the_best():
    past = make_study(*make_trial_events("0000", [190.0]))
    events = make_trial_events("0001", [math.nan, 200.0], status=None)
    assert "best 190.00 (trial 0000)" in show(*of("search", events), past=past)


def test_the_reference_is_shown_beside_the_best_and_cannot_be_it():
    reference = make_trial_events("0000", [180.0], hyperparameters=REFERENCE)
    screen = show(*of("baseline", reference), *of("search", make_trial_events("0000", [210.0])))
    assert "best 210.00 (trial 0000), reference 180.00" in screen


def test_the_epochs_of_the_reference_count_as_epochs_to_train():
    start, epoch, _ = make_trial_events("0000", [230.0], epoch_to=3, hyperparameters=REFERENCE)
    screen = show(("baseline", start), ("baseline", epoch))
    assert "1 of 8 epochs" in screen
    assert "epoch 2 of 3" in screen


def test_the_bar_of_a_promotion_starts_where_the_promotion_does():
    events = make_trial_events("0003", [200.0, 190.0], rung=1, epoch_from=1, status=None)

    def drawn(count):
        return show(*of("search", events[:count])).splitlines()[1]

    began, half, full = (drawn(count).count("\u2501") for count in (1, 2, 3))
    assert began == 0
    assert full / 2 - 1 <= half < full
    assert "epoch 2 of 3" in drawn(1)
    assert "epoch 3 of 3" in drawn(2)
    assert "epoch 3 of 3" in drawn(3)


def test_hours_of_it_fit_a_terminal_of_80_columns(monkeypatch):
    clock = SimpleNamespace(monotonic=itertools.count(step=55).__next__)
    monkeypatch.setattr("vaetune.progress.time", clock)
    plan = (
        Rung(bracket=2, rung=0, trials=20, epoch_from=0, epoch_to=5),
        Rung(bracket=2, rung=1, trials=2, epoch_from=5, epoch_to=55),
    )
    reference = make_trial_events("0000", [1234.56] * 55, hyperparameters=REFERENCE)
    events = make_trial_events("0010", [1200.25] * 12, rung=1, status=None, epoch_to=55)
    screen = show(*of("baseline", reference), *of("search", events), width=80, plan=plan)
    for told in (
        "0 of 22 trials",
        "67 of 255 epochs",
        "1:03:15, about 2:57:29 to go",
        "bracket 1, rung 1, trial 0010",
        "epoch 13 of 55",
        "best 1200.25 (trial 0010), reference 1234.56",
    ):
        assert told in screen
    assert all(set(line) & {"\u2501", "\u2578"} for line in screen.splitlines()[:2]), "the bars"


def test_an_error_stops_the_bars_and_gives_the_cursor_back():
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


# The training of one configuration alone


def tell_training(*events, quiet=False):
    console = make_console()
    plan = (Rung(bracket=0, rung=0, trials=1, epoch_from=0, epoch_to=12),)
    with SearchProgress(console, plan, quiet=quiet, main="baseline") as progress:
        for event in events:
            progress.on_event("baseline", event)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_a_training_is_told_of_epoch_by_epoch():
    losses = [210.0, 190.5, 191.0, *range(180, 171, -1)]
    lines = tell_training(*make_trial_events("0000", losses, epoch_to=12))
    assert [line[:5] for line in lines[:3]] == [
        ["epoch", "1", "of", "12", "210.00"],
        ["epoch", "2", "of", "12", "190.50"],
        ["epoch", "3", "of", "12", "191.00"],
    ]
    is_best = [line[-3:] == ["best", "so", "far"] for line in lines]
    assert is_best == [True, True, False] + [True] * 9


def test_a_training_that_lost_patience_says_so():
    *_, last = tell_training(*make_trial_events("0000", [210.0, 220.0], epoch_to=12))
    assert " ".join(last) == "Its patience is over: no epoch was better for a while."
    failed = make_trial_events("0000", [210.0], status="failed", error="No.", epoch_to=12)
    assert len(tell_training(*failed)) == 1


def test_a_quiet_training_says_nothing():
    assert tell_training(*make_trial_events("0000", [210.0], epoch_to=12), quiet=True) == []


def test_a_training_counts_its_own_epochs_alone():
    plan = (Rung(bracket=0, rung=0, trials=1, epoch_from=0, epoch_to=12),)
    console = make_console(terminal=True)
    with SearchProgress(console, plan, main="baseline") as progress:
        for event in make_trial_events("0000", [210.0], status=None, epoch_to=12):
            progress.on_event("baseline", event)
    assert "1 of 12 epochs" in console.file.getvalue()


# What happens to a search


def say(*events, past=None):
    return " ".join(tell(make_console(), *events, past=past).split())


def test_what_happens_to_a_search_is_told():
    begin, *_ = make_trial_events("0000", status=None)
    moment = {"time": begin.time, "trial_id": "0000"}
    assert "trial 0000 is taken up again, known up to epoch 4" in say(
        begin, TrialResumed(**moment, epoch=4)
    )
    retry = TrialRetried(**moment, attempt=1, error="OOM [red]", traceback="where")
    assert "trial 0000 is tried again after: OOM [red]" in say(begin, retry)
    lost = {"time": begin.time, "file": "trials/0/x.npz", "remedy": "It is made again."}
    assert say(FileSetAside(**lost, aside=None)) == "trials/0/x.npz was gone. It is made again."
    told = say(FileSetAside(**lost, aside="trials/0/y"))
    assert told == "trials/0/x.npz was damaged, see trials/0/y. It is made again."


def test_a_corrected_plan_is_told_and_counted_by():
    fewer = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=1),)
    events = make_trial_events("0000", [210.0])
    text = say(PlanCorrected(time=events[0].time, plan=fewer), *events)
    assert "After failures the whole search is 2 trials of 2 configurations, 2 epochs." in text
    assert "trial 0000 (1 of 2)" in text


def test_another_device_than_before_is_warned_of():
    past = make_study(*make_trial_events("0000", [210.0]))
    text = say(make_session(device="GPU (a card)"), past=past)
    assert text.startswith("Warning: this session differs from the one before: device: CPU -> GPU")
    assert say(make_session(), past=past) == ""
    assert say(make_session(device="GPU (a card)")) == "", "there was none before"


def test_an_epoch_that_is_trained_again_counts_once():
    begin, epoch, *_ = make_trial_events("0000", [210.0], status=None)
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        for event in (begin, epoch, epoch):
            progress.on_event("search", event)
    assert "1 of 5 epochs" in console.file.getvalue()
    assert "2 of 5 epochs" not in console.file.getvalue()


# Finalists


def test_what_came_of_judging_the_finalists_again_is_a_line():
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 1): 181.25})
    assert say(rescored) == (
        "Rescored 2 finalists with 32 posterior samples of each image, in 12.5 s: trial 0001 leads "
        "trial 0000 by 0.75 +- 0.25 nats, beyond the noise."
    )
    assert say(make_rescored({("0001", 1): 180.5})).endswith(
        "Rescored 1 finalist with 32 posterior samples of each image, in 12.5 s."
    )
    retrained = make_retrained({"0000": (181.0, 185.0), "0001": (184.0, 185.0)})
    assert say(retrained) == (
        "Trained 2 finalists from 2 other seeds each: trial 0000 leads trial 0001 by 1.50 +- 2.06 "
        "nats, inside the noise."
    )


def test_a_training_from_another_seed_has_its_own_name_and_is_no_reference():
    console = make_console()
    with SearchProgress(console, PLAN) as progress:
        for seed in (1, 2):
            for event in make_trial_events("0000", [230.0]):
                progress.on_event(f"configuration 4 seed {seed}", event)
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("configuration 4 seed 1   230.00 nats")
    assert second.startswith("configuration 4 seed 2   230.00 nats")
    screen = show(*of("configuration 4 seed 1", make_trial_events("0000", [230.0])))
    assert "reference" not in screen
    assert "1 of 6 epochs" in screen


def test_the_best_so_far_is_the_lowest_whoever_was_chosen():
    past = make_study(
        *make_trial_events("0000", [190.0]),
        *make_trial_events("0001", [191.0], configuration=1),
        make_rescored({("0001", 1): 190.5, ("0000", 1): 191.5}),
    )
    assert past.winner.trial_id == "0001"
    events = make_trial_events("0002", [200.0], configuration=2, status=None)
    assert "best 190.00 (trial 0000)" in show(*of("search", events), past=past)


def test_the_share_that_is_rescored_is_shown_when_no_trial_runs():
    console = make_console(terminal=True)
    with SearchProgress(console, PLAN) as progress:
        for event in make_trial_events("0000", [210.0]):
            progress.on_event("search", event)
        progress.on_progress(0.25)
    assert "finalists" in console.file.getvalue()
    assert "25%" in console.file.getvalue()


# An evaluation


def test_an_evaluation_shows_its_share_in_a_terminal_and_nothing_in_a_pipe():
    for terminal in (True, False):
        console = make_console(terminal=terminal)
        with EvaluationProgress(console, "trial 0018") as progress:
            progress.on_progress(0.25)
        text = console.file.getvalue()
        assert ("trial 0018 on the test images" in text) is terminal
        assert ("25%" in text) is terminal
        assert terminal or text == ""
