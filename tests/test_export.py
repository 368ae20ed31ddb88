"""The export holds the winner's best epoch, and is there whole or not at all."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import vaetune
from image_sets import make_images
from test_search import DEVICE, TINY
from vaetune import export
from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.errors import ResultsError
from vaetune.export import export_trial, restore_best
from vaetune.model import VAE
from vaetune.search import open_search
from vaetune.spec import Budget, Choice, Pinned, ResolvedSearch
from vaetune.study import load_study

IMAGES = make_images()


def search_with_latent_dim(results, latent_dim, images=IMAGES):
    space = TINY.space.model_copy(update={"latent_dim": Pinned(value=latent_dim)})
    spec = TINY.model_copy(update={"space": space, "budget": Budget(max_epochs=2)})
    with open_search(ResolvedSearch("tiny", spec, {}), images, DEVICE, results) as opened:
        return opened.run()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    study = search_with_latent_dim(results, 2)
    return study, export_trial(study, study.winner, results)


def test_the_folder_holds_models_figures_and_words(exported):
    _, folder = exported
    assert {path.name for path in folder.iterdir()} == {
        "vae.keras",
        "encoder.keras",
        "decoder.keras",
        "hyperparameters.json",
        "manifold.png",
        "clusters.png",
        "reconstructions.png",
        "README.md",
    }


def test_more_than_two_latent_dimensions_show_samples_of_the_prior(tmp_path):
    study = search_with_latent_dim(tmp_path, 3)
    folder = export_trial(study, study.winner, tmp_path)
    assert (folder / "prior_samples.png").exists()
    assert not (folder / "manifold.png").exists()


def test_the_weights_are_those_of_the_best_epoch(exported):
    study, folder = exported
    checkpoint = Checkpoint.load(study.trial_folder(study.winner.trial_id))
    weights = vaetune.load_model(folder / "vae.keras").get_weights()
    trainable = [array for array in checkpoint.best_weights if array.dtype == np.float32]
    for one, other in zip(weights, trainable, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_parts_are_the_whole_bit_for_bit(exported):
    _, folder = exported
    vae = vaetune.load_model(folder / "vae.keras")
    assert isinstance(vae, VAE)
    encoder = keras.saving.load_model(folder / "encoder.keras")
    decoder = keras.saving.load_model(folder / "decoder.keras")
    images = IMAGES.validation.images.astype("float32") / 255.0
    for part, whole in zip(encoder(images), vae.encoder(images)[:2], strict=True):
        np.testing.assert_array_equal(part, whole)
    z = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    np.testing.assert_array_equal(decoder(z), vae.decoder(z))


@pytest.mark.slow
def test_encoder_decoder_and_the_readme_snippet_work_without_vaetune(exported):
    _, folder = exported
    text = (folder / "README.md").read_text()
    snippet = text.split("```python\n")[1].split("```")[0]
    code = (
        "import sys\n"
        "sys.modules['vaetune'] = None  # whoever imports it fails\n"
        f"{snippet}\n"
        "assert reconstructions.shape == images.shape, reconstructions.shape\n"
        "assert samples.shape[0] == 16\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_manifest_tells_where_the_model_came_from(exported):
    study, folder = exported
    manifest = json.loads((folder / "hyperparameters.json").read_text())
    assert manifest["hyperparameters"] == dict(study.winner.hyperparameters)
    assert manifest["validation"]["negative_elbo"] == study.winner.score
    assert manifest["data"]["fingerprint"] == IMAGES.fingerprint
    assert manifest["search"] == "tiny"


def test_an_old_export_is_replaced_whole(exported, tmp_path):
    study, _ = exported
    folder = export_trial(study, study.winner, tmp_path)
    (folder / "left-over.txt").write_text("from the old export")
    export_trial(study, study.winner, tmp_path)
    assert not (folder / "left-over.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_failed_export_leaves_the_old_one(exported, tmp_path, monkeypatch):
    study, _ = exported
    folder = export_trial(study, study.winner, tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fill_the_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_write_figures", fill_the_disk)
    with pytest.raises(ResultsError, match=r"cannot be written: No space left on device"):
        export_trial(study, study.winner, tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_an_export_that_was_cut_off_between_the_renames_is_recovered(exported, tmp_path):
    study, _ = exported
    folder = export_trial(study, study.winner, tmp_path)
    folder.rename(tmp_path / ".best.old")
    export_trial(study, study.winner, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_folder_of_somebody_else_is_never_overwritten(exported, tmp_path):
    study, _ = exported
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        export_trial(study, study.winner, tmp_path)
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_checkpoint_that_is_gone_is_one_clear_line(tmp_path, damage):
    study = search_with_latent_dim(tmp_path, 2)
    path = study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ResultsError, match=r"checkpoint") as error:
        export_trial(load_study(study.folder), study.winner, tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "best").exists()


def test_pictures_that_are_gone_cost_only_the_pictures(tmp_path):
    study = search_with_latent_dim(tmp_path, 2)
    (study.trial_folder(study.winner.trial_id) / "pictures.npz").unlink()
    folder = export_trial(study, study.winner, tmp_path)
    assert (folder / "vae.keras").exists()
    assert not (folder / "reconstructions.png").exists()
    assert "reconstructions.png" not in (folder / "README.md").read_text()


def test_colour_images_of_odd_size_are_handed_over(tmp_path):
    images = make_images(shape=(9, 11, 3))
    space = TINY.space.model_copy(update={"latent_dim": Choice(values=(2, 3))})
    spec = TINY.model_copy(update={"space": space, "budget": Budget(max_epochs=1)})
    with open_search(ResolvedSearch("tiny", spec, {}), images, DEVICE, tmp_path) as opened:
        study = opened.run()
    folder = export_trial(study, study.winner, tmp_path)
    assert vaetune.load_model(folder / "vae.keras").image_shape == (9, 11, 3)


def test_restoring_gives_the_validation_loss_that_was_recorded(exported):
    study, _ = exported
    vae = restore_best(study, study.winner)
    images = IMAGES.validation.images.astype("float32") / 255.0
    measured = vae.evaluate(images, batch_size=len(images), verbose=0, return_dict=True)
    assert measured["loss"] == pytest.approx(study.winner.score, rel=1e-5)


def test_loading_what_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(ResultsError, match=r"vaetune best --export"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_what_is_no_model_is_one_clear_line(tmp_path):
    (tmp_path / "vae.keras").write_text("no model")
    with pytest.raises(ResultsError, match="is not a readable Keras model"):
        vaetune.load_model(tmp_path / "vae.keras")


def test_loading_a_part_as_the_whole_says_so(exported):
    _, folder = exported
    with pytest.raises(ResultsError, match=r"expected a VAE such as vae\.keras"):
        vaetune.load_model(folder / "decoder.keras")
