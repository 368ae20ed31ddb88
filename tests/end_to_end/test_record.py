"""The code does what it did when the searches in `record/` were made: see its README.md.

Searches, a training and evaluations run again by the command line, in one process of one thread.
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

MOST_BYTES = 2_000_000
OF_A_MACHINE = re.compile(
    r"/(?:home|root|tmp|work|usr|var|opt|mnt|srv|Users|private)/|[A-Z]:\\\\|Traceback \(most recent"
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """What the commands of the record say and measure now."""
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
def equal(replayed):
    """Compares numbers to the last bit on a machine like the recorded one, else to 1e-4."""
    is_alike = replayed["machine"] == LOSSES["machine"]

    def check(ours, recorded):
        assert _shape(ours) == _shape(recorded)
        ours, recorded = (dict(_leaves(value)) for value in (ours, recorded))
        differing = {
            key: (ours[key], value)
            for key, value in recorded.items()
            if ours[key] != value and (is_alike or not _is_close(ours[key], value))
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


def but(numbers, *keys):
    return {key: value for key, value in numbers.items() if key not in keys}


def run_command(*arguments):
    """Runs the command line in this process; returns exit code and stdout."""
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
    failed = {name: said for name, (code, *said) in replayed["commands"].items() if code}
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
def test_a_new_run_has_the_recorded_losses(replayed, equal, name, recorded):
    left_out = ("evaluations", "retraining")
    equal(but(replayed["fresh"][name], *left_out), but(RECORDED[recorded], *left_out))


@pytest.mark.slow
def test_a_resumed_search_ends_as_if_it_had_not_been_interrupted(replayed, equal):
    resumed, recorded = replayed["resumed"], but(RECORDED, "baselines/small")
    assert list(resumed) == list(recorded)
    assert list(resumed[STUDY]["evaluations"]) == [WINNER]
    for name, numbers in recorded.items():
        equal(resumed[name], numbers)


def test_the_interrupted_search_has_a_promotion_to_begin_next():
    journal = (RECORD / "interrupted" / STUDY / "journal.jsonl").read_text(encoding="utf-8")
    *_, last, end = map(json.loads, journal.splitlines())
    assert (last["event"], end["reason"]) == ("trial_ended", "interrupted")
    trials = RECORDED[STUDY]["trials"]
    following = trials[f"{int(last['trial_id']) + 1:04}"]
    assert following["epoch_from"] > 0
    assert following["parent"] in trials


@pytest.mark.slow
def test_the_finished_search_has_nothing_left_to_run(replayed):
    unevaluated = [
        {name: but(numbers, "evaluations") for name, numbers in replayed[when].items()}
        for when in ("recorded", "finished")
    ]
    assert unevaluated[0] == unevaluated[1]


@pytest.mark.slow
def test_recorded_weights_evaluate_to_what_is_recorded(replayed, equal):
    for name, recorded in RECORDED.items():
        twice = {trial: 2 * once for trial, once in recorded["evaluations"].items()}
        equal(replayed["finished"][name]["evaluations"], twice)


@pytest.mark.slow
def test_the_export_computes_what_is_recorded(replayed, equal):
    equal(replayed["export"], LOSSES["export"])


@pytest.mark.slow
def test_all_of_it_ran_with_one_thread(replayed):
    assert replayed["threads"] == [1]


@pytest.mark.parametrize("name", RECORDED)
def test_its_trials_are_listed(name):
    code, out = run_command("trials", name, "--format", "json", "--results", RECORD / "finished")
    assert code == 0
    scores = {row["trial_id"]: row["val_loss"] for row in json.loads(out)}
    assert scores == RECORDED[name]["scores"]


def test_its_winner_is_printed():
    code, out = run_command("best", STUDY, "--results", RECORD / "finished")
    assert code == 0
    assert f"trial {WINNER}" in out


def test_it_is_reported(tmp_path):
    shutil.copytree(RECORD / "finished", tmp_path / "results")
    code, _ = run_command("report", "--results", tmp_path / "results")
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert code == 0
    assert STUDY in page
    assert "small" in page


def recorded_files():
    """The files of the record, those in archives by themselves, as names and contents."""
    for path in sorted(path for path in RECORD.rglob("*") if path.is_file()):
        if "__pycache__" in path.parts or path.suffix == ".py":
            continue
        yield path.name, path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path.name}/{one}", archive.read(one)) for one in archive.namelist())


def test_the_record_says_nothing_of_a_machine():
    found = {
        name: match[0]
        for name, content in recorded_files()
        if (match := OF_A_MACHINE.search(content.decode("latin-1")))
    }
    assert found == {}
    assert not [name for name, _ in recorded_files() if name in (".holder", ".lock")]


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_recorded_journal_names_no_machine(journal):
    for line in (RECORD / journal).read_text(encoding="utf-8").splitlines():
        found = dict(_leaves(json.loads(line)))
        named = {key.rpartition("/")[2]: one for key, one in found.items() if one is not None}
        assert named.get("platform", "Linux") == "Linux"
        assert {named.get(key, "images.npz") for key in ("source", "dataset")} == {"images.npz"}
        assert not {"host", "traceback", "revision"} & set(named)
        assert not [value for value in named.values() if str(value).startswith(("/", "~"))]


def test_the_record_is_small():
    sizes = [path.stat().st_size for path in RECORD.rglob("*") if path.is_file()]
    assert sum(sizes) < MOST_BYTES
