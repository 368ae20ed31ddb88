"""`vaetune evaluate`: trials and exports on the test images."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from prepared_commands import PreparedCommand
from scripted_workers import wait_until
from user_folder import (
    QUICK_EVALUATION,
    SEARCH_FILE,
    contents,
    folder_after_search,
    journals,
    make_splits,
    noise,
    save_images,
    search_in,
)

from vaetune.files import lock_results
from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_page", "without_figures", "without_reading_back")

QUICK_SEARCH = ("search", "squares.toml", "--max-epochs", 1, "--max-trials", 2, "--quiet")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A user's folder after a search of two trials and the Keras example. Tests copy it."""
    folder = tmp_path_factory.mktemp("searched")
    save_images(folder, *make_splits())
    (folder / "squares.toml").write_text(SEARCH_FILE.replace("hyperband", "grid"))
    search_in(folder, *QUICK_SEARCH[2:])
    return folder


folder = folder_after_search


@pytest.fixture
def without_example(folder):
    """Removes the Keras example from the folder."""
    shutil.rmtree(folder / "results" / "baselines")


@pytest.mark.slow
def test_evaluate_judges_once_and_prints_what_is_recorded_from_then_on(
    vaetune, folder, monkeypatch
):
    before = journals(folder)
    code, out, error = vaetune(*QUICK_EVALUATION)
    assert (code, error) == (0, "")
    assert out.startswith("Winner of squares (complete, ")
    assert "k = 3 on the first 12 test images" in out
    assert re.search(r"^ +trial \d{4} +Keras example$", out, re.MULTILINE)
    assert re.search(r"^  negative ELBO, nats per image +[\d.]+ \+- [\d.]+ ", out, re.MULTILINE)
    once = journals(folder)
    assert len(once) == 2
    for path, content in once.items():
        assert content.startswith(before[path])
        added = content.removeprefix(before[path])
        assert added.count(b"\n") == added.count(b'"event":"trial_evaluated"') == 1

    with monkeypatch.context() as patch:
        patch.setattr("vaetune.data.sources.load_images", None)  # it is not even looked at them
        assert vaetune(*QUICK_EVALUATION) == (0, out, "")
        code, rows, _ = vaetune(*QUICK_EVALUATION, "--format", "json")
    assert code == 0
    winner, example = json.loads(rows)
    assert (winner["test_images"], winner["protocol"]["importance_samples"]) == (12, 3)
    assert example["model"] == "Keras example"
    assert journals(folder) == once

    code, rows, _ = vaetune(*QUICK_EVALUATION, "--again", "--format", "json")
    measured = [
        {
            key: value
            for key, value in row.items()
            if key not in ("time", "duration_s", "environment")
        }
        for row in json.loads(rows)
    ]
    recorded = [{key: row[key] for key in measured[0]} for row in (winner, example)]
    assert measured == recorded, "equal to the last bit"
    assert all(len(content) > len(once[path]) for path, content in journals(folder).items())

    shutil.rmtree(folder / "results" / "baselines")  # The winner is enough for the rest.
    code, out, _ = vaetune(*QUICK_EVALUATION, "--images", 5)
    assert "k = 3 on the first 5 test images" in out
    code, out, error = vaetune(*QUICK_EVALUATION, "--images", 50)
    assert error.startswith("There are 12 test images, fewer than --images 50: all are used.\n")
    assert "k = 3 on the first 12 test images" in out
    for command in (("best",), ("report",), (*QUICK_SEARCH, "--no-baseline")):
        assert vaetune(*command)[0] == 0


@pytest.mark.slow
def test_evaluate_judges_another_trial_and_does_without_an_example(
    vaetune, folder, without_example
):
    other = load_study(folder / "results" / "squares").ranking[1]
    code, out, error = vaetune(*QUICK_EVALUATION, "--trial", other.trial_id)
    assert code == 0
    assert error == "No matching Keras example was found, so only the winner is shown.\n"
    assert out.startswith(f"Trial {other.trial_id} of squares (complete, ")
    assert "Keras example" not in out


@pytest.mark.slow
def test_an_example_that_is_damaged_costs_the_example_only(vaetune, folder):
    (weights,) = (folder / "results" / "baselines").rglob("checkpoint.npz")
    weights.write_bytes(b"no archive")
    code, out, error = vaetune(*QUICK_EVALUATION)
    assert code == 0
    assert error.startswith("The Keras example was not evaluated. The checkpoint ")
    assert "Keras example" not in out
    assert re.search(r"^ +trial \d{4}$", out, re.MULTILINE)


