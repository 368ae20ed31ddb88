"""The code gives the results of the searches in tests/record; see README.md there.

The command line repeats searches, trainings, evaluations and an export in one process with one
thread.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

import vaetune
from vaetune import cli

TESTS = Path(__file__).parents[1]
RECORD = TESTS / "record"
PROGRAM = """
import sys
from pathlib import Path

import make_record
from vaetune.device import choose_device

make_record.set_environment()
choose_device("cpu", threads=1)

import vaetune.report
from shared_contexts import context_of, shared_rescorer_of
from vaetune.search.executors import local

# Commands share compiled steps, as other tests do, and no number comes from a report.
local.TrainingContext, local.rescorer_of = context_of, shared_rescorer_of
vaetune.report.write_report = lambda results: results
make_record.replay(Path(sys.argv[1]))
"""
STUDY = "squares"
LOSSES = json.loads((RECORD / "losses.json").read_text(encoding="utf-8"))
RECORDED = LOSSES["studies"]
JOURNALS = sorted(str(path.relative_to(RECORD)) for path in RECORD.rglob("journal.jsonl"))
(WINNER,) = RECORDED[STUDY]["evaluations"]

MAX_BYTES = 2_000_000
MACHINE_PATTERN = re.compile(
    r"/(?:home|root|tmp|work|usr|var|opt|mnt|srv|Users|private)/|[A-Z]:\\\\|Traceback \(most recent"
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """The outcomes of the recorded commands with the current code."""
    folder = tmp_path_factory.mktemp("replayed") / "record"
    shutil.copytree(RECORD, folder)
    paths = (Path(vaetune.__file__).parents[1], RECORD, TESTS / "support")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "replay.json").read_text(encoding="utf-8"))


@pytest.fixture
def check_equal(replayed):
    """A function that compares numbers: exactly on a machine like the recorded one, else to 1e-4.

    The tolerance is relative or in nats.
    """
    is_same_machine = replayed["machine"] == LOSSES["machine"]

    def check(ours, recorded):
        assert _shape(ours) == _shape(recorded)
        ours, recorded = (dict(_leaves(value)) for value in (ours, recorded))
        differing = {
            key: (ours[key], value)
            for key, value in recorded.items()
            if ours[key] != value and (is_same_machine or not _is_close(ours[key], value))
        }
        assert differing == {}

    return check


def _leaves(value, key=""):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, one in items:
        path = f"{key}/{name}"
        if isinstance(one, dict | list):
            yield from _leaves(one, path)
        else:
            yield path, one


def _shape(value):
    return [key for key, _ in _leaves(value)]


def _is_close(ours, recorded):
    if not (isinstance(ours, float) and isinstance(recorded, float)):
        return False
    return ours == pytest.approx(recorded, rel=1e-4, abs=1e-4)


def without(numbers, *keys):
    return {key: value for key, value in numbers.items() if key not in keys}


def run_command(*arguments):
    """Runs the command line in this process; returns exit status and stdout."""
    out, error = io.StringIO(), io.StringIO()
    argv = mock.patch.object(sys, "argv", ["vaetune", *map(str, arguments)])
    with (
        argv,
        mock.patch("signal.signal"),
        redirect_stdout(out),
        redirect_stderr(error),
        pytest.raises(SystemExit) as done,
    ):
        cli.main()
    return done.value.code or 0, out.getvalue()


@pytest.mark.slow
def test_every_command_succeeds(replayed):
    failed = {name: output for name, (code, *output) in replayed["commands"].items() if code}
    assert failed == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        (STUDY, STUDY),
        ("baselines/example", "baselines/reference-images-4"),
        ("baselines/small", "baselines/small"),
    ],
)
def test_a_new_run_has_the_recorded_losses(replayed, check_equal, name, recorded):
    left_out = ("evaluations", "retraining")
    check_equal(without(replayed["fresh"][name], *left_out), without(RECORDED[recorded], *left_out))


@pytest.mark.slow
def test_a_resumed_search_ends_like_an_uninterrupted_one(replayed, check_equal):
    resumed, recorded = replayed["resumed"], without(RECORDED, "baselines/small")
    assert list(resumed) == list(recorded)
    assert list(resumed[STUDY]["evaluations"]) == [WINNER]
    for name, numbers in recorded.items():
        check_equal(resumed[name], numbers)


def test_the_interrupted_search_stopped_before_a_promotion():
    journal = (RECORD / "interrupted" / STUDY / "journal.jsonl").read_text(encoding="utf-8")
    *_, last, end = map(json.loads, journal.splitlines())
    assert (last["event"], end["reason"]) == ("trial_ended", "interrupted")
    trials = RECORDED[STUDY]["trials"]
    following = trials[f"{int(last['trial_id']) + 1:04}"]
    assert following["epoch_from"] > 0
    assert following["parent"] in trials


@pytest.mark.slow
def test_a_finished_search_trains_nothing_when_run_again(replayed):
    before_and_after = [
        {name: without(numbers, "evaluations") for name, numbers in replayed[when].items()}
        for when in ("recorded", "finished")
    ]
    assert before_and_after[0] == before_and_after[1]


@pytest.mark.slow
def test_recorded_weights_give_the_recorded_evaluations(replayed, check_equal):
    for name, recorded in RECORDED.items():
        twice = {trial: 2 * once for trial, once in recorded["evaluations"].items()}
        check_equal(replayed["finished"][name]["evaluations"], twice)


@pytest.mark.slow
def test_the_export_gives_the_recorded_outputs(replayed, check_equal):
    check_equal(replayed["export"], LOSSES["export"])


@pytest.mark.slow
def test_all_commands_ran_with_one_thread(replayed):
    assert replayed["threads"] == [1]


@pytest.mark.parametrize("name", RECORDED)
def test_the_trials_of_a_recorded_study_are_listed(name):
    code, out = run_command("trials", name, "--format", "json", "--results", RECORD / "finished")
    assert code == 0
    scores = {row["trial_id"]: row["val_loss"] for row in json.loads(out)}
    assert scores == RECORDED[name]["scores"]


def test_the_winner_of_the_recorded_search_is_printed():
    code, out = run_command("best", STUDY, "--results", RECORD / "finished")
    assert code == 0
    assert f"trial {WINNER}" in out


def test_a_report_of_the_record_is_written(tmp_path):
    shutil.copytree(RECORD / "finished", tmp_path / "results")
    code, _ = run_command("report", "--results", tmp_path / "results")
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert code == 0
    assert STUDY in page
    assert "small" in page


def recorded_files():
    """Yields name and content of each file of the record, and of each file in its archives."""
    for path in sorted(path for path in RECORD.rglob("*") if path.is_file()):
        if "__pycache__" in path.parts or path.suffix == ".py":
            continue
        yield path.name, path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path.name}/{one}", archive.read(one)) for one in archive.namelist())


def test_the_record_has_no_paths_tracebacks_or_lock_files():
    found = {
        name: match[0]
        for name, content in recorded_files()
        if (match := MACHINE_PATTERN.search(content.decode("latin-1")))
    }
    assert found == {}
    assert not [name for name, _ in recorded_files() if Path(name).name in (".holder", ".lock")]


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_recorded_journal_does_not_identify_its_machine(journal):
    for line in (RECORD / journal).read_text(encoding="utf-8").splitlines():
        found = dict(_leaves(json.loads(line)))
        named = {key.rpartition("/")[2]: one for key, one in found.items() if one is not None}
        assert named.get("platform", "Linux") == "Linux"
        assert {named.get(key, "images.npz") for key in ("source", "dataset")} == {"images.npz"}
        assert not {"host", "traceback", "revision"} & set(named)
        assert not [value for value in named.values() if str(value).startswith(("/", "~"))]


def test_the_record_is_small():
    sizes = [path.stat().st_size for path in RECORD.rglob("*") if path.is_file()]
    assert sum(sizes) < MAX_BYTES
