"""The headline of the page in every state of a search."""

import math
from pathlib import Path

import pytest
from journals import JournalBuilder, make_study, make_trial_events
from stories import (
    NOW,
    ParsedPage,
    SearchBuilder,
    headline_of,
    leaderboard_of,
    make_finished_search,
    make_keras_example,
    page_of,
    words_of,
)

from vaetune.config.spec import SearchSpec
from vaetune.report.page import render_report

pytestmark = pytest.mark.usefixtures("without_charts")


def test_the_headline_compares_the_winner_with_the_keras_example(tmp_path):
    page = page_of(make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path))
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
def test_the_headline_states_the_difference_in_either_direction(tmp_path, losses, shown):
    page = page_of(
        make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path, losses)
    )
    assert headline_of(page).endswith(shown)


def test_losses_hyperparameters_and_cost_are_compared_in_one_table(tmp_path):
    page = page_of(
        make_finished_search(tmp_path / "tiny"), baseline=make_keras_example(tmp_path)
    ).replace("<wbr>", "")
    rows = ParsedPage(page).texts_of("tr", page)
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


def test_long_numbers_are_smaller(tmp_path):
    story = SearchBuilder(tmp_path / "large").trial("0000", [-48093.4]).end()
    assert '<tr class="lead">' in page_of(story)
    assert '<tr class="lead long">' in page_of(
        story, baseline=make_keras_example(tmp_path, (-47440.5,))
    )


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(True, "it has not been trained on these data"), (False, "(baseline = false)")],
)
def test_without_the_keras_example_the_winner_is_shown_alone(tmp_path, wanted, shown):
    page = page_of(make_finished_search(tmp_path / "tiny", spec=SearchSpec(baseline=wanted)))
    assert headline_of(page) == (
        "Trial 0003 (configuration 1) reaches 131.2 nats per image after 3 epochs."
    )
    assert shown in words_of(page)
    assert "Difference" not in words_of(page)


def test_a_search_in_progress_has_the_command_to_continue():
    story = (
        SearchBuilder(Path("results/tiny"))
        .trial("0000", [212.5])
        .trial("0001", [], unfinished=True)
    )
    page = page_of(story)
    assert headline_of(page) == (
        "Trial 0000 (configuration 0) reaches 212.5 nats per image so far after 1 epoch."
    )
    assert "In progress: 1 of 4 trials" in words_of(page)
    assert "running" not in headline_of(page)
    assert "Its last event is 59 min 0 s old" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page


def test_a_search_that_has_just_begun_has_a_page():
    page = page_of(SearchBuilder(Path("results/tiny")))
    assert headline_of(page) == "No trial has completed yet."
    assert "In progress: 0 of 4 trials" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page
    assert "<svg" not in page


def test_an_interrupted_search_has_the_command_to_continue():
    story = (
        SearchBuilder(Path("results/tiny")).trial("0000", [], unfinished=True).end("interrupted")
    )
    page = page_of(story)
    assert headline_of(page) == "No trial has completed yet."
    assert "Interrupted: 0 of 4 trials" in words_of(page)
    assert "<code>vaetune search tiny</code>" in page
    assert "stopped" in ParsedPage(page).texts_of("tbody", page)[0]


def test_a_search_that_an_error_stopped_shows_the_error():
    story = SearchBuilder(Path("results/tiny")).trial("0000", [212.5]).end("error", "No space left")
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
def test_a_stopped_search_shows_its_limit_and_the_command_to_continue(reason, title, command):
    page = page_of(
        SearchBuilder(Path("results/tiny")).trial("0000", [212.5]).end(reason, "It is so.")
    )
    assert f"{title}: 1 of 4 trials" in words_of(page)
    assert "It is so." in words_of(page)
    assert f"<code>{command}</code>" in page


def test_the_page_of_a_running_search_counts_the_running_trials():
    builder = JournalBuilder(3).begin(10, "0000", 1).begin(10, "0001", 2).begin(10, "0002", 3)
    study = builder.lose(20, 3, "0002").study()
    page = render_report([study], {study.name: None}, NOW, running=[study.name])
    assert "Running: 0 of 4 trials, 2 in parallel" in words_of(page)
    assert [row.split()[6] for row in leaderboard_of(page)[1:]] == ["running", "running", "queued"]
    without_workers = make_study(*make_trial_events("0000", [], status=None))
    page = render_report(
        [without_workers], {without_workers.name: None}, NOW, running=[without_workers.name]
    )
    assert "Running: 0 of 4 trials" in words_of(page)
    assert "in parallel" not in words_of(page)


def test_if_all_trials_fail_the_error_is_shown_first():
    story = SearchBuilder(Path("results/tiny"))
    for trial_id in ("0000", "0001"):
        story.trial(trial_id, [], error="ResourceExhaustedError: out of memory", traceback="line 1")
    page = page_of(story.end())
    words = words_of(page)
    assert headline_of(page) == "All 2 trials failed."
    assert words.index("out of memory") < words.index("All trials")
    assert "<code>vaetune search tiny --overwrite</code>" in page


def test_a_trial_without_a_finite_loss_is_never_the_winner(tmp_path):
    story = (
        SearchBuilder(tmp_path / "tiny").trial("0000", [math.nan]).trial("0001", [math.inf]).end()
    )
    page = page_of(story)
    assert not set(ParsedPage(page).values("data-value")) & {"nan", "inf"}
    assert headline_of(page) == "No trial has a loss to compare."
    assert "nan" not in words_of(page).lower().split()
