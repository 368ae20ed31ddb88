"""Losses of different likelihoods are never compared: on pages, in charts, in the terminal."""

import json
import re

import pytest
from journals import make_evaluated, make_session_end, make_study, make_trial_events
from stories import DATA, NOW, SearchBuilder, make_finished_search, make_keras_example, words_of

from vaetune.config.names import BASELINES
from vaetune.config.space import REFERENCE
from vaetune.config.spec import DataSpec, SearchSpec, single_configuration
from vaetune.report.charts.brackets import compute_rungs, draw_rungs
from vaetune.report.charts.comparison import compute_comparison, draw_comparison
from vaetune.report.charts.curves import compute_curves, compute_progress, draw_progress
from vaetune.report.charts.tradeoffs import compute_tradeoffs, draw_tradeoff, list_candidates
from vaetune.report.output import write_report
from vaetune.report.page import render_report
from vaetune.report.sections.finalists import compute_finalists
from vaetune.report.sections.headline import compare, describe_example, headline, no_reference
from vaetune.report.sections.page_data import compute_records
from vaetune.report.sections.side_by_side import pair_pictures
from vaetune.report.sections.tables import compare_searches
from vaetune.report.text.evaluations import evaluations_as_json, evaluations_as_table
from vaetune.report.text.images import describe_image_set
from vaetune.report.text.search import (
    describe_example as describe_example_of_another_likelihood,
    describe_winner,
)
from vaetune.study.catalog import find_baseline, find_example

SPEC = SearchSpec(data=DataSpec(likelihood="gaussian"))
NAME = "Keras example's network, Gaussian"
LOSSES = (-90.0, -100.0, -120.5)
FLOOR = re.compile(r"entropy floor|above the floor", re.IGNORECASE)


def make_gaussian_search(folder, name="colour"):
    """A search with negative losses. Its winner is 19.5 nats below the example."""
    return (
        SearchBuilder(folder / name, spec=SPEC)
        .trial("0000", [-110.0])
        .trial("0001", [-120.0])
        .trial("0002", [50.0])
        .trial("0003", [-130.0, -140.0], configuration=1, parent="0001", epoch_from=1)
        .end()
    )


def make_gaussian_example(results):
    """The network of the Keras example, trained with the Gaussian likelihood."""
    spec = single_configuration(REFERENCE, 9, like=SPEC)
    story = SearchBuilder(results / BASELINES / "reference-gaussian", kind="baseline", spec=spec)
    return story.trial("0000", LOSSES, hyperparameters=dict(REFERENCE)).end()


@pytest.fixture
def results(tmp_path):
    """A search with the Gaussian likelihood, and the Keras example with both likelihoods."""
    make_gaussian_search(tmp_path).write()
    make_gaussian_example(tmp_path).write()
    make_keras_example(tmp_path).write()
    return tmp_path


@pytest.fixture
def study(results):
    return make_gaussian_search(results).study()


def test_the_comparable_example_has_the_likelihood_of_the_search(results, study):
    assert find_baseline(study, results).likelihood == "gaussian"
    assert find_example(study, results).likelihood == "bernoulli"
    plain = make_finished_search(results / "plain").study()
    assert find_baseline(plain, results).likelihood == "bernoulli"
    assert find_example(plain, results) is None


def test_without_an_example_of_the_same_likelihood_nothing_is_compared(tmp_path):
    make_keras_example(tmp_path).write()
    study = make_gaussian_search(tmp_path).study()
    assert find_baseline(study, tmp_path) is None
    assert f"no comparison with the {NAME}, because it has not been trained" in no_reference(study)
    assert headline(study, None).endswith(
        "reaches \N{MINUS SIGN}140.0 nats per image after 3 epochs."
    )


