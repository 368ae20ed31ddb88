"""Fixtures: the folder of a user, the command line in this process, and shortcuts."""

import re
import signal
import sys

import pytest
from user_folder import SEARCH_FILE, file_contents, make_splits, save_images

from vaetune.cli import app
from vaetune.config.space import REFERENCE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: the folder of a user, with images and a search file."""
    save_images(tmp_path, *make_splits())
    (tmp_path / "squares.toml").write_text(SEARCH_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vaetune(monkeypatch, capsys):
    """A function that runs the command line in this process.

    It returns the exit status, stdout and stderr.
    """

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
    """A function that runs a command that must fail, and returns stderr.

    The command must print one line to stderr, end with exit status 1 and change no file.
    """

    def run(*arguments):
        before = file_contents(folder)
        code, _, error = vaetune(*arguments)
        assert code == 1
        assert re.fullmatch(r"vaetune: [^\n]+\n", error)
        assert file_contents(folder) == before
        return error

    return run


@pytest.fixture
def shared_probes(monkeypatch):
    """Lets `vaetune check` time one step per configuration, with functions that tests share.

    tests/search/preflight/test_probe.py compiles its own functions.
    """
    from shared_contexts import context_of

    from vaetune.search.preflight import probe, timing

    monkeypatch.setattr(probe, "TrainingContext", lambda images, _: context_of(images))
    monkeypatch.setattr(timing, "MIN_STEPS", 1)
    monkeypatch.setattr(timing, "TIMED_S", 0.0)


@pytest.fixture
def without_probing(monkeypatch):
    """Skips the training steps of `vaetune check`, which then prints invented durations."""
    from vaetune.search.oracles.control import make_oracle
    from vaetune.search.oracles.plan import plan
    from vaetune.search.preflight.cost_model import DurationRange, Timing
    from vaetune.search.preflight.probe import ProbeResult

    def probe_search(spec, images, workers=1, oversubscription=1.0):
        planned, span = plan(make_oracle(spec)), DurationRange(1.0, 2.0, 3.0)
        timed = (Timing(REFERENCE, 16, 0.01, 0.001, 0.1),)
        return ProbeResult(planned, span, workers, timed, 10**8, 10**6, 10**6)

    monkeypatch.setattr("vaetune.search.probe_search", probe_search)


@pytest.fixture
def without_page(monkeypatch):
    """Writes empty reports, because a report takes most of the time of a search."""
    from vaetune.report.page import GENERATOR

    page = f'<meta name="generator" content="{GENERATOR} ">'
    monkeypatch.setattr("vaetune.report.output.render_report", lambda *given: page)


@pytest.fixture
def without_figures(monkeypatch):
    """Exports only the reconstructions, because other figures take a third of the time."""
    from vaetune.export import showcase

    name = "reconstructions.png"
    monkeypatch.setattr(showcase, "_FIGURES", {name: showcase._FIGURES[name]})
