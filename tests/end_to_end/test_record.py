"""What was recorded with an earlier version trains to the same losses, continues and is read."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vaetune.cli import main

RECORD = Path(__file__).parents[1] / "record"
MAX_BYTES = 2_000_000
NAMES = ("trial_id", "epoch", "loss", "reconstruction_loss", "kl_loss")
NAMES += ("val_loss", "val_reconstruction_loss", "val_kl_loss")

# One process for several commands: TensorFlow is imported once, and takes one thread.
PROGRAM = """
import json, sys
from vaetune.cli import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["vaetune", *command]
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
import numpy as np
import vaetune
vae = vaetune.load_model("export/vae.keras")
images = np.load("squares.npz")["x_test"][:2] / np.float32(255)
z_mean, z_log_var = (np.asarray(one).tolist() for one in vae.posterior(images))
decoded = np.asarray(vae.decoder(np.asarray(z_mean, np.float32), training=False)).tolist()
told = {"z_mean": z_mean, "z_log_var": z_log_var, "decoded": decoded}
open("outputs.json", "w").write(json.dumps(told))
"""


@pytest.fixture(scope="module")
def recorded():
    return json.loads((RECORD / "losses.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the record, in which the search was run anew and the stopped one continued."""
    folder = tmp_path_factory.mktemp("record") / "copy"
    shutil.copytree(RECORD, folder)
    one_thread = ("--threads-per-worker", "1", "--quiet")
    commands = [
        ["search", "./squares.toml", *one_thread, "--results", "again"],
        ["search", "./squares.toml", *one_thread, "--results", "interrupted"],
        ["evaluate", "squares", "--images", "8", "--importance-samples", "5"],
        ["evaluate", "export", "--dataset", "squares.npz", "--importance-samples", "5"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "printed").write_text(done.stdout)
    return folder


def events_of(folder):
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def losses_of(folder):
    events = events_of(folder)
    return {
        "epochs": [[e[name] for name in NAMES] for e in events if e["event"] == "epoch_ended"],
        "scores": [[e["trial_id"], e["score"]] for e in events if e["event"] == "trial_ended"],
        "rescored": [
            [one["trial_id"], one["negative_elbo"]["mean"]]
            for e in events
            if e["event"] == "finalists_rescored"
            for one in e["rescoring"]["finalists"]
        ],
    }


def is_same_machine(folder, recorded):
    (environment, *_) = (
        event["environment"] for event in events_of(folder) if event["event"] == "session_started"
    )
    machine = environment | environment["versions"]
    return all(machine[key] == value for key, value in recorded["machine"].items())


def assert_same_losses(folder, recorded, name):
    exact = is_same_machine(folder, recorded)
    found, expected = losses_of(folder), recorded[name]
    for kind, rows in expected.items():
        assert len(found[kind]) == len(rows) > 0 or kind == "rescored"
        for row, wanted in zip(found[kind], rows, strict=True):
            assert row == (wanted if exact else pytest.approx(wanted, rel=1e-4)), kind


@pytest.mark.slow
def test_the_same_search_has_the_same_losses(folder, recorded):
    assert_same_losses(folder / "again" / "squares", recorded, "finished")


@pytest.mark.slow
def test_the_keras_example_has_the_same_losses(folder, recorded):
    (reference,) = (folder / "again" / "baselines").iterdir()
    assert_same_losses(reference, recorded, "reference")


@pytest.mark.slow
def test_a_search_that_was_stopped_before_a_promotion_ends_as_if_it_had_not_been(folder, recorded):
    assert recorded["interrupted"]["epochs"] == recorded["finished"]["epochs"][:3]
    continued = folder / "interrupted" / "squares"
    assert [e["event"] for e in events_of(continued)].count("session_started") == 2
    assert_same_losses(continued, recorded, "finished")


@pytest.mark.slow
def test_recorded_searches_and_exports_are_evaluated(folder):
    printed = (folder / "printed").read_text()
    assert len(re.findall(r"negative log-likelihood, bound +\S+", printed)) == 2
    events = [event["event"] for event in events_of(folder / "results" / "squares")]
    assert events.count("trial_evaluated") == 1


@pytest.mark.slow
def test_a_recorded_export_encodes_and_decodes_as_it_did(folder, recorded):
    outputs = json.loads((folder / "outputs.json").read_text())
    for name, expected in recorded["outputs"].items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def vaetune(tmp_path, monkeypatch, capsys):
    """Runs commands on a copy of the record, in this process; returns what they print."""
    shutil.copytree(RECORD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vaetune", *arguments])
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", ["squares", "baselines/alone"])
def test_recorded_trials_are_listed_with_their_losses(vaetune, recorded, name):
    key = "finished" if name == "squares" else "alone"
    trials = json.loads(vaetune("trials", name, "--format", "json"))
    assert [[trial["trial_id"], trial["val_loss"]] for trial in trials] == recorded[key]["scores"]


def test_the_recorded_winner_is_found_again(vaetune, recorded):
    winner, score = recorded["finished"]["rescored"][0]
    printed = vaetune("best", "squares")
    assert f"trial {winner}, " in printed
    assert f"{score:.2f} +-" in printed


def test_a_report_of_the_record_is_written(vaetune):
    vaetune("report")
    page = Path("results/report.html").read_text()
    assert "squares" in page
    assert "latent means of the Keras example, coloured by 5 classes" in page


def test_the_record_tells_nothing_of_the_machine_that_made_it():
    files = [
        path for path in RECORD.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    ]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    for path in files:
        if path.suffix in (".jsonl", ".json", ".toml", ".md"):
            text = path.read_text()
            assert "Traceback" not in text
            assert not re.search(r"\"/[a-z]|/home/|/root/|/tmp/|/Users/", text), path
    for path in RECORD.rglob("journal.jsonl"):
        environments = [e["environment"] for e in events_of(path.parent) if "environment" in e]
        assert all(one["command"] == ["vaetune"] for one in environments)
        assert all(one["platform"] == "Linux" for one in environments)
