"""`vaetune train`: one configuration outside a search."""

import re

import pytest
from user_folder import SEARCH_FILE

from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_charts", "without_reading_back")


def test_train_puts_one_configuration_among_the_baselines(vaetune, folder):
    code, out, _ = vaetune(
        *("train", "--dataset", "squares.npz", "--epochs", 2, "--filters-1", 2),
        *("--filters-2", 3, "--dense-units", 4, "--latent-dim", 3, "--learning-rate", 0.01),
        *("--batch-size", 8, "--name", "mine", "--image-size", "8x12"),
    )
    assert code == 0
    assert "in results/baselines/mine/" in out
    study = load_study(folder / "results" / "baselines" / "mine")
    assert study.started.data.image_shape[:2] == (8, 12)
    (trial,) = study.trials
    assert trial.hyperparameters == {
        "filters_1": 2,
        "filters_2": 3,
        "dense_units": 4,
        "latent_dim": 3,
        "learning_rate": 0.01,
    }
    assert [epoch.epoch for epoch in trial.epochs] == [1, 2]


@pytest.mark.slow
def test_train_reads_images_with_its_options(vaetune, folder):
    code, out, _ = vaetune("train", "--dataset", "squares.npz", "--image-size", 12, "--epochs", 1)
    assert code == 0
    assert "validation images of 12 x 12 x 1" in out


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
    assert f"Trial {winner.trial_id} of mine, trained from scratch\n" in out
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
    assert "The search is complete: nothing is left to train." in out


@pytest.mark.slow
def test_train_stops_when_its_patience_is_over_and_stays_stopped(vaetune, folder):
    command = ("train", "--dataset", "squares.npz", "--epochs", 50, "--patience", 2)
    rate = ("--learning-rate", 0.5, "--filters-1", 2, "--filters-2", 3, "--name", "mine")
    code, out, _ = vaetune(*command, *rate)
    assert code == 0
    assert "Stopped early: no improvement for several epochs.\n" in out
    folder = folder / "results" / "baselines" / "mine"
    (trial,) = load_study(folder).trials
    assert trial.epochs[-1].epoch == trial.best.epoch + 2 < 50
    code, out, _ = vaetune(*command, *rate)
    assert "The search is complete: nothing is left to train." in out
    (folder / "trials" / "0000" / "checkpoint.npz").write_bytes(b"no archive")
    assert vaetune(*command, *rate)[0] == 0
    (again,) = load_study(folder).trials
    assert [e.val_loss for e in again.epochs] == [e.val_loss for e in trial.epochs]
    assert vaetune("best", "baselines/mine", "--export")[0] == 0


def test_a_trial_to_train_needs_its_search(vaetune, folder):
    code, _, error = vaetune("train", "--trial", "0001")
    assert code == 2
    assert "--trial goes with --best" in error


def test_training_for_no_epochs_is_a_usage_error(vaetune, folder):
    code, _, error = vaetune("train", "--epochs", 0)
    assert code == 2
    assert "--epochs" in error
