"""A user in a folder with images and a search file, and the command line."""

import re
import signal
import sys

import numpy as np
import pytest
from image_sets import make_split
from user_folder import SEARCH_FILE, contents

from vaetune.cli import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with images and a search file, and the user in it."""
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    arrays = {"x_train": train.images, "y_train": train.labels}
    np.savez(tmp_path / "squares.npz", **arrays, x_test=test.images, y_test=test.labels)
    (tmp_path / "squares.toml").write_text(SEARCH_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vaetune(monkeypatch, capsys):
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vaetune", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            app.main()
        signal.signal(signal.SIGTERM, handler)
        printed = capsys.readouterr()
        return done.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def refused(vaetune, folder):
    """Runs a command that must end with one clear line, exit code 1 and no file changed."""

    def run(*arguments):
        before = contents(folder)
        code, _, error = vaetune(*arguments)
        assert code == 1
        assert re.fullmatch(r"vaetune: [^\n]+\n", error)
        assert contents(folder) == before
        return error

    return run
