"""The page opens on the answer in every state of a search, and nothing can break out of it."""

import base64
import errno
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from journals import SPEC, Shared, make_session, make_study, make_trial_events
from stories import (
    DATA,
    ENVIRONMENT,
    NOW,
    START,
    VALUES,
    Outline,
    Story,
    headline_of,
    page_of,
    reference,
    usual,
    words_of,
)

from vaetune.config.spec import SearchSpec
from vaetune.errors import JournalError, ResultsError
from vaetune.report.output import write_report
from vaetune.report.page import render_report
from vaetune.study.artifacts import PICTURES_NAME
from vaetune.study.events import (
    FileSetAside,
    PlanCorrected,
    SearchExtended,
    TrialRetried,
    WorkerJoined,
    WorkerLost,
)
from vaetune.study.journal import JOURNAL_NAME
from vaetune.study.records import Environment, Rung
from vaetune.version import __version__


def test_the_page_opens_on_the_winner_beside_the_reference(tmp_path):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path))
    assert headline_of(page) == (
        "Trial 0003 (configuration 1) reaches 131.2 nats per image, 46.0 below the Keras example "
        "after the same 3 epochs."
    )


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((300.0, 120.0, 125.0), "11.2 above the Keras example after the same 3 epochs."),
        ((300.0, 131.27, 140.0), "equal to the Keras example after the same 3 epochs."),
        ((300.0, 150.0), "18.8 below the Keras example after 2."),
    ],
)
def test_the_answer_is_as_honest_when_the_reference_is_not_beaten(tmp_path, losses, told):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path, losses))
    assert headline_of(page).endswith(told)


def test_numbers_and_hyperparameters_stand_side_by_side(tmp_path):
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path))
    rows = Outline(page).texts_of("tr", page)
    assert rows[: rows.index("Cost") + 4] == [
        "Winner Keras example Difference",
        "Validation loss, nats per image",
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


def test_the_page_says_what_its_numbers_are(tmp_path):
    words = words_of(page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path)))
    assert "one posterior sample" in words
    assert "12 validation images" in words
    assert "All original images on this page are validation images" in words
    assert "entropy floor, 45.5 nats" in words
    assert "Pixels as they are: not comparable with likelihoods of binarised images." in words


def test_the_export_is_one_command_away():
    page = page_of(usual(Path("results/tiny")))
    assert "<code>vaetune best tiny --export</code>" in page


def test_commands_name_results_that_are_elsewhere(tmp_path):
    words = words_of(page_of(usual(tmp_path / "it's" / "tiny")))
    quoted = "'" + str(tmp_path / "it's").replace("'", "'\"'\"'") + "'"
    assert f"vaetune best tiny --export --results {quoted}" in words


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(True, "it has not been trained on these data"), (False, "(baseline = false)")],
)
def test_without_a_reference_the_winner_stands_alone(tmp_path, wanted, told):
    page = page_of(usual(tmp_path / "tiny", spec=SearchSpec(baseline=wanted)))
    assert headline_of(page) == (
        "Trial 0003 (configuration 1) reaches 131.2 nats per image after 3 epochs."
    )
    assert told in words_of(page)
    assert "Difference" not in words_of(page)


# Searches that are not complete


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


def test_what_happened_to_a_search_is_told():
    begin, *rest = make_trial_events("0000", [212.5])
    moment = {"time": begin.time}
    fewer = (Rung(bracket=1, rung=0, trials=2, epoch_from=0, epoch_to=1),)
    study = make_study(
        begin,
        TrialRetried(**moment, trial_id="0000", attempt=1, error="OOM <b>", traceback="x"),
        *rest,
        make_session(device="GPU (a card)"),
        FileSetAside(**moment, file="trials/0000/a.npz", aside=None, remedy="It is made again."),
        SearchExtended(**moment, search=SPEC, plan=fewer * 3),
        PlanCorrected(**moment, plan=fewer),
    )
    words = words_of(render_report([study], {}, NOW))
    assert "Trial 0000 was retried after this error: OOM <b>" in words
    assert "trials/0000/a.npz was missing. It is made again." in words
    assert "differs from the one before: device: CPU -> GPU (a card)." in words
    assert "Extended to 6 trials of 6 configurations, 6 epochs." in words
    announced = (
        "The plan was 6 trials of 6 configurations, 6 epochs. Because of failures it is now "
        "2 trials"
    )
    assert announced in words


