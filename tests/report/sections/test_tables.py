"""Tables of the page: all trials, settings, workers and the comparison of searches."""

import re

import pytest
from journals import JournalBuilder
from stories import (
    DATA,
    ENVIRONMENT,
    ParsedPage,
    SearchBuilder,
    leaderboard_of,
    make_finished_search,
    page_of,
    report_text_of,
    words_of,
)

pytestmark = pytest.mark.usefixtures("without_charts")


def test_every_trial_is_listed_best_first_and_failures_last(tmp_path):
    story = make_finished_search(tmp_path / "tiny").trial(
        "0004", [], error="Oops: no", unfinished=False
    )
    header, *rows = leaderboard_of(page_of(story))
    assert header.split() == [
        *("Rank", "Trial", "Loss", "Recon.", "KL", "Active", "units", "Status", "Config."),
        *("filters_", "1", "filters_", "2", "dense_", "units", "latent_", "dim"),
        *("learning_", "rate", "Epochs", "Seconds", "Parameters", "Bracket", "Rung", "Parent"),
    ]
    assert rows == [
        "1 0003 131.25 125.25 6.00 - completed 1 16 64 32 4 0.002123 2-3 120.0 134,166 1 1 0001",
        "2 0001 201.00 195.00 6.00 - completed 1 16 64 32 4 0.002123 1-1 60.0 134,166 1 0 -",
        "3 0000 212.50 206.50 6.00 - completed 0 16 64 16 4 0.002123 1-1 60.0 134,165 1 0 -",
        "4 0002 230.00 224.00 6.00 - completed 2 16 64 48 4 0.002123 1-1 60.0 134,167 1 0 -",
        "- 0004 - - - - failed 4 16 64 80 4 0.002123 1-1 0.0 134,169 1 0 -",
    ]


def test_a_failed_trial_keeps_its_error_and_traceback(tmp_path):
    story = make_finished_search(tmp_path / "tiny").trial(
        "0004", [199.0], error="ValueError: bad <shape>", traceback="File x\n  deep & down\n"
    )
    page = page_of(story)
    (details,) = ParsedPage(page).texts_of("details", page)
    assert "Trial 0004 (configuration 4): ValueError: bad <shape>" in details
    assert "deep & down" in details
    assert "dense_units = 80" in details


def test_the_page_has_the_settings_needed_to_repeat_a_search(tmp_path):
    words = words_of(page_of(make_finished_search(tmp_path / "tiny")))
    for shown in (
        "seed 0 flag",
        "budget.factor 3 file",
        "space.latent_dim 2, 4, 8, 16, 32 default",
        f"Fingerprint {DATA.fingerprint}",
        "40, 12, 10",
        "keras 3.15.1, tensorflow 2.21.0",
        "CPU, 2 threads",
        f"Revision {ENVIRONMENT.revision}",
        "4 March 2026, 05:06 UTC vaetune search tiny on CPU",
    ):
        assert shown in words


def test_a_search_in_one_process_mentions_no_others(tmp_path):
    assert "worker" not in words_of(page_of(make_finished_search(tmp_path / "tiny"))).lower()


def test_the_workers_of_the_latest_session_are_shown_with_their_devices():
    builder = JournalBuilder(8).session(100, 4, joined=101, host="node9", threads=1)
    words = report_text_of(builder.begin(110, "0000", 1))
    assert "Workers 4, CPU on node9, 1 thread each Processor" in words
    assert "vaetune search tiny on CPU, 8 workers" in words
    assert "vaetune search tiny on CPU, 4 workers" in words
    assert "differs from the one before: threads: 2 -> 1; workers: 8 -> 4." in words
    assert "Device CPU" not in words


def test_different_kinds_of_workers_have_separate_lines():
    builder = (
        JournalBuilder(3, joined=None)
        .join(1, 1, device="GPU (a card)")
        .join(1, 2)
        .join(2, 3, "node8")
    )
    words = report_text_of(builder)
    assert "Worker 1 GPU (a card) on node7, 2 threads" in words
    assert "Workers 2-3 CPU on node7 and node8, 2 threads each" in words


@pytest.mark.parametrize(
    ("builder", "shown"),
    [
        (JournalBuilder(4, joined=None), "Workers 4 Processor"),
        (JournalBuilder(1), "Worker CPU on node7, 2 threads Processor"),
        (JournalBuilder(1, joined=None), "Device CPU, 2 threads Processor"),
        (JournalBuilder(2).session(9, 1), "Device CPU, 2 threads Processor"),
    ],
    ids=["not ready", "one", "none", "none any more"],
)
def test_the_device_is_shown_for_any_number_of_workers(builder, shown):
    assert shown in report_text_of(builder)


def test_winners_are_compared_only_on_the_same_data(tmp_path):
    other = DATA.model_copy(update={"fingerprint": "cd" * 32})
    first, second = (
        make_finished_search(tmp_path / "first"),
        make_finished_search(tmp_path / "second"),
    )
    assert "Comparison of searches" in words_of(page_of(first, second))
    assert "Comparison of searches" not in words_of(
        page_of(first, make_finished_search(tmp_path / "2nd", data=other))
    )
    unfinished = SearchBuilder(tmp_path / "second")
    assert "Comparison of searches" not in words_of(page_of(first, unfinished))


def test_compared_winners_are_ordered_best_first(tmp_path):
    better = SearchBuilder(tmp_path / "better").trial("0000", [99.5]).end()
    page = page_of(make_finished_search(tmp_path / "tiny"), better)
    table = re.search(r'<table class="search-group">.*?</table>', page, flags=re.DOTALL)[0]
    _, first, second = ParsedPage(table).texts_of("tr", table)
    assert first.startswith("better 99.50")
    assert second.startswith("tiny 131.25")
