"""The model card states recorded facts. Its metadata, Markdown and code are valid."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from journals import (
    SPEC,
    START,
    VALUES,
    make_evaluated,
    make_session_end,
    make_study,
    make_trial_events,
    write_baseline,
)
from PIL import Image

from vaetune.config.reading import Reading
from vaetune.config.spec import DataSpec, SearchSpec
from vaetune.export.model_card import ExportFacts, plain, write_card
from vaetune.study.builder import load_study
from vaetune.study.events import FinalistsRescored
from vaetune.study.finalists import FinalistScore, Rescoring
from vaetune.study.scores import Estimate, EvaluationProtocol

FORMATS = ("keras", "saved-model", "onnx", "litert")
FIGURES = ("reconstructions.png", "prior_samples.png", "traversal.png")
LOSSES = [190.0, 180.0, 181.0]


def make_facts(
    *events, baseline=None, formats=FORMATS, figures=FIGURES, has_predict=True, **started
):
    """The facts of an export of trial 0001, the second of two trials and the winner."""
    study = make_study(
        *make_trial_events("0000", [200.0], hyperparameters={**VALUES, "latent_dim": 2}),
        *make_trial_events("0001", LOSSES, configuration=1, parameters=464_897),
        *events,
        make_session_end(),
        **started,
    )
    return ExportFacts(study, study.trial("0001"), baseline, formats, figures, has_predict)


def make_baseline(results, *events):
    path = write_baseline(results, loss=194.25)
    baseline = load_study(path.parent)
    return replace(baseline, evaluations=events)


def card_of(*events, **options):
    return write_card(make_facts(*events, **options))


def metadata_of(card):
    empty, front, _ = card.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front)


def section(card, title):
    """The text below a heading, up to the next heading of the same or a higher level."""
    level, _, _ = title.partition(" ")
    _, _, rest = card.partition(f"\n{title}\n")
    assert rest, f"no heading {title}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def rows(text):
    """The rows of the tables in a text, by their first cell."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    return {first: rest for first, *rest in (line.split(" | ") for line in lines)}


# Metadata


def test_the_metadata_has_library_pipeline_and_tags():
    metadata = metadata_of(card_of())
    assert metadata["library_name"] == "keras"
    assert metadata["pipeline_tag"] == "unconditional-image-generation"
    assert {"variational-autoencoder", "vae", "onnx", "litert"} <= set(metadata["tags"])


def test_the_card_asks_the_user_to_choose_a_licence():
    card = card_of()
    assert metadata_of(card)["license"] == "other"
    front = card.split("---\n")[1]
    assert "# Choose a licence before you share the model" in front
    assert "# license_name:" in front
    assert "No licence has been chosen yet" in section(card, "## Licence")


def test_the_metadata_names_only_formats_that_were_written():
    assert metadata_of(card_of(formats=("onnx",))).get("library_name") is None
    assert "onnx" not in metadata_of(card_of(formats=("keras",)))["tags"]


def test_the_metadata_has_measurements_on_validation_and_test_images():
    (index,) = metadata_of(card_of(make_evaluated("0001", ssim=1e-5)))["model-index"]
    assert index["name"] == "VAE of digits"
    validation, test = index["results"]
    for result, split in ((validation, "validation"), (test, "test")):
        assert result["task"]["type"] == "unconditional-image-generation"
        assert result["dataset"] == {"type": "digits", "name": "digits", "split": split}
    measured = {one["type"]: one["value"] for one in validation["metrics"]}
    assert measured == {"loss": 180.0, "reconstruction_loss": 135.0, "kl_loss": 45.0}
    assert {one["type"]: one["value"] for one in test["metrics"]} == {
        "negative_elbo": 130.5,
        "importance_weighted_bound": 121.75,
        "psnr": 16.5,
        "ssim": 0.0,
        "accuracy": 0.935,
    }
    names = {one["name"] for one in test["metrics"]}
    assert "importance-weighted bound (k = 500), nats per image" in names


def test_missing_measurements_are_absent_from_the_metadata():
    (result,) = metadata_of(card_of())["model-index"][0]["results"]
    assert result["dataset"]["split"] == "validation"
    known = make_evaluated("0001", psnr=float("inf"), knn_accuracy=None)
    _, test = metadata_of(card_of(known))["model-index"][0]["results"]
    assert not {"psnr", "accuracy", "bits_per_dimension"} & {one["type"] for one in test["metrics"]}
    facts = make_facts()
    untrained = replace(facts.trial, epochs=())
    assert "model-index" not in metadata_of(write_card(replace(facts, trial=untrained)))


