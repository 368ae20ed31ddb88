"""Where a search ran, for the record; what cannot be learnt is left out, never an error."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from journals import make_environment

from vaetune.study import environment
from vaetune.study.environment import changes, describe_environment
from vaetune.study.records import Environment

DEVICE = ("GPU (NVIDIA H100)", 6)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A working directory that is in no checkout."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_machine_and_the_process_are_described(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/vaetune", "search", "tiny", "--seed", "0"])
    here = describe_environment(*DEVICE)
    assert (here.device, here.threads) == ("GPU (NVIDIA H100)", 6)
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.cores == os.cpu_count()
    assert here.cpu.strip()
    assert sys.platform in here.platform.lower()
    assert here.command == ("vaetune", "search", "tiny", "--seed", "0")


def test_of_a_script_only_the_name_is_recorded(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/find.py", "--password", "secret"])
    assert describe_environment(*DEVICE).command == ("python", "find.py")
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert describe_environment(*DEVICE).command == ("a notebook",)


def test_the_versions_that_results_depend_on_are_recorded():
    versions = describe_environment(*DEVICE).versions
    for package in ("keras", "tensorflow", "keras-tuner", "numpy"):
        assert versions[package] == version(package)


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(environment, "_PACKAGES", ("numpy", "no-such-package"))
    assert list(describe_environment(*DEVICE).versions) == ["numpy"]


def test_an_environment_survives_json():
    here = describe_environment(*DEVICE)
    assert Environment.model_validate_json(here.model_dump_json()) == here


def test_outside_a_checkout_there_is_no_revision(outside):
    assert describe_environment(*DEVICE).revision is None


def test_without_git_there_is_no_revision(monkeypatch, outside):
    monkeypatch.setenv("PATH", str(outside))
    assert describe_environment(*DEVICE).revision is None


def test_a_git_that_hangs_or_fails_is_not_waited_for(monkeypatch, outside):
    def hang(command, timeout, **options):
        assert timeout <= 10
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert describe_environment(*DEVICE).revision is None


def test_in_a_checkout_its_commit_is_the_revision(outside):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    try:
        subprocess.run(["git", "init", "-q"], check=True)
    except FileNotFoundError:
        pytest.skip("needs git")
    assert describe_environment(*DEVICE).revision is None, "no commit yet"
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    revision = describe_environment(*DEVICE).revision
    assert re.fullmatch("[0-9a-f]{40}", revision)
    head = Path(".git/HEAD").read_text().removeprefix("ref: ").strip()
    assert Path(".git", head).read_text().strip() == revision


def test_without_proc_the_processor_still_has_a_name(monkeypatch):
    read_text = Path.read_text

    def without_proc(path, *arguments, **options):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(path)
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", without_proc)
    assert describe_environment(*DEVICE).cpu.strip()


def test_what_may_change_the_numbers_is_listed():
    before = make_environment()
    now = make_environment(
        device="GPU (a card)", versions={"keras": "3.16.0", "tensorflow": "2.21.0", "numpy": "2"}
    )
    assert changes(before, now) == [
        "device: CPU -> GPU (a card)",
        "keras: 3.15.1 -> 3.16.0",
        "numpy: None -> 2",
    ]


def test_another_command_or_revision_changes_no_numbers():
    assert changes(make_environment(), make_environment(command=("x",), revision=None)) == []