def test_the_page_has_differences_only_within_a_likelihood(results):
    words = words_of(write_report(results).read_text())
    assert f"-140.0 nats per image, 19.5 below the {NAME}, after the same 3 epochs." in words
    sentence = (
        "The Keras example itself, with the Bernoulli likelihood, reaches 177.2 nats per image "
        "(171.2 binary cross-entropy, 6.0 KL) at its best epoch, 3 of 3. Losses of two likelihoods "
        "cannot be compared."
    )
    assert words.count(sentence) == 1
    # The losses of this example and differences to them appear nowhere else.
    others = words.replace(sentence, "")
    assert "177.2" not in others
    assert f"{177.25 + 140.0:.1f}" not in others
    assert not FLOOR.search(others)


def test_alternative_texts_name_the_network_that_made_the_pictures(results, study):
    pairs = pair_pictures(study, find_baseline(study, results), "colour")
    texts = [side.alt for pair in pairs for side in pair.shown if side.alt]
    assert sum(text.endswith(f" the {NAME}") for text in texts) >= 2
    assert not any("Keras example" in text.replace(NAME, "") for text in texts)


def test_the_data_of_the_page_contain_the_comparable_example_and_no_floor(results, study):
    records = compute_records(study, find_baseline(study, results))
    assert records.floor is None
    assert (records.reference.loss, records.reference.name) == (LOSSES[-1], NAME)
    plain = make_finished_search(results / "plain").study()
    records = compute_records(plain, find_baseline(plain, results))
    assert (records.floor, records.reference.name) == (DATA.entropy_floor, "Keras example")


def test_the_comparison_has_bits_per_dimension_instead_of_the_floor(results, study):
    found = compare(study, find_baseline(study, results))
    assert found.reference_name == NAME
    rows = {row.name: row for group in found.groups.values() for row in group}
    assert "Above the entropy floor" not in rows
    bits = rows["Bits per dimension"]
    assert bits.winner == f"{study.bits(-140.0):.3f}" == "4.844"
    assert bits.difference == "\N{MINUS SIGN}0.440"
    plain = compare(make_finished_search(results / "plain").study(), None)
    names = {row.name for group in plain.groups.values() for row in group}
    assert "Above the entropy floor" in names
    assert "Bits per dimension" not in names


def test_only_searches_of_one_likelihood_are_in_one_table(tmp_path):
    plain = [make_finished_search(tmp_path / name).study() for name in ("one", "two")]
    gaussian_studies = [make_gaussian_search(tmp_path, name).study() for name in ("three", "four")]
    groups = compare_searches([*plain, *gaussian_studies])
    assert [group.data_name for group in groups] == ["digits", "digits, Gaussian likelihood"]
    assert [{study.name for study in group.studies} for group in groups] == [
        {"one", "two"},
        {"three", "four"},
    ]
    assert compare_searches([plain[0], gaussian_studies[0]]) == ()


def test_charts_of_losses_without_a_floor_are_linear(results, study):
    baseline = find_baseline(study, results)
    drawn = {
        "rungs": draw_rungs(compute_rungs(study)),
        "comparison": draw_comparison(compute_comparison([study, study])),
    }
    infos = compute_tradeoffs(list_candidates(study, baseline), study.reference_name)
    drawn |= {info.x_label: draw_tradeoff(info) for info in infos[:2]}
    for name, figure in drawn.items():
        axes = figure.axes[0]
        assert axes.get_yscale() == "linear", name
        assert axes.get_ylabel() == "validation loss, nats per image"
        low, high = axes.get_ylim()
        assert low < -140.0 < 50.0 < high or name != "rungs"
    plain = make_finished_search(results / "plain").study()
    assert draw_rungs(compute_rungs(plain)).axes[0].get_yscale() == "log"
    lowest = min(point.y for point in infos[0].points)
    assert lowest == -140.0


def test_legends_name_the_gaussian_example(results, study):
    baseline = find_baseline(study, results)
    assert compute_curves(study, baseline).reference_name == NAME
    progress = compute_progress(study, baseline)
    assert progress.reference == LOSSES[-1]
    assert NAME in [text.get_text() for text in draw_progress(progress).legends[0].get_texts()]


def test_finalists_have_no_distance_to_a_floor(study):
    assert {one.excess for one in compute_finalists(study).rows} == {None}
    assert not FLOOR.search(words_of(render_report([study], {}, NOW)))