def test_densities_are_reported_in_bits_per_dimension():
    search = SPEC.model_copy(update={"data": DataSpec(likelihood="gaussian")})
    (result,) = metadata_of(card_of(search=search))["model-index"][0]["results"]
    (bits,) = [one["value"] for one in result["metrics"] if one["type"] == "bits_per_dimension"]
    assert bits == pytest.approx(180 / (784 * np.log(2)) + 8, abs=1e-4)


def named(facts, name, **changes):
    """The same export with another name of the images."""
    data = facts.study.started.data.model_copy(update={"name": name, **changes})
    started = facts.study.started.model_copy(update={"name": name, "data": data})
    return replace(facts, study=replace(facts.study, started=started))


def test_the_metadata_of_custom_images_has_their_name_but_no_path():
    facts = named(make_facts(), 'my "scans": \U0001f600 #1\n', source="/home/me/scans.npz")
    (index,) = metadata_of(write_card(facts))["model-index"]
    assert index["results"][0]["dataset"] == {
        "type": "custom",
        "name": 'my "scans": \U0001f600 #1',
        "split": "validation",
    }


def test_the_hub_reads_the_measurements(tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    (tmp_path / "README.md").write_text(card_of(make_evaluated("0001")), encoding="utf-8")
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.model_name == "VAE of digits"
    found = {
        (one.dataset_split, one.metric_type): one.metric_value for one in card.data.eval_results
    }
    assert found["validation", "loss"] == 180.0
    assert found["test", "negative_elbo"] == 130.5
    assert found["test", "psnr"] == 16.5
    again = hub.ModelCard(str(card))
    assert again.data.eval_results == card.data.eval_results
    assert {one.task_type for one in again.data.eval_results} == {card.data.pipeline_tag}


# Recorded facts


def test_the_data_is_shown_with_its_full_fingerprint():
    reported = rows(section(card_of(), "## Training"))
    assert reported["name"] == ["digits"]
    assert reported["SHA-256 of all arrays"] == [f"`{'ab' * 32}`"]
    assert reported["training, validation and test images"] == ["5,000, 1,000, 1,000"]
    assert reported["classes"] == ["3: zero, one, two"]


def test_the_card_names_the_objective_that_chose_the_epoch():
    trial = make_trial_events("0000", [190.0, 200.0], uses=[0.5, 0.6])
    study = make_study(*trial, make_session_end(), search=SearchSpec(objective="knn_accuracy"))
    card = write_card(ExportFacts(study, study.trial("0000"), None, FORMATS, FIGURES, True))
    assert rows(section(card, "## Training"))["epoch"] == ["2 of 2, the best by kNN accuracy"]


def test_the_card_does_not_name_the_path_of_the_images():
    assert "/home/somebody" not in card_of(source="/home/somebody/scans.npz")


def test_the_search_is_shown_with_versions_seed_date_and_command():
    text = section(card_of(), "## Training")
    reported = rows(text)
    assert reported["found by"] == [
        "search tiny (hyperband), started 2026-03-04, complete: 2 trials, "
        "2 configurations, 4 epochs"
    ]
    assert reported["trial"] == ["0001, configuration 1, bracket 1, rung 0; rank 1 of 2"]
    assert reported["epoch"] == ["2 of 3, the best by validation loss"]
    assert reported["seed"] == ["0"]
    assert reported["versions"] == ["keras 3.15.1, tensorflow 2.21.0, Python 3.11.2"]
    assert "\n```\nvaetune search tiny\n```\n" in text
    assert reported["space.latent_dim"] == ["2, 4, 8, 16, 32"]


def test_every_hyperparameter_is_shown():
    reported = rows(section(card_of(), "## Training"))
    assert {name: reported[name] for name in VALUES} == {
        "filters_1": ["16"],
        "filters_2": ["128"],
        "dense_units": ["64"],
        "latent_dim": ["8"],
        "learning_rate": ["0.00212345"],
    }


def test_validation_losses_of_the_best_epoch_are_next_to_the_keras_example(tmp_path):
    card = card_of(baseline=make_baseline(tmp_path))
    reported = rows(section(card, "### Validation images"))
    assert reported["negative ELBO, nats per image"] == ["180.00", "194.25"]
    assert reported["KL"] == ["45.00", "48.56"]
    assert reported["best epoch"] == ["2", "2"]


def test_a_missing_evaluation_is_stated_with_its_command():
    card = card_of()
    text = section(card, "### Test images: not evaluated")
    assert "\n```\nvaetune evaluate tiny\n```\n" in text
    assert "It has not been evaluated on the test images" in card
    assert "Standard errors" not in card


def test_the_evaluation_command_names_the_trial():
    facts = make_facts()
    card = write_card(replace(facts, trial=facts.study.trial("0000")))
    assert "\nvaetune evaluate tiny --trial 0000\n" in card


def test_the_card_does_not_name_paths_of_the_users_machine(tmp_path):
    command = (
        *("vaetune", "search", "/home/me/private/tiny.toml", "--dataset", "/home/me/my ä/x.npz"),
        *("--results=/home/me/out/", "--max-epochs", "3", "C:\\\\me\\\\y.npz"),
    )
    facts = make_facts(folder=tmp_path / "results" / "tiny")
    study = facts.study
    environment = study.sessions[-1].environment.model_copy(update={"command": command})
    session = study.sessions[-1].model_copy(update={"environment": environment})
    card = write_card(replace(facts, study=replace(study, sessions=(session,))))
    assert "vaetune search tiny.toml --dataset x.npz --results=out --max-epochs 3 y.npz" in card
    assert "/me/" not in card
    assert str(tmp_path) not in card


def test_test_results_are_next_to_the_keras_example_with_the_protocol(tmp_path):
    theirs = make_evaluated("0000", 2, negative_elbo=Estimate(195.5, 2.5))
    card = card_of(make_evaluated("0001"), baseline=make_baseline(tmp_path, theirs))
    text = section(card, "### Test images")
    reported = rows(text)
    assert reported["negative ELBO, nats per image"] == ["130.50 ± 1.25", "195.50 ± 2.50"]
    assert reported["active units"] == ["2 of 3", "2 of 3"]
    assert "- 1,000 test images; 32 posterior samples of each, seed 0; ± is" in text
    assert "k = 500 on the first 1,000 test images" in text
    assert "- KL of each latent dimension, nats: 12.00, 8.00, 0.25" in text
    assert "130.50 nats per image; that of the Keras example is 195.50" in card


def test_test_results_of_another_protocol_are_not_compared(tmp_path):
    other = make_evaluated("0000", 2, protocol=EvaluationProtocol(seed=0, posterior_samples=1))
    card = card_of(make_evaluated("0001"), baseline=make_baseline(tmp_path, other))
    reported = rows(section(card, "### Test images"))
    assert reported["negative ELBO, nats per image"] == ["130.50 ± 1.25"]


def test_test_results_of_an_earlier_epoch_are_ignored():
    assert "### Test images: not evaluated" in card_of(make_evaluated("0001", epoch=1))


def make_rescored(trial_id, epoch, loss, behind):
    parts = (Estimate(loss * 0.8, 1.0), Estimate(loss * 0.2, 0.5))
    return FinalistScore(trial_id, epoch, Estimate(loss, 1.5), *parts, behind=behind)


def test_the_loss_of_a_rescored_finalist_is_shown():
    finalists = (
        make_rescored("0001", 2, 181.25, Estimate(0.0, 0.0)),
        make_rescored("0000", 1, 201.0, Estimate(19.75, 0.25)),
    )
    rescoring = Rescoring(posterior_samples=32, seed=0, images=1000, finalists=finalists)
    event = FinalistsRescored(time=START, rescoring=rescoring, duration_s=1.0)
    text = section(card_of(event), "### Validation images")
    assert "- Rescored: 181.25 ± 1.50 nats (32 posterior samples of 1,000" in text
    assert "Rescored" not in card_of()


def test_the_card_of_a_baseline_names_no_search(tmp_path):
    baseline = make_baseline(tmp_path)
    card = write_card(ExportFacts(baseline, baseline.winner, baseline, ("keras",), (), False))
    reported = rows(section(card, "## Training"))
    assert reported["found by"] == ["no search: a single configuration was trained"]
    assert "rank" not in reported["trial"][0]
    validated = rows(section(card, "### Validation images"))
    assert validated["best epoch"] == ["2"], "no second column"
    assert "vaetune evaluate baselines/reference\n" in card


def test_the_card_describes_how_images_are_read_and_prepared():
    reading = Reading(
        **{"kind": "files", "dtype": "uint16", "low": 0, "high": 4000, "range": (0, 4095)},
        **{"background": "white", "image_size": (28, 28), "resize": "pad"},
    )
    use = section(card_of(reading=reading), "## Use")
    assert "values in [0, 1]: value / 4095, clipped.\n" in use
    assert "Trained on uint16 values 0..4095 of image files, taken as 0..1." in use
    assert "Transparent pixels were put on white." in use
    assert 'resized to 28 x 28: "pad"' in use
    assert 'pixels = decode(file, "white")\n' in use
    assert "# your images, prepared as above" in use
    old = section(card_of(), "## Use")
    assert "values in [0, 1]: bytes divided by 255.\n" in old
    assert "Trained on" not in old
    assert "# your images, values in [0, 1]" in old


@pytest.mark.parametrize(("channels", "ending"), [(1, "png"), (3, "png"), (2, "npy"), (5, "npy")])
def test_commands_name_files_that_can_hold_the_channels(channels, ending):
    use = section(card_of(image_shape=(28, 28, channels)), "## Use")
    assert f"python predict.py reconstruct photo.{ending} rebuilt.{ending}\n" in use


# Limits, images and formats


@pytest.mark.parametrize(
    ("method", "present", "absent"),
    [
        ("none", "The loss is not a likelihood of pixels", "Likelihoods are for pixels binarised"),
        ("threshold", "Likelihoods are for pixels binarised** by a threshold", "not a likelihood"),
        ("stochastic", "Likelihoods are for pixels binarised** at random", "not a likelihood"),
    ],
)
def test_the_limits_describe_the_likelihood(method, present, absent):
    search = SPEC.model_copy(update={"data": DataSpec(binarize=method)})
    text = section(card_of(search=search), "## Limits")
    assert present in text
    assert absent not in text


def test_the_limits_name_the_single_seed_and_a_use_to_avoid():
    text = section(card_of(search=SPEC.model_copy(update={"seed": 77})), "## Limits")
    assert "The model was trained once, with seed 77.**" in text
    assert "Do not use the model for decisions about people" in text


def test_only_existing_figures_are_shown():
    card = card_of(figures=("traversal.png", "reconstructions.png"))
    assert re.findall(r"\]\((\w+\.png)\)", card) == ["reconstructions.png", "traversal.png"]
    assert "## Images" not in card_of(figures=())


def test_each_exported_format_has_its_files_and_its_code():
    whole = card_of()
    assert whole.count("```python\n") == 5
    for name, file in (("onnx", "encoder.onnx"), ("litert", "decoder.tflite")):
        assert f"[{file}]({file})" in whole
        without = card_of(formats=tuple(f for f in FORMATS if f != name), has_predict=False)
        assert file not in without
        assert without.count("```python\n") == 4
    assert "python predict.py encode" in whole
    assert "predict.py" not in card_of(has_predict=False)


# Names with special characters, which come from files and folders


HOSTILE = "a|b\n# c <script>alert(1)</script> `d` [e](http://f) ![g](h) *i* _j_ &amp; $k$"


def test_names_are_escaped_and_are_not_read_as_markup():
    card = write_card(named(make_facts(class_names=(HOSTILE, "two")), HOSTILE))
    metadata = metadata_of(card)
    assert metadata["license"] == "other"
    dataset = metadata["model-index"][0]["results"][0]["dataset"]
    assert dataset["name"] == HOSTILE.replace("\n", " ")
    _, _, card = card.split("---\n", 2)
    assert [line for line in card.splitlines() if line.startswith("# ")][-1].startswith(
        r"# A variational autoencoder for a\|b \# c \<script\>alert(1)\</script\> \`d\` \[e\]"
    )
    shown = re.sub(r"\\[\\`*\[\]<>|#~$&!_]", "", re.sub(r"```.*?```", "", card, flags=re.DOTALL))
    assert not re.search(r"<script|alert\(1\)<|\[e\]|!\[g\]|\*i\*|&amp;", shown)
    assert len(rows(section(card, "## Training"))["classes"]) == 1


def test_plain_text_is_not_escaped():
    for text in ("digits", "fashion_mnist", "Linux-6.1 (x86_64), 2.21.0; z_mean"):
        assert plain(text) == text
    assert plain("a|b_") == r"a\|b\_"


@pytest.mark.parametrize("flag", ["```", "a\n```\nb", "`x`"])
def test_a_command_cannot_close_its_code_block(flag):
    study = make_facts().study
    environment = study.environment.model_copy(update={"command": ("vaetune", "search", flag)})
    session = study.sessions[0].model_copy(update={"environment": environment})
    study = replace(study, sessions=(session,))
    card = write_card(replace(make_facts(), study=study))
    fences = [line for line in card.splitlines() if line.startswith("```")]
    assert len(fences) == card_of().count("\n```")


@pytest.mark.parametrize(
    "reported",
    [
        {},
        {"formats": ("keras",), "figures": (), "has_predict": False},
        {"reading": Reading(kind="arrays", dtype="uint8", low=0, high=255, range=(0, 255))},
    ],
)
@pytest.mark.parametrize("events", [(), (make_evaluated("0001"),)])
def test_the_markdown_is_well_formatted(events, reported):
    card = card_of(*events, **reported)
    assert "\n\n\n" not in card
    assert not [line for line in card.splitlines() if line != line.rstrip()]
    assert "None" not in card
    assert card.endswith("\n")
    assert re.findall(r"[^\n]\n#{1,3} [A-Z].*", card.partition("---\n\n")[2]) == []


# The code runs

STANDALONE = """
import json, os, sys
without = sys.argv[1].split(",")
for name in without:
    sys.modules[name] = None  # whoever imports it fails
if "tensorflow" not in without:
    import tensorflow
    tensorflow.config.run_functions_eagerly(True)  # Keras would compile each prediction.
for folder, snippet in json.load(sys.stdin):
    os.chdir(folder)
    scope = {}
    exec(snippet, scope)
    if "vae" not in scope or "reconstructions" in scope:
        assert scope["reconstructions"].shape == scope["images"].shape, snippet
        assert scope["samples"].shape == (16, *scope["images"].shape[1:]), snippet
        assert scope["z_log_var"].shape == scope["z_mean"].shape, snippet
"""


def run_snippets(snippets, without):
    """Runs snippets in one new process, each in its folder and with its own variables.

    Args:
        snippets: Pairs of folder and code.
        without: Names of modules that cannot be imported, separated by commas.
    """
    done = subprocess.run(
        [sys.executable, "-c", STANDALONE, without],
        input=json.dumps(snippets),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def snippets(exported_winner, exported_ladder):
    """The Python blocks of the cards of models with one and three levels, with their folders."""
    folders = [folder for _, folder, _ in (exported_winner, exported_ladder)]
    return [(str(folder), block) for folder in folders for block in _blocks_of(folder)]


def _blocks_of(folder):
    card = (folder / "README.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in card.split("```python\n")[1:]]
    blocks = [block for block in blocks if "from prepare import" not in block]
    assert len(blocks) == 5, "Keras, vaetune, TensorFlow, ONNX, LiteRT"
    return blocks


@pytest.mark.slow
def test_the_code_of_each_format_runs_by_itself_without_vaetune(snippets):
    selected = [one for one in snippets if "import vaetune" not in one[1] and "onnx" not in one[1]]
    assert len(selected) == 2 * 3
    run_snippets(selected, without="vaetune")


@pytest.mark.slow
def test_the_code_for_onnx_needs_neither_tensorflow_nor_keras(snippets):
    selected = [one for one in snippets if "onnx" in one[1]]
    assert len(selected) == 2
    run_snippets(selected, without="vaetune,tensorflow,keras")


def test_the_code_for_vaetune_loads_the_whole_model(snippets, monkeypatch):
    selected = [one for one in snippets if "import vaetune" in one[1]]
    assert len(selected) == 2
    for folder, block in selected:
        monkeypatch.chdir(folder)
        reported = {}
        exec(block, reported)
        assert reported["vae"].latent_dim == 2
        assert reported["samples"].shape == (16, 9, 10, 1)


@pytest.mark.slow
def test_the_commands_for_image_files_run_unchanged(exported_winner, tmp_path):
    _, folder, _ = exported_winner
    card = (folder / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python (predict\.py .*)$", card, flags=re.MULTILINE)
    assert len(commands) == 4
    for file in (
        "predict.py",
        "philox.py",
        "pictures.py",
        "tables.py",
        "prepare.py",
        "preprocessing.json",
        "encoder.onnx",
        "decoder.onnx",
    ):
        shutil.copy(folder / file, tmp_path)
    (tmp_path / "photos").mkdir()
    for place in (tmp_path, tmp_path / "photos"):
        Image.new("L", (20, 20), 90).save(place / "photo.png")
    for command in commands:
        words = [sys.executable, *shlex.split(command, comments=True)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert {"rebuilt.png", "samples.png"} <= {path.name for path in tmp_path.iterdir()}