def test_of_a_search_without_incidents_nothing_is_told():
    study = make_study(*make_trial_events("0000", [212.5]))
    assert "Incidents" not in words_of(render_report([study], {}, NOW))


# Workers


def words_of_shared(shared):
    study = shared.study()
    return words_of(render_report([study], {study.name: None}, NOW))


def test_of_a_process_alone_no_worker_is_told(tmp_path):
    assert "worker" not in words_of(page_of(usual(tmp_path / "tiny"))).lower()


def test_the_workers_of_the_latest_session_are_told_with_their_devices():
    shared = Shared(8).session(100, 4, joined=101, host="node9", threads=1)
    words = words_of_shared(shared.begin(110, "0000", 1))
    assert "Workers 4, CPU on node9, 1 thread each Processor" in words
    assert "vaetune search tiny on CPU, 8 workers" in words
    assert "vaetune search tiny on CPU, 4 workers" in words
    assert "differs from the one before: threads: 2 -> 1; workers: 8 -> 4." in words
    assert "Device CPU" not in words


def test_workers_that_are_not_alike_have_a_line_for_each_kind():
    shared = Shared(3, joined=None).join(1, 1, device="GPU (a card)").join(1, 2).join(2, 3, "node8")
    words = words_of_shared(shared)
    assert "Worker 1 GPU (a card) on node7, 2 threads" in words
    assert "Workers 2-3 CPU on node7 and node8, 2 threads each" in words


@pytest.mark.parametrize(
    ("shared", "told"),
    [
        (Shared(4, joined=None), "Workers 4 Processor"),
        (Shared(1), "Worker CPU on node7, 2 threads Processor"),
        (Shared(1, joined=None), "Device CPU, 2 threads Processor"),
        (Shared(2).session(9, 1), "Device CPU, 2 threads Processor"),
    ],
    ids=["not ready", "one", "none", "none any more"],
)
def test_however_many_workers_there_are_the_machine_is_told(shared, told):
    assert told in words_of_shared(shared)


def test_a_worker_on_another_kind_of_machine_is_told():
    shared = Shared(4).join(5, 2, "node8", cpu="another").join(5, 3, "node8", cpu="another")
    assert (
        "Workers 2-3 of the session of 4 March 2026, 05:06 UTC differ from the process of the "
        "search: processor: a processor -> another."
    ) in words_of_shared(shared)


def test_each_lost_worker_is_told_with_what_became_of_its_trial():
    shared = (
        Shared(3).begin(10, "0000", 1, epoch_to=3).epoch(40, "0000").lose(60, 1, "0000", "OOM.")
    )
    shared.begin(61, "0001", 2).lose(70, 2, "0001").resume(71, "0001", 3).lose(80, 3, "0001")
    shared.lose(90, 2, error="").resume(95, "0000", 2, epoch=1)
    words = words_of_shared(shared)
    for told in (
        "Worker 1 was lost on 4 March 2026, 05:07 UTC while it was training trial 0000: OOM. "
        "The trial continued after epoch 1 on worker 2.",
        "Worker 2 was lost on 4 March 2026, 05:07 UTC while it was training trial 0001: "
        "killed by signal 9. The trial started again on worker 3.",
        "Worker 3 was lost on 4 March 2026, 05:07 UTC while it was training trial 0001: "
        "killed by signal 9. The trial has not continued yet.",
        "Worker 2 was lost on 4 March 2026, 05:07 UTC while it was idle: no message was recorded.",
    ):
        assert told in words


