"""The process that reads an export ends when it should, and its end is reported."""

import pytest

from vaetune.export import reader
from vaetune.export.reader import Reader


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Lets a shell script take the place of Python."""

    def put(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(reader.sys, "executable", str(path))

    return put


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "ended with exit code 3: it printed nothing"),
        ("echo one >&2; echo two >&2; exit 1", "ended with exit code 1: two"),
        ("kill -SEGV $$", "ended with exit code -11: it printed nothing"),
    ],
)
def test_a_process_that_dies_is_announced_for_each_format(tmp_path, instead, script, reason):
    instead(script)
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras", "onnx"], {})
    error = f"the verifying process {reason}"
    assert answers == {"keras": {"error": error}, "onnx": {"error": error}}


def test_what_was_read_before_it_died_counts(tmp_path, instead):
    instead("""read task; echo '{"format": "keras", "max_difference": {"encode": 0.0}}'; exit 1""")
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras", "onnx"], {})
    assert answers["keras"] == {"max_difference": {"encode": 0.0}}
    assert "ended with exit code 1" in answers["onnx"]["error"]


def test_a_process_that_hangs_is_ended(tmp_path, instead, monkeypatch):
    monkeypatch.setattr(reader, "TIMEOUT_S", 0.2)
    instead("exec sleep 60")
    with Reader() as opened:
        answers = opened.read(tmp_path, ["keras"], {})
    assert answers["keras"]["error"].endswith("it took longer than 0.2 s")


def test_ctrl_c_ends_the_process(instead):
    def stop_while_reading():
        with Reader() as opened:
            processes.append(opened._process)
            raise KeyboardInterrupt

    instead("exec sleep 60")
    processes = []
    with pytest.raises(KeyboardInterrupt):
        stop_while_reading()
    assert processes[0].returncode == -9
