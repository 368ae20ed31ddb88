"""Several commands in a row, help, the version and what the commands import."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vaetune.cli import app
from vaetune.cli.console import say
from vaetune.study.builder import load_study


@pytest.mark.slow
def test_a_search_is_listed_exported_and_reported(
    vaetune, folder, without_reading_back, without_figures, request
):
    code, out, error = vaetune("search", "./squares.toml", "--results", "found")
    assert (code, error) == (0, "")
    header = out[: out.index("\nKeras example ")]
    assert re.search(r"budget\.max_epochs +3 +file", header)
    assert re.search(r"budget\.factor +3 +default", header)
    assert re.search(r"device +auto +default +CPU, \d+ threads?", header)
    assert "25 training and 5 validation images of 9 x 10 x 1" in header
    assert "6 trials of 5 configurations, 11 epochs" in header
    assert len(re.findall(r"^trial \d{4} \(\d of 6\) ", out, re.MULTILINE)) == 6
    assert "Report: found/report.html" in out
    page = (folder / "found" / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")

    code, out, _ = vaetune("trials", "--results", "found", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert [row["status"] for row in rows] == ["completed"] * 6
    documented_fields = {
        *("trial_id", "configuration", "parent", "bracket", "rung", "status", "epoch_from"),
        *("epoch_to", "val_loss", "reconstruction_loss", "kl_loss", "parameters"),
        *("duration_s", "hyperparameters", "error"),
    }
    assert all(documented_fields <= set(row) for row in rows)

    winner = load_study(folder / "found" / "squares").winner
    code, out, _ = vaetune("best", "--export", "--results", "found")
    assert code == 0
    assert f"{winner.score:.2f} nats per image" in out
    assert re.search(r"^  rescored +[\d.]+ \+- [\d.]+ nats \(4 posterior samples of 5 ", out, re.M)
    assert (folder / "found" / "best" / "vae.keras").exists()

    request.getfixturevalue("without_page")  # The search drew the charts.
    code, out, _ = vaetune("report", "--results", "found")
    assert (code, out) == (0, "Report: found/report.html\n")


@pytest.mark.slow
@pytest.mark.usefixtures("shared_probes", "without_charts", "without_figures")
def test_colour_images_are_checked_searched_evaluated_and_exported(
    vaetune, folder, without_reading_back
):
    """The images are coloured circles and boxes, with one folder per class."""
    generator = np.random.default_rng(0)
    for number in range(36):
        image = Image.new("RGB", (32, 40), tuple(generator.integers(0, 80, 3).tolist()))
        class_name = ("circles", "boxes")[number % 2]
        draw = ImageDraw.Draw(image)
        corner = int(generator.integers(2, 12))
        draw_shape = draw.ellipse if class_name == "circles" else draw.rectangle
        colour = tuple(generator.integers(120, 255, 3).tolist())
        draw_shape((corner, corner, corner + 18, corner + 18), fill=colour)
        (folder / "shapes" / class_name).mkdir(parents=True, exist_ok=True)
        image.save(folder / "shapes" / class_name / f"{number}.png")
    vaetune("new", "shapes", "--algorithm", "random", "--dataset", "shapes")
    path = folder / "searches" / "shapes.toml"
    text = re.sub(r"values = \[[^\]]*\]", "values = [2, 3]", path.read_text())
    # Without these lines, all models have the same structure.
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
    assert len(exported.convert("RGB").getcolors(2**24)) > 100, "the reconstructions are in colour"
    assert (
        "40 \N{MULTIPLICATION SIGN} 32 \N{MULTIPLICATION SIGN} 3"
        in (folder / "results" / "report.html").read_text()
    )


@pytest.mark.parametrize("command", ["best", "evaluate", "trials", "report"])
def test_commands_suggest_a_search_if_there_is_none(refused, command):
    assert "Run `vaetune search hyperband`" in refused(command)


@pytest.mark.slow
def test_help_and_the_list_of_searches_do_not_import_tensorflow(folder):
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


def run_process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "vaetune", *arguments], text=True, timeout=60, check=False, **options
    )


def test_a_full_disk_behind_the_output_is_one_line(folder):
    with Path("/dev/full").open("w") as full:
        done = run_process("search", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == (
        "vaetune: The output cannot be written: No space left on device. Everything found so far "
        "is kept.\n"
    )


def test_a_deleted_working_directory_is_one_line(folder, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os, runpy, sys; os.rmdir(os.getcwd()); sys.argv = ['vaetune', 'search']; "
    code += "runpy.run_module('vaetune', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "vaetune: The working directory was deleted. Change to another one.\n"


SPECIAL = "\N{MINUS SIGN}1\N{EN DASH}2 é 字"


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("utf-8", SPECIAL), ("latin-1", "-1-2 é \\u5b57"), ("ascii", "-1-2 \\xe9 \\u5b57")],
)
def test_characters_that_the_output_does_not_have_are_replaced(monkeypatch, encoding, printed):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    app.escape_unknown_characters()
    say(SPECIAL)
    assert stdout.buffer.getvalue().decode(encoding) == f"{printed}\n"


def test_the_version_is_printed(vaetune):
    assert vaetune("--version")[:2] == (0, "vaetune 0.2.0\n")


def test_help_lists_the_commands(vaetune):
    _, out, _ = vaetune("--help")
    commands = "search new check trials best evaluate explain encode score report train cache"
    listed = [name for name in commands.split() if re.search(rf"^\W*{name} ", out, re.MULTILINE)]
    assert " ".join(listed) == commands


def test_an_unknown_option_is_a_usage_error(vaetune, folder):
    assert vaetune("search", "hyperband", "--epoch", 3)[0] == 2
