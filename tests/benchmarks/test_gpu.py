"""The measurements on a GPU run to their ends, and their tables count what they should."""

import os
import subprocess
import sys
from pathlib import Path

import gpu_tables
import numpy as np
import pytest
from image_sets import make_split
from workloads import read_lines

BENCHMARKS = Path(gpu_tables.__file__).parent

WARM = {"what": "search of mnist", "space": "0.1", "run": "warm"}


def goal(rows, measure):
    lines = gpu_tables.goals_table(rows).splitlines()
    (line,) = (line for line in lines if line.startswith(f"| {measure} |"))
    return [cell.strip() for cell in line.split("|")[3:5]]


def test_goals_count_searches_with_one_worker_in_float32():
    others = ({"workers": 4}, {"precision": "mixed_bfloat16"}, {"space": "default"})
    rows = [{**WARM, **other, "seconds": 1.0} for other in ({}, *others)]
    rows[0]["seconds"] = 44.5
    assert goal(rows, "the search of MNIST, from the cache") == ["44.5 s", "yes"]
    assert goal(rows, "the search of the digits, from the cache") == ["not measured", "**no**"]


@pytest.mark.parametrize(
    ("complete", "cells"), [(True, ["0.2", "**no**"]), (False, ["not measured", "**no**"])]
)
def test_keras_tuner_is_compared_only_if_it_ended(complete, cells):
    theirs = {"what": "keras-tuner", "seconds": 200.0, "complete": complete}
    rows = [{**WARM, "seconds": 40.0}, theirs]
    assert goal(rows, "the same, as a share of Keras Tuner's time on the same card") == cells


def test_a_second_search_compiles_nothing():
    measure = "programs that a second search compiles"
    cold = {**WARM, "run": "cold", "programs": 2}
    assert goal([cold, {**WARM, "programs": 0}], measure) == ["0", "yes"]
    assert goal([cold, {**WARM, "programs": 1}], measure) == ["1", "**no**"]


def test_the_parts_of_a_search_add_up_to_its_time():
    parts = {"start_s": 5.0, "trials_s": 20.0, "training_s": 12.0, "validation_s": 3.0}
    row = {**WARM, **parts, "rescoring_s": 2.0, "seconds": 28.0}
    others = [{**row, "workers": 4}, {**WARM, "run": "none", "seconds": 90.0}]
    (line,) = gpu_tables.time_table([row, *others]).splitlines()[2:]
    title, *seconds = (cell.strip() for cell in line.strip("|").split("|"))
    assert title == "50,000 images of MNIST, space of 0.1, compiled, from the cache"
    assert seconds == ["5.0 s", "12.0 s", "3.0 s", "5.0 s", "2.0 s", "1.0 s"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("mnist --space default", 3),
        ("mnist --workers 2 --runs cold warm", 2),
        ("commands", 1),
        ("keras-tuner", 1),
        ("keras-tuner --limit 1", 1),
        ("steps", 2),
    ],
)
def test_every_measurement_runs_to_its_end(tmp_path, arguments, count):
    card = tmp_path / "bin" / "nvidia-smi"
    card.parent.mkdir()
    card.write_text("#!/bin/sh\necho 'A card, 1.0'\n")
    card.chmod(0o755)
    train, test = make_split(120, (28, 28, 1), 1), make_split(40, (28, 28, 1), 2)
    images, results = tmp_path / "small.npz", tmp_path / "gpu.jsonl"
    np.savez(
        images, x_train=train.images, y_train=train.labels, x_test=test.images, y_test=test.labels
    )
    files = ("--images", images, "--results", results)
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", *arguments.split(), *map(str, files)],
        env={**os.environ, "PATH": f"{card.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = list(read_lines(results))
    assert len(rows) == count
    assert all(row["card"] == "A card" for row in rows)
    searches = {row["run"]: row for row in rows if "run" in row}
    if {"cold", "none"} <= searches.keys():
        assert searches["cold"]["first_epoch_s"] > searches["none"]["first_epoch_s"]
