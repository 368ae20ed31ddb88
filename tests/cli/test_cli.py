"""What a user types, and what comes back."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exports import StubReader
from image_sets import make_split
from journals import make_evaluated, make_rescored, make_trial_events, write_search
from PIL import Image, ImageDraw

from vaetune.cli import app
from vaetune.config.search_file import resolve
from vaetune.files import lock_results
from vaetune.study.builder import load_study

SEARCH_FILE = """
description = "squares"
algorithm = "hyperband"
seed = 3
[data]
dataset = "squares.npz"
[budget]
max_epochs = 3
[training]
batch_size = 16
[space]
filters_1 = { values = [2, 3] }
filters_2 = { values = [3, 4] }
dense_units = { value = 4 }
latent_dim = { values = [2, 3] }
learning_rate = { min = 1e-3, max = 1e-1, scale = "log" }
"""


BAYESIAN = "max_trials = 4\ninitial_trials = 3"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with images and a search file, and the user in it."""
    train, test = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)
    arrays = {"x_train": train.images, "y_train": train.labels}
    np.savez(tmp_path / "squares.npz", **arrays, x_test=test.images, y_test=test.labels)
    (tmp_path / "squares.toml").write_text(SEARCH_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def vaetune(monkeypatch, capsys):
    """Runs the command line in this process; returns exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vaetune", *map(str, arguments)])
        handler = signal.getsignal(signal.SIGTERM)
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            app.main()
        signal.signal(signal.SIGTERM, handler)
        printed = capsys.readouterr()
        return done.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def refused(vaetune, folder):
    """Runs a command that must end with one clear line, exit code 1 and no file changed."""

    def run(*arguments):
        before = contents(folder)
        code, _, error = vaetune(*arguments)
        assert code == 1
        assert re.fullmatch(r"vaetune: [^\n]+\n", error)
        assert contents(folder) == before
        return error

    return run


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_process(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "vaetune", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])},
        **options,
    )


@pytest.mark.slow
def test_search_best_report_from_beginning_to_end(vaetune, folder):
    code, out, error = vaetune("search", "./squares.toml", "--results", "found")
    assert (code, error) == (0, "")
    before_the_first_trial = out[: out.index("\nreference ")]
    assert re.search(r"budget\.max_epochs +3 +file", before_the_first_trial)
    assert re.search(r"budget\.factor +3 +default", before_the_first_trial)
    assert re.search(r"device +auto +default +CPU, \d+ threads?", before_the_first_trial)
    assert "25 training and 5 validation images of 9 x 10 x 1" in before_the_first_trial
    assert "6 trials of 5 configurations, 11 epochs" in before_the_first_trial
    assert len(re.findall(r"^trial \d{4} \(\d of 6\) ", out, re.MULTILINE)) == 6
    assert "Report: found/report.html" in out
    page = (folder / "found" / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")

    code, out, _ = vaetune("trials", "--results", "found", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert [row["status"] for row in rows] == ["completed"] * 6
    documented = {
        *("trial_id", "configuration", "parent", "bracket", "rung", "status", "epoch_from"),
        *("epoch_to", "val_loss", "reconstruction_loss", "kl_loss", "parameters"),
        *("duration_s", "hyperparameters", "error"),
    }
    assert all(documented <= set(row) for row in rows)

    winner = load_study(folder / "found" / "squares").winner
    code, out, _ = vaetune("best", "--export", "--results", "found")
    assert code == 0
    assert f"{winner.score:.2f} nats per image" in out
    assert re.search(r"^  rescored +[\d.]+ \+- [\d.]+ nats \(4 posterior samples of 5 ", out, re.M)
    assert (folder / "found" / "best" / "vae.keras").exists()

    code, out, _ = vaetune("report", "--results", "found")
    assert (code, out) == (0, "Report: found/report.html\n")


@pytest.mark.slow
def test_a_flag_overrides_the_file_and_says_so(vaetune, folder):
    code, out, _ = vaetune(
        "search", "squares.toml", "--max-epochs", 1, "--seed", 0, "--no-baseline", "--device", "cpu"
    )
    assert code == 0
    assert re.search(r"budget\.max_epochs +1 +flag", out)
    assert re.search(r"seed +0 +flag", out)
    assert re.search(r"baseline +false +flag", out)
    assert re.search(r"device +cpu +flag", out)
    assert load_study(folder / "results" / "squares").started.search.seed == 0
    assert not (folder / "results" / "baselines").exists()


@pytest.mark.slow
def test_quiet_tells_the_outcome_only(vaetune, folder):
    _, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "--quiet")
    assert out.startswith("Winner of squares (complete, 1 trial)")


@pytest.mark.slow
def test_a_finished_search_again_says_so_and_ends_well(vaetune, folder):
    vaetune("search", "squares.toml", "--max-epochs", 1)
    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1)
    assert code == 0
    assert "All of it is done." in out
    assert not re.search(r"^trial 0000 ", out, re.MULTILINE)

    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--final-seeds", 2)
    assert code == 0
    assert "After it: 1 finalist trained from 2 other seeds each, at most 2 epochs." in out
    assert "All of its trials are done already: now its finalists are judged again." in out
    assert len(re.findall(r"^configuration 0 seed \d+ +[\d.]+ nats", out, re.MULTILINE)) == 2
    assert re.search(r"^  other seeds +[\d.]+ \+- [\d.]+ nats, the mean of ", out, re.MULTILINE)
    code, out, _ = vaetune("search", "squares.toml", "--max-epochs", 1, "--final-seeds", 2)
    assert "All of it is done." in out
    assert re.search(r"Keras example +[\d.]+ after 1 epoch", out)


def test_best_tells_how_sure_the_winner_is(vaetune, folder):
    trials = [
        event
        for number, loss in enumerate((180.0, 181.0))
        for event in make_trial_events(f"{number:04d}", [loss], configuration=number)
    ]
    rescored = make_rescored({("0001", 1): 180.5, ("0000", 1): 181.25}, behind=0.5)
    judged = make_evaluated("0001", 1)
    write_search(folder / "results", "tiny", *trials, rescored, judged)
    code, out, _ = vaetune("best", "tiny")
    assert code == 0
    assert out.startswith("Winner of tiny")
    assert "found by         tiny: trial 0001" in out
    assert "lead over trial 0000: 0.75 +- 0.50 nats, inside the noise" in out
    assert "test images      130.50 +- 1.25 nats, the negative ELBO; 121.75 +- 1.12, the" in out
    _, out, _ = vaetune("best", "tiny", "--trial", "0000")
    assert out.startswith("Trial 0000 of tiny")
    assert "not evaluated yet: vaetune evaluate tiny --trial 0000" in out


def test_final_seeds_below_none_are_refused(refused):
    assert "--final-seeds" in refused("search", "squares.toml", "--final-seeds", -1)


@pytest.mark.slow
def test_a_search_of_which_every_trial_fails_says_why(vaetune, folder):
    text = SEARCH_FILE.replace("{ min = 1e-3, max = 1e-1, scale", "{ min = 1e30, max = 1e35, scale")
    (folder / "wild.toml").write_text(text)
    code, out, error = vaetune("search", "wild.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 1
    assert "failed: The" in out
    assert "Report: results/report.html" in out
    assert re.fullmatch(r"vaetune: Every trial failed, the first with: The [^\n]+\n", error)
    code, out, error = vaetune("best")
    assert code == 1
    assert 'No trial of "wild" completed. See `vaetune trials wild --failed`.' in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "budget", "trials"),
    [("random", "max_trials = 3", 3), ("grid", "max_trials = 3", 3), ("bayesian", BAYESIAN, 4)],
)
def test_every_algorithm_runs_from_the_command_line(vaetune, folder, algorithm, budget, trials):
    text = SEARCH_FILE.replace("max_epochs = 3", f"max_epochs = 1\n{budget}")
    (folder / "mine.toml").write_text(text.replace('"hyperband"', f'"{algorithm}"'))
    code, out, error = vaetune("search", "mine.toml", "--no-baseline")
    assert (code, error) == (0, "")
    assert re.search(rf"algorithm +{algorithm} +file", out)
    assert f"To come: {trials} trials of {trials} configurations, {trials} epochs." in out
    assert len(load_study(folder / "results" / "mine").trials) == trials


@pytest.mark.slow
def test_a_search_is_extended_and_its_trials_picked(vaetune, folder, monkeypatch):
    monkeypatch.setattr("vaetune.export.reader.Reader", StubReader)  # spares a process an export
    for module in ("study.study", "study.ranking"):
        monkeypatch.setattr(f"vaetune.{module}.FINALISTS", 1)  # of five, all would be kept
    text = SEARCH_FILE.replace("max_epochs = 3", "max_epochs = 1\nmax_trials = 3")
    (folder / "mine.toml").write_text(text.replace('"hyperband"', '"random"'))
    vaetune("search", "mine.toml", "--no-baseline", "--keep-best", 1)
    code, _, error = vaetune("search", "mine.toml", "--no-baseline", "--max-trials", 5)
    assert code == 1
    assert "budget.max_trials: 3 -> 5. --extend goes on to the larger budget;" in error
    code, out, _ = vaetune(
        *("search", "mine.toml", "--no-baseline", "--max-trials", 5, "--extend", "--keep-best", 1)
    )
    assert code == 0
    assert "The whole search: 5 trials" in out
    assert "Going on: not complete, 3 of 5 trials" in out
    study = load_study(folder / "results" / "mine")
    for size in {trial.hyperparameters["latent_dim"] for trial in study.trials}:
        code, out, _ = vaetune("best", "--latent-dim", size, "--export")
        assert code == 0
        assert f"latent {size}" in out
        manifest = json.loads((folder / "results" / "best" / "hyperparameters.json").read_text())
        assert manifest["hyperparameters"]["latent_dim"] == size
    last = study.ranking[-1]
    code, out, error = vaetune("best", "--trial", last.trial_id, "--export")
    assert out.startswith(f"Trial {last.trial_id} of mine")
    assert code == 1
    assert f"The weights of trial {last.trial_id} were not kept" in error
    code, _, error = vaetune("best", "--latent-dim", 99)
    assert code == 1
    assert "no completed trial of latent_dim 99. There are: " in error


@pytest.mark.slow
def test_a_time_budget_ends_with_a_report_and_the_winner_so_far(vaetune, folder, monkeypatch):
    from vaetune.search import tuner

    clock = time.monotonic
    ended = []
    save = tuner.CheckpointKeeper.save
    monkeypatch.setattr(
        tuner.CheckpointKeeper, "save", lambda *given: (ended.append(1), save(*given))[1]
    )
    late = lambda: clock() + (1e5 if len(ended) >= 5 else 0)  # noqa: E731
    monkeypatch.setattr(tuner.time, "monotonic", late)
    former = {"program": "vaetune", "files": ["hyperparameters.json"], "formats": {"litert": {}}}
    (folder / "results" / "best").mkdir(parents=True)
    (folder / "results" / "best" / "hyperparameters.json").write_text(json.dumps(former))
    code, out, error = vaetune(
        "search", "squares.toml", "--no-baseline", "--time-budget", "5h", "--max-epochs", 3
    )
    assert (code, error) == (0, "")
    assert "The time of 5h is up. Run the same command again to continue." in out
    assert "Exported to results/best/" in out
    assert "encoder.tflite" in out, "in no fewer formats than the export before"
    assert "Stopped by its time budget" in (folder / "results" / "report.html").read_text()
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    code, out, _ = vaetune("search", "squares.toml", "--no-baseline")
    assert code == 0
    assert "complete, 6 trials" in out


@pytest.mark.slow
def test_failures_are_told_everywhere(vaetune, folder):
    text = SEARCH_FILE.replace("max_epochs = 3", "max_epochs = 1\nmax_trials = 13")
    text = text.replace('"hyperband"', '"random"').replace("max = 1e-1", "max = 1e30")
    (folder / "mine.toml").write_text(text)
    code, _, error = vaetune("search", "mine.toml", "--no-baseline", "--max-failure-rate", 0.3)
    assert code == 1
    assert re.search(
        r"^vaetune: \d of 1\d trials failed, more than the share of 0\.3 that a search may lose\. "
        r"The first failed with: The training loss became \w+ in epoch 1\. "
        r"See `vaetune trials mine --failed`\. To continue anyway: --max-failure-rate 1$",
        error.strip(),
    )
    failures = load_study(folder / "results" / "mine").failures
    code, out, _ = vaetune("trials", "--failed")
    assert out.count("failed in epoch 1") == len(failures)
    assert out.count("Traceback (most recent call last)") == len(failures)
    failed = json.loads(vaetune("trials", "--failed", "--format", "json")[1])
    assert [row["trial_id"] for row in failed] == [trial.trial_id for trial in failures]
    assert all("Traceback" in row["traceback"] for row in failed)
    rows = json.loads(vaetune("trials", "--format", "json")[1])
    assert [row["failed_in"] for row in rows if row["status"] == "failed"] == [1] * len(failures)
    page = (folder / "results" / "report.html").read_text()
    assert "Stopped because too many trials failed" in page
    assert page.count("failed in epoch 1") == len(failures)
    code, out, _ = vaetune("search", "mine.toml", "--no-baseline", "--max-failure-rate", 1)
    assert code == 0
    assert "complete, 13 trials" in out


@pytest.mark.slow
def test_memory_does_not_grow_with_the_trials(folder):
    """Resident memory after 30 trials against that after 10, in a process of its own."""
    script = Path(__file__).parents[1] / "stress" / "memory_of_trials.py"
    done = subprocess.run(
        [sys.executable, str(script), "30"], capture_output=True, text=True, check=True
    )
    after = {int(n): float(mib) for n, mib in (line.split() for line in done.stdout.splitlines())}
    assert after[30] - after[10] < 120


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_report_shows_what_the_keras_example_draws(vaetune, folder, workers):
    """It is trained beside the search, of which it is shown the same images."""
    where = ("search", "squares.toml", "--max-epochs", 1, "--workers", workers)
    code, _, error = vaetune(*where)
    assert (code, error) == (0, "")
    for kept in (True, False):  # an earlier version kept no images beside it
        page = (folder / "results" / "report.html").read_text()
        pairs = page[
            page.index("<h3>Images</h3>") : page.index("<h3>How was the winner found?</h3>")
        ]
        assert "pictures were not kept" not in pairs
        assert "images above the reconstructions of the Keras example" in pairs
        assert re.search(r"latent means of the Keras example, coloured by \d classes", pairs)
        if kept:
            (probe_images,) = (folder / "results" / "baselines").glob("*/pictures.npz")
            probe_images.unlink()
            assert vaetune("report")[0] == 0


def test_train_puts_one_configuration_among_the_baselines(vaetune, folder):
    code, out, _ = vaetune(
        *("train", "--dataset", "squares.npz", "--epochs", 2, "--filters-1", 2),
        *("--filters-2", 3, "--dense-units", 4, "--latent-dim", 3, "--learning-rate", 0.01),
        *("--batch-size", 8, "--name", "mine"),
    )
    assert code == 0
    assert "in results/baselines/mine/" in out
    (trial,) = load_study(folder / "results" / "baselines" / "mine").trials
    assert trial.hyperparameters == {
        "filters_1": 2,
        "filters_2": 3,
        "dense_units": 4,
        "latent_dim": 3,
        "learning_rate": 0.01,
    }
    assert [epoch.epoch for epoch in trial.epochs] == [1, 2]


@pytest.mark.slow
def test_train_takes_the_winner_of_a_search_further(vaetune, folder):
    searched = SEARCH_FILE.replace("batch_size = 16", "").replace(
        "[space]", "[space]\nbatch_size = { values = [8, 16] }\nbeta = { min = 0.5, max = 2.0 }"
    )
    (folder / "mine.toml").write_text(searched)
    code, out, error = vaetune("search", "mine.toml", "--no-baseline")
    assert (code, error) == (0, "")
    assert re.search(r"space\.batch_size +8, 16 +file", out)
    assert "training.batch_size" not in out
    study = load_study(folder / "results" / "mine")
    assert {trial.hyperparameters["batch_size"] for trial in study.trials} == {8, 16}

    command = ("train", "--best", "mine", "--epochs", 4, "--on", "train+validation")
    code, out, error = vaetune(*command, "--learning-rate-decay", "cosine")
    assert (code, error) == (0, "")
    winner = study.winner
    assert f"Trial {winner.trial_id} of mine, trained from its beginning\n" in out
    assert re.search(r"data\.train_on +train\+validation +flag", out)
    assert re.search(r"space\.beta +\S+, pinned +search", out)
    assert "28 training and 2 validation images of 9 x 10 x 1" in out
    assert len(re.findall(r"^epoch \d of 4 ", out, re.MULTILINE)) == 4
    name = f"baselines/mine-trial-{winner.trial_id}-squares-4"
    assert out.endswith(f"Next: vaetune evaluate {name}\n")
    (trial,) = load_study(folder / "results" / name).trials
    assert trial.hyperparameters == winner.hyperparameters

    code, out, error = vaetune("evaluate", name, "--importance-samples", 2)
    assert (code, error) == (
        0,
        "No matching Keras example was found, so only the winner is shown.\n",
    )
    code, out, _ = vaetune("best", name)
    assert code == 0
    assert f"mine-trial-{winner.trial_id}-squares-4 (complete, 1 trial)" in out

    # Another way of training it has another folder, the same way goes on in its own.
    code, out, _ = vaetune(*command)
    assert f"{name}-2/" in out
    code, out, _ = vaetune(*command, "--learning-rate-decay", "cosine")
    assert "All of it is done." in out


@pytest.mark.slow
def test_train_stops_when_its_patience_is_over_and_stays_stopped(vaetune, folder):
    command = ("train", "--dataset", "squares.npz", "--epochs", 50, "--patience", 2)
    rate = ("--learning-rate", 0.5, "--filters-1", 2, "--filters-2", 3, "--name", "mine")
    code, out, _ = vaetune(*command, *rate)
    assert code == 0
    assert "Stopped early: no epoch was better for a while.\n" in out
    folder = folder / "results" / "baselines" / "mine"
    (trial,) = load_study(folder).trials
    assert trial.epochs[-1].epoch == trial.best.epoch + 2 < 50
    code, out, _ = vaetune(*command, *rate)
    assert "All of it is done." in out
    (folder / "trials" / "0000" / "checkpoint.npz").write_bytes(b"no archive")
    assert vaetune(*command, *rate)[0] == 0
    (again,) = load_study(folder).trials
    assert [e.val_loss for e in again.epochs] == [e.val_loss for e in trial.epochs]
    assert vaetune("best", "baselines/mine", "--export")[0] == 0


@pytest.mark.slow
def test_a_search_of_binarised_images_says_so_with_every_number(vaetune, folder):
    text = SEARCH_FILE.replace('"squares.npz"', '"squares.npz"\nbinarize = "stochastic"')
    (folder / "drawn.toml").write_text(text)
    code, out, _ = vaetune("search", "drawn.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 0
    assert re.search(r"data\.binarize +stochastic +file", out)
    assert "0.00 above" not in out
    assert "one posterior sample of each, pixels drawn once" in out[out.index("Winner of drawn") :]
    _, out, _ = vaetune("evaluate", "drawn", "--importance-samples", 2)
    assert "  pixels drawn once: 1 with the probability that is their value, else 0\n" in out
    assert "above the entropy floor, 0.00" in out

    _, out, _ = vaetune("evaluate", "drawn", "--importance-samples", 2, "--format", "json")
    assert json.loads(out)[0]["protocol"]["binarize"] == "stochastic"
    (folder / "drawn.toml").write_text(text.replace("stochastic", "threshold"))
    code, _, error = vaetune("search", "drawn.toml", "--max-epochs", 1, "--no-baseline")
    assert code == 1
    assert "data.binarize: stochastic -> threshold" in error


def test_a_trial_to_train_needs_its_search(vaetune, folder):
    code, _, error = vaetune("train", "--trial", "0001")
    assert code == 2
    assert "--trial goes with --best" in error


def test_a_study_that_is_not_there_is_refused_with_those_there_are(refused):
    assert "There is no search or baseline in baselines/none." in refused("best", "baselines/none")
    assert "There is no search in results yet" in refused("train", "--best", "none")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(folder, number):
    command = [sys.executable, "-m", "vaetune", "search", "squares.toml", "--max-epochs", "27"]
    environment = {**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])}
    environment["PYTHONUNBUFFERED"] = "1"
    process = subprocess.Popen(
        [*command, "--no-baseline"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("trial 0001"):
            break
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert error == ""
    assert (
        "Stopped. Everything found so far is kept; run the same command again to continue." in out
    )
    stopped = load_study(folder / "results" / "squares")
    assert stopped.last_end.reason == "interrupted"
    assert len(stopped.trials) >= 2


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_finished(folder):
    command = [sys.executable, "-m", "vaetune", "search", "squares.toml", "--no-baseline"]
    environment = {**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])}
    journal = folder / "results" / "squares" / "journal.jsonl"
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_text().count("trial_ended") >= 2:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    killed = load_study(journal.parent)
    done = run_process("search", "squares.toml", "--no-baseline", cwd=folder)
    assert done.returncode == 0, done.stderr
    study = load_study(journal.parent)
    finished = [trial for trial in killed.trials if trial.status == "completed"]
    assert len(finished) >= 2
    assert list(study.trials[: len(finished)]) == finished
    assert len(study.trials) == 6


@pytest.mark.slow
def test_help_and_trials_import_no_tensorflow(folder):
    for arguments in (["--help"], ["search"], ["search", "--help"]):
        code = (
            "import sys\n"
            f"sys.argv = ['vaetune', *{arguments!r}]\n"
            "from vaetune.cli import main\n"
            "try:\n"
            "    main()\n"
            "except SystemExit:\n"
            "    pass\n"
            "heavy = {'tensorflow', 'keras', 'keras_tuner', 'matplotlib'} & set(sys.modules)\n"
            "print(sorted(heavy), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == "[]\n"


def test_search_alone_lists_the_searches(vaetune, folder):
    (folder / "searches").mkdir()
    (folder / "searches" / "mine.toml").write_text('description = "my own"')
    (folder / "searches" / "broken.toml").write_text("x =")
    code, out, _ = vaetune("search")
    assert code == 0
    assert re.search(r"^  hyperband +Hyperband over", out, re.MULTILINE)
    assert re.search(r"^  mine +my own$", out, re.MULTILINE)
    assert re.search(r"^  broken +cannot be read: .*not valid TOML", out, re.MULTILINE)


def test_the_version_is_printed(vaetune):
    assert vaetune("--version")[:2] == (0, "vaetune 0.1.0\n")


def test_help_names_every_command(vaetune):
    _, out, _ = vaetune("--help")
    for command in ("new", "check", "search", "train", "best", "evaluate", "trials", "report"):
        assert re.search(rf"^\W*{command}\b", out, re.MULTILINE)


def test_an_unknown_option_is_a_usage_error(vaetune, folder):
    assert vaetune("search", "hyperband", "--epoch", 3)[0] == 2


def test_training_for_no_epochs_is_a_usage_error(vaetune, folder):
    code, _, error = vaetune("train", "--epochs", 0)
    assert code == 2
    assert "--epochs" in error


# Bad input: one clear line, exit code 1, nothing on disk is harmed.


def test_a_search_that_does_not_exist(refused):
    assert 'No search named "hyperbnd". Did you mean "hyperband"?' in refused("search", "hyperbnd")


def test_a_search_file_that_does_not_exist(refused):
    assert "No search file at none.toml" in refused("search", "none.toml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[budget]\nmax_epochs = = 3", r"not valid TOML: .*line 2"),
        ("[budget]\nmax_epoch = 3", r'unknown key "budget.max_epoch". Did you mean "max_epochs"'),
        ("[space]\nlatent_dims = 3", r'unknown hyperparameter .* Did you mean "latent_dim"'),
        (
            "[space]\nlatent_dim = { values = [] }",
            r"space\.latent_dim\.values must contain at least",
        ),
        ("[space]\nlatent_dim = { min = 4, max = 2 }", r"min must be less than max"),
        ('algorithm = "hyperbad"', r'Did you mean "hyperband"'),
    ],
)
def test_a_search_file_with_a_mistake(refused, folder, text, told):
    (folder / "bad.toml").write_text(text)
    assert re.search(told, refused("search", "bad.toml"))


def test_a_flag_with_a_mistake(refused):
    assert "--max-epochs should be greater" in refused("search", "squares.toml", "--max-epochs", 0)


def save_images(folder, **arrays):
    np.savez(folder / "bad.npz", **arrays)
    return "--dataset", "bad.npz"


def noise(count=20, height=9, width=9):
    return np.random.default_rng(0).integers(0, 256, (count, height, width)).astype(np.uint8)


def with_pixel(value):
    images = noise().astype(np.float32)
    images[3, 2, 1] = value
    return images


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": with_pixel(np.nan)},
        {"x_train": with_pixel(np.inf)},
        {"x_train": with_pixel(256)},
        {"x_train": with_pixel(-1)},
        {"x_train": np.full((20, 9, 9), "a")},
        {"x_train": noise(0)},
        {"x_train": noise(1)},
        {"x_train": noise(11)},
        {"x_train": noise(20, 7, 9)},
        {"x_train": noise(), "y_train": np.zeros(19, int)},
        {"x_train": np.array([{"pickled": 1}] * 20, dtype=object)},
        {"pictures": noise()},
    ],
    ids=lambda arrays: "-".join(f"{a.dtype.kind}{a.shape}" for a in arrays.values()),
)
def test_images_that_no_vae_can_be_trained_on(refused, folder, arrays):
    flags = save_images(folder, **arrays)
    assert "bad.npz" in refused("search", "squares.toml", *flags)
    assert not (folder / "results").exists()


def test_a_data_set_that_does_not_exist(refused):
    assert "digits" in refused("search", "squares.toml", "--dataset", "digit")


def test_a_corrupt_png_is_named(refused, folder):
    (folder / "pictures").mkdir()
    for number, image in enumerate(noise()):
        Image.fromarray(image).save(folder / "pictures" / f"{number:02d}.png")
    broken = folder / "pictures" / "07.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert "07.png" in refused("search", "squares.toml", "--dataset", "pictures")


def test_images_of_mixed_sizes_are_named(refused, folder):
    (folder / "pictures").mkdir()
    for number, image in enumerate(noise()):
        Image.fromarray(image).save(folder / "pictures" / f"{number:02d}.png")
    Image.fromarray(noise(1, 12, 9)[0]).save(folder / "pictures" / "05.png")
    assert "05.png" in refused("search", "squares.toml", "--dataset", "pictures")


@pytest.mark.parametrize("command", ["best", "evaluate", "trials", "report"])
def test_commands_that_need_a_search_say_how_to_get_one(refused, command):
    assert "Run `vaetune search hyperband`" in refused(command)


def test_a_search_that_was_never_run_is_named_with_those_that_were(vaetune, folder):
    vaetune("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "--quiet")
    code, _, error = vaetune("best", "circles")
    assert code == 1
    assert 'no search "circles" in results. There are: squares.' in error


def test_a_results_folder_that_is_a_file(refused, folder):
    (folder / "taken").write_text("not a folder")
    assert "taken" in refused("search", "squares.toml", "--results", "taken")


def test_a_results_folder_that_cannot_be_made(refused):
    assert "/proc/vaetune" in refused("search", "squares.toml", "--results", "/proc/vaetune")


def test_a_folder_of_another_program_is_left_alone(refused, folder):
    (folder / "results" / "squares").mkdir(parents=True)
    (folder / "results" / "squares" / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refused("search", "squares.toml")


def test_a_report_of_another_program_is_left_alone(vaetune, folder):
    vaetune("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "--quiet")
    (folder / "results" / "report.html").write_text("<h1>The annual report</h1>")
    code, _, error = vaetune("report")
    assert code == 1
    assert "report.html" in error
    assert (folder / "results" / "report.html").read_text() == "<h1>The annual report</h1>"


def test_a_damaged_search_hides_no_other(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline", "--quiet")
    vaetune("search", "squares.toml", *quick)
    (folder / "circles.toml").write_text(SEARCH_FILE)
    damaged = folder / "results" / "squares" / "journal.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b"epoch_ended", b"epoch_endet", 1))
    code, out, error = vaetune("search", "circles.toml", *quick)
    assert (code, error) == (0, "")
    assert "Winner of circles" in out
    page = (folder / "results" / "report.html").read_text()
    assert "<b>squares</b> is not on this page." in page
    assert "journal.jsonl, line" in page
    code, _, error = vaetune("trials", "squares")
    assert code == 1
    assert "is damaged" in error


def test_extending_and_overwriting_exclude_each_other(vaetune, folder):
    code, _, error = vaetune("search", "squares.toml", "--extend", "--overwrite")
    assert code == 2
    assert "not both" in error
    assert not (folder / "results").exists()


def test_a_bayesian_search_too_short_for_its_process_is_refused(refused, folder):
    (folder / "short.toml").write_text(
        SEARCH_FILE.replace('"hyperband"', '"bayesian"').replace("max_epochs = 3", BAYESIAN)
    )
    error = refused("search", "short.toml", "--max-trials", 3)
    assert "--max-trials must be greater than budget.initial_trials, received 3 and 3" in error


def test_a_complaint_of_two_values_names_the_flag_that_was_given(refused):
    error = refused("search", "squares.toml", "--min-epochs", 5)
    assert error.startswith("vaetune: --min-epochs must be at most max_epochs")


def test_a_quiet_search_warns_all_the_same(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline", "--quiet")
    vaetune("search", "squares.toml", *quick)
    (folder / "results" / "squares" / "journal.jsonl").unlink()
    code, _, error = vaetune("search", "squares.toml", *quick)
    assert code == 0
    assert error.startswith("journal.jsonl was gone.")


def test_ctrl_c_before_a_search_begins_is_told(vaetune, folder, monkeypatch):
    def stop(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaetune.data.sources.load_images", stop)
    code, out, error = vaetune("search", "squares.toml")
    assert (code, error) == (130, "")
    assert out == "Stopped. Everything recorded before is unharmed.\n"
    assert not (folder / "results").exists()


@pytest.mark.slow
def test_a_time_budget_that_ends_before_a_lost_winner_is_made_again(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline")
    vaetune("search", "squares.toml", *quick)
    study = load_study(folder / "results" / "squares")
    (study.trial_folder(study.winner.trial_id) / "checkpoint.npz").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaetune.config.spec.Limits.time_budget_s", -1.0)
        code, out, error = vaetune("search", "squares.toml", *quick, "--time-budget", "1s")
    assert (code, error) == (0, "")
    assert "The winner so far is not exported. There is no checkpoint" in out


def test_a_gpu_that_is_not_there(refused, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert "No GPU found" in refused("search", "squares.toml", "--device", "gpu")


def test_a_full_disk(folder):
    """A real one: the process may not write files of more than a few kilobytes."""
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; exec {sys.executable} -m vaetune search squares.toml -q"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])},
    )
    assert done.returncode == 1, done.stderr
    assert re.fullmatch(r"vaetune: [^\n]*cannot be written: File too large[^\n]*\n", done.stderr)
    done = run_process("search", "squares.toml", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr


# The test images

QUICK_SEARCH = ("search", "squares.toml", "--max-epochs", 1, "--quiet")
QUICK_EVALUATION = ("evaluate", "--importance-samples", 3)


def journals(folder):
    paths = sorted((folder / "results").rglob("journal.jsonl"))
    return {path: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_evaluate_judges_once_and_prints_what_is_recorded_from_then_on(
    vaetune, folder, monkeypatch
):
    vaetune(*QUICK_SEARCH)
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

    code, out, _ = vaetune(*QUICK_EVALUATION, "--images", 5)
    assert "k = 3 on the first 5 test images" in out
    code, out, error = vaetune(*QUICK_EVALUATION, "--images", 50)
    assert error == "There are 12 test images, fewer than --images 50: all are used.\n"
    assert "k = 3 on the first 12 test images" in out
    assert vaetune("best")[0] == vaetune("report")[0] == vaetune(*QUICK_SEARCH)[0] == 0


@pytest.mark.slow
def test_evaluate_judges_another_trial_and_does_without_an_example(vaetune, folder):
    vaetune("search", "squares.toml", "--no-baseline", "--quiet")
    other = load_study(folder / "results" / "squares").ranking[1]
    code, out, error = vaetune(*QUICK_EVALUATION, "--trial", other.trial_id)
    assert code == 0
    assert error == "No matching Keras example was found, so only the winner is shown.\n"
    assert out.startswith(f"Trial {other.trial_id} of squares (complete, ")
    assert "Keras example" not in out


@pytest.mark.slow
def test_an_example_that_is_damaged_costs_the_example_only(vaetune, folder):
    vaetune(*QUICK_SEARCH)
    (weights,) = (folder / "results" / "baselines").rglob("checkpoint.npz")
    weights.write_bytes(b"no archive")
    code, out, error = vaetune(*QUICK_EVALUATION)
    assert code == 0
    assert error.startswith("The Keras example was not evaluated. The checkpoint ")
    assert "Keras example" not in out
    assert re.search(r"^ +trial \d{4}$", out, re.MULTILINE)


@pytest.mark.slow
def test_an_exported_model_is_judged_as_its_trial_was(vaetune, folder):
    vaetune(*QUICK_SEARCH, "--no-baseline")
    vaetune("best", "--export", "--output", "handed")
    vaetune(*QUICK_EVALUATION)
    before = contents(folder)
    export = (*QUICK_EVALUATION, "./handed")
    code, _, error = vaetune(*export)
    assert code == 1
    assert 'does not say where its images "squares" are. Name them with --dataset.' in error

    code, out, error = vaetune(*export, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out.startswith("The model in handed/ on the test images\n")
    recorded = vaetune(*QUICK_EVALUATION)[1]
    numbers = re.compile(r"^ +(?:negative|reconstruction|KL|active|z_mean) .*$", re.MULTILINE)
    told, of_trial = numbers.findall(out), numbers.findall(recorded)
    assert len(told) > 5
    assert [" ".join(line.split()) for line in told] == [
        " ".join(line.split()) for line in of_trial
    ]
    assert contents(folder) == before, "nothing is recorded"

    np.savez(folder / "other.npz", x_train=noise(30, 9, 10), x_test=noise(12, 9, 10))
    _, out, error = vaetune(*export, "--dataset", "other.npz")
    assert error == "These are not the images that the model was trained and validated on.\n"
    assert "no labels" in out
    np.savez(folder / "large.npz", x_train=noise(30, 12, 12), x_test=noise(12, 12, 12))
    _, _, error = vaetune(*export, "--dataset", "large.npz")
    assert "takes images of 9 x 10 x 1, but" in error
    assert vaetune(*export, "--trial", "0001")[0] == 2
    assert vaetune(*QUICK_EVALUATION, "handed", "--dataset", "squares.npz")[0] == 0
    model = bytearray((folder / "handed" / "vae.keras").read_bytes())
    model[len(model) // 2 : len(model) // 2 + 99] = b"x" * 99
    (folder / "handed" / "vae.keras").write_bytes(model)
    _, _, error = vaetune(*export, "--dataset", "squares.npz")
    assert re.search(r"^vaetune: .*vae.keras is not a readable Keras model: .*\n$", error)
    (folder / "handed" / "vae.keras").write_bytes(b"no model")
    _, _, error = vaetune(*export, "--dataset", "squares.npz")
    assert "is not a readable Keras model" in error


@pytest.mark.slow
def test_images_that_were_moved_are_found_where_dataset_says(vaetune, folder):
    vaetune(*QUICK_SEARCH, "--no-baseline")
    (folder / "squares.npz").rename(folder / "moved.npz")
    assert "There is no image set at" in refused_after_note(vaetune)
    code, _, _ = vaetune(*QUICK_EVALUATION, "--dataset", "moved.npz")
    assert code == 0


@pytest.mark.parametrize("flag", ["--importance-samples", "--images"])
def test_evaluating_nothing_is_a_usage_error(vaetune, folder, flag):
    code, _, error = vaetune("evaluate", flag, 0)
    assert code == 2
    assert flag in error


@pytest.mark.slow
def test_what_cannot_be_evaluated_is_refused(vaetune, folder):
    vaetune(*QUICK_SEARCH, "--no-baseline")
    study = load_study(folder / "results" / "squares")
    assert "no trial 99. See `vaetune trials`" in refused_after_note(vaetune, "--trial", 99)

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
def test_ctrl_c_in_an_evaluation_ends_cleanly(vaetune, folder):
    vaetune(*QUICK_SEARCH, "--no-baseline")
    before = journals(folder)
    command = [sys.executable, "-m", "vaetune", "evaluate", "--importance-samples", "10000000"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(app.__file__).parents[2])},
    )
    holder = folder / "results" / "squares" / ".holder"
    for _ in range(600):
        if holder.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    time.sleep(2)  # into the long part
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert out == "Stopped. Everything recorded before is unharmed.\n"
    assert "Traceback" not in error
    assert journals(folder) == before
    assert not holder.exists()


# A search of one's own


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "bayesian", "grid"])
def test_new_writes_a_search_file_that_is_found_and_resolves(vaetune, folder, algorithm):
    code, out, error = vaetune("new", "mine", "--algorithm", algorithm, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out == (
        "Written: searches/mine.toml\n"
        "Next: edit it, then `vaetune check mine`, then `vaetune search mine`\n"
    )
    _, out, _ = vaetune("search")
    assert re.search(r"^  mine +[A-Z].* on squares\.npz$", out, re.MULTILINE)
    resolved = resolve(folder / "searches" / "mine.toml")
    assert resolved.spec.algorithm == algorithm
    assert resolved.spec.data.dataset == str(folder / "squares.npz")


def test_new_leaves_a_search_file_alone(vaetune, refused, folder):
    vaetune("new", "mine")
    assert "searches/mine.toml already exists." in refused("new", "mine")


@pytest.mark.parametrize("name", ["best", "baselines", "a/b", "..", "mine.toml"])
def test_new_refuses_what_no_search_can_be_named(refused, folder, name):
    refused("new", name)
    assert not (folder / "searches").exists()


def test_new_of_an_unknown_algorithm_is_a_usage_error(vaetune, folder):
    assert vaetune("new", "mine", "--algorithm", "genetic")[0] == 2


@pytest.mark.slow
def test_check_tries_a_search_and_writes_nothing(vaetune, folder):
    before = contents(folder)
    code, out, error = vaetune("check", "squares.toml", "--batch-size", 64, "--no-baseline")
    assert (code, error) == (0, "")
    assert out.startswith("vaetune 0.1.0: check of squares\n")
    assert re.search(r"training\.batch_size +64 +flag", out)
    assert "25 training and 5 validation images of 9 x 10 x 1" in out
    assert "To come: 6 trials of 5 configurations, 11 epochs." in out
    assert "saved, and read back the same" in out
    assert len(re.findall(r"ms a step of 25 images$", out, re.MULTILINE)) == 5
    assert "Its batches are of all training images: there are no more." in out
    assert re.search(r"^Time, an estimate: \d.* (seconds?|minutes)\.$", out, re.MULTILINE)
    assert re.search(r"^Memory: .* at most so far", out, re.MULTILINE)
    assert re.search(r"^Disk: \d+ MB at most", out, re.MULTILINE)
    assert out.endswith("Ready. Next: vaetune search squares.toml and the same flags\n")
    assert contents(folder) == before


def test_check_refuses_what_search_would(refused, folder):
    assert "squares.toml: unknown key" in changed_search(refused, folder, "seed = 3", "sead = 3")
    assert "There is no image set" in refused("check", "squares.toml", "--dataset", "gone.npz")
    assert 'No search named "none"' in refused("check", "none")
    (folder / "best.toml").write_text(SEARCH_FILE)
    assert "results/best/ is reserved" in refused("check", "best.toml")


def changed_search(refused, folder, old, new):
    (folder / "squares.toml").write_text(SEARCH_FILE.replace(old, new))
    error = refused("check", "squares.toml")
    (folder / "squares.toml").write_text(SEARCH_FILE)
    return error


@pytest.mark.slow
def test_check_says_what_does_not_fit_into_memory(refused, folder, monkeypatch):
    from vaetune.search.preflight import probe

    def exhausted(*given):
        raise MemoryError

    monkeypatch.setattr(probe.EpochRunner, "train", exhausted)
    assert "There is not enough memory to train" in refused("check", "squares.toml")


@pytest.mark.slow
def test_colour_images_of_a_user_go_from_check_to_report(vaetune, folder):
    """Circles and boxes in colour, in a folder for each."""
    generator = np.random.default_rng(0)
    for number in range(36):
        image = Image.new("RGB", (32, 40), tuple(generator.integers(0, 80, 3).tolist()))
        shape = ("circles", "boxes")[number % 2]
        draw = ImageDraw.Draw(image)
        corner = int(generator.integers(2, 12))
        kind = draw.ellipse if shape == "circles" else draw.rectangle
        colour = tuple(generator.integers(120, 255, 3).tolist())
        kind((corner, corner, corner + 18, corner + 18), fill=colour)
        (folder / "shapes" / shape).mkdir(parents=True, exist_ok=True)
        image.save(folder / "shapes" / shape / f"{number}.png")
    vaetune("new", "shapes", "--algorithm", "random", "--dataset", "shapes")
    path = folder / "searches" / "shapes.toml"
    text = re.sub(r"values = \[[^\]]*\]", "values = [2, 3]", path.read_text())
    path.write_text(text.replace("baseline = true", "baseline = false"))
    flags = ("--max-epochs", 1, "--max-trials", 2)
    for command in (
        ("check", "shapes", *flags),
        ("search", "shapes", *flags),
        ("evaluate", "--importance-samples", 2),
        ("best", "--export"),
        ("report",),
    ):
        code, out, error = vaetune(*command)
        assert code == 0, error
        if command[0] in ("check", "search"):
            assert "24 training and 6 validation images of 40 x 32 x 3" in out
        if command[0] == "evaluate":
            assert re.search(r"kNN accuracy of z_mean +\d+\.\d%", out)
    exported = Image.open(folder / "results" / "best" / "reconstructions.png")
    assert len(exported.convert("RGB").getcolors(2**24)) > 100, "they are in colour"
    assert (
        "40 \N{MULTIPLICATION SIGN} 32 \N{MULTIPLICATION SIGN} 3"
        in (folder / "results" / "report.html").read_text()
    )
