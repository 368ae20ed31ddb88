"""Searches, trials and evaluations as plain text, JSON and CSV."""

import csv
import io
import json
import math
import re
from dataclasses import replace

import pytest
from journals import (
    OPEN_PLAN,
    PLAN,
    SPEC,
    VALUES,
    make_data,
    make_evaluated,
    make_study,
    make_trial_events,
    write_baseline,
)

from vaetune.config.compilation import Compilation
from vaetune.config.search_file import resolve
from vaetune.config.space import REFERENCE, Pinned, Space
from vaetune.config.spec import DataSpec, single_configuration
from vaetune.config.words import short_hyperparameters
from vaetune.report.text import (
    evaluations,
    images,
    search as search_module,
    trials as trials_module,
)
from vaetune.study.catalog import list_baselines
from vaetune.study.events import TrialRetried
from vaetune.study.records import Rung
from vaetune.study.scores import Estimate

DOCUMENTED_KEYS = [
    "trial_id",
    "configuration",
    "parent",
    "bracket",
    "rung",
    "status",
    "epoch_from",
    "epoch_to",
    "val_loss",
    "reconstruction_loss",
    "kl_loss",
    "parameters",
    "duration_s",
    "hyperparameters",
    "error",
]


@pytest.fixture
def study():
    """Two completed configurations, the first one promoted; a failed trial and a running one."""
    return make_study(
        *make_trial_events("0000", [210.0, 208.0]),
        *make_trial_events("0001", [200.0], configuration=1, hyperparameters=REFERENCE),
        *make_trial_events(
            "0002", [190.0, 192.0], parent="0000", rung=1, epoch_from=2, duration_s=12.25
        ),
        *make_trial_events(
            "0003",
            [math.nan],
            configuration=2,
            status="failed",
            parameters=None,
            error='A loss became NaN, "again", in epoch 1.',
        ),
        *make_trial_events("0004", [], configuration=3, status=None, epoch_to=1),
    )


