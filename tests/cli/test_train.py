"""`vaetune train`: one configuration outside a search."""

import json
import re

import numpy as np
import pytest
from user_folder import SEARCH_FILE

from vaetune.report.text.trials import best_epoch
from vaetune.study.builder import load_study
from vaetune.study.checkpoint import Checkpoint
from vaetune.training.restore import restore_best

pytestmark = pytest.mark.usefixtures("without_page", "without_figures", "without_reading_back")


def test_train_records_one_configuration_as_a_baseline(vaetune, folder):
    code, out, _ = vaetune(
        *("train", "--dataset", "squares.npz", "--epochs", 2, "--filters-1", 2),
        *("--filters-2", 3, "--dense-units", 4, "--latent-dim", 3, "--learning-rate", 0.01),
        *("--batch-size", 8, "--name", "mine", "--image-size", "8x12"),
    )
    assert code == 0
    assert "in results/baselines/mine/" in out
    assert "validation images of 8 x 12 x 1" in out
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


def test_train_trains_the_winner_of_a_search_from_scratch(vaetune, folder):
    text = SEARCH_FILE.replace("batch_size = 16", "").replace(
        "[space]", "[space]\nbatch_size = { values = [8, 16] }\nbeta = { min = 0.5, max = 2.0 }"
    )
    (folder / "mine.toml").write_text(text)
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

    # Training with other options needs a new folder. The same options continue in their folder.
    code, out, _ = vaetune(*command)
    assert f"{name}-2/" in out
    code, out, _ = vaetune(*command, "--learning-rate-decay", "cosine")
    assert "The search is complete: nothing is left to train." in out


FULL_RECIPE = {
    "levels": 2,
    "level_channels": 2,
    "activation": "gelu",
    "normalization": "batch",
    "output_bias": "mean",
    "learning_rate_warmup": 1.0,
    "weight_average": 0.9,
    "kl_warmup": 1.0,
    "free_bits": 0.1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "learning_rate_decay": "cosine",
}


def test_train_accepts_a_winner_with_levels_and_all_training_options(vaetune, folder):
    lines = [f"{name} = {{ value = {json.dumps(value)} }}" for name, value in FULL_RECIPE.items()]
    text = SEARCH_FILE.replace("max_epochs = 3", "max_epochs = 2\nmax_trials = 1")
    text = text.replace("hyperband", "random") + "\n".join(lines)
    (folder / "mine.toml").write_text(text)
    code, _, error = vaetune("search", "mine.toml", "--no-baseline")
    assert (code, error) == (0, "")
    winner = load_study(folder / "results" / "mine").winner
    assert dict(winner.hyperparameters).items() >= FULL_RECIPE.items()

    code, out, error = vaetune("train", "--best", "mine", "--epochs", 2)
    assert (code, error) == (0, "")
    name = f"baselines/mine-trial-{winner.trial_id}-squares-2"
    assert out.endswith(f"Next: vaetune evaluate {name}\n")
    study = load_study(folder / "results" / name)
    assert study.winner.hyperparameters == winner.hyperparameters
    checkpoint = Checkpoint.load(study.trial_folder(study.winner.trial_id))
    restored = restore_best(study, study.winner)
    variables = restored.ordered_variables
    for variable, array in zip(variables, checkpoint.best_weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), array)

    code, out, _ = vaetune("evaluate", name, "--importance-samples", 2)
    assert code == 0
    assert re.search(r"active channels, level 2 +\d of 2 \(3 x 3\)", out)
    code, out, _ = vaetune("best", name, "--export", "--output", "model")
    assert code == 0
    card = (folder / "model" / "README.md").read_text()
    assert "two levels of latent variables" in card
    assert "| active channels, level 2 |" in card
    assert "| activation | gelu |" in card


