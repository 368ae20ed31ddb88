"""The working directory of a user: search file, images, quick commands and written files."""

import re
import shutil

import numpy as np
import pytest
from image_sets import make_split

SEARCH_FILE = """
description = "squares"
algorithm = "hyperband"
seed = 3
[data]
dataset = "squares.npz"
[budget]
max_epochs = 3
[training]
batch_size = 16
[space]
filters_1 = { values = [2, 3] }
filters_2 = { values = [3, 4] }
dense_units = { value = 4 }
latent_dim = { values = [2, 3] }
learning_rate = { min = 1e-3, max = 1e-1, scale = "log" }
"""

BAYESIAN = "max_trials = 4\ninitial_trials = 3"
"""Lines of the table [budget] that make a Bayesian search short."""

QUICK_SEARCH = ("search", "squares.toml", "--max-epochs", 1, "--quiet")

QUICK_EVALUATION = ("evaluate", "--importance-samples", 3)


def assert_reference_is_drawn(page):
    """Checks that a report shows reconstructions and classes of the Keras example."""
    pairs = page[page.index("<h3>Images</h3>") : page.index("<h3>How was the winner found?</h3>")]
    assert "images were kept" not in pairs
    assert "images above the reconstructions of the Keras example" in pairs
    assert re.search(r"latent means of the Keras example, coloured by \d classes", pairs)


def search_and_export(folder, train, test, data=""):
    """Runs a search with one trial in a folder, and exports the winner.

    Args:
        folder: An empty folder.
        train: Training images with labels.
        test: Test images with labels.
        data: Additional lines of the table [data].
    """
    from exports import StubReader, vaetune

    save_images(folder, train, test)
    text = SEARCH_FILE.replace("hyperband", "grid")
    (folder / "squares.toml").write_text(text.replace("[budget]", f"{data}\n[budget]"))
    limits = ("--max-epochs", 1, "--max-trials", 1, "--no-baseline", "--quiet")
    run_search_in(folder, *limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("vaetune.export.trial.Reader", StubReader)
        patch.setattr("vaetune.export.bundle.draw_showcase", lambda *given: {})
        assert vaetune("best", "--export")[::2] == (0, "")


def make_splits():
    """Training images with labels, and test images."""
    return make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)


def save_images(folder, train, test):
    """Writes images to the file that `SEARCH_FILE` names."""
    arrays = {"x_train": train.images, "y_train": train.labels}
    np.savez(folder / "squares.npz", **arrays, x_test=test.images, y_test=test.labels)


def run_search_in(folder, *options):
    """Runs the search file squares.toml in the folder, without a report."""
    from exports import vaetune

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("vaetune.cli.search._refresh_report", lambda results: None)
        assert vaetune("search", "squares.toml", *options)[::2] == (0, "")


def copy_searched(searched, folder):
    """Copies the folder of a search, and changes the paths in the journals to the new folder."""
    shutil.copytree(searched, folder, dirs_exist_ok=True)
    for path, journal in journals(folder).items():
        path.write_bytes(journal.replace(bytes(searched), bytes(folder)))


@pytest.fixture
def folder_after_search(searched, tmp_path, monkeypatch):
    """A copy of the folder of the module's fixture `searched`, as the working directory."""
    copy_searched(searched, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file_contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def journals(folder):
    paths = sorted((folder / "results").rglob("journal.jsonl"))
    return {path: path.read_bytes() for path in paths}


def noise(count=20, height=9, width=9):
    return np.random.default_rng(0).integers(0, 256, (count, height, width)).astype(np.uint8)
