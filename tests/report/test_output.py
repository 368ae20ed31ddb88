"""Reports are written completely or not at all, and never replace files of other programs."""

import errno
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from stories import START, ParsedPage, SearchBuilder, make_finished_search, make_keras_example

from vaetune.errors import JournalError, ResultsError
from vaetune.report.output import write_report
from vaetune.study.journal import JOURNAL_NAME
from vaetune.version import __version__

pytestmark = pytest.mark.usefixtures("without_charts")


def test_the_report_covers_all_searches_the_latest_first(tmp_path):
    make_finished_search(tmp_path / "early").write()
    make_finished_search(tmp_path / "late", start=START + timedelta(days=1)).write()
    make_keras_example(tmp_path).write()
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    names = [ParsedPage(part).words for part in re.findall(r'<p class="state"><b>.*?</b>', page)]
    assert names == ["late", "early"]
    assert page.count("46.0 below the Keras example") == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "baselines",
        "early",
        "late",
        "report.html",
    ]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_without_a_search_there_is_no_report(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError) as caught:
        write_report(tmp_path / folder)
    expected = f"There is no search in {tmp_path / folder} yet. Run `vaetune search hyperband`."
    assert str(caught.value) == expected
    assert not (tmp_path / folder / "report.html").exists()


def test_a_damaged_journal_is_reported(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    with (tmp_path / "tiny" / JOURNAL_NAME).open("a") as journal:
        journal.write('{"event": "no such event"}\n')
    with pytest.raises(JournalError, match="is damaged"):
        write_report(tmp_path)


def test_a_report_of_vaetune_is_replaced(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    first = write_report(tmp_path)
    assert f'<meta name="generator" content="vaetune {__version__}">' in first.read_text()
    first.write_text(first.read_text().replace("131.2", "999.9"))
    assert "999.9" not in write_report(tmp_path).read_text()


@pytest.mark.parametrize("content", ["", "<!doctype html><title>mine, about vaetune</title>"])
def test_a_page_of_another_program_is_not_replaced(tmp_path, content):
    make_finished_search(tmp_path / "tiny").write()
    page = tmp_path / "report.html"
    page.write_text(content)
    with pytest.raises(ResultsError, match=r"not written by vaetune .* Move it away"):
        write_report(tmp_path)
    assert page.read_text() == content


def test_a_folder_named_report_html_is_not_replaced(tmp_path):
    make_finished_search(tmp_path / "tiny").write()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ResultsError, match=r"report\.html cannot be replaced: Is a directory"):
        write_report(tmp_path)


def test_a_full_disk_keeps_the_old_page_and_leaves_no_other_file(tmp_path, monkeypatch):
    make_finished_search(tmp_path / "tiny").write()
    before = write_report(tmp_path).read_bytes()

    def fail_without_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail_without_space)
    with pytest.raises(ResultsError, match="cannot be written: No space left on device"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "tiny"]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    make_finished_search(tmp_path / "tiny").write()
    original_open = Path.open

    def refuse(self, mode="r", *rest, **more):
        if "w" in mode:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original_open(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResultsError, match="cannot be written: Permission denied"):
        write_report(tmp_path)


def test_the_report_of_a_default_search_is_small_and_needs_no_tensorflow(tmp_path):
    story = SearchBuilder(tmp_path / "big")
    for number in range(23):
        losses = [250.0 - number - 10.0 * epoch for epoch in range(9)]
        story.trial(f"{number:04d}", losses)
    story.end().write()
    make_keras_example(tmp_path).write()
    program = (
        "import json, sys; from pathlib import Path\n"
        "from vaetune.report import write_report\n"
        f"write_report(Path({str(tmp_path)!r}))\n"
        "heavy = {'tensorflow', 'keras', 'keras_tuner', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "print(json.dumps(sorted(heavy)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == []
    assert (tmp_path / "report.html").stat().st_size < 3_000_000
