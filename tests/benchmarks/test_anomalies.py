"""The benchmark of anomaly scores: corrections of the loss, odd images, and tables."""

import numpy as np
import pytest
from anomalies import areas_of, corrections, odd_sets
from anomaly_tables import PUBLISHED, anomalies_text, corrections_table, digits_table

DRAWN = np.random.default_rng(0)
HELD_OUT = {
    "entropy": DRAWN.uniform(1, 9, 500),
    "compressed size": DRAWN.uniform(100, 900, 500),
    "squared error": DRAWN.uniform(size=500),
}
HELD_OUT["negative ELBO"] = 5 + 2 * HELD_OUT["entropy"] + 0.1 * HELD_OUT["compressed size"]


def test_a_regression_removes_the_loss_that_complexity_explains():
    scores = corrections(HELD_OUT)
    np.testing.assert_allclose(scores["regression on both"](HELD_OUT), 0, atol=1e-9)
    odd = {name: values[:3] for name, values in HELD_OUT.items()}
    odd["negative ELBO"] = odd["negative ELBO"] + 7
    np.testing.assert_allclose(scores["regression on both"](odd), 7)
    expected = odd["negative ELBO"] - odd["entropy"]
    np.testing.assert_allclose(scores["entropy"](odd), expected)
    np.testing.assert_array_equal(scores["nothing"](odd), odd["negative ELBO"])
    areas = areas_of(scores, HELD_OUT, odd)
    assert list(areas) == list(scores)
    assert areas["regression on both"] == 1.0
    assert areas["nothing"] < 0.9


def test_odd_images_are_other_sets_altered_images_and_uniform_images():
    sets = {name: (None, np.full((4, 28, 28), k, np.uint8)) for k, name in enumerate("ab")}
    found = dict(odd_sets("a", sets))
    assert set(found) == {"b", "inverted", "shuffled pixels", "uniform"}
    assert (found["inverted"] == 255).all()


def make_row(model, seed, odd, value):
    areas = {"nothing": value, "entropy": 1.0}
    return {"measure": "corrections", "model": model, "seed": seed, "odd": odd, "auroc": areas}


def test_corrections_have_separate_columns_for_chosen_on_and_shown_on():
    rows = [make_row("digits", 0, "letters", 0.5), make_row("digits", 1, "letters", 0.9)]
    rows += [make_row("digits-without-7", 0, "7", 0.7), make_row("digits-without-2", 0, "2", 0.7)]
    heads, _, nothing, _ = corrections_table(rows).splitlines()
    assert heads.split(" | ")[1:3] == ["chosen on", "shown on"]
    assert nothing.split(" | ")[1:3] == ["0.600", "0.800"]


def test_the_table_of_digits_appears_after_all_ten_are_measured():
    rows = [{"measure": "digits", "digit": digit, "auroc": 0.5} for digit in range(10)]
    assert digits_table(rows[:9]) == ""
    lines = digits_table(rows).splitlines()
    assert len(lines) == 3 + len(PUBLISHED)
    assert lines[2].endswith("| 0.500 |")
    assert anomalies_text([]) == "Not measured yet."


@pytest.mark.parametrize(("name", "mean"), [("2", 0.855), ("32", 0.718)])
def test_published_values_have_the_expected_mean(name, mean):
    (percents,) = [values for key, values in PUBLISHED.items() if f" {name} latent" in key]
    assert np.mean(percents) / 100 == pytest.approx(mean)
