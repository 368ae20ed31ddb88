"""The commands together: from search to report, exit codes, help, and what they import."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vaetune.study.builder import load_study


@pytest.mark.slow
def test_search_best_report_from_beginning_to_end(
    vaetune, folder, without_reading_back, without_figures, request
):
    code, out, error = vaetune("search", "./squares.toml", "--results", "found")
    assert (code, error) == (0, "")
    before_the_first_trial = out[: out.index("\nKeras example ")]
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

    request.getfixturevalue("without_page")  # The search has drawn the charts.
    code, out, _ = vaetune("report", "--results", "found")
    assert (code, out) == (0, "Report: found/report.html\n")


@pytest.mark.slow
@pytest.mark.usefixtures("shared_probes", "without_charts", "without_figures")
def test_colour_images_of_a_user_go_from_check_to_report(vaetune, folder, without_reading_back):
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
    # With one level and two stages, all models have one structure.
    text = re.sub(r"^(?:level|stages|normalization).*\n", "", text, flags=re.MULTILINE)
    path.write_text(text.replace("baseline = true", "baseline = false"))
    flags = ("--max-epochs", 1, "--max-trials", 2)
    for command in (
        ("check", "shapes", *flags),
        ("search", "shapes", *flags),
        ("evaluate", "--importance-samples", 2),
        ("best", "--export"),
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


@pytest.mark.parametrize("command", ["best", "evaluate", "trials", "report"])
def test_commands_that_need_a_search_say_how_to_get_one(refused, command):
    assert "Run `vaetune search hyperband`" in refused(command)


@pytest.mark.slow
def test_help_and_the_list_of_searches_import_no_tensorflow(folder):
    code = """
import runpy, sys
for arguments in (["--help"], ["search"], ["search", "--help"]):
    sys.argv = ["vaetune", *arguments]
    try:
        runpy.run_module("vaetune", run_name="__main__")
    except SystemExit as done:
        assert not done.code
heavy = {"tensorflow", "keras", "keras_tuner", "matplotlib"} & set(sys.modules)
print(sorted(heavy), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == "[]\n"
    assert done.stdout.count("Usage: vaetune") == 2


def test_the_version_is_printed(vaetune):
    assert vaetune("--version")[:2] == (0, "vaetune 0.2.0\n")


def test_help_names_every_command(vaetune):
    _, out, _ = vaetune("--help")
    for command in ("new", "check", "search", "train", "best", "evaluate", "trials", "report"):
        assert re.search(rf"^\W*{command}\b", out, re.MULTILINE)


def test_an_unknown_option_is_a_usage_error(vaetune, folder):
    assert vaetune("search", "hyperband", "--epoch", 3)[0] == 2
