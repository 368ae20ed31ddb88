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
    file_contents,
    folder_after_search,
    journals,
    make_splits,
    noise,
    run_search_in,
    save_images,
)

from vaetune.files import lock_results
from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_page", "without_figures", "without_reading_back")

QUICK_SEARCH = ("search", "squares.toml", "--max-epochs", 1, "--max-trials", 2, "--quiet")


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A user's folder after a search of two trials and the Keras example. Tests work in a copy."""
    folder = tmp_path_factory.mktemp("searched")
    save_images(folder, *make_splits())
    (folder / "squares.toml").write_text(SEARCH_FILE.replace("hyperband", "grid"))
    run_search_in(folder, *QUICK_SEARCH[2:])
    return folder


folder = folder_after_search


@pytest.fixture
def without_example(folder):
    """Removes the Keras example from the folder."""
    shutil.rmtree(folder / "results" / "baselines")


@pytest.mark.slow
def test_an_evaluation_is_recorded_once_and_printed_again(vaetune, folder, monkeypatch):
    before = journals(folder)
    code, out, error = vaetune(*QUICK_EVALUATION)
    assert (code, error) == (0, "")
    assert out.startswith("Winner of squares (complete, ")
    assert "k = 3 on the first 12 test images" in out
    assert re.search(r"^ +trial \d{4} +Keras example$", out, re.MULTILINE)
    assert re.search(r"^  negative ELBO, nats per image +[\d.]+ \+- [\d.]+ ", out, re.MULTILINE)
    after_first = journals(folder)
    assert len(after_first) == 2
    for path, content in after_first.items():
        assert content.startswith(before[path])
        added = content.removeprefix(before[path])
        assert added.count(b"\n") == added.count(b'"event":"trial_evaluated"') == 1

    with monkeypatch.context() as patch:
        patch.setattr("vaetune.data.sources.load_images", None)  # Loading images would fail.
        assert vaetune(*QUICK_EVALUATION) == (0, out, "")
        code, printed, _ = vaetune(*QUICK_EVALUATION, "--format", "json")
    assert code == 0
    winner, example = json.loads(printed)
    assert (winner["test_images"], winner["protocol"]["importance_samples"]) == (12, 3)
    assert example["model"] == "Keras example"
    assert journals(folder) == after_first

    code, printed, _ = vaetune(*QUICK_EVALUATION, "--again", "--format", "json")
    measured = [
        {
            key: value
            for key, value in row.items()
            if key not in ("time", "duration_s", "environment")
        }
        for row in json.loads(printed)
    ]
    recorded = [{key: row[key] for key in measured[0]} for row in (winner, example)]
    assert measured == recorded, "the second evaluation gives the same numbers"
    assert all(len(content) > len(after_first[path]) for path, content in journals(folder).items())

    shutil.rmtree(folder / "results" / "baselines")  # The rest needs only the winner.
    code, out, _ = vaetune(*QUICK_EVALUATION, "--images", 5)
    assert "k = 3 on the first 5 test images" in out
    code, out, error = vaetune(*QUICK_EVALUATION, "--images", 50)
    assert error.startswith("There are 12 test images, fewer than --images 50: all are used.\n")
    assert "k = 3 on the first 12 test images" in out
    for command in (("best",), ("report",), (*QUICK_SEARCH, "--no-baseline")):
        assert vaetune(*command)[0] == 0


@pytest.mark.slow
def test_another_trial_is_evaluated_without_the_keras_example(vaetune, folder, without_example):
    other = load_study(folder / "results" / "squares").ranking[1]
    code, out, error = vaetune(*QUICK_EVALUATION, "--trial", other.trial_id)
    assert code == 0
    assert error == "No matching Keras example was found, so only the winner is shown.\n"
    assert out.startswith(f"Trial {other.trial_id} of squares (complete, ")
    assert "Keras example" not in out


@pytest.mark.slow
def test_a_damaged_keras_example_does_not_stop_an_evaluation(vaetune, folder):
    (weights,) = (folder / "results" / "baselines").rglob("checkpoint.npz")
    weights.write_bytes(b"no archive")
    code, out, error = vaetune(*QUICK_EVALUATION)
    assert code == 0
    assert error.startswith("The Keras example was not evaluated. The checkpoint ")
    assert "Keras example" not in out
    assert re.search(r"^ +trial \d{4}$", out, re.MULTILINE)


