"""`vaetune check`: a search is tried before it is run."""

import re

import pytest
from user_folder import SEARCH_FILE, contents


@pytest.mark.slow
def test_check_tries_a_search_and_writes_nothing(vaetune, folder):
    before = contents(folder)
    code, out, error = vaetune("check", "squares.toml", "--batch-size", 64, "--no-baseline")
    assert (code, error) == (0, "")
    assert out.startswith("vaetune 0.1.0: check of squares\n")
    assert re.search(r"training\.batch_size +64 +flag", out)
    assert "25 training and 5 validation images of 9 x 10 x 1" in out
    assert "To train: 6 trials of 5 configurations, 11 epochs." in out
    assert "saved and loaded unchanged" in out
    assert len(re.findall(r"ms per step of 25 images$", out, re.MULTILINE)) == 5
    assert "Batches are limited to the number of training images." in out
    assert re.search(r"^Estimated time: \d.* (seconds?|minutes)\.$", out, re.MULTILINE)
    assert re.search(r"^Memory: at most .* so far", out, re.MULTILINE)
    assert re.search(r"^Disk: at most \d+ MB ", out, re.MULTILINE)
    assert out.endswith("Ready. Next: vaetune search squares.toml and the same options\n")
    assert contents(folder) == before


def test_check_refuses_what_search_would(refused, folder):
    assert "squares.toml: unknown key" in changed_search(refused, folder, "seed = 3", "sead = 3")
    assert "There is no image set" in refused("check", "squares.toml", "--dataset", "gone.npz")
    assert 'There is no search "none"' in refused("check", "none")
    (folder / "best.toml").write_text(SEARCH_FILE)
    assert "results/best/ is reserved" in refused("check", "best.toml")


def changed_search(refused, folder, old, new):
    (folder / "squares.toml").write_text(SEARCH_FILE.replace(old, new))
    error = refused("check", "squares.toml")
    (folder / "squares.toml").write_text(SEARCH_FILE)
    return error


@pytest.mark.slow
def test_check_says_what_does_not_fit_into_memory(refused, folder, monkeypatch):
    from vaetune.search.preflight import probe

    def exhausted(*given):
        raise MemoryError

    monkeypatch.setattr(probe.EpochRunner, "train", exhausted)
    assert "There is not enough memory to train" in refused("check", "squares.toml")