@pytest.mark.slow
def test_a_training_that_patience_stopped_stays_complete(vaetune, folder):
    command = ("train", "--dataset", "squares.npz", "--epochs", 50, "--patience", 2)
    rate = ("--learning-rate", 0.5, "--filters-1", 2, "--filters-2", 3, "--name", "mine")
    code, out, _ = vaetune(*command, *rate)
    assert code == 0
    assert "Stopped early: no improvement for several epochs.\n" in out
    folder = folder / "results" / "baselines" / "mine"
    (trial,) = load_study(folder).trials
    assert trial.epochs[-1].epoch == trial.best.epoch + 2 < 50
    assert best_epoch(trial) == f"{trial.best.epoch} of {trial.best.epoch + 2}"
    code, out, _ = vaetune(*command, *rate)
    assert "The search is complete: nothing is left to train." in out
    (folder / "trials" / "0000" / "checkpoint.npz").write_bytes(b"no archive")
    assert vaetune(*command, *rate)[0] == 0
    (again,) = load_study(folder).trials
    assert [e.val_loss for e in again.epochs] == [e.val_loss for e in trial.epochs]
    assert vaetune("best", "baselines/mine", "--export")[0] == 0


def test_trial_without_best_is_a_usage_error(vaetune, folder):
    code, _, error = vaetune("train", "--trial", "0001")
    assert code == 2
    assert "--trial goes with --best" in error


def test_zero_epochs_are_a_usage_error(vaetune, folder):
    code, _, error = vaetune("train", "--epochs", 0)
    assert code == 2
    assert "--epochs" in error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--set", "stages"), "--set expects NAME=VALUE, received 'stages'."),
        (("--set", "stagse=3"), """--set expects a hyperparameter, received 'stagse'. Did you"""),
        (("--set", "stages=9"), "--set stages needs whole numbers from 2 to 5, received 9."),
        (("--set", "activation=swish"), '--set activation needs one of "relu", "leaky_relu", '),
        (
            ("--set", "level_channels=3"),
            "--set level_channels is never used, received 3: it is used only where levels is 2 or "
            "3, but levels is 1.",
        ),
        (("--set", "stages=3", "--set", "stages=4"), "--set stages is given twice."),
        (
            ("--beta", 2, "--set", "beta=1"),
            "--beta and --set beta give the same hyperparameter.",
        ),
        (
            ("--batch-size", 8, "--set", "batch_size=4"),
            "--batch-size conflicts with --set batch_size.",
        ),
        (("--latent-dim", 0, "--set", "stages=3"), "--latent-dim needs whole numbers of at least"),
        (("--name", "../x"), "Results cannot be named '../x'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(refused, options, expected):
    assert refused("train", "--epochs", 1, *options).startswith(f"vaetune: {expected}")


def test_set_changes_hyperparameters_of_the_keras_example_and_of_a_trial(vaetune, folder):
    own = ("--filters-1", 2, "--filters-2", 3, "--epochs", 1, "--dataset", "squares.npz")
    command = ("train", *own, "--set", "output_bias=mean", "--set", "kl_warmup=0.5")
    code, out, error = vaetune(*command, "--set", "batch_size=8")
    assert (code, error) == (0, "")
    assert re.search(r"space\.output_bias +mean, pinned +flag", out)
    (name,) = [path.name for path in (folder / "results" / "baselines").iterdir()]
    assert "bias-mean-KL-warm-up-0.5" in name
    (trial,) = load_study(folder / "results" / "baselines" / name).trials
    values = {"output_bias": "mean", "kl_warmup": 0.5, "batch_size": 8, "filters_2": 3}
    assert dict(trial.hyperparameters).items() >= values.items()
    (folder / "mine.toml").write_text(SEARCH_FILE)
    assert vaetune("search", "mine.toml", "--no-baseline")[0] == 0
    code, out, error = vaetune(
        *("train", "--best", "mine", "--epochs", 1, "--set", "kl_warmup=0.5"),
        *("--set", "latent_dim=5", "--name", "again"),
    )
    assert (code, error) == (0, "")
    (again,) = load_study(folder / "results" / "baselines" / "again").trials
    winner = load_study(folder / "results" / "mine").winner.hyperparameters
    assert again.hyperparameters == {**winner, "kl_warmup": 0.5, "latent_dim": 5}