def test_a_trial_that_was_not_tried_again_failed():
    shared = Shared(1).begin(10, "0000", 1).lose(20, 1, "0000").finish(21, "0000", "failed")
    assert "killed by signal 9. The trial failed." in words_of_shared(shared)


def test_a_trial_that_the_search_itself_took_up_says_so():
    shared = Shared(1).begin(10, "0000", 1).lose(20, 1, "0000").session(100, 1)
    shared.resume(101, "0000", None)
    assert "The trial started again in the process of the search." in words_of_shared(shared)


def lose_many(shared, times, error="killed"):
    """A worker of a trial of its own is lost, again and again; all but the last went on."""
    for n in range(times):
        shared.begin(60 * n, f"{n:04}", 1 + n % 2).lose(60 * n + 30, 1 + n % 2, f"{n:04}", error)
        if n < times - 1:
            shared.resume(60 * n + 40, f"{n:04}", 2 - n % 2).finish(60 * n + 50, f"{n:04}")
    return shared


def test_ten_lost_workers_are_told_one_by_one_and_more_together():
    assert words_of_shared(lose_many(Shared(2), 10)).count("was lost on") == 10
    words = words_of_shared(lose_many(Shared(2), 11))
    assert words.count("was lost on") == 0
    assert (
        "Workers were lost 11 times from 4 March 2026, 05:06 UTC to 4 March 2026, 05:16 UTC; "
        "most often worker 1, 6 times. Reason for 11 lost workers: killed. "
        "They were training 11 trials. All of them continued except 0010 (queued)."
    ) in words


def test_only_the_most_frequent_reasons_are_told():
    shared = lose_many(Shared(2), 5)
    for n in range(7):
        shared.lose(1000 + n, 2, error=f"reason {n}")
    shared.resume(1100, "0004", 1)
    words = words_of_shared(shared)
    assert "Reason for 5 lost workers: killed." in words
    assert "Reason for 1 lost worker: reason 3." in words
    assert "reason 4" not in words
    assert "There were 3 other reasons for lost workers." in words
    assert "They were training 5 trials. All of them continued." in words


def test_workers_that_were_lost_without_a_trial_trained_none():
    shared = Shared(2)
    for n in range(11):
        shared.lose(n, 1)
    assert "None of them was training a trial of this search." in words_of_shared(shared)


def test_a_page_that_knows_of_a_running_search_counts_the_trials_under_way():
    shared = Shared(3).begin(10, "0000", 1).begin(10, "0001", 2).begin(10, "0002", 3)
    study = shared.lose(20, 3, "0002").study()
    page = render_report([study], {study.name: None}, NOW, running=[study.name])
    assert "Running: 0 of 4 trials, 2 in parallel" in words_of(page)
    assert [row.split()[5] for row in leaderboard_of(page)[1:]] == ["running", "running", "queued"]
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


# Every trial


def leaderboard_of(page):
    table = re.search(r'<table class="sortable">.*?</table>', page, flags=re.DOTALL)[0]
    return Outline(table).texts_of("tr", table)


def test_every_trial_is_listed_best_first_and_failures_last(tmp_path):
    story = usual(tmp_path / "tiny").trial("0004", [], error="Oops: no", unfinished=False)
    header, *rows = leaderboard_of(page_of(story))
    assert header.split() == [
        *("Rank", "Trial", "Loss", "Recon.", "KL", "Status", "Config."),
        *("filters_", "1", "filters_", "2", "dense_", "units", "latent_", "dim"),
        *("learning_", "rate", "Epochs", "Seconds", "Parameters", "Bracket", "Rung", "Parent"),
    ]
    assert rows == [
        "1 0003 131.25 125.25 6.00 completed 1 16 64 32 4 0.002123 2-3 120.0 134,166 1 1 0001",
        "2 0001 201.00 195.00 6.00 completed 1 16 64 32 4 0.002123 1-1 60.0 134,166 1 0 -",
        "3 0000 212.50 206.50 6.00 completed 0 16 64 16 4 0.002123 1-1 60.0 134,165 1 0 -",
        "4 0002 230.00 224.00 6.00 completed 2 16 64 48 4 0.002123 1-1 60.0 134,167 1 0 -",
        "- 0004 - - - failed 4 16 64 80 4 0.002123 1-1 0.0 134,169 1 0 -",
    ]


