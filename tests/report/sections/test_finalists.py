"""Finalists: the winner, the next configurations, and the noise of the lead."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from journals import (
    START,
    VALUES,
    make_evaluated,
    make_rescored,
    make_retrained,
    make_study,
    make_trial_events,
    write_baseline,
)
from stories import words_of

from vaetune.report.charts.clusters import CLASS_COLOURS
from vaetune.report.page import render_report
from vaetune.report.sections.finalists import compute_finalists, list_pictured, place_dots
from vaetune.report.sections.thumbnails import Latent
from vaetune.study.artifacts import PICTURES_NAME, Artifacts, ProbeImages
from vaetune.study.catalog import list_baselines
from vaetune.study.scores import Estimate

pytestmark = pytest.mark.usefixtures("without_charts")

FLOOR = 45.5


def make_search(**options):
    """Six completed configurations and a failed one. The two trials of the first are the best."""
    events = make_trial_events("0000", [180.0], duration_s=5.0, parameters=100)
    for number in range(1, 6):
        values = VALUES | {"latent_dim": 2 if number % 2 else 8, "dense_units": 16 * number}
        events += make_trial_events(
            f"{number:04d}", [190.0 + number], configuration=number, hyperparameters=values
        )
    events += make_trial_events("0006", [], configuration=6, status="failed", error="NaN")
    events += make_trial_events(
        "0007", [178.25, 179.0], parent="0000", epoch_from=1, duration_s=7.0, parameters=100
    )
    return make_study(*events, **options)


def write_pictures(study, names=("zero", "one", "two")):
    """Writes pictures of every trial, and returns the study."""
    labels = np.arange(12) % len(names)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    ProbeImages(images, labels).save(study.folder)
    z_mean = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    for trial in study.trials:
        Artifacts(images, images, z_mean, None).save(study.trial_folder(trial.trial_id))
    return study


def page_of(study):
    return render_report([study], {}, START)


def section_of(page):
    return re.search(r'<section class="finalists">.*?</section>', page, flags=re.DOTALL)[0]


def test_the_table_lists_the_winner_and_the_next_four_configurations():
    rows = compute_finalists(make_search()).rows
    assert [(row.place, row.trial_id) for row in rows] == [
        (1, "0007"),
        (2, "0001"),
        (3, "0002"),
        (4, "0003"),
        (5, "0004"),
    ]


def test_a_row_has_the_losses_of_the_best_epoch_and_the_training_cost():
    winner, second, *_ = compute_finalists(make_search()).rows
    assert (winner.loss, winner.excess) == (178.25, 178.25 - FLOOR)
    assert (winner.behind, winner.rescored, winner.seeds) == ("\N{EN DASH}", "", "\N{EN DASH}")
    assert (second.loss, second.behind) == (191.0, "12.75")
    assert (second.reconstruction, second.kl) == (191.0 * 0.75, 191.0 * 0.25)
    assert (winner.best_epoch, winner.epochs) == (2, 3)
    assert winner.train_s == 12.0, "the time does not include the trial that it continues"
    assert winner.parameters == 100


def test_only_hyperparameters_that_differ_are_shown():
    found = compute_finalists(make_search())
    assert found.names == ("dense_units", "latent_dim")
    assert found.rows[1].hyperparameters == {"dense_units": 16, "latent_dim": 2}
    assert found.shared == {"filters_1": 16, "filters_2": 128, "learning_rate": 0.00212345}
    caption = section_of(page_of(make_search()))
    assert "All have filters_1 = 16, filters_2 = 128, learning_rate = 0.002123." in caption
    assert "“Training time” includes the trials that a trial continues." in caption


@pytest.mark.parametrize(
    ("losses", "lead"), [((180.0, 180.43), "0.43"), ((180.0, 180.004), "less than 0.01")]
)
def test_the_headline_states_that_the_lead_may_be_noise(losses, lead):
    events = [
        make_trial_events(f"{number:04d}", [loss], configuration=number)
        for number, loss in enumerate(losses)
    ]
    page = page_of(make_study(*events[0], *events[1]))
    header = re.search(r"<article.*?</header>", page, flags=re.DOTALL)[0]
    assert (
        f"The winner leads the runner-up by {lead} nats. The finalists have not been rescored, "
        "so this lead may be noise."
    ) in header
    visible = words_of(page)
    assert "Learning curves. Each line is a trial. Dots" in visible
    assert "against training time." in visible
    assert "“Training time” includes" not in visible, "no trial continues another"


def test_a_winner_without_a_runner_up_has_no_table_of_finalists():
    lone = make_study(
        *make_trial_events("0000", [180.0]),
        *make_trial_events("0001", [170.0], parent="0000", epoch_from=1),
        *make_trial_events("0002", [160.0], configuration=2, status=None),
    )
    assert compute_finalists(lone) is None
    assert compute_finalists(make_study()) is None
    page = page_of(lone)
    assert "<h3>Runners-up" not in page
    assert "rescored" not in page


def test_the_page_has_a_row_for_each_finalist_without_inline_styles():
    table = section_of(page_of(make_search()))
    rows = [
        " ".join(re.sub(r"<[^>]*>", " ", row).split())
        for row in re.findall(r"<tr.*?</tr>", table, flags=re.DOTALL)
    ]
    assert rows[1] == "1 0007 178.25 \N{EN DASH} 133.69 44.56 132.75 64 8 100 12.0 s 2 of 3"
    assert rows[2] == "2 0001 191.00 12.75 143.25 47.75 145.50 16 2 69,076 7.5 s 1 of 1"
    assert len(rows) == 6
    assert "style=" not in table
    assert "<details>" not in table, "there are no pictures"


def test_the_pictures_of_the_runners_up_are_collapsed(tmp_path):
    study = write_pictures(make_search(folder=tmp_path))
    found = compute_finalists(study)
    assert [one.trial_id for one in found.images] == ["0001", "0002", "0003", "0004"]
    assert found.classes == ("zero", "one", "two")
    section = section_of(page_of(study))
    assert section.count("<details id=") == 4
    assert "open" not in re.findall(r"<details[^>]*>", section)[0]
    assert section.count('src="data:image/png;base64,') == 8
    assert "Scatter of 12 latent means of trial 0001, coloured by 3 classes" in section


def test_the_page_has_the_pictures_of_a_runner_up_once(tmp_path):
    study = write_pictures(make_search(folder=tmp_path))
    assert list_pictured(study) == {one.trial_id for one in compute_finalists(study).images}
    page = page_of(study)
    (data,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    trials = json.loads(data)["pictures"]["trials"]
    without = {one["trial_id"] for one in trials if not (one["samples"] or one["reconstructions"])}
    assert without == list_pictured(study)
    assert all(one["latent"] for one in trials)


def test_a_trial_with_damaged_pictures_keeps_its_row(tmp_path):
    study = write_pictures(make_search(folder=tmp_path))
    (study.trial_folder("0002") / PICTURES_NAME).write_bytes(b"no archive")
    found = compute_finalists(study)
    assert len(found.rows) == 5
    assert [one.place for one in found.images] == [2, 4, 5]


def test_names_of_classes_and_hyperparameters_are_escaped(tmp_path):
    nasty = '</svg><script>hacked = 1</script>"'
    events = [
        make_trial_events(
            f"{number:04d}",
            [180.0 + number],
            configuration=number,
            hyperparameters=VALUES | {nasty: number},
        )
        for number in range(2)
    ]
    study = write_pictures(
        make_study(*events[0], *events[1], folder=tmp_path, class_names=(nasty,) * 3)
    )
    section = section_of(page_of(study))
    assert "<script" not in section
    assert section.count("&lt;script&gt;") == 4


def test_a_class_is_one_path_and_y_rises_upwards():
    latent = Latent((0, 10, 20), (255, 0, 55), ("a", "b"))
    first, second = place_dots(latent, (1, 0, 1))
    assert (first.path, first.colour, first.shape) == ("M10,255h.01", 0, "round")
    assert (second.path, second.colour) == ("M0,0h.01M20,200h.01", 1)
    (lone,) = place_dots(latent, None)
    assert lone.path.count("M") == 3


def test_the_second_ten_classes_have_the_colours_of_the_first_and_another_shape():
    latent = Latent((0, 10), (0, 10), ("a", "b"))
    assert [(dots.colour, dots.shape) for dots in place_dots(latent, (2, 12))] == [
        (2, "round"),
        (2, "square"),
    ]


def test_classes_have_the_same_colours_on_the_page_as_in_figures():
    rule = r"^\.class-(\d+) \{ color: (#\w+); stroke: (#\w+); \}$"
    found = re.findall(rule, page_of(make_search()), flags=re.MULTILINE)
    assert found == [(str(n), colour, colour) for n, colour in enumerate(CLASS_COLOURS)]


# Rescored finalists

LOSSES = {("0002", 1): 190.5, ("0007", 2): 191.25, ("0001", 1): 192.0, ("0003", 1): 193.5}


def make_rescored_search(*events, **options):
    """A search in which trial 0002 is best after rescoring; trial 0004 was left out."""
    study = make_search(**options)
    rescoring = make_rescored(LOSSES, left_out=("0004",))
    return replace(study, rescorings=(rescoring,), retrainings=tuple(events))


def test_finalists_are_ordered_by_their_rescored_loss():
    found = compute_finalists(make_rescored_search())
    assert [(row.trial_id, row.loss, row.rescored, row.behind) for row in found.rows[:2]] == [
        ("0002", 192.0, "190.50 \N{PLUS-MINUS SIGN} 1.25", "\N{EN DASH}"),
        ("0007", 178.25, "191.25 \N{PLUS-MINUS SIGN} 1.25", "0.75 \N{PLUS-MINUS SIGN} 0.25"),
    ]
    assert (found.rows[4].trial_id, found.rows[4].rescored) == ("0004", "")
    assert found.rescored_on == "32 posterior samples of 1,000 validation images"


def test_the_page_shows_the_lead_and_its_standard_error():
    page = page_of(make_rescored_search())
    header = re.search(r"<article.*?</header>", page, flags=re.DOTALL)[0]
    assert (
        "the winner leads trial 0007 by 0.75 \N{PLUS-MINUS SIGN} 0.25 nats: more than two" in header
    )
    assert "Trial 0002 (configuration 2) reaches 192.0 nats" in header
    table = section_of(page)
    assert "“Rescored” uses 32 posterior samples of 1,000 validation images" in table
    assert "<td>190.50 \N{PLUS-MINUS SIGN} 1.25</td>" in table
    assert "Other seeds" not in table


def test_the_page_shows_the_losses_of_other_seeds():
    seeds = {"0001": (190.0, 192.0), "0002": (194.0, 195.0), "0003": (197.0, None)}
    study = make_rescored_search(
        make_retrained(seeds | {"0004": (198.0, 198.0), "0007": (199.0, 199.0)})
    )
    found = compute_finalists(study)
    assert [row.trial_id for row in found.rows] == ["0001", "0002", "0004", "0007", "0003"]
    assert [row.seeds for row in found.rows][::4] == ["191.00 \N{PLUS-MINUS SIGN} 1.00", "failed"]
    assert found.retrained == "2 other seeds for 3 epochs each"
    page = page_of(study)
    assert "the winner&#39;s configuration leads that of trial 0002 by 3.50" in page
    assert "mean of trainings from 2 other seeds for 3 epochs each" in section_of(page)


def test_evaluations_of_the_winner_and_the_keras_example_are_compared(tmp_path):
    study = make_rescored_search(folder=tmp_path / "tiny")
    evaluated = replace(study, evaluations=(make_evaluated("0007", 2), make_evaluated("0002", 1)))
    write_baseline(tmp_path)
    (reference,) = list_baselines(tmp_path).studies
    theirs = make_evaluated("0000", 2, negative_elbo=Estimate(190.5, 2.0), knn_accuracy=None)
    reference = replace(reference, evaluations=(theirs,))
    page = render_report([evaluated], {"tiny": reference}, START)
    table = re.search(r'<table class="comparison">.*?</table>', page, flags=re.DOTALL)[0]
    rows = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in table.split("</tr>")]
    sign = "\N{PLUS-MINUS SIGN}"
    assert f"Negative ELBO 130.5 {sign} 1.2 190.5 {sign} 2.0 \N{MINUS SIGN}60.0" in rows
    assert f"Likelihood bound 121.8 {sign} 1.1 121.8 {sign} 1.1 +0.0" in rows
    assert "Active units 2 of 3 2 of 3" in rows
    assert any(row.startswith("kNN accuracy 94") for row in rows)
    assert "Test: 1,000 images, 32 posterior samples of each" in page
    assert "k = 500 on the first 1,000 images" in page
    assert "vaetune evaluate" not in page
    page_without_example = page_of(evaluated)
    assert f"130.5 {sign} 1.2" in page_without_example


def test_a_winner_without_an_evaluation_has_the_command_to_evaluate(tmp_path):
    study = replace(make_rescored_search(), evaluations=(make_evaluated("0007", 2),))
    page = page_of(study)
    assert "Test images" not in page
    assert "The 1,000 test images have not been used" in page
    assert "<code>vaetune evaluate tiny</code>" in page
