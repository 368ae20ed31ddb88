"""A search that vaetune 0.1 began with a built-in file is finished with the file of 0.1."""

import pytest

from vaetune.config.search_file import earlier_searches, load_search
from vaetune.config.space import EARLIER_SPACE

FEW = ("--max-epochs", 1, "--no-baseline", "--dataset", "squares.npz")


def test_files_of_the_earlier_version_keep_their_meaning():
    assert {"hyperband-0.1", "random-0.1", "bayesian-0.1", "mnist-0.1"} == set(earlier_searches())
    spec = load_search("hyperband-0.1").spec
    assert spec.space == EARLIER_SPACE
    assert spec.training.batch_size == 128
    # A file that names no space has that of 0.1, too.
    assert type(spec)().space == EARLIER_SPACE


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_the_error_says_how_to_finish_a_search_of_an_earlier_file(vaetune, folder):
    code, _, _ = vaetune("search", "random-0.1", *FEW, "--max-trials", 1)
    assert code == 0
    results = folder / "results"
    (results / "random-0.1").rename(results / "random")  # as 0.1 has named it
    code, _, error = vaetune("search", "random", *FEW, "--max-trials", 1)
    assert code == 1
    assert 'The built-in file "random" has changed since vaetune 0.1.' in error
    assert "mv results/random results/random-0.1; vaetune search random-0.1" in error
    (results / "random").rename(results / "random-0.1")
    code, out, _ = vaetune("search", "random-0.1", *FEW, "--max-trials", 1)
    assert code == 0
    assert "Winner of random" in out