def test_a_failed_trial_keeps_its_error_and_traceback(tmp_path):
    story = usual(tmp_path / "tiny").trial(
        "0004", [199.0], error="ValueError: bad <shape>", traceback="File x\n  deep & down\n"
    )
    page = page_of(story)
    (details,) = Outline(page).texts_of("details", page)
    assert "Trial 0004 (configuration 4): ValueError: bad <shape>" in details
    assert "deep & down" in details
    assert "dense_units = 80" in details


# Can I repeat it


def test_what_a_repetition_needs_is_there(tmp_path):
    words = words_of(page_of(usual(tmp_path / "tiny")))
    for told in (
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
        assert told in words


# Several searches


def test_other_searches_follow_with_a_way_to_each(tmp_path):
    page = page_of(usual(tmp_path / "late"), usual(tmp_path / "early"))
    outline = Outline(page)
    links = [href for href in outline.values("href") if href.startswith("#")]
    assert {"#search-1", "#search-2"} <= set(links)
    assert [i for i in outline.values("id") if re.fullmatch(r"search-\d", i)] == [
        "search-1",
        "search-2",
    ]
    assert len(outline.values("id")) == len(set(outline.values("id")))


def test_winners_are_compared_only_on_the_same_data(tmp_path):
    other = DATA.model_copy(update={"fingerprint": "cd" * 32})
    first, second = usual(tmp_path / "first"), usual(tmp_path / "second")
    assert "Comparison of searches" in words_of(page_of(first, second))
    assert "Comparison of searches" not in words_of(
        page_of(first, usual(tmp_path / "2nd", data=other))
    )
    unfinished = Story(tmp_path / "second")
    assert "Comparison of searches" not in words_of(page_of(first, unfinished))


def test_compared_winners_stand_best_first(tmp_path):
    better = Story(tmp_path / "better").trial("0000", [99.5]).end()
    page = page_of(usual(tmp_path / "tiny"), better)
    table = re.search(r'<table class="search-group">.*?</table>', page, flags=re.DOTALL)[0]
    _, first, second = Outline(table).texts_of("tr", table)
    assert first.startswith("better 99.50")
    assert second.startswith("tiny 131.25")


# Pictures


def images_of(page):
    """Those of the winner and the reference."""
    (section,) = re.findall(r'<section class="pictures">.*?</section>', page, flags=re.DOTALL)
    return [(a["alt"], a["src"]) for tag, a in Outline(section).elements if tag == "img"]


def test_pictures_stand_side_by_side_as_inlined_files(tmp_path):
    usual(tmp_path / "tiny").write()
    reference(tmp_path).write()
    page = page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path))
    assert [alt for alt, _ in images_of(page)] == [
        "4 images above the reconstructions of the winner",
        "4 images above the reconstructions of the Keras example",
        "4 samples from the prior, decoded by the winner",
        "4 samples from the prior, decoded by the Keras example",
        "3 by 3 images over the two latent dimensions of the Keras example",
    ]
    for _, source in images_of(page):
        encoded = source.removeprefix("data:image/png;base64,")
        assert base64.b64decode(encoded, validate=True).startswith(b"\x89PNG")
    assert "not available, because the model has 4 latent dimensions" in words_of(page)
    labels = Outline(page).values("aria-label")
    assert "Scatter of 12 latent means of the winner, coloured by 3 classes" in labels