@pytest.mark.slow
def test_an_exported_model_has_the_test_losses_of_its_trial(vaetune, folder, without_example):
    vaetune("best", "--export", "--output", "handed")
    vaetune(*QUICK_EVALUATION)
    before = file_contents(folder)
    export = (*QUICK_EVALUATION, "./handed")
    code, _, error = vaetune(*export)
    assert code == 1
    assert 'does not say where its images "squares" are. Give their path with --dataset.' in error

    code, out, error = vaetune(*export, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out.startswith("The model in handed/ on the test images\n")
    recorded = vaetune(*QUICK_EVALUATION)[1]
    number_lines = re.compile(r"^ +(?:negative|reconstruction|KL|active|z_mean) .*$", re.MULTILINE)
    lines_of_export, lines_of_trial = number_lines.findall(out), number_lines.findall(recorded)
    assert len(lines_of_export) > 5
    assert [" ".join(line.split()) for line in lines_of_export] == [
        " ".join(line.split()) for line in lines_of_trial
    ]
    assert file_contents(folder) == before, "an evaluation of an export writes no file"

    np.savez(folder / "other.npz", x_train=noise(30, 9, 10), x_test=noise(12, 9, 10))
    code, out, error = vaetune(*QUICK_EVALUATION, "handed", "--dataset", "other.npz")
    assert code == 0, 'the path of an export needs no "./"'
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
def test_moved_images_are_found_with_dataset(vaetune, folder, without_example):
    (folder / "squares.npz").rename(folder / "moved.npz")
    advice = "If the images have moved, name their new place with --dataset."
    line = error_of_evaluation(vaetune)
    assert "There is no image set at" in line
    assert line.endswith(advice)
    other_line = error_of_evaluation(vaetune, "--dataset", "gone.npz")
    assert "There is no image set at gone.npz" in other_line
    assert "have moved" not in other_line

    quick_training = ("train", "--best", "squares", "--epochs", 1)
    for command in (QUICK_SEARCH, ("check", "squares.toml"), quick_training):
        code, _, error = vaetune(*command)
        assert code == 1
        assert re.fullmatch(
            rf"vaetune: There is no image set at [^\n]+squares\.npz\.[^\n]+ {advice}\n", error
        )
    new_path = ("--dataset", "moved.npz")
    for command in (QUICK_EVALUATION, (*QUICK_SEARCH, "--no-baseline"), quick_training):
        code, _, error = vaetune(*command, *new_path)
        assert code == 0, error


@pytest.mark.slow
def test_an_export_needs_no_images(vaetune, folder):
    (folder / "squares.npz").unlink()
    assert vaetune("best", "--export")[0] == 0


@pytest.mark.parametrize("flag", ["--importance-samples", "--images"])
def test_a_count_of_zero_is_a_usage_error(vaetune, folder, flag):
    code, _, error = vaetune("evaluate", flag, 0)
    assert code == 2
    assert flag in error


@pytest.mark.slow
def test_an_impossible_evaluation_is_refused(vaetune, folder, without_example):
    study = load_study(folder / "results" / "squares")
    assert "no trial 99. `vaetune trials squares` lists them." in error_of_evaluation(
        vaetune, "--trial", 99
    )

    with lock_results(study.folder):
        assert "is in use by process" in error_of_evaluation(vaetune)

    weights = study.trial_folder(study.winner.trial_id) / "checkpoint.npz"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "is damaged" in error_of_evaluation(vaetune)
    weights.unlink()
    assert "Run the search again" in error_of_evaluation(vaetune)

    np.savez(folder / "squares.npz", x_train=noise(30, 9, 10), x_test=noise(12, 9, 10))
    error = error_of_evaluation(vaetune)
    assert "was run on other images" in error
    assert "data fingerprint: " in error
    np.savez(folder / "squares.npz", x_train=noise(30, 12, 9), x_test=noise(12, 12, 9))
    assert "shape: 9 x 10 x 1 -> 12 x 9 x 1" in error_of_evaluation(vaetune)
    (folder / "squares.npz").unlink()
    assert "There is no image set at" in error_of_evaluation(vaetune)


def error_of_evaluation(vaetune, *flags):
    """Runs an evaluation that must fail, and returns the last line of stderr.

    Before it, only the note that no Keras example was found is allowed.
    """
    before = journals(Path())
    code, out, error = vaetune(*QUICK_EVALUATION, *flags)
    assert (code, out) == (1, "")
    *notes, line = error.splitlines()
    assert [note for note in notes if not note.startswith("No matching Keras example")] == []
    assert line.startswith("vaetune: ")
    assert journals(Path()) == before
    return line


@pytest.mark.slow
def test_ctrl_c_ends_an_evaluation_cleanly(folder, without_example):
    before = journals(folder)
    holder = folder / "results" / "squares" / ".holder"
    command = ("evaluate", "--importance-samples", 10_000_000)
    with PreparedCommand(command, cwd=folder) as process:
        wait_until(lambda: holder.exists() or process.poll() is not None, "the evaluation")
        time.sleep(1)  # The long computation begins.
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert out == "Stopped. Everything found so far is kept.\n"
    assert "Traceback" not in error
    assert journals(folder) == before
    assert not holder.exists()
