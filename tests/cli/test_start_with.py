"""`--start-with best:NAME`: a search starts with the best trial of an earlier search."""

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


def write_earlier_search(folder, results="results"):
    trial = make_trial_events("0000", [150.0], hyperparameters=VALUES)
    write_search(folder / results, "earlier", *trial, make_session_end())


def test_a_search_starts_with_the_best_trial_of_another_search(vaetune, folder, monkeypatch):
    write_earlier_search(folder, "other")
    started = []
    monkeypatch.setattr(search_module, "run_in_terminal", lambda search, *_: started.append(search))
    code, _, error = vaetune("search", "squares.toml", "--start-with", "best:other/earlier")
    assert code == 0
    assert error == (
        "best:other/earlier: these values of trial 0000 are not in this space, so the search has "
        "its own: dense_units 64 (here 4), batch_size 128 (here 16).\n"
    )
    (resolved,) = started
    assert resolved.start_from == ("best:other/earlier",)
    assert resolved.spec.start_with == (
        {"filters_1": 3, "filters_2": 4, "latent_dim": 3, "learning_rate": 0.01},
    )


def test_an_unknown_search_to_start_with_is_refused(refused, folder):
    write_earlier_search(folder)
    for command in ("search", "check"):
        error = refused(command, "squares.toml", "--start-with", "best:earlie")
        assert 'There is no search "earlie" in results. Did you mean "earlier"?' in error
    error = refused("check", "squares.toml", "--start-with", "best:a", "--results", "out")
    assert "There is no search in out yet" in error
    error = refused("check", "--dataset", "squares.npz", "--start-with", "best:earlier")
    assert "--start-with is an option of a search" in error


def test_the_search_file_applies_without_the_option(folder):
    text = (folder / "squares.toml").read_text()
    (folder / "squares.toml").write_text(f"start_with = [{{ latent_dim = 3 }}]\n{text}")
    resolved = resolve_and_start(folder / "squares.toml", {}, None, folder / "results")
    assert (resolved.spec.start_with, resolved.start_from) == (({"latent_dim": 3},), ())