def flip_bits(content):
    middle = len(content) // 3
    return content[:middle] + bytes(255 - byte for byte in content[middle:])


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"no archive", flip_bits, None])
def test_a_damaged_picture_costs_the_picture_and_not_the_page(tmp_path, damage):
    study = usual(tmp_path / "tiny").write()
    archive = study.trial_folder("0003") / PICTURES_NAME
    archive.write_bytes(damage(archive.read_bytes())) if damage else archive.unlink()
    page = page_of(usual(tmp_path / "tiny"))
    assert "This search has no stored images." in words_of(page)
    assert "131.2" in headline_of(page)


def test_a_lost_gallery_costs_the_reconstructions_alone(tmp_path):
    study = usual(tmp_path / "tiny").write()
    (study.folder / PICTURES_NAME).unlink()
    page = page_of(usual(tmp_path / "tiny"))
    assert [alt for alt, _ in images_of(page)] == [
        "4 samples from the prior, decoded by the winner"
    ]


# One safe file


def test_the_page_asks_nobody_for_anything(tmp_path):
    usual(tmp_path / "tiny").write()
    outline = Outline(page_of(usual(tmp_path / "tiny"), baseline=reference(tmp_path)))
    assert all(href.startswith("#") or href == "data:," for href in outline.values("href"))
    assert all(src.startswith("data:image/png;base64,") for src in outline.values("src"))
    assert not {tag for tag, _ in outline.elements} & {"iframe", "object", "embed", "base"}
    assert not outline.values("style")


