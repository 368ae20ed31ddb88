"""The Gaussian and logistic likelihoods in searches, single trainings and checks."""

import re

import numpy as np
import pytest
from image_sets import make_split
from user_folder import QUICK_EVALUATION, SEARCH_FILE

from vaetune.models.load import load_model
from vaetune.study.builder import load_study
from vaetune.study.exported import find_export

GAUSSIAN_EXAMPLE = "Keras example's network, Gaussian"


@pytest.fixture
def colour(folder):
    """The user's folder with colour images and a search file with a Gaussian likelihood."""
    images = make_split(30, (9, 10, 3), 1).images
    np.savez(folder / "colour.npz", x_train=images)
    text = SEARCH_FILE.replace('"squares.npz"', '"colour.npz"\nlikelihood = "gaussian"')
    (folder / "colour.toml").write_text(text)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("without_charts", "without_figures", "without_reading_back")
def test_colour_images_are_searched_and_exported_with_a_gaussian(vaetune, colour):
    code, out, _ = vaetune("search", "colour.toml", "--max-epochs", 1)
    assert code == 0
    assert re.search(r"^Images: colour, .*; Gaussian likelihood with one learned sigma$", out, re.M)
    assert re.search(r"data\.likelihood +gaussian +file", out)
    assert re.search(rf"{GAUSSIAN_EXAMPLE} +-?[\d.]+ at its best epoch, 1 of 1: the winner is", out)
    example = r"^  Keras example +[\d.]+ at its best epoch, 1 of 1, .*: not comparable$"
    assert re.search(example, out, re.M)
    assert out.count("the winner is") == 1
    assert "entropy floor" not in out

    code, out, _ = vaetune(*QUICK_EVALUATION)
    assert code == 0
    assert GAUSSIAN_EXAMPLE in out
    assert "in bits per dimension" in out
    assert "entropy floor" not in out

    code, out, _ = vaetune("best", "--export")
    assert code == 0
    exported = find_export(colour / "results" / "best")
    assert exported.data.likelihood == "gaussian"
    vae = load_model(colour / "results" / "best" / "vae.keras")
    assert vae.likelihood == "gaussian"
    card = (colour / "results" / "best" / "README.md").read_text()
    assert "- **Losses are those of the Gaussian likelihood**" in card
    assert "cross-entropy" not in card
    assert "entropy floor" not in card
    page = (colour / "results" / "report.html").read_text()
    assert page.count("Losses of two likelihoods cannot be compared.") == 1

    code, out, _ = vaetune(*QUICK_EVALUATION, "results/best", "--dataset", "colour.npz")
    assert code == 0
    assert "in bits per dimension" in out


@pytest.mark.slow
def test_a_flag_chooses_the_likelihood_of_a_single_training(vaetune, colour):
    code, out, _ = vaetune("train", "--dataset", "squares.npz", "--epochs", 1)
    assert code == 0
    code, out, _ = vaetune(
        "train", "--dataset", "squares.npz", "--epochs", 1, "--likelihood", "discretized_logistic"
    )
    assert code == 0
    assert "bits per dimension" in out
    studies = {path.name: load_study(path) for path in (colour / "results/baselines").iterdir()}
    assert {name: study.likelihood for name, study in studies.items()} == {
        "reference-squares-1": "bernoulli",
        "reference-discretized-logistic-squares-1": "discretized_logistic",
    }


@pytest.mark.usefixtures("without_probing")
def test_check_prints_the_likelihood(vaetune, colour):
    code, out, _ = vaetune("check", "--dataset", "colour.npz")
    assert code == 0
    code, out, _ = vaetune("check", "--dataset", "squares.npz", "--likelihood", "gaussian")
    assert re.search(r"^  likelihood +Gaussian likelihood with one learned sigma$", out, re.M)
    code, out, _ = vaetune("check", "--dataset", "squares.npz")
    assert re.search(r"^  likelihood +Bernoulli likelihood$", out, re.M)
    code, out, _ = vaetune("check", "colour.toml")
    assert code == 0
    assert re.search(r"^  likelihood +Gaussian likelihood with one learned sigma$", out, re.M)
    assert f"including the Keras example and the {GAUSSIAN_EXAMPLE}." in out


def test_binarised_pixels_are_refused_with_a_gaussian_likelihood(refused, folder):
    text = SEARCH_FILE.replace('"squares.npz"', '"squares.npz"\nbinarize = "threshold"')
    (folder / "squares.toml").write_text(text)
    error = refused("search", "squares.toml", "--likelihood", "gaussian")
    assert 'Use likelihood = "bernoulli"' in error
