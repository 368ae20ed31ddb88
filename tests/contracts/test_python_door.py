"""The Python interface of vaetune: a light import, precise types and one call for each task."""

import inspect
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exports import StubReader
from image_sets import make_split
from long_forms import long
from markupsafe import escape
from tiny_searches import GRID, IMAGES, changed, run

import vaetune
from vaetune.config.space import Pinned
from vaetune.config.spec import DataSpec, Limits
from vaetune.errors import DataError, ResultsError, SpecError, VaetuneError
from vaetune.study.scores import EvaluationProtocol

SOURCE = Path(vaetune.__file__).parents[1]
PUBLIC_NAMES = """
    load_images load_model load_search load_study list_studies
    run_search encode_images score_images evaluate_trial export_trial write_report
    write_trials
    SearchSpec Space Study Trial VAE VAEHyperModel VaetuneError
"""
FUNCTIONS = sorted(
    name
    for name in vaetune.__all__
    if not name.startswith("_") and not isinstance(getattr(vaetune, name), type)
)
SPLIT = make_split(60, (9, 10, 1), 1)
ARRAYS = {"x": SPLIT.images, "y": SPLIT.labels}
QUICK = EvaluationProtocol(seed=0, posterior_samples=2, importance_samples=3)


def run_python(*arguments, folder):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def run_and_capture(spec, results, **options):
    """Runs a search on the arrays; returns the study and the printed lines."""
    out = io.StringIO()
    with redirect_stdout(out):
        study = vaetune.run_search(spec, ARRAYS, results, name="tiny", **options)
    assert "\r" not in out.getvalue()
    return study, out.getvalue().splitlines()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A search with two trials and the Keras example, run by a script: study and printed lines."""
    return run_and_capture(changed(GRID, baseline=True), tmp_path_factory.mktemp("results"))


@pytest.fixture
def study(searched):
    return searched[0]


def test_the_import_loads_only_vaetune_and_lazy_loader(tmp_path):
    done = run_python(
        "-c",
        "import sys\n"
        "before = set(sys.modules)\n"
        "import json, vaetune\n"
        "dir(vaetune)\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "vaetune.load_search\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "vaetune.Study, vaetune.Trial\n"
        "last = {name.partition('.')[0] for name in sys.modules}\n"
        "print(json.dumps([sorted(loaded), sorted(found), sorted(last)]))",
        folder=tmp_path,
    )
    loaded, later, last = map(set, json.loads(done.stdout))
    assert loaded - sys.stdlib_module_names == {"vaetune", "lazy_loader"}
    assert "pydantic" in later, "the check finds loaded modules"
    assert not {"tensorflow", "numpy", "pandas"} & later
    assert not {"tensorflow", "pandas"} & last


def test_the_door_has_exactly_the_public_names():
    assert sorted(vaetune.__all__) == sorted([*PUBLIC_NAMES.split(), "__version__"])


def test_an_unknown_name_raises_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        vaetune.nothing_of_the_kind  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["ours", *long("a user's")])
def test_strict_mypy_finds_precise_types_in_scripts(tmp_path, settings):
    """With the project's settings, mypy reuses the cache of `make check` and takes a second."""
    names = [name for name in vaetune.__all__ if name != "__version__"]
    types = {
        'vaetune.run_search("hyperband")': "vaetune.study.study.Study",
        "vaetune.list_studies()[0].winner": "vaetune.study.trial.Trial | None",
        "vaetune.evaluate_trial(study).evaluation": "vaetune.study.scores.Evaluation",
        'vaetune.export_trial(study, formats=["onnx"])': "vaetune.export.bundle.Export",
        "vaetune.encode_images(study)": "vaetune.evaluation.embeddings.Embeddings",
        "vaetune.encode_images(study).to_frame()": "pandas.core.frame.DataFrame",
        "vaetune.score_images(study)": "vaetune.evaluation.scores.Scores",
        "vaetune.score_images(study).to_frame()": "pandas.core.frame.DataFrame",
        'vaetune.load_model("vae.keras")': "vaetune.models.vae.VAE",
        'vaetune.load_model("vae.keras").latent_dim': "int",
        "vaetune.VAEHyperModel()": "vaetune.models.hypermodel.VAEHyperModel",
        "study.trials_table()": "pandas.core.frame.DataFrame",
        "[one.name for one in vaetune.list_studies()]": "list[str]",
    }
    lines = ["import numpy as np", "import vaetune", "images = np.zeros((9, 28, 28, 1))"]
    lines += ['study = vaetune.load_study("results/hyperband")', *documented_scripts()]
    lines += [f"reveal_type(vaetune.{name})" for name in names]
    lines += [f"reveal_type({expression})" for expression in types]
    (tmp_path / "script.py").write_text("\n".join(lines) + "\n")
    folder = SOURCE if settings == "ours" else tmp_path
    done = run_python("-m", "mypy", "--strict", tmp_path / "script.py", folder=folder)
    found = re.findall(r'note: Revealed type is "(.+)"$', done.stdout, re.MULTILINE)
    assert (done.returncode, len(found)) == (0, len(names) + len(types)), done.stdout
    of_names, of_expressions = found[: len(names)], found[len(names) :]
    assert of_expressions == list(types.values())
    for name, revealed in zip(names, of_names, strict=True):
        assert re.search(r"-> [\w.]+\.[A-Z]\w+$", revealed), f"{name}: {revealed}"