def test_the_policy_names_the_page_s_own_style_and_script(tmp_path):
    page = page_of(usual(tmp_path / "tiny"))
    (policy,) = [
        attrs["content"]
        for _, attrs in Outline(page).elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def hostile(folder, text):
    """A search in which every text that a file can hold is `text`."""
    story = Story(
        folder,
        name=text,
        spec=SearchSpec(description=text),
        data=DATA.model_copy(update={"name": text, "source": text, "class_names": (text,) * 3}),
    )
    story.events[0] = story.events[0].model_copy(update={"origins": {text: "file", "seed": "flag"}})
    own = Environment(
        **{**ENVIRONMENT.model_dump(), **dict.fromkeys(("python", "cpu", "device"), text)}
        | {"platform": text, "revision": text, "versions": {text: text}, "command": (text, text)}
    )
    story.session(own)
    joined = {"host": text, "environment": own}
    story.events += [
        WorkerJoined(time=story.time, worker=1, **joined),
        WorkerLost(time=story.time, worker=1, trial_id=None, error=text),
    ]
    story.trial("0000", [200.0], hyperparameters={**VALUES, text: 1})
    story.trial("0001", [], error=text, traceback=text)
    story.end("error", message=text)
    return story


NASTY = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "</script><script>hacked = 1</script>",
            "</style><img src=x onerror=hacked=1>",
            '" onmouseover="hacked=1',
            "' autofocus onfocus='hacked=1",
            "--><svg onload=hacked=1>",
            "</title></pre></textarea><iframe src=//x>",
            "{{ 7 * 7 }}{% raw %}",
            "&lt;b&gt;&#60;b&#62;",
            "\x00\x0b\x1b[31m\x7f\u2028\u2029\u202e\ufffe",
            "]]><![CDATA[<b>",
            "$\\frac{1}{0}$ _^%#",
        ]
    ),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A folder with the pictures that a hostile search needs."""
    folder = tmp_path_factory.mktemp("results") / "stage"
    usual(folder).write()
    return folder


@pytest.fixture(scope="module")
def harmless(stage):
    return page_of(hostile(stage, "x"))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(parts=st.lists(NASTY, min_size=1, max_size=3))
def test_no_text_from_a_file_breaks_out_of_the_page(stage, harmless, parts):
    page = page_of(hostile(stage, "x" + "".join(parts)))
    outline = Outline(page)
    assert outline.structure == Outline(harmless).structure
    assert outline.drawn <= Outline(harmless).drawn
    assert {href.partition("-")[0] for href in outline.values("href")} == {"#search", "data:,"}
    assert outline.values("src") == Outline(harmless).values("src")
    assert scripts_of(page) == scripts_of(harmless)
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202e]", page)
    assert not re.search(r"(?<!\\)(\\\\)*\\u(202[a-e]|000[0-8])", page)


def scripts_of(page):
    """What a browser would run, and how much there is that it would not."""
    scripts = re.findall(r"<script(.*?)>(.*?)</script>", page, flags=re.DOTALL)
    data = [json.loads(text) for kind, text in scripts if "application/json" in kind]
    return [text for kind, text in scripts if not kind], len(data), len(scripts)


def test_text_is_shown_as_it_was_written(stage):
    page = page_of(hostile(stage, "</script><b>&amp; 'quoted' \"twice\""))
    assert words_of(page).count("</script><b>&amp; 'quoted' \"twice\"") >= 10
    assert "<b>&amp;amp;" not in page


def test_a_folder_whose_name_is_no_text_does_not_break_the_page():
    page = page_of(usual(Path("results-\udcff") / "tiny"))
    assert "--results 'results-\ufffd'" in words_of(page)
    page.encode()


# Writing


def test_the_report_covers_all_searches_the_latest_first(tmp_path):
    usual(tmp_path / "early").write()
    usual(tmp_path / "late", start=START + timedelta(days=1)).write()
    reference(tmp_path).write()
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    names = [Outline(part).words for part in re.findall(r'<p class="state"><b>.*?</b>', page)]
    assert names == ["late", "early"]
    assert page.count("46.0 below the Keras example") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "baselines",
        "early",
        "late",
        "report.html",
    ]


def test_the_page_is_the_same_for_the_same_journals(tmp_path):
    usual(tmp_path / "tiny").write()
    stories = usual(tmp_path / "tiny"), reference(tmp_path)
    assert page_of(stories[0], baseline=stories[1]) == page_of(stories[0], baseline=stories[1])


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_without_a_search_there_is_no_report(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError) as caught:
        write_report(tmp_path / folder)
    expected = f"There is no search in {tmp_path / folder} yet. Run `vaetune search hyperband`."
    assert str(caught.value) == expected
    assert not (tmp_path / folder / "report.html").exists()


def test_a_damaged_journal_is_named(tmp_path):
    usual(tmp_path / "tiny").write()
    with (tmp_path / "tiny" / JOURNAL_NAME).open("a") as journal:
        journal.write('{"event": "no such event"}\n')
    with pytest.raises(JournalError, match="is damaged"):
        write_report(tmp_path)


def test_a_report_of_vaetune_is_replaced(tmp_path):
    usual(tmp_path / "tiny").write()
    first = write_report(tmp_path)
    assert f'<meta name="generator" content="vaetune {__version__}">' in first.read_text()
    first.write_text(first.read_text().replace("131.2", "999.9"))
    assert "999.9" not in write_report(tmp_path).read_text()


@pytest.mark.parametrize("content", ["", "<!doctype html><title>mine, about vaetune</title>"])
def test_a_page_of_another_program_is_left_alone(tmp_path, content):
    usual(tmp_path / "tiny").write()
    page = tmp_path / "report.html"
    page.write_text(content)
    with pytest.raises(ResultsError, match=r"not written by vaetune .* Move it away"):
        write_report(tmp_path)
    assert page.read_text() == content


def test_a_folder_in_its_place_is_left_alone(tmp_path):
    usual(tmp_path / "tiny").write()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ResultsError, match=r"report\.html cannot be replaced: Is a directory"):
        write_report(tmp_path)


def test_a_full_disk_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    usual(tmp_path / "tiny").write()
    before = write_report(tmp_path).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match="cannot be written: No space left on device"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "tiny"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path, monkeypatch):
    usual(tmp_path / "tiny").write()
    opened = Path.open

    def refuse(self, mode="r", *rest, **more):
        if "w" in mode:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResultsError, match="cannot be written: Permission denied"):
        write_report(tmp_path)


def test_a_default_search_is_reported_without_tensorflow_in_few_bytes(tmp_path):
    story = Story(tmp_path / "big")
    for number in range(23):
        losses = [250.0 - number - 10.0 * epoch for epoch in range(9)]
        story.trial(f"{number:04d}", losses)
    story.end().write()
    reference(tmp_path).write()
    program = (
        "import json, sys; from pathlib import Path\n"
        "from vaetune.report import write_report\n"
        f"write_report(Path({str(tmp_path)!r}))\n"
        "heavy = {'tensorflow', 'keras', 'keras_tuner', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "print(json.dumps(sorted(heavy)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == []
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


# In a browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    usual(results / "tiny", start=START + timedelta(days=1)).trial(
        "0004", [], error="ValueError: " + "long" * 100, traceback="deep " * 100
    ).write()
    hostile(results / "hostile", "<img src=x onerror=hacked=1></script>" + "W" * 200).write()
    reference(results).write()
    return write_report(results)


@pytest.fixture
def visit(chromium, report):
    """Opens the report; afterwards there must be no error and no request."""
    contexts, troubles = [], []

    def opened(**settings):
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(request.url))
        page.on(
            "request", lambda request: troubles.append(request.url) if is_foreign(request) else 0
        )
        page.goto(report.as_uri())
        return page

    def is_foreign(request):
        return request.url != report.as_uri() and not request.url.startswith("data:")

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def trials_in(page):
    return page.locator("#search-1 table.sortable tbody th").all_inner_texts()


@pytest.mark.browser
def test_style_script_and_images_work_under_the_policy(visit):
    page = visit()
    assert page.locator("#search-1 table.sortable th button").count() == 23
    assert page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") != "none"
    sizes = page.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(sizes) >= 5
    assert min(sizes) > 0
    assert page.evaluate("typeof hacked") == "undefined"


@pytest.mark.browser
def test_the_table_is_sorted_by_a_click(visit):
    page = visit()
    assert trials_in(page) == ["0003", "0001", "0000", "0002", "0004"]
    table = page.locator("#search-1 table.sortable")
    header = table.locator("th", has_text="Parameters")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert trials_in(page) == ["0000", "0003", "0001", "0002", "0004"]
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert trials_in(page) == ["0004", "0002", "0003", "0001", "0000"]
    assert table.locator("[aria-sort]").count() == 1


@pytest.mark.browser
def test_what_has_no_value_stays_last_in_either_direction(visit):
    page = visit()
    button = page.locator("#search-1 table.sortable th", has_text="Loss").get_by_role("button")
    for _ in range(2):
        button.click()
        assert trials_in(page)[-1] == "0004"


@pytest.mark.browser
def test_the_table_is_sorted_by_keyboard(visit):
    page = visit()
    page.locator("#search-1 .scroll:has(table.sortable)").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Trial"
    page.keyboard.press("Enter")
    assert trials_in(page) == ["0000", "0001", "0002", "0003", "0004"]
    page.keyboard.press("Space")
    assert trials_in(page) == ["0004", "0003", "0002", "0001", "0000"]


@pytest.mark.browser
def test_the_first_key_press_offers_the_answer(visit):
    page = visit()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the result")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#search-1")


@pytest.mark.browser
def test_a_traceback_opens_by_keyboard(visit):
    page = visit()
    page.locator("#search-1 summary", has_text="Trial 0004").focus()
    page.keyboard.press("Enter")
    assert page.locator("#search-1 pre.traceback").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_page_is_wider_than_its_window(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    page.locator("details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_dark_and_light_follow_the_reader(visit):
    def look(page):
        return page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )

    light, dark = (look(visit(color_scheme=scheme)) for scheme in ("light", "dark"))
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@pytest.mark.browser
def test_without_javascript_everything_is_there(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("table.sortable button").count() == 0
    assert trials_in(page)[0] == "0003"
    assert "46.0 below the Keras example" in page.locator("h2").first.inner_text()
    assert page.locator("#search-1 .chart svg").count() == 8
