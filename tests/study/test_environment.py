"""The recorded machine and software of a search. Unknown values are left out without an error."""

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
def folder_outside_git(tmp_path, monkeypatch):
    """A working directory outside any Git checkout."""
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


def test_a_script_is_recorded_by_its_name_without_its_arguments(monkeypatch):
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


def test_an_environment_is_read_back_from_json():
    here = describe_environment(*DEVICE)
    assert Environment.model_validate_json(here.model_dump_json()) == here


def test_outside_a_checkout_there_is_no_revision(folder_outside_git):
    assert describe_environment(*DEVICE).revision is None


def test_without_git_there_is_no_revision(monkeypatch, folder_outside_git):
    monkeypatch.setenv("PATH", str(folder_outside_git))
    assert describe_environment(*DEVICE).revision is None


def test_a_git_command_that_times_out_gives_no_revision(monkeypatch, folder_outside_git):
    def hang(command, timeout, **options):
        assert timeout <= 10
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    assert describe_environment(*DEVICE).revision is None


def test_the_revision_is_the_commit_of_the_checkout(folder_outside_git):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    try:
        subprocess.run(["git", "init", "-q"], check=True)
    except FileNotFoundError:
        pytest.skip("needs git")
    assert describe_environment(*DEVICE).revision is None, "there is no commit yet"
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    revision = describe_environment(*DEVICE).revision
    assert re.fullmatch("[0-9a-f]{40}", revision)
    head = Path(".git/HEAD").read_text().removeprefix("ref: ").strip()
    assert Path(".git", head).read_text().strip() == revision


def test_the_processor_has_a_name_without_proc(monkeypatch):
    read_text = Path.read_text

    def without_proc(path, *arguments, **options):
        if path.is_relative_to("/proc"):
            raise FileNotFoundError(path)
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", without_proc)
    assert describe_environment(*DEVICE).cpu.strip()


def test_changes_that_may_affect_the_results_are_listed():
    before = make_environment()
    now = make_environment(
        device="GPU (a card)", versions={"keras": "3.16.0", "tensorflow": "2.21.0", "numpy": "2"}
    )
    assert changes(before, now) == [
        "device: CPU -> GPU (a card)",
        "keras: 3.15.1 -> 3.16.0",
        "numpy: None -> 2",
    ]


def test_another_command_or_revision_is_not_listed_as_a_change():
    assert changes(make_environment(), make_environment(command=("x",), revision=None)) == []