def documented_scripts():
    """Yields the scripts of README.md and docs/python.md, each as a function."""
    for page in (SOURCE / "README.md", SOURCE / "docs" / "python.md"):
        for number, script in enumerate(python_blocks(page)):
            if "keras_tuner" not in script:  # Keras Tuner has no types.
                yield f"def {page.stem}_{number}() -> None:\n{textwrap.indent(script, '    ')}"


def python_blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_documented_keras_tuner_script_runs(tmp_path, monkeypatch):
    """README.md and docs/python.md have the same script. The test runs it on a few images."""
    pages = (SOURCE / "README.md", SOURCE / "docs" / "python.md")
    scripts = [one for page in pages for one in python_blocks(page) if "keras_tuner" in one]
    script, copy = scripts
    assert script == copy
    assert "max_epochs=9" in script
    monkeypatch.chdir(tmp_path)
    few = np.zeros((8, 28, 28, 1), np.float32)
    scope = {"images": few, "validation_images": few[:4]}
    exec(compile(script.replace("max_epochs=9", "max_epochs=1"), "README.md", "exec"), scope)
    (best,) = scope["tuner"].get_best_models(1)
    assert isinstance(best, vaetune.VAE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_docstring_describes_every_parameter(name):
    function = getattr(vaetune, name)
    docstring = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^    {parameter}: \S", docstring, re.MULTILINE), f"{name}: {parameter}"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget.max_epochs": 0}, '"budget.max_epochs" should be greater than or equal to 1'),
        ({"budget.max_trials": 3}, '"budget.max_trials" does not apply to the algorithm'),
        ({"budget.max_epoch": 9}, 'Unknown key "budget.max_epoch". Did you mean "max_epochs"?'),
        ({"budgt.max_epochs": 9}, 'Unknown key "budgt". Did you mean "budget"?'),
        ({"space.filters": 3}, 'Unknown hyperparameter "space.filters". Did you mean "filters_'),
        ({"algorithm": "hyperban"}, "Unknown algorithm 'hyperban'. Did you mean \"hyperband\"?"),
        ({"data.dataset": "a\0b"}, '"data.dataset" is not a path'),
        ({"budget": 3}, '"budget" must be a table, received 3'),
    ],
)
def test_a_wrong_override_is_reported_with_its_key(wrong, message):
    with pytest.raises(VaetuneError) as refused:
        vaetune.load_search("hyperband", wrong)
    assert str(refused.value).startswith(message)
    assert "--" not in str(refused.value)


