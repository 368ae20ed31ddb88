"""Searches by kNN accuracy or AUROC instead of the validation loss."""

import re

import numpy as np
import pytest


@pytest.fixture
def unlabelled(folder):
    """Writes the user's images without labels to plain.npz."""
    with np.load(folder / "squares.npz") as arrays:
        np.savez(folder / "plain.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])


@pytest.mark.parametrize("command", ["check", "search"])
@pytest.mark.parametrize("option", ["--objective", "--choose-by"])
def test_images_without_labels_are_refused(refused, unlabelled, command, option):
    given = (command, "squares.toml", "--dataset", "plain.npz", option, "knn_accuracy")
    error = refused(*given)
    assert "needs the class of each image, but plain has no labels" in error
    key = option.strip("-").replace("-", "_")
    assert f'or use {key} = "val_loss".' in error


def test_an_unknown_objective_is_refused(vaetune, folder):
    code, _, error = vaetune("search", "squares.toml", "--objective", "accuracy")
    assert code == 2
    assert "'knn_accuracy'" in error


def test_auroc_needs_a_class_that_is_left_out(refused):
    error = refused("search", "squares.toml", "--objective", "auroc")
    assert 'objective = "auroc" needs classes that are left out of training' in error


@pytest.mark.slow
@pytest.mark.usefixtures("without_charts")
def test_a_search_by_accuracy_shows_accuracies_in_output_and_report(vaetune, folder):
    code, out, _ = vaetune("search", "squares.toml", "--objective", "knn_accuracy", "--no-baseline")
    assert code == 0
    assert re.search(r"objective +knn_accuracy +flag", out)
    assert re.search(r"trial 0000 \(1 of \d+\) +\d+\.\d %", out)
    assert re.search(r"\n  kNN accuracy +\d+\.\d %\n  validation loss +\d", out)
    assert "winner by loss" in out
    code, out, _ = vaetune("best")
    assert "winner by loss" in out
    page = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert '"objective":{"title":"kNN accuracy","decimals":1,"rises":true}' in page
    code, _, error = vaetune("search", "squares.toml", "--objective", "val_loss")
    assert code == 1
    assert "another experiment: objective: knn_accuracy -> val_loss." in error
