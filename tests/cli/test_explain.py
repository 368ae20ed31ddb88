"""`vaetune explain`: how much each group of values of the winner gains."""

import re
import shutil

import pytest

from vaetune.study.catalog import list_baselines

pytestmark = pytest.mark.usefixtures("without_charts", "without_reading_back")

SEARCH = """
algorithm = "random"
baseline = false
[data]
dataset = "squares.npz"
[budget]
max_epochs = 1
max_trials = 1
[space]
filters_1 = { value = 2 }
filters_2 = { value = 3 }
dense_units = { value = 4 }
latent_dim = { value = 3 }
"""
"""A search file. Its winner differs from the Keras example in widths and in latent size."""


@pytest.fixture
def searched(vaetune, folder):
    """The folder of a user after a search of one trial."""
    (folder / "mine.toml").write_text(SEARCH)
    code, _, error = vaetune("search", "mine.toml", "--quiet")
    assert (code, error) == (0, "")
    return folder


def baseline_names(folder):
    return sorted(study.name for study in list_baselines(folder / "results"))


def test_an_explanation_trains_only_missing_steps_and_is_reported(vaetune, searched):
    page = searched / "results" / "report.html"
    assert "vaetune explain mine" in page.read_text()

    code, out, error = vaetune("explain", "--seeds", 1)
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert "To train: at most 4 trainings of 1 epoch, in about" in out
    assert [line.split(",")[0] for line in lines if ", seed 0: " in line] == [
        "the Keras example",
        "all values of the winner",
        "widths",
        "latent size",
    ]
    assert "latent_dim 2 -> 3" in out
    assert len(baseline_names(searched)) == 4
    assert "latent_dim 2 \N{RIGHTWARDS ARROW} 3" in page.read_text()
    table = out[out.index("step ") :]

    code, again, _ = vaetune("explain", "mine", "--seeds", 1)
    assert (code, again) == (0, table)

    (removed,) = (name for name in baseline_names(searched) if "explain-widths" in name)
    shutil.rmtree(searched / "results" / "baselines" / removed)
    code, resumed, _ = vaetune("explain", "--seeds", 1)
    assert code == 0
    (line,) = (line for line in resumed.splitlines() if ", seed 0: " in line)
    assert line.startswith("widths, ")
    assert resumed.endswith(table)


def test_a_winner_by_accuracy_is_explained_by_accuracy_and_loss(vaetune, searched):
    assert vaetune("search", "mine.toml", "--choose-by", "knn_accuracy", "--quiet")[0] == 0
    code, out, error = vaetune("explain", "--seeds", 1)
    assert (code, error) == (0, "")
    assert "or less, without the time to measure the kNN accuracy after each epoch.\n" in out
    assert re.search(r"^the Keras example, seed 0: \d+\.\d %, \d+\.\d+ nats, ", out, re.M)
    assert re.search(r"^step +kNN accuracy +gain +validation loss +changes$", out, re.M)
    row = r"latent size +\d+\.\d\s% +[+-]\d+\.\d +\d+\.\d+ +latent_dim 2 -> 3"
    assert re.search(f"^{row}$", out, re.M), out
    page = (searched / "results" / "report.html").read_text()
    assert "in the order that raises the kNN accuracy most" in page


def test_only_a_complete_search_with_its_images_can_be_explained(vaetune, refused, searched):
    vaetune("train", "--dataset", "squares.npz", "--epochs", 1, "--name", "one")
    assert "needs a search" in refused("explain", "baselines/one")
    (searched / "squares.npz").rename(searched / "moved.npz")
    assert "name their new place with --dataset" in refused("explain")
    (searched / "moved.npz").rename(searched / "squares.npz")
    journal = searched / "results" / "mine" / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]))
    assert "is not complete" in refused("explain")