def test_a_search_prints_its_plan_a_line_per_trial_and_the_winner(searched):
    study, lines = searched
    winner = study.winner
    expected = [
        rf"Search tiny: 2 trials of 2 configurations, 2 epochs, and the Keras example to compare\. "
        rf"Folder: {re.escape(str(study.folder))}",
        r"Training on CPU, \d+ threads?\.",
        r"Keras example +\d+\.\d+ nats  epochs 1 to 1 .*",
        r"trial 0000 \(1 of 2\) +\d+\.\d+ nats  epochs 1 to 1 .*",
        r"trial 0001 \(2 of 2\) +\d+\.\d+ nats  epochs 1 to 1 .*",
        r"Rescored 2 finalists with \d+ posterior samples of each image, in .*: trial .* leads .*",
        rf"Winner: trial {winner.trial_id}, {winner.score:.2f} nats per image, 1 epoch, filters.*",
        r"Keras example: \d+\.\d+ nats per image; the winner is \d+\.\d+ nats (below|above)\.",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_complete_search_prints_that_nothing_is_left_and_its_winner(study):
    _, lines = run_and_capture(changed(GRID, baseline=True), study.results)
    assert lines[1] == "The search is complete: nothing is left to train."
    assert lines[2].startswith(f"Winner: trial {study.winner.trial_id}, ")
    assert len(lines) == 4


def test_a_quiet_search_prints_nothing(study):
    again, lines = run_and_capture(changed(GRID, baseline=True), study.results, verbose=False)
    assert lines == []
    assert again.trials == study.trials


def test_a_search_stopped_by_its_time_budget_prints_how_to_continue(tmp_path, monkeypatch):
    short = changed(GRID, limits=Limits(time_budget="1s"))
    with monkeypatch.context() as patch:
        patch.setattr(Limits, "time_budget_s", 0.0)
        study, lines = run_and_capture(short, tmp_path)
    assert lines[-1] == (
        "The time budget of 1s is used up. "
        "Call run_search again with the same arguments to continue."
    )
    assert study.state == "not complete, 0 of 2 trials"
    page = vaetune.write_report(tmp_path).read_text()
    assert "vaetune search" not in page, "the command has no arrays"
    call = f"vaetune.run_search(search, images, '{tmp_path}', name='tiny')"
    assert f"<code>{escape(call)}</code>" in page
    _, lines = run_and_capture(GRID, tmp_path)
    assert lines[1] == "Continuing after 0 of 2 trials and 0 epochs."
    assert lines[-1].startswith("Winner: trial ")
    scope = {"search": GRID, "images": ARRAYS, "vaetune": vaetune}
    with redirect_stdout(io.StringIO()):
        assert eval(call, scope).name == "tiny"


def test_failures_are_printed_with_their_reason(tmp_path):
    wrong = changed(GRID, space=GRID.space.model_copy(update={"learning_rate": Pinned(value=1e30)}))
    study, lines = run_and_capture(wrong, tmp_path)
    failed = [line for line in lines if " failed: " in line]
    assert len(failed) == len(study.failures) == 2
    assert study.failures[0].error in failed[0]
    assert lines[-1] == f"Every trial failed, the first with: {study.failures[0].error}"


def test_a_repeated_evaluation_is_read_from_the_journal(study):
    protocol = replace(QUICK, posterior_samples=3)  # No other test uses this protocol.
    before = vaetune.load_study(study.folder).evaluations
    first = vaetune.evaluate_trial(study, images=ARRAYS, protocol=protocol)
    assert first.trial_id == study.winner.trial_id
    assert first.evaluation.test_images == study.started.data.test_images
    recorded = first.evaluation.protocol
    assert (recorded.seed, recorded.importance_samples) == (study.search.seed, 3)
    again = vaetune.load_study(str(study.folder))
    assert again.evaluations == (*before, first)
    assert vaetune.evaluate_trial(study, protocol=protocol) == first, "no images are needed"
    assert vaetune.load_study(study.folder).evaluations == again.evaluations
    other = study.ranking[-1]
    for one in (other, other.trial_id):
        vaetune.evaluate_trial(study, one, ARRAYS, protocol=protocol)
    added = vaetune.load_study(study.folder).evaluations[len(before) + 1 :]
    assert [event.trial_id for event in added] == [other.trial_id]


def test_the_default_protocol_is_that_of_the_command_line(study):
    event = vaetune.evaluate_trial(study, images=ARRAYS)
    protocol = event.evaluation.protocol
    usual = EvaluationProtocol(seed=study.search.seed)
    assert protocol == usual.limited_to(study.started.data.test_images)


def test_an_evaluation_without_images_or_with_other_images_is_refused(study):
    unseen = replace(QUICK, importance_samples=4)
    with pytest.raises(ResultsError, match=r"images that its search does not name \(arrays\)"):
        vaetune.evaluate_trial(study, protocol=unseen)
    others = {"x": SPLIT.images[::-1], "y": SPLIT.labels}
    for protocol in (unseen, QUICK):  # Other images are refused even for a recorded evaluation.
        vaetune.evaluate_trial(study, images=ARRAYS, protocol=QUICK)
        with pytest.raises(ResultsError, match="on other images than those in arrays"):
            vaetune.evaluate_trial(study, images=others, protocol=protocol)


def test_a_missing_image_set_is_reported_with_the_argument_images(tmp_path):
    spec = changed(GRID, data=DataSpec(dataset=IMAGES.source))
    study = run(tmp_path, spec)
    with pytest.raises(DataError, match=r"There is no image set at .* argument `images`\.$"):
        vaetune.evaluate_trial(study, protocol=QUICK)
    assert vaetune.evaluate_trial(study, images=IMAGES, protocol=QUICK)


def test_the_winner_is_exported_and_loaded(study, tmp_path, monkeypatch):
    monkeypatch.setattr("vaetune.export.bundle.draw_showcase", lambda vae, study, trial: {})
    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)
    steps = []
    export = vaetune.export_trial(study, folder=str(tmp_path / "model"), on_step=steps.append)
    assert export.folder == tmp_path / "model"
    assert re.search(r"The images of .* were given by a script\. .*images=", export.no_losses)
    assert list(export.max_difference) == ["keras"]
    assert steps == [
        "Writing the model as keras",
        "Drawing the figures",
        "Scoring validation images",
        "Reading the model back",
    ]
    vae = vaetune.load_model(export.folder / "vae.keras")
    assert isinstance(vae, vaetune.VAE)
    assert vae.image_shape == (9, 10, 1)
    other = study.ranking[-1]
    whole = vaetune.export_trial(study, other, export.folder, "keras", images=ARRAYS)
    exported = json.loads((export.folder / "hyperparameters.json").read_text())
    assert exported["trial_id"] == other.trial_id
    assert whole.no_losses == ""
    losses = (export.folder / "validation_losses.csv").read_text().splitlines()[1:]
    assert len(losses) == study.started.data.validation_images


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"formats": "onx"},
            r"Unknown format 'onx'\. Did you mean \"onnx\"\? Expected one of: keras, .*, all\.",
        ),
        ({"formats": ["keras", "tflite"]}, "Unknown format 'tflite'"),
        ({"trial": "0009"}, '"tiny" has no trial 0009'),
        ({"images": SPLIT.images[::-1]}, "on other images than those in arrays"),
    ],
)
def test_a_wrong_argument_of_an_export_is_reported(study, tmp_path, monkeypatch, wrong, message):
    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)
    with pytest.raises(VaetuneError, match=message):
        vaetune.export_trial(study, folder=tmp_path / "model", **wrong)
    assert not (tmp_path / "model").exists()