def test_the_terminal_shows_differences_only_within_a_likelihood(results, study):
    baseline, example = find_baseline(study, results), find_example(study, results)
    text = describe_winner(study, study.winner, baseline, example)
    assert "-140.00 nats per image (negative ELBO, 4.844 bits per dimension)" in text
    at_best = "at its best epoch, 3 of 3"
    assert f"{NAME}  -120.50 {at_best}: the winner is 19.50 nats below it" in text
    assert re.search(
        rf"Keras example +177\.25 {at_best}, with the Bernoulli likelihood: not comparable$",
        text,
        re.MULTILINE,
    )
    assert text.count("nats below") == 1


def test_accuracies_of_two_likelihoods_are_comparable():
    uses = SearchSpec(objective="knn_accuracy")
    trial = make_trial_events("0000", [177.25], uses=[0.6])
    example = make_study(*trial, make_session_end(), search=uses, kind="baseline")
    note = describe_example_of_another_likelihood(example)
    assert note == "60.0 % at its best epoch, 1 of 1, with the Bernoulli likelihood"


def test_an_example_of_the_same_likelihood_is_not_described_separately(tmp_path):
    plain = make_finished_search(tmp_path / "plain").study()
    assert describe_example(plain, make_keras_example(tmp_path).study()) == ""


def test_evaluations_name_the_likelihood_and_have_no_floor():
    event = make_evaluated(likelihood="gaussian", entropy_floor=None, pixel_values=192)
    table = evaluations_as_table({"trial 0001": event})
    assert "Gaussian likelihood; bits per dimension of a density on [0, 1] plus 8" in table
    assert not FLOOR.search(table)
    assert re.search(r"in bits per dimension +8\.981\n", table)
    (row,) = json.loads(evaluations_as_json({"trial 0001": event}))
    assert (row["likelihood"], row["above_entropy_floor"]) == ("gaussian", None)
    assert row["bits_per_dimension"] == pytest.approx(8.981, abs=1e-3)
    (row,) = json.loads(evaluations_as_json({"trial 0001": make_evaluated()}))
    assert not {"likelihood", "pixel_values", "bits_per_dimension"} & row.keys()
    assert row["above_entropy_floor"] == 84.5


def test_the_line_about_the_images_names_the_likelihood():
    assert describe_image_set(DATA, DataSpec()).endswith("; Bernoulli likelihood")
    chosen = DataSpec(likelihood="gaussian")
    assert describe_image_set(DATA, chosen).endswith("; Gaussian likelihood with one learned sigma")
    rounded = describe_image_set(DATA, DataSpec(likelihood="discretized_logistic"))
    assert rounded.endswith("learned logistic scale, of pixels rounded to 256 levels")


@pytest.mark.browser
def test_interactive_charts_without_a_floor_are_drawn_in_nats(results, chromium):
    page, troubles = chromium.new_page(viewport={"width": 768, "height": 900}), []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(write_report(results).as_uri())
    texts = [text.text_content() for text in page.locator("svg text").all()]
    assert "Loss, nats per image" in texts
    assert not [text for text in texts if FLOOR.search(text)]
    assert NAME in page.locator("body").inner_text()
    # Names and pictures stay aligned if a name needs two lines.
    names = page.locator(".comparison thead .reference, .model.reference")
    names.evaluate_all("all => all.forEach(name => (name.textContent += ', continuous Bernoulli'))")
    bottoms = page.locator(".comparison thead th").evaluate_all(
        """all => all.map(one => {
            const range = document.createRange();
            range.selectNodeContents(one);
            return range.getBoundingClientRect().bottom;
        })"""
    )
    assert max(bottoms) - min(bottoms) < 2
    for pair in page.locator(".pictures .pair:has(> div + div img)").all():
        tops = pair.locator("img").evaluate_all("all => all.map(i => i.getBoundingClientRect().y)")
        assert max(tops) - min(tops) < 1
    points = page.locator("svg circle, svg path").evaluate_all("all => all.map(e => e.outerHTML)")
    assert points
    assert not [point for point in points if "NaN" in point]
    page.close()
    assert troubles == []
