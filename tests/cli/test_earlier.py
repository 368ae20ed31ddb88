"""A search that began in vaetune 0.1 is completed with the built-in file of that version."""

import pytest

from vaetune.config.search_file import earlier_searches, load_search
from vaetune.config.space import EARLIER_SPACE

QUICK = ("--max-epochs", 1, "--no-baseline", "--dataset", "squares.npz")


def test_search_files_of_version_0_1_keep_their_values():
    assert {"hyperband-0.1", "random-0.1", "bayesian-0.1", "mnist-0.1"} == set(earlier_searches())
    spec = load_search("hyperband-0.1").spec
    assert spec.space == EARLIER_SPACE
    assert spec.training.batch_size == 128
    # A search file without a space has the space of version 0.1.
    assert type(spec)().space == EARLIER_SPACE


@pytest.mark.slow
@pytest.mark.usefixtures("without_page")
def test_an_error_suggests_how_to_complete_a_search_of_version_0_1(vaetune, folder):
    code, _, _ = vaetune("search", "random-0.1", *QUICK, "--max-trials", 1)
    assert code == 0
    results = folder / "results"
    (results / "random-0.1").rename(results / "random")  # the name in version 0.1
    code, _, error = vaetune("search", "random", *QUICK, "--max-trials", 1)
    assert code == 1
    assert 'The built-in file "random" has changed since vaetune 0.1.' in error
    assert "mv results/random results/random-0.1; vaetune search random-0.1" in error
    (results / "random").rename(results / "random-0.1")
    code, out, _ = vaetune("search", "random-0.1", *QUICK, "--max-trials", 1)
    assert code == 0
    assert "Winner of random" in out