def test_the_studies_of_a_folder_are_a_sequence(study):
    studies = vaetune.list_studies(str(study.results))
    assert [one.name for one in studies] == ["tiny"]
    assert len(studies) == 1
    assert studies[0].trials == studies.find().trials == studies.find("tiny").trials
    assert repr(studies) == f"<StudyCatalog of {study.results}: tiny>"
    with pytest.raises(ResultsError, match='There is no search "large"'):
        studies.find("large")
    assert list(vaetune.list_studies(study.results / "nowhere")) == []


@pytest.mark.usefixtures("without_charts")
def test_a_report_is_written_for_a_folder_given_as_a_string(study):
    page = vaetune.write_report(str(study.results))
    assert "vaetune evaluate" not in page.read_text(), "the command has no arrays"
    assert page == study.results / "report.html"
    assert "tiny" in page.read_text()


def test_default_folders_are_those_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(vaetune.list_studies()) == []
    with pytest.raises(ResultsError, match="There is no search in results yet"):
        vaetune.write_report()


def test_images_may_be_arrays(study):
    images = vaetune.load_images(np.asarray(SPLIT.images))
    assert images.image_shape == (9, 10, 1)


def test_trials_and_studies_have_a_short_repr(study):
    winner = study.winner
    assert repr(winner) == (
        f"<Trial {winner.trial_id}: completed, epoch 1, {winner.score:.2f} nats per image>"
    )
    assert isinstance(winner, vaetune.Trial)
    assert isinstance(study, vaetune.Study)
    assert repr(study).startswith(
        f"<Study tiny in {study.folder}: complete, 2 trials, winner: trial {winner.trial_id}, "
    )
    assert len(repr(study)) < 300 + len(str(study.folder))


@pytest.mark.parametrize("name", ["../escaped", "", "a/b", "mine.toml"])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match=r"Results cannot be named|Give the name without"):
        vaetune.run_search(GRID, ARRAYS, tmp_path / "results", name=name)
    assert not list(tmp_path.iterdir())