def parse_strictly(text):
    """Parses JSON in which NaN and Infinity are errors, as in most programs."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# Trials


def test_the_json_is_an_array_of_trials_with_the_documented_keys(study):
    trials = parse_strictly(trials_module.trials_as_json(study))
    assert [trial["trial_id"] for trial in trials] == ["0000", "0001", "0002", "0003", "0004"]
    for trial in trials:
        assert [key for key in trial if key in DOCUMENTED_KEYS] == DOCUMENTED_KEYS
    assert {key: trials[2][key] for key in DOCUMENTED_KEYS} == {
        "trial_id": "0002",
        "configuration": 0,
        "parent": "0000",
        "bracket": 1,
        "rung": 1,
        "status": "completed",
        "epoch_from": 2,
        "epoch_to": 4,
        "val_loss": 190.0,
        "reconstruction_loss": 142.5,
        "kl_loss": 47.5,
        "parameters": 69_076,
        "duration_s": 12.25,
        "hyperparameters": VALUES,
        "error": None,
    }


def test_missing_and_non_finite_numbers_are_null_in_the_json(study):
    failed, running = parse_strictly(trials_module.trials_as_json(study))[3:]
    assert failed["val_loss"] is None
    assert failed["parameters"] is None
    assert failed["error"] == 'A loss became NaN, "again", in epoch 1.'
    assert (running["status"], running["val_loss"], running["duration_s"]) == ("running", None, 0)
    infinite = make_study(*make_trial_events("0000", [200.0], duration_s=math.inf))
    assert parse_strictly(trials_module.trials_as_json(infinite))[0]["duration_s"] is None


def test_the_json_of_a_search_without_trials_is_an_empty_array():
    assert parse_strictly(trials_module.trials_as_json(make_study())) == []


def test_the_csv_has_a_column_for_each_hyperparameter(study):
    rows = list(csv.DictReader(io.StringIO(trials_module.trials_as_csv(study))))
    assert len(rows) == 5
    assert [key for key in rows[0] if key in DOCUMENTED_KEYS] == [
        key for key in DOCUMENTED_KEYS if key != "hyperparameters"
    ]
    assert "hyperparameters" not in rows[0]
    assert {name: rows[2][name] for name in VALUES} == {
        "filters_1": "16",
        "filters_2": "128",
        "dense_units": "64",
        "latent_dim": "8",
        "learning_rate": "0.00212345",
    }
    assert (rows[2]["trial_id"], rows[2]["val_loss"]) == ("0002", "190.0")
    assert rows[3]["error"] == 'A loss became NaN, "again", in epoch 1.'
    assert (rows[3]["val_loss"], rows[0]["parent"], rows[2]["parent"]) == ("", "", "0000")


def test_integers_have_no_decimal_point_in_the_csv(study):
    rows = list(csv.DictReader(io.StringIO(trials_module.trials_as_csv(study))))
    assert [row["parameters"] for row in rows] == ["69076", "69076", "69076", "", ""]
    assert [row["best_epoch"] for row in rows] == ["2", "1", "3", "", ""]


def test_the_csv_of_a_search_without_trials_is_a_header():
    text = trials_module.trials_as_csv(make_study())
    assert text.startswith("trial_id,configuration,parent,")
    assert "\n" not in text


def test_the_table_has_a_line_for_each_trial(study):
    header, *lines = trials_module.trials_as_table(study).splitlines()
    assert " ".join(header.split()) == (
        "trial config from bracket rung status epochs val_loss recon KL active seconds parameters "
        "hyperparameters"
    )
    assert len(lines) == 5
    assert " ".join(lines[2].split()).startswith(
        "0002 0 0000 1 1 completed 3-4 190.00 142.50 47.50 - 12.2 69,076 filters"
    )
    assert lines[2].endswith("filters 16/128, dense 64, latent 8, rate 0.0021")
    assert lines[3].split()[5:13] == ["failed", "1-1", "-", "-", "-", "-", "7.5", "-"]
    assert lines[3].endswith('| A loss became NaN, "again", in epoch 1.')
    assert lines[4].split()[5] == "running"


def test_the_columns_of_the_table_are_aligned(study):
    header, *lines = trials_module.trials_as_table(study).splitlines()
    start = header.index("hyperparameters")
    assert all(line[start:].startswith("filters ") for line in lines)
    assert all(line[start - 1] == " " for line in lines)


# A search before it runs


def test_the_resolved_search_has_every_value_and_its_origin(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seed = 5\n[space]\nlatent_dim = { value = 3 }\nfilters_1 = { min=1, max=9 }")
    resolved = resolve(path, {"budget.max_epochs": 3})
    text = search_module.describe_search(
        resolved.spec, make_data(), resolved.origins, "CPU, 2 threads", Compilation(6)
    )
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}
    shown = {key: " ".join(row.split()) for key, row in rows.items()}
    assert shown == {
        "algorithm": "hyperband default",
        "seed": "5 file",
        "baseline": "true default",
        "data.dataset": "digits default 5,000 training and 1,000 validation images of 28 x 28 x 1",
        "data.binarize": "none default",
        "data.likelihood": "bernoulli default",
        "budget.max_epochs": "3 flag",
        "budget.factor": "3 default",
        "budget.min_epochs": "1 default",
        "budget.hyperband_iterations": "1 default",
        "budget.promote_from": "last default",
        "limits.max_failure_rate": "0.5 default",
        "limits.max_retries": "1 default",
        "limits.keep_best": "3 default",
        "limits.final_seeds": "0 default",
        "training.batch_size": "128 default",
        "training.precision": "float32 default",
        "training.compile": "auto default up to 6 programs, compiled once",
        "training.learning_rate_decay": "none default",
        "space.filters_1": "1 to 9, linear file",
        "space.filters_2": "64, pinned default",
        "space.dense_units": "16, pinned default",
        "space.latent_dim": "3, pinned file",
        "space.learning_rate": "0.001, pinned default",
        "device": "auto default CPU, 2 threads",
    }


def test_starting_points_are_abbreviated():
    points = ({"filters_1": 32, "latent_dim": 8}, {"learning_rate": 0.003})
    text = search_module.describe_search(
        SPEC.model_copy(update={"start_with": points}), make_data(), {"start_with": "file"}, "CPU"
    )
    assert re.search(r"^  start_with +filters_1 32, latent 8; rate 0\.003 +file$", text, re.M)


def test_choices_ranges_and_a_single_thread_are_shown():
    text = search_module.describe_search(SPEC, make_data(), {}, "GPU (NVIDIA H100), 1 thread")
    assert "16, 32, 64, 128, 256" in text
    assert "0.0001 to 0.01, log" in text
    assert re.search(
        r"^  device +auto +default +GPU \(NVIDIA H100\), 1 thread$", text, re.MULTILINE
    )


def test_a_plan_counts_trials_configurations_and_epochs():
    assert search_module.describe_plan(OPEN_PLAN) == "at most 11 epochs"
    (rung,) = OPEN_PLAN
    limited = [rung.model_copy(update={"trials": 5})]
    assert search_module.describe_plan(limited) == "at most 11 epochs, at most 5 trials"
    assert search_module.describe_share(OPEN_PLAN, 4, 7) == "7 of at most 11 epochs"
    assert search_module.describe_share(PLAN, 3, 4) == "3 of 4"
    assert search_module.describe_plan(PLAN) == "4 trials of 3 configurations, 5 epochs"
    one = Rung(bracket=0, rung=0, trials=1, epoch_from=0, epoch_to=1)
    assert search_module.describe_plan([one]) == "1 trial of 1 configuration, 1 epoch"
    many = Rung(bracket=0, rung=0, trials=1000, epoch_from=1, epoch_to=4)
    assert (
        search_module.describe_plan([many]) == "1,000 trials of 1,000 configurations, 3,000 epochs"
    )


def test_an_image_set_is_shown_by_its_size():
    assert images.describe_data(make_data(image_shape=(32, 16, 3), train_images=60_000)) == (
        "60,000 training and 1,000 validation images of 32 x 16 x 3"
    )


def test_searches_are_listed_in_columns():
    listed = search_module.list_searches(
        [("ant", "small"), ("hyperband", "the default"), ("bee", "")]
    )
    assert listed.splitlines() == ["  ant        small", "  hyperband  the default", "  bee"]
    assert search_module.list_searches([]) == ""


# The winner


def describe(study, reference=None):
    lines = search_module.describe_winner(study, study.winner, reference).splitlines()
    return dict(line.strip().split("  ", maxsplit=1) for line in lines)


def test_a_winner_is_shown_with_its_losses_its_configuration_and_its_origin(study):
    shown = {key: text.strip() for key, text in describe(study).items()}
    assert shown == {
        "validation loss": "190.00 nats per image (negative ELBO, 144.50 above the entropy floor "
        "of the data)",
        "reconstruction": "142.50",
        "KL": "47.50",
        "hyperparameters": "filters 16/128, dense 64, latent 8, rate 0.0021",
        "parameters": "69,076",
        "trained": "4 epochs, 19.8 s; best epoch 3",  # the parent's 7.5 s and its own 12.25 s
        "found by": "tiny: trial 0002, configuration 0, bracket 1, rung 1",
        "measured on": "1,000 validation images, one posterior sample of each, pixels as they are",
    }


def test_only_hyperband_has_brackets_and_rungs(study):
    spec = study.started.search.model_copy(update={"algorithm": "freeze_thaw"})
    other = replace(study, started=study.started.model_copy(update={"search": spec}))
    assert describe(other)["found by"].strip() == "tiny: trial 0002, configuration 0"


def test_binarised_pixels_are_mentioned_and_have_no_entropy_floor(study):
    started = study.started
    spec = started.search.model_copy(update={"data": DataSpec(binarize="threshold")})
    data = started.data.model_copy(update={"entropy_floor": 0.0})
    binary = replace(study, started=started.model_copy(update={"search": spec, "data": data}))
    shown = describe(binary)
    assert shown["validation loss"].strip() == "190.00 nats per image (negative ELBO)"
    assert shown["measured on"].endswith("of each, pixels binarised by a threshold")


def test_a_single_training_is_described_by_its_origin(study):
    spec = single_configuration(REFERENCE, 9, study.search)
    single = replace(study, started=study.started.model_copy(update={"search": spec}))
    assert describe(single)["found by"].strip() == "vaetune train, in tiny"
    shown = spec.model_copy(update={"description": "Trial 0001 of bold"})
    single = replace(study, started=study.started.model_copy(update={"search": shown}))
    assert describe(single)["found by"].strip() == "Trial 0001 of bold"


def test_a_searched_batch_size_and_beta_are_shown():
    shown = short_hyperparameters({**REFERENCE, "batch_size": 1024, "beta": 0.5})
    assert shown == "batch 1024, beta 0.5"


@pytest.mark.parametrize(
    ("loss", "shown"),
    [
        (230.0, "230.00 at its best epoch, 2 of 2: the winner is 40.00 nats below it"),
        (180.0, "180.00 at its best epoch, 2 of 2: the winner is 10.00 nats above it"),
    ],
)
def test_a_winner_is_compared_with_the_keras_example(tmp_path, study, loss, shown):
    write_baseline(tmp_path, loss=loss)
    [reference] = list_baselines(tmp_path).studies
    assert describe(study, reference)["Keras example"].strip() == shown


def test_a_trial_without_a_finished_epoch_is_described_as_such(study):
    text = search_module.describe_winner(study, study.trial("0004"), None)
    assert text == "Trial 0004 has no finished epoch."


def test_the_csv_has_columns_for_pinned_hyperparameters():
    search = SPEC.model_copy(update={"space": Space(latent_dim=Pinned(value=8))})
    text = trials_module.trials_as_csv(make_study(*make_trial_events("0000", [1.0]), search=search))
    header = text.splitlines()[0].split(",")
    assert header[-6:] == [*VALUES, "error"]


# Failed trials


def test_a_failed_trial_is_shown_in_full():
    begin, end = make_trial_events("0003", status="failed", error="ValueError: no", configuration=2)
    end = end.model_copy(update={"failed_in": 4, "traceback": "Traceback\n  here\n"})
    retry = TrialRetried(time=begin.time, trial_id="0003", attempt=1, error="OOM", traceback="x")
    text = trials_module.failures_in_full(make_study(begin, retry, end))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Trial 0003 (configuration 2) failed in epoch 4"
    assert "error ValueError: no" in lines
    assert "retry 1 after OOM" in lines
    assert lines[-2:] == ["Traceback", "here"]


def test_a_trial_that_failed_before_its_first_epoch_is_described_as_such():
    text = trials_module.failures_in_full(make_study(*make_trial_events("0000", status="failed")))
    assert text.startswith("Trial 0000 (configuration 0) failed before its first epoch")


def test_a_search_without_failures_is_described_as_such():
    study = make_study(*make_trial_events("0000", [200.0]))
    assert trials_module.failures_in_full(study) == "No trial of tiny failed."


# Evaluations


def make_evaluations():
    return {
        "trial 0018": make_evaluated("0018"),
        "Keras example": make_evaluated(
            negative_elbo=Estimate(197.0, None),
            kl_per_dimension=(3.5, 0.25),
            variance_per_dimension=(0.9, 0.5),
            knn_accuracy=None,
        ),
    }


def test_evaluations_of_models_are_columns_with_standard_errors():
    text = evaluations.evaluations_as_table(make_evaluations())
    assert re.search(r"^ +trial 0018 +Keras example$", text, re.MULTILINE)
    for key, ours, theirs in [
        ("negative ELBO, nats per image", "130.50 +- 1.25", "197.00"),
        ("  above the entropy floor, 46.00", "84.50", "151.00"),
        ("negative log-likelihood, bound", "121.75 +- 1.12", "121.75 +- 1.12"),
        ("active units", "2 of 3", "2 of 2"),
        ("kNN accuracy of z_mean", "93.5%", "no labels"),
    ]:
        line = rf"^  {re.escape(key)} +{re.escape(ours)} +{re.escape(theirs)}$"
        assert re.search(line, text, re.MULTILINE), key
    assert "  trial 0018: 12.00, 8.00, 0.25\n  Keras example: 3.50, 0.25" in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)


def test_the_table_of_evaluations_describes_the_protocol():
    text = evaluations.evaluations_as_table(make_evaluations())
    for phrase in (
        "1,000 test images; 32 posterior samples of each, seed 0",
        "importance-weighted bound: k = 500 on the first 1,000 test images",
        "varies by more than 0.01",
        "the 5 nearest z_mean of training images",
        "11 x 11",
    ):
        assert phrase in text


def test_decoding_z_mean_is_never_called_an_elbo():
    lines = evaluations.evaluations_as_table(make_evaluations()).splitlines()
    decoded = [line for line in lines if "z_mean decoded" in line]
    assert decoded
    assert all("(no ELBO)" in line for line in decoded)


def test_evaluations_as_json_have_all_fields():
    event = make_evaluated("0018", psnr=math.inf)
    (row,) = json.loads(evaluations.evaluations_as_json({"trial 0018": event}))
    assert row["model"] == "trial 0018"
    assert row["trial_id"] == "0018"
    assert row["psnr"] is None
    assert row["negative_elbo"] == {"mean": 130.5, "standard_error": 1.25}
    assert row["protocol"]["importance_samples"] == 500
    assert row["kl_per_dimension"] == [12.0, 8.0, 0.25]
    assert (row["above_entropy_floor"], row["active_units"]) == (84.5, 2)
    assert row["environment"]["device"] == "CPU"