@pytest.mark.slow
def test_an_exported_model_is_judged_as_its_trial_was(vaetune, folder, without_example):
    vaetune("best", "--export", "--output", "handed")
    vaetune(*QUICK_EVALUATION)
    before = contents(folder)
    export = (*QUICK_EVALUATION, "./handed")
    code, _, error = vaetune(*export)
    assert code == 1
    assert 'does not say where its images "squares" are. Give their path with --dataset.' in error

    code, out, error = vaetune(*export, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out.startswith("The model in handed/ on the test images\n")
    recorded = vaetune(*QUICK_EVALUATION)[1]
    numbers = re.compile(r"^ +(?:negative|reconstruction|KL|active|z_mean) .*$", re.MULTILINE)
    shown, of_trial = numbers.findall(out), numbers.findall(recorded)
    assert len(shown) > 5
    assert [" ".join(line.split()) for line in shown] == [
        " ".join(line.split()) for line in of_trial
    ]
    assert contents(folder) == before, "nothing is recorded"

    np.savez(folder / "other.npz", x_train=noise(30, 9, 10), x_test=noise(12, 9, 10))
    code, out, error = vaetune(*QUICK_EVALUATION, "handed", "--dataset", "other.npz")
    assert code == 0, "the folder needs no ./"
    assert error == "These are not the images that the model was trained and validated on.\n"
    assert "no labels" in out
    np.savez(folder / "large.npz", x_train=noise(30, 12, 12), x_test=noise(12, 12, 12))
    _, _, error = vaetune(*export, "--dataset", "large.npz")
    assert "takes images of 9 x 10 x 1, but" in error
    assert vaetune(*export, "--trial", "0001")[0] == 2
    model = bytearray((folder / "handed" / "vae.keras").read_bytes())
    model[len(model) // 2 : len(model) // 2 + 99] = b"x" * 99
    (folder / "handed" / "vae.keras").write_bytes(model)
    _, _, error = vaetune(*export, "--dataset", "squares.npz")
    assert re.search(r"^vaetune: .*vae.keras is not a readable Keras model: .*\n$", error)
    (folder / "handed" / "vae.keras").write_bytes(b"no model")
    _, _, error = vaetune(*export, "--dataset", "squares.npz")
    assert "is not a readable Keras model" in error


@pytest.mark.slow
def test_images_that_were_moved_are_found_where_dataset_says(vaetune, folder, without_example):
    (folder / "squares.npz").rename(folder / "moved.npz")
    advice = "If the images have moved, name their new place with --dataset."
    line = refused_after_note(vaetune)
    assert "There is no image set at" in line
    assert line.endswith(advice)
    given = refused_after_note(vaetune, "--dataset", "gone.npz")
    assert "There is no image set at gone.npz" in given
    assert "have moved" not in given

    quick_training = ("train", "--best", "squares", "--epochs", 1)
    for command in (QUICK_SEARCH, ("check", "squares.toml"), quick_training):
        code, _, error = vaetune(*command)
        assert code == 1
        assert re.fullmatch(
            rf"vaetune: There is no image set at [^\n]+squares\.npz\.[^\n]+ {advice}\n", error
        )
    new_place = ("--dataset", "moved.npz")
    for command in (QUICK_EVALUATION, (*QUICK_SEARCH, "--no-baseline"), quick_training):
        code, _, error = vaetune(*command, *new_place)
        assert code == 0, error


@pytest.mark.slow
def test_an_export_needs_no_images(vaetune, folder):
    (folder / "squares.npz").unlink()
    assert vaetune("best", "--export")[0] == 0


@pytest.mark.parametrize("flag", ["--importance-samples", "--images"])
def test_evaluating_nothing_is_a_usage_error(vaetune, folder, flag):
    code, _, error = vaetune("evaluate", flag, 0)
    assert code == 2
    assert flag in error


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_refused(vaetune, folder, without_example):
    study = load_study(folder / "results" / "squares")
    assert "no trial 99. `vaetune trials squares` lists them." in refused_after_note(
        vaetune, "--trial", 99
    )

    with lock_results(study.folder):
        assert "is in use by process" in refused_after_note(vaetune)

    weights = study.trial_folder(study.winner.trial_id) / "checkpoint.npz"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "is damaged" in refused_after_note(vaetune)
    weights.unlink()
    assert "Run the search again" in refused_after_note(vaetune)

    np.savez(folder / "squares.npz", x_train=noise(30, 9, 10), x_test=noise(12, 9, 10))
    error = refused_after_note(vaetune)
    assert "was run on other images" in error
    assert "data fingerprint: " in error
    np.savez(folder / "squares.npz", x_train=noise(30, 12, 9), x_test=noise(12, 12, 9))
    assert "shape: 9 x 10 x 1 -> 12 x 9 x 1" in refused_after_note(vaetune)
    (folder / "squares.npz").unlink()
    assert "There is no image set at" in refused_after_note(vaetune)


def refused_after_note(vaetune, *flags):
    """The one line of a refusal, behind the note that no Keras example was found."""
    before = journals(Path())
    code, out, error = vaetune(*QUICK_EVALUATION, *flags)
    assert (code, out) == (1, "")
    *notes, line = error.splitlines()
    assert [note for note in notes if not note.startswith("No matching Keras example")] == []
    assert line.startswith("vaetune: ")
    assert journals(Path()) == before
    return line


@pytest.mark.slow
def test_ctrl_c_in_an_evaluation_ends_cleanly(folder, without_example):
    before = journals(folder)
    holder = folder / "results" / "squares" / ".holder"
    command = ("evaluate", "--importance-samples", 10_000_000)
    with PreparedCommand(command, cwd=folder) as process:
        wait_until(lambda: holder.exists() or process.poll() is not None, "the evaluation")
        time.sleep(1)  # into the long part
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert out == "Stopped. Everything found so far is kept.\n"
    assert "Traceback" not in error
    assert journals(folder) == before
    assert not holder.exists()
