"""The folder of a user: a search file, quick commands and the files that commands write."""

import re

import numpy as np

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
"""Lines of a budget with which a Bayesian search is short."""

QUICK_SEARCH = ("search", "squares.toml", "--max-epochs", 1, "--quiet")

QUICK_EVALUATION = ("evaluate", "--importance-samples", 3)


def assert_reference_is_drawn(page):
    """The page shows the Keras example's reconstructions and the colours of its classes."""
    pairs = page[page.index("<h3>Images</h3>") : page.index("<h3>How was the winner found?</h3>")]
    assert "images were kept" not in pairs
    assert "images above the reconstructions of the Keras example" in pairs
    assert re.search(r"latent means of the Keras example, coloured by \d classes", pairs)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def journals(folder):
    paths = sorted((folder / "results").rglob("journal.jsonl"))
    return {path: path.read_bytes() for path in paths}


def noise(count=20, height=9, width=9):
    return np.random.default_rng(0).integers(0, 256, (count, height, width)).astype(np.uint8)
