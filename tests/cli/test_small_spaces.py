"""Search spaces with fewer configurations than the budget allows."""

import re

import pytest
from long_forms import long
from user_folder import SEARCH_FILE

from vaetune.study.builder import load_study

QUICK = ("--max-epochs", 1, "--no-baseline")

pytestmark = pytest.mark.usefixtures("without_page")


def write_search_file(folder, algorithm, budget="", latent_dim="values = [2, 3]"):
    """Writes small.toml, a search that varies only the number of latent dimensions."""
    head, _ = SEARCH_FILE.split("[space]")
    text = head.replace('"hyperband"', f'"{algorithm}"').replace(
        "max_epochs = 3", f"max_epochs = 2\n{budget}"
    )
    pinned = "filters_1 = { value = 2 }\nfilters_2 = { value = 3 }"
    space = f"[space]\n{pinned}\nlatent_dim = {{ {latent_dim} }}\n"
    (folder / "small.toml").write_text(text + space)


@pytest.mark.slow
@pytest.mark.usefixtures("shared_probes")
@pytest.mark.parametrize(
    ("algorithm", "latent_dim", "trials"),
    [
        ("bayesian", "values = [2]", 1),
        *long(*((each, "value = 2", 1) for each in ("bayesian", "random", "grid"))),
        ("hyperband", "value = 2", 2),  # the single configuration is promoted once
    ],
)
def test_a_search_of_a_single_configuration_completes(
    vaetune, folder, algorithm, latent_dim, trials
):
    budgets = {"bayesian": "max_trials = 3\ninitial_trials = 1", "hyperband": "factor = 2"}
    write_search_file(folder, algorithm, budgets.get(algorithm, ""), latent_dim)
    for command in ("check", "search"):
        code, out, error = vaetune(command, "small.toml", "--no-baseline")
        assert (code, error) == (0, "")
        assert f"To train: {trials} trial" in out
        assert "\nEvery hyperparameter is pinned, so the space holds one configuration.\n" in out
    assert load_study(folder / "results" / "small").state.startswith("complete")
    code, out, error = vaetune("search", "small.toml", "--no-baseline")
    assert (code, error) == (0, "")
    assert "The search is complete: nothing is left to train." in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "budget", "message"),
    [
        ("random", "", "The space holds 2 configurations, fewer than max_trials = 10."),
        ("bayesian", "", "The space holds 2 configurations, fewer than max_trials = 25."),
        ("grid", "max_trials = 7", "The space holds 2 configurations, fewer than max_trials = 7."),
        ("hyperband", "factor = 2", "The space holds 2 configurations."),
    ],
)
def test_a_search_that_exhausted_its_space_is_not_extended(
    vaetune, folder, algorithm, budget, message
):
    write_search_file(folder, algorithm, budget)
    code, out, _ = vaetune("search", "small.toml", "--no-baseline")
    assert code == 0
    assert f"\n{message}\n" in out
    journal = folder / "results" / "small" / "journal.jsonl"
    before = journal.read_bytes()
    flag = "--hyperband-iterations" if algorithm == "hyperband" else "--max-trials"
    for extension in ((flag, 50), ()):
        code, _, error = vaetune("search", "small.toml", "--no-baseline", *extension, "--extend")
        assert code == 1
        assert re.fullmatch(
            r'vaetune: "small" is complete because its space is exhausted: it holds no more than '
            r"the 2 configurations that were tried\. [^\n]+\n",
            error,
        )
    assert journal.read_bytes() == before


@pytest.mark.slow
def test_a_budget_within_the_space_causes_no_message(vaetune, folder):
    write_search_file(folder, "random", "max_trials = 2", latent_dim="values = [2, 3, 4]")
    code, out, _ = vaetune("search", "small.toml", *QUICK)
    assert code == 0
    assert "The space holds" not in out
    code, out, _ = vaetune("search", "small.toml", *QUICK, "--max-trials", 9, "--extend")
    assert code == 0, "one configuration is left"
    assert "The whole search: 3 trials of 3 configurations" in out
    assert "The space holds 3 configurations, fewer than max_trials = 9." in out
