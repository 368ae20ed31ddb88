"""`--start-with best:NAME`: a search begins with what an earlier one found."""

from journals import make_session_end, make_trial_events, write_search

from vaetune.cli import search as search_module
from vaetune.cli.search import resolve_and_start

VALUES = {
    "filters_1": 3,
    "filters_2": 4,
    "dense_units": 64,
    "latent_dim": 3,
    "learning_rate": 0.01,
}


def write_earlier(folder, results="results"):
    trial = make_trial_events("0000", [150.0], hyperparameters=VALUES)
    write_search(folder / results, "earlier", *trial, make_session_end())


def test_a_search_begins_with_the_best_of_another(vaetune, folder, monkeypatch):
    write_earlier(folder, "other")
    runs = []
    monkeypatch.setattr(search_module, "run_in_terminal", lambda search, *_: runs.append(search))
    code, _, error = vaetune("search", "squares.toml", "--start-with", "best:other/earlier")
    assert code == 0
    assert error == (
        "best:other/earlier: these values of trial 0000 are not in this space, so the search has "
        "its own: dense_units 64 (here 4), batch_size 128 (here 16).\n"
    )
    (resolved,) = runs
    assert resolved.start_from == ("best:other/earlier",)
    assert resolved.spec.start_with == (
        {"filters_1": 3, "filters_2": 4, "latent_dim": 3, "learning_rate": 0.01},
    )


def test_a_source_that_does_not_exist_is_refused(refused, folder):
    write_earlier(folder)
    for command in ("search", "check"):
        error = refused(command, "squares.toml", "--start-with", "best:earlie")
        assert 'There is no search "earlie" in results. Did you mean "earlier"?' in error
    error = refused("check", "squares.toml", "--start-with", "best:a", "--results", "out")
    assert "There is no search in out yet" in error
    error = refused("check", "--dataset", "squares.npz", "--start-with", "best:earlier")
    assert "--start-with is an option of a search" in error


def test_without_the_option_the_file_decides(folder):
    text = (folder / "squares.toml").read_text()
    (folder / "squares.toml").write_text(f"start_with = [{{ latent_dim = 3 }}]\n{text}")
    resolved = resolve_and_start(folder / "squares.toml", {}, None, folder / "results")
    assert (resolved.spec.start_with, resolved.start_from) == (({"latent_dim": 3},), ())
