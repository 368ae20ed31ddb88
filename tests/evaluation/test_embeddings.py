"""Embeddings are the outputs of the encoder for each image, and images are read in batches."""

from dataclasses import replace

import numpy as np
import pytest
from counted_rows import count_images
from image_sets import make_split
from tiny_searches import GRID, IMAGES, changed, run

import vaetune
from vaetune.config.spec import DataSpec
from vaetune.data.for_training import prepare_images
from vaetune.data.rows import rows_of
from vaetune.errors import DataError, ResultsError
from vaetune.evaluation.embeddings import Embeddings
from vaetune.evaluation.encoding import encode_rows, list_latents
from vaetune.evaluation.likelihood import Batches
from vaetune.models import load_model

OTHERS = make_split(23, (9, 10, 1), 7)
UNIT = OTHERS.images / np.float32(255)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_winner_and_its_export_encode_new_images_like_their_encoder(exported_winner):
    study, folder, _ = exported_winner
    z_mean, z_log_var, _ = load_model(folder / "vae.keras").encoder(UNIT)
    for model in (study, folder, str(folder)):
        found = vaetune.encode_images(model, {"x": OTHERS.images, "y": OTHERS.labels})
        assert_close(found.z_mean, z_mean)
        assert_close(found.z_log_var, z_log_var)
        assert (len(found), found.splits, [*found.latents]) == (23, None, ["z_mean", "z_log_var"])
        assert found.names.tolist() == [*range(23)]
        assert found.labels.tolist() == OTHERS.labels.tolist()
        frame = found.to_frame()
        assert [*frame] == ["name", "label", "class_name", "z_mean_0", "z_mean_1"]
        assert frame["class_name"].tolist() == [str(label) for label in OTHERS.labels]
        np.testing.assert_array_equal(frame[["z_mean_0", "z_mean_1"]], found.z_mean)
        assert [*found.to_frame(log_var=True)][-1] == "z_log_var_1"


def test_an_image_without_a_label_has_missing_values_in_the_table():
    labels = np.array([1, -1])
    latents = {"z_mean": np.zeros((2, 1), np.float32)}
    frame = Embeddings(np.arange(2), None, labels, ("cat", "dog"), latents).to_frame()
    assert frame["label"].isna().tolist() == frame["class_name"].isna().tolist() == [False, True]
    assert frame["label"][0] == 1


def test_another_trial_than_the_winner_can_encode(exported_winner):
    study, _, _ = exported_winner
    other = study.ranking[1]
    found = vaetune.encode_images(study, OTHERS.images, trial=other)
    assert_close(
        found.z_mean, vaetune.encode_images(study, OTHERS.images, trial=other.trial_id).z_mean
    )
    assert np.abs(found.z_mean - vaetune.encode_images(study, OTHERS.images).z_mean).max() > 1e-3


def test_all_levels_equal_those_of_encode_levels(exported_ladder):
    study, folder, _ = exported_ladder
    vae = load_model(folder / "vae.keras")
    levels = vae.encode_levels(UNIT)
    found = vaetune.encode_images(study, OTHERS.images, levels=True)
    shapes = list_latents(vae, levels=True)
    assert [*found.latents] == [*shapes]
    assert [*shapes] == [
        "z_mean",
        "z_log_var",
        *(f"u_{number}_{what}" for number in (2, 3) for what in ("mean", "log_var")),
    ]
    expected = [parameter for pair in levels.values() for parameter in pair]
    for (name, shape), values in zip(shapes.items(), expected, strict=True):
        assert found.latents[name].shape == (23, *shape)
        assert_close(found.latents[name], values)
    frame = found.to_frame()
    _, width, channels = shapes["u_2_mean"]
    place = (1 * width + 2) * channels + 1
    np.testing.assert_array_equal(frame[f"u_2_mean_{place}"], found.latents["u_2_mean"][:, 1, 2, 1])


def test_few_images_are_in_memory_at_a_time(exported_winner):
    _, folder, _ = exported_winner
    vae = load_model(folder / "vae.keras")
    rows = count_images(rows_of(replace(IMAGES, train=make_split(2000, (9, 10, 1), 4))))
    shares = []
    parts = list(encode_rows(vae, rows, on_progress=shares.append, batches=Batches(50)))
    assert sum(len(part["z_mean"]) for part in parts) == len(rows) == 2028
    assert rows.most <= 3 * 50 + 1
    assert (len(shares), shares[-1], sorted(shares)) == (41, 1.0, shares)
    whole = np.concatenate([part["z_mean"] for part in parts])
    assert_close(whole[100:150], vae.posterior(rows.read(slice(100, 150)) / np.float32(255))[0])


def test_images_of_the_search_have_the_splits_of_training(tmp_path):
    arrays = {"x": make_split(40, (9, 10, 1), 1).images}
    np.savez(tmp_path / "squares.npz", **arrays)
    data = DataSpec(dataset=str(tmp_path / "squares.npz"), binarize="threshold")
    spec = changed(GRID, data=data)
    images = vaetune.load_images(data.dataset)
    study = run(tmp_path / "results", spec, images=prepare_images(images, spec.data))
    found = vaetune.encode_images(study)
    assert [(found.splits == name).sum() for name in ("train", "validation", "test")] == [26, 7, 7]
    assert found.names.tolist() == [*range(40)]
    only = vaetune.encode_images(study, splits=["test"])
    np.testing.assert_array_equal(only.z_mean, found.z_mean[found.splits == "test"])
    binary = (arrays["x"] / 255.0 >= 0.5).astype(np.float32)
    same = vaetune.encode_images(study, binary)
    assert_close(found.z_mean, same.z_mean)


def test_unusable_models_and_images_are_refused(exported_winner, tmp_path):
    study, folder, _ = exported_winner
    with pytest.raises(ResultsError, match=r"has no trial 99"):
        vaetune.encode_images(study, OTHERS.images, trial="99")
    with pytest.raises(ResultsError, match="is not an export of vaetune"):
        vaetune.encode_images(tmp_path, OTHERS.images)
    with pytest.raises(ResultsError, match="leave out `trial`"):
        vaetune.encode_images(folder, OTHERS.images, trial="0001")
    with pytest.raises(ResultsError, match=r"does not say where its images .*dataset="):
        vaetune.encode_images(folder)
    with pytest.raises(DataError, match=r'takes 9 x 10\. Resize them .*resize="crop"'):
        vaetune.encode_images(study, np.zeros((3, 20, 20), np.uint8))
    with pytest.raises(DataError, match=r"a list of 23 arrays of .* Join them with numpy\.stack"):
        vaetune.encode_images(study, [*OTHERS.images])
    found = vaetune.encode_images(study, np.zeros((3, 20, 20), np.uint8), resize="pad")
    assert len(found) == 3
