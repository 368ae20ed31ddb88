"""What `import vaetune` promises to scripts: light, typed, and whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_searches import TINY, changed

import vaetune
from vaetune.config.spec import Budget

SOURCE = str(Path(vaetune.__file__).parents[1])
NAMES = sorted(set(vaetune.__all__) - {"__version__"})


def run(code, *arguments, **options):
    done = subprocess.run(
        [sys.executable, *arguments, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": SOURCE},
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_door_offers_what_the_documentation_names():
    expected = "VAE SearchSpec Space VAEHyperModel VaetuneError evaluate_trial export_trial"
    expected += (
        " list_studies load_images load_model load_search load_study run_search write_report"
    )
    assert set(expected.split()) == set(NAMES)


def test_importing_vaetune_imports_nothing_heavy():
    told = json.loads(run("import json, sys, vaetune; print(json.dumps(sorted(sys.modules)))"))
    heavy = {"tensorflow", "keras", "numpy", "pandas", "matplotlib", "pydantic", "scipy", "rich"}
    assert not heavy & set(told)


def test_a_script_sees_real_types_under_strict_mypy(tmp_path):
    """Every public name has a type of its own, not Any; and its use is checked."""
    script = tmp_path / "script.py"
    revealed = "".join(f"reveal_type(vaetune.{name})\n" for name in NAMES)
    script.write_text(
        f"import vaetune\n{revealed}"
        'study = vaetune.run_search(vaetune.load_search("hyperband"), results="results")\n'
        "reveal_type(study)\n"
        "reveal_type(study.winner)\n"
        "reveal_type(vaetune.evaluate_trial(study).evaluation.negative_elbo.mean)\n"
        "reveal_type(vaetune.export_trial(study).folder)\n"
        'for one in vaetune.list_studies("results"):\n'
        "    reveal_type(one.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": SOURCE},
    )
    of_script = [line for line in done.stdout.splitlines() if line.startswith("script.py")]
    types = [line.partition("Revealed type is ")[2] for line in of_script]
    assert not [line for line in of_script if "error:" in line], done.stdout
    assert len(types) == len(NAMES) + 5
    assert not [one for one in types if one in ('"Any"', '"builtins.object"')]
    for expected in ("study.Study", "trial.Trial | None", "float", "Path", "str"):
        assert any(expected in one for one in types), expected


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (40, 9, 10), dtype=np.uint8)


@pytest.fixture(scope="module")
def study(tmp_path_factory, images):
    """A tiny search through the door."""
    spec = changed(TINY, budget=Budget(max_epochs=1), device="cpu")
    return vaetune.run_search(spec, images, tmp_path_factory.mktemp("door"), name="door")


@pytest.mark.slow
def test_a_search_over_arrays_leaves_them_as_they_were_and_continues(study, images, capsys):
    before = images.copy()
    spec = changed(TINY, budget=Budget(max_epochs=1), device="cpu")
    again = vaetune.run_search(spec, images, study.folder.parent, name="door")
    np.testing.assert_array_equal(images, before)
    assert again.winner == study.winner
    assert capsys.readouterr().out == "", "nothing was left to run"


@pytest.mark.slow
def test_a_line_is_printed_for_each_trial(tmp_path, images, capsys):
    spec = changed(TINY, algorithm="random", budget=Budget(max_epochs=1, max_trials=2))
    spec = changed(spec, device="cpu")
    vaetune.run_search(spec, images, tmp_path)
    first, *trials, rescored = capsys.readouterr().out.splitlines()
    assert first == "2 trials of 2 configurations, 2 epochs."
    labels = [line[:20].rstrip() for line in trials]
    assert labels == ["trial 0000 (1 of 2)", "trial 0001 (2 of 2)"]
    assert rescored.startswith("Measured 2 finalists again with ")
    vaetune.run_search(spec, images, tmp_path, name="quiet", verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_study_is_evaluated_exported_listed_and_reported(study, images, tmp_path):
    event = vaetune.evaluate_trial(study, images=images)
    assert event.trial_id == study.winner.trial_id
    present = vaetune.load_study(str(study.folder))
    assert vaetune.evaluate_trial(present, images=images) == event, "it was recorded"
    export = vaetune.export_trial(present, folder=tmp_path / "model")
    assert (export.folder, export.failures) == (tmp_path / "model", {})
    assert vaetune.load_model(tmp_path / "model" / "vae.keras").image_shape == (9, 10, 1)
    catalog = vaetune.list_studies(str(study.folder.parent))
    assert [one.name for one in catalog] == ["door"]
    assert len(catalog) == 1
    assert catalog.find().name == "door"
    assert vaetune.write_report(str(study.folder.parent)).name == "report.html"


@pytest.mark.slow
def test_a_study_shows_itself_in_a_notebook(study):
    page = study._repr_html_()
    assert f"Winner: trial {study.winner.trial_id}, {study.winner.score:.2f} nats" in page
    assert "<td>" in page
    assert (
        repr(study)
        == f"Study('door', {len(study.trials)} trials, winner {study.winner.trial_id!r})"
    )


def test_no_name_becomes_markup_in_a_notebook():
    from vaetune.study.notebook import study_as_html

    page = study_as_html("<script>alert(1)</script>", (), 0, "</p><img src=x>")
    assert "<script" not in page
    assert "<img" not in page


def test_other_settings_than_those_of_the_running_tensorflow_are_refused_in_one_line():
    told = run(
        "from vaetune.device import choose_device\n"
        "from vaetune.errors import DeviceError\n"
        "first = choose_device('cpu', threads=1)\n"
        "import tensorflow as tf\n"
        "tf.constant(1) + 1\n"
        "assert choose_device('auto', exact=True) == first\n"
        "try:\n"
        "    choose_device('cpu', threads=2)\n"
        "except DeviceError as error:\n"
        "    print(error)\n"
    )
    assert told.startswith("TensorFlow already runs in this process with 1 threads per operation")
