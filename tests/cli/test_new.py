"""`vaetune new`: a search file to edit."""

import re

import pytest

from vaetune.config.search_file import resolve


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "bayesian", "grid"])
def test_new_writes_a_search_file_that_is_found_and_resolves(vaetune, folder, algorithm):
    code, out, error = vaetune("new", "mine", "--algorithm", algorithm, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out == (
        "Written: searches/mine.toml\n"
        "Next: edit it, then `vaetune check mine`, then `vaetune search mine`\n"
    )
    _, out, _ = vaetune("search")
    assert re.search(r"^  mine +[A-Z].* on squares\.npz$", out, re.MULTILINE)
    resolved = resolve(folder / "searches" / "mine.toml")
    assert resolved.spec.algorithm == algorithm
    assert resolved.spec.data.dataset == str(folder / "squares.npz")


def test_new_leaves_a_search_file_alone(vaetune, refused, folder):
    vaetune("new", "mine")
    assert "searches/mine.toml already exists." in refused("new", "mine")


@pytest.mark.parametrize("name", ["best", "baselines", "a/b", "..", "mine.toml"])
def test_new_refuses_what_no_search_can_be_named(refused, folder, name):
    refused("new", name)
    assert not (folder / "searches").exists()


def test_new_warns_of_images_that_are_not_there(vaetune, folder):
    code, out, error = vaetune("new", "faces", "--dataset", "nowhere")
    assert code == 0
    assert out.startswith("Written: searches/faces.toml\n")
    assert error == (
        "There is nothing at nowhere yet. Put the images there, or edit data.dataset.\n"
    )
    assert resolve(folder / "searches" / "faces.toml").spec.data.dataset == str(folder / "nowhere")
    for name, there in (("ours", "squares.npz"), ("theirs", "mnist")):
        assert vaetune("new", name, "--dataset", there)[2] == ""


def test_new_of_an_unknown_algorithm_is_a_usage_error(vaetune, folder):
    assert vaetune("new", "mine", "--algorithm", "genetic")[0] == 2
