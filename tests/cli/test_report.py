"""`vaetune report`: contents of the page, and files that commands must not overwrite."""

import errno
import os
import re
from pathlib import Path

import pytest
from user_folder import (
    SEARCH_FILE,
    assert_reference_is_drawn,
    copy_searched,
    file_contents,
    make_splits,
    run_search_in,
    save_images,
)

QUICK = ("--max-epochs", 1, "--no-baseline", "--quiet")


@pytest.mark.slow
def test_the_report_shows_the_images_of_the_keras_example(vaetune, folder):
    """tests/end_to_end/test_workers.py checks the report of a search on two workers."""
    code, _, error = vaetune("search", "squares.toml", "--max-epochs", 1)
    assert (code, error) == (0, "")
    for has_images in (True, False):  # Earlier versions kept no images of the Keras example.
        assert_reference_is_drawn((folder / "results" / "report.html").read_text())
        if has_images:
            (probe_images,) = (folder / "results" / "baselines").glob("*/pictures.npz")
            probe_images.unlink()
            assert vaetune("report")[0] == 0


@pytest.fixture
def read_only(folder, monkeypatch):
    """Makes the results folder read-only, even if root runs the tests."""
    results = Path("results")

    def refuse_in_results(method, is_write):
        def call(path, *given, **options):
            if path.is_relative_to(results) and is_write(*given):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return method(path, *given, **options)

        return call

    open_path = refuse_in_results(Path.open, lambda mode="r", *_: mode[0] in "wxa" or "+" in mode)
    monkeypatch.setattr(Path, "open", open_path)
    for name in ("unlink", "replace"):
        monkeypatch.setattr(Path, name, refuse_in_results(getattr(Path, name), lambda *_: True))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder after a search. Tests work in a copy."""
    folder = tmp_path_factory.mktemp("finished")
    save_images(folder, *make_splits())
    (folder / "squares.toml").write_text(SEARCH_FILE)
    run_search_in(folder, *QUICK)
    return folder


@pytest.fixture
def searched(finished, folder, without_charts):
    """Copies a finished search into the folder of the user."""
    copy_searched(finished, folder)


def test_the_report_of_a_read_only_folder_is_written_elsewhere(
    searched, vaetune, folder, read_only
):
    before = file_contents(folder)
    code, out, error = vaetune("report")
    assert (code, out) == (1, "")
    assert re.fullmatch(
        r"vaetune: results/report\.html cannot be written: Read-only file system\. [^\n]+ "
        r"use `vaetune report --output FILE`\.\n",
        error,
    )
    assert file_contents(folder) == before
    code, out, error = vaetune("report", "--output", "page.html")
    assert (code, out, error) == (0, "Report: page.html\n", "")
    assert "<b>squares</b>" in (folder / "page.html").read_text()
    assert vaetune("report", "--output", "page.html")[0] == 0, "vaetune replaces its own page"
    for command in (("trials",), ("best",)):
        assert vaetune(*command)[0] == 0


def test_an_evaluation_in_a_read_only_folder_is_refused(searched, vaetune, read_only):
    code, _, error = vaetune("evaluate", "--importance-samples", 2)
    assert code == 1
    assert "cannot be written: Read-only file system." in error.splitlines()[-1]


def test_report_output_does_not_overwrite_another_file(searched, vaetune, folder, monkeypatch):
    (folder / "page.html").write_text("<h1>The annual report</h1>")
    code, _, error = vaetune("report", "--output", "page.html")
    assert code == 1
    assert "page.html was not written by vaetune and will not be overwritten." in error
    assert vaetune("report", "--output", "page.html", "--watch")[0] == 2
    # The command fails before the report is made.
    monkeypatch.delattr("vaetune.report.output.render_report")
    code, _, error = vaetune("report", "--output", "nowhere/page.html")
    assert code == 1
    assert error == "vaetune: There is no folder nowhere. Create it, or choose another one.\n"


def test_a_report_of_another_program_is_not_overwritten(searched, vaetune, folder):
    (folder / "results" / "report.html").write_text("<h1>The annual report</h1>")
    code, _, error = vaetune("report")
    assert code == 1
    assert "report.html" in error
    assert (folder / "results" / "report.html").read_text() == "<h1>The annual report</h1>"


def test_a_damaged_search_does_not_affect_another_search(searched, vaetune, folder):
    (folder / "circles.toml").write_text(SEARCH_FILE)
    damaged = folder / "results" / "squares" / "journal.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b"epoch_ended", b"epoch_endet", 1))
    code, out, error = vaetune("search", "circles.toml", *QUICK)
    assert (code, error) == (0, "")
    assert "Winner of circles" in out
    page = (folder / "results" / "report.html").read_text()
    assert "<b>squares</b> is not on this page." in page
    assert "journal.jsonl, line" in page
    code, _, error = vaetune("trials", "squares")
    assert code == 1
    assert "is damaged" in error
