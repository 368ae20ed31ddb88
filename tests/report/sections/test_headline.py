"""The page opens on the answer in every state of a search."""

import math
from pathlib import Path

import pytest
from journals import JournalBuilder, make_study, make_trial_events
from stories import (
    NOW,
    Outline,
    Story,
    headline_of,
    leaderboard_of,
    page_of,
    reference,
    usual,
    words_of,
)

from vaetune.config.spec import SearchSpec
from vaetune.report.page import render_report

pytestmark = pytest.mark.usefixtures("without_charts")


def test_the_page_opens_on_the_winner_beside_the_reference(tmp_path):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path))
    assert headline_of(page) == (
        "Trial 0003 (configuration 1) reaches 131.2 nats per image, 46.0 below the Keras example "
        "after the same 3 epochs."
    )


@pytest.mark.parametrize(
    ("losses", "shown"),
    [
        ((300.0, 120.0, 125.0), "11.2 above the Keras example after the same 3 epochs."),
        ((300.0, 131.27, 140.0), "equal to the Keras example after the same 3 epochs."),
        ((300.0, 150.0), "18.8 below the Keras example after 2."),
    ],
)
def test_the_answer_is_as_honest_when_the_reference_is_not_beaten(tmp_path, losses, shown):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path, losses))
    assert headline_of(page).endswith(shown)


def test_numbers_and_hyperparameters_stand_side_by_side(tmp_path):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path)).replace("<wbr>", "")
    rows = Outline(page).texts_of("tr", page)
    assert rows[: rows.index("Cost") + 4] == [
        "Winner Keras example Difference",
        "Validation loss at the best epoch, nats per image",
        "Negative ELBO 131.2 177.2 -46.0",
        "Reconstruction 125.2 171.2 -46.0",
        "KL 6.0 6.0 +0.0",
        "Above the entropy floor 85.8 131.8 -46.0",
        "Hyperparameters",
        "filters_1 16 32",
        "filters_2 64 64",
        "dense_units 32 16",
        "latent_dim 4 2",
        "learning_rate 0.002123 0.001",
        "Cost",
        "Parameters 134,166 134,165 +1",
        "Best epoch 3 of 3 3 of 3",
        "Training time 3 min 0 s 3 min 0 s",
    ]


def test_numbers_that_need_much_room_are_smaller(tmp_path):
    story = Story(tmp_path / "large").trial("0000", [-48093.4]).end()
    assert '<tr class="lead">' in page_of(story)
    assert '<tr class="lead long">' in page_of(story, baseline=reference(tmp_path, (-47440.5,)))


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(True, "it has not been trained on these data"), (False, "(baseline = false)")],
)
def test_without_a_reference_the_winner_stands_alone(tmp_path, wanted, shown):
    page = page_of(usual(tmp_path / "tiny", spec=SearchSpec(baseline=wanted)))
    assert headline_of(page) == (
        "Trial 0003 (configuration 1) reaches 131.2 nats per image after 3 epochs."
    )
    assert shown in words_of(page)
    assert "Difference" not in words_of(page)


def test_a_search_in_progress_says_so_and_how_to_go_on():
    story = Story(Path("results/tiny")).trial("0000", [212.5]).trial("0001", [], unfinished=True)
    page = page_of(story)
    assert headline_of(page) == (
        "Trial 0000 (configuration 0) reaches 212.5 nats per image so far after 1 epoch."
    )
    assert "In progress: 1 of 4 trials" in words_of(page)
    assert "running" not in headline_of(page)
    assert "Its last event is 59 min 0 s old" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page


def test_a_search_that_has_just_begun_has_a_page():
    page = page_of(Story(Path("results/tiny")))
    assert headline_of(page) == "No trial has completed yet."
    assert "In progress: 0 of 4 trials" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page
    assert "<svg" not in page


def test_an_interrupted_search_says_how_to_go_on():
    story = Story(Path("results/tiny")).trial("0000", [], unfinished=True).end("interrupted")
    page = page_of(story)
    assert headline_of(page) == "No trial has completed yet."
    assert "Interrupted: 0 of 4 trials" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page
    assert "stopped" in Outline(page).texts_of("tbody", page)[0]


def test_a_search_that_broke_off_shows_why():
    story = Story(Path("results/tiny")).trial("0000", [212.5]).end("error", "No space left")
    words = words_of(page_of(story))
    assert "Stopped by an error: 1 of 4 trials" in words
    assert "The error: No space left." in words


@pytest.mark.parametrize(
    ("reason", "title", "command"),
    [
        ("time_budget", "Stopped by its time budget", "vaetune search tiny"),
        (
            "failures",
            "Stopped because too many trials failed",
            "vaetune search tiny --max-failure-rate 1",
        ),
    ],
)
def test_a_search_that_a_limit_stopped_says_which_and_how_to_go_on(reason, title, command):
    page = page_of(Story(Path("results/tiny")).trial("0000", [212.5]).end(reason, "It is so."))
    assert f"{title}: 1 of 4 trials" in words_of(page)
    assert "It is so." in words_of(page)
    assert f"<code>{command}</code>" in page


def test_a_page_that_knows_of_a_running_search_counts_the_trials_under_way():
    builder = JournalBuilder(3).begin(10, "0000", 1).begin(10, "0001", 2).begin(10, "0002", 3)
    study = builder.lose(20, 3, "0002").study()
    page = render_report([study], {study.name: None}, NOW, running=[study.name])
    assert "Running: 0 of 4 trials, 2 in parallel" in words_of(page)
    assert [row.split()[6] for row in leaderboard_of(page)[1:]] == ["running", "running", "queued"]
    alone = make_study(*make_trial_events("0000", [], status=None))
    page = render_report([alone], {alone.name: None}, NOW, running=[alone.name])
    assert "Running: 0 of 4 trials" in words_of(page)
    assert "in parallel" not in words_of(page)


def test_when_all_trials_fail_the_page_opens_on_why():
    story = Story(Path("results/tiny"))
    for trial_id in ("0000", "0001"):
        story.trial(trial_id, [], error="ResourceExhaustedError: out of memory", traceback="line 1")
    page = page_of(story.end())
    words = words_of(page)
    assert headline_of(page) == "All 2 trials failed."
    assert words.index("out of memory") < words.index("All trials")
    assert "<code>vaetune search tiny --overwrite</code>" in page


def test_a_trial_without_a_finite_loss_wins_nothing(tmp_path):
    story = Story(tmp_path / "tiny").trial("0000", [math.nan]).trial("0001", [math.inf]).end()
    page = page_of(story)
    assert not set(Outline(page).values("data-value")) & {"nan", "inf"}
    assert headline_of(page) == "No trial has a loss to compare."
    assert "nan" not in words_of(page).lower().split()
