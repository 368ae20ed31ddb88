"""The process that reads an export ends in time, and an early end is reported."""

import pytest

from vaetune.export import reader
from vaetune.export.reader import Reader


@pytest.fixture
def replace_python(tmp_path, monkeypatch):
    """Returns a function that replaces the Python interpreter with a shell script."""

    def replace(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(reader.sys, "executable", str(path))

    return replace


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "ended with exit code 3: it printed nothing"),
        ("echo one >&2; echo two >&2; exit 1", "ended with exit code 1: two"),
        ("kill -SEGV $$", "ended with exit code -11: it printed nothing"),
    ],
)
def test_a_process_that_dies_is_reported_for_each_format(tmp_path, replace_python, script, reason):
    replace_python(script)
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras", "onnx"], {})
    error = f"the verifying process {reason}"
    assert answers == {"keras": {"error": error}, "onnx": {"error": error}}


def test_formats_read_before_the_process_dies_keep_their_results(tmp_path, replace_python):
    replace_python(
        """read task; echo '{"format": "keras", "max_difference": {"encode": 0.0}}'; exit 1"""
    )
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras", "onnx"], {})
    assert answers["keras"] == {"max_difference": {"encode": 0.0}}
    assert "ended with exit code 1" in answers["onnx"]["error"]


def test_a_process_that_hangs_is_killed(tmp_path, replace_python, monkeypatch):
    monkeypatch.setattr(reader, "TIMEOUT_S", 0.2)
    replace_python("exec sleep 60")
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras"], {})
    assert answers["keras"]["error"].endswith("it took longer than 0.2 s")


def test_ctrl_c_kills_the_process(replace_python):
    def interrupt_while_reading():
        with Reader() as opened:
            processes.append(opened._process)
            raise KeyboardInterrupt

    replace_python("exec sleep 60")
    processes = []
    with pytest.raises(KeyboardInterrupt):
        interrupt_while_reading()
    assert processes[0].returncode == -9
