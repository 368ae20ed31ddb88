"""`vaetune encode`: tables and maps of latent variables, from searches and exports."""

import re
import signal
import time

import numpy as np
import pandas as pd
import pytest
from image_sets import make_split
from picture_folders import save
from PIL import Image
from prepared_commands import PreparedCommand
from scripted_workers import wait_until
from user_folder import file_contents, folder_after_search, search_and_export

from vaetune.models import load_model

pytestmark = pytest.mark.usefixtures("own_cache")

TRAIN, TEST = make_split(30, (9, 10, 1), 1), make_split(12, (9, 10, 1), 2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A user's folder after a search and an export. Tests work in a copy."""
    folder = tmp_path_factory.mktemp("searched")
    search_and_export(folder, TRAIN, TEST)
    return folder


folder = folder_after_search


def expected_posterior(images):
    """z_mean and z_log_var of the exported model."""
    vae = load_model("results/best/vae.keras")
    return vae.posterior(images / np.float32(255))


def test_encode_writes_all_images_of_a_search_to_a_table(vaetune, folder):
    code, out, error = vaetune("encode", "--output", "z.csv", "--log-var")
    assert (code, error) == (0, "")
    assert out == "Encoded 42 images with the winner of squares.\nTable: z.csv\n"
    frame = pd.read_csv("z.csv", dtype={"class_name": str})
    z_mean, z_log_var = expected_posterior(np.concatenate([TRAIN.images, TEST.images]))
    dimensions = z_mean.shape[1]
    mean_columns = [f"z_mean_{k}" for k in range(dimensions)]
    np.testing.assert_allclose(frame[mean_columns], z_mean, atol=1e-5)
    log_var_columns = [column.replace("mean", "log_var") for column in mean_columns]
    np.testing.assert_allclose(frame[log_var_columns], z_log_var, atol=1e-5)
    assert [*frame] == ["name", "split", "label", "class_name", *mean_columns, *log_var_columns]
    assert frame["name"].tolist() == [*range(30), *range(12)]
    assert frame["label"].tolist() == [*TRAIN.labels, *TEST.labels]
    assert frame["class_name"].tolist() == [str(label) for label in frame["label"]]
    assert frame["split"].value_counts().to_dict() == {"train": 25, "validation": 5, "test": 12}

    code, out, _ = vaetune("encode", "squares", "--output", "z.npz", "--split", "test")
    assert out.startswith("Encoded 12 images with ")
    with np.load("z.npz") as arrays:
        assert set(arrays) == {"names", "splits", "labels", "class_names", "z_mean"}
        np.testing.assert_allclose(arrays["z_mean"], z_mean[30:], atol=1e-5)
    assert vaetune("encode", "results/best", "--output", "z.npz", "--dataset", "squares.npz") == (
        0,
        "Encoded 42 images with the model in results/best.\nTable: z.npz\n",
        "",
    )
    with np.load("z.npz") as arrays:
        assert arrays["splits"].tolist() == frame["split"].tolist()
        np.testing.assert_allclose(arrays["z_mean"], frame[mean_columns], atol=1e-5)


def test_encode_writes_a_table_and_a_map_of_other_images(vaetune, folder):
    save(folder / "photos" / "odd", TRAIN.images[:4, ..., 0])
    save(folder / "photos" / "usual", TRAIN.images[4:11, ..., 0])
    command = ("encode", "--dataset", "photos", "--output", "z.parquet", "--map", "map.png")
    before = file_contents(folder)
    for _ in range(2):
        code, out, error = vaetune(*command)
        assert (code, error) == (0, "")
    assert re.fullmatch(
        r"Encoded 11 images with the winner of squares\.\nTable: z\.parquet\n"
        r"Map: map\.png, with \d+ thumbnails?\n",
        out,
    )
    frame = pd.read_parquet("z.parquet")
    assert [*frame][:4] == ["name", "label", "class_name", "z_mean_0"]
    assert frame["name"].tolist()[3:5] == ["odd/003.png", "usual/000.png"]
    assert frame["class_name"].tolist() == ["odd"] * 4 + ["usual"] * 7
    values = frame.filter(like="z_mean")
    np.testing.assert_allclose(values, expected_posterior(TRAIN.images[:11])[0], atol=1e-5)
    with Image.open("map.png") as picture:
        assert picture.format == "PNG"
    written = {folder / "map.png", folder / "z.parquet"}
    assert {path for path in file_contents(folder) if path not in before} == written
    vaetune(*command[:-3], "z.parquet", "--levels")
    assert [*pd.read_parquet("z.parquet")] == [*frame], "the model has only one level"


def test_a_map_is_written_without_a_table(vaetune, folder):
    code, out, _ = vaetune("encode", "--map", "map.png", "--split", "train", "--split", "test")
    assert code == 0
    assert out.startswith("Encoded 37 images with the winner of squares.\nMap: map.png, with ")


def test_changed_images_of_a_search_are_encoded_without_splits(vaetune, folder):
    np.savez("squares.npz", x_train=TRAIN.images[:20])
    code, _, error = vaetune("encode", "--output", "z.csv")
    assert code == 0
    assert re.fullmatch(
        r"\S+squares\.npz has changed since the search, so the table has no splits\.\n", error
    )
    assert [*pd.read_csv("z.csv")][:2] == ["name", "z_mean_0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "z.txt"), "expected one that ends in .npz, .csv or .parquet"),
        (("--output", "no/z.csv"), "There is no folder no. Create it"),
        (("--output", "squares.npz"), "squares.npz is not a table of latent variables and will"),
        (("--map", "map.jpg"), "map.jpg is not a name of a map"),
        (("--output", "z.csv", "--trial", "99"), "no trial 99. `vaetune trials squares` lists"),
        (("other", "--output", "z.csv"), 'There is no search "other" in results'),
        (("results/none", "--output", "z.csv"), "There is no search or baseline in results/none"),
        (("results/best", "--output", "z.csv"), 'does not say where its images "squares" are'),
        (("--output", "z.csv", "--dataset", "none"), "There is no image set at none"),
        (("--output", "z.csv", "--dataset", "empty"), "empty contains no images"),
        (("--output", "z.csv", "--dataset", "large"), "takes 9 x 10. Resize them with --resize"),
        (("--output", "z.csv", "--dataset", "small", "--split", "test"), "small has no splits"),
    ],
)
def test_an_impossible_encoding_is_refused_in_one_line(vaetune, folder, arguments, message):
    save(folder / "large", np.zeros((2, 20, 20), np.uint8))
    save(folder / "small", np.zeros((2, 9, 10), np.uint8))
    (folder / "empty").mkdir()
    before = file_contents(folder)
    code, out, error = vaetune("encode", *arguments)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"vaetune: [^\n]+\n", error)
    assert message in error
    assert file_contents(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--output", "z.csv", "--split", "all"),
        ("results/best", "--trial", "0000", "--output", "z.csv"),
    ],
)
def test_wrong_options_are_a_usage_error(vaetune, folder, arguments):
    assert vaetune("encode", *arguments)[0] == 2


def test_an_error_about_moved_images_suggests_dataset(vaetune, folder):
    (folder / "squares.npz").rename(folder / "moved.npz")
    code, _, error = vaetune("encode", "--output", "z.csv")
    assert (code, error.count("\n")) == (1, 1)
    assert "If the images have moved, name their new place with --dataset." in error
    assert vaetune("encode", "--output", "z.csv", "--dataset", "moved.npz")[::2] == (0, "")
    assert "split" in pd.read_csv("z.csv"), "the images of the search have splits"


def test_images_are_resized_on_request(vaetune, folder):
    save(folder / "large", np.zeros((2, 20, 20), np.uint8))
    command = ("encode", "--dataset", "large", "--output", "z.csv", "--resize", "crop")
    assert vaetune(*command)[::2] == (0, "2 images were resized to 9 x 10 (cropped).\n")


def test_a_search_without_a_completed_trial_is_refused(vaetune, folder):
    journal = folder / "results" / "squares" / "journal.jsonl"
    journal.write_text(journal.read_text().partition("\n")[0] + "\n")
    _, _, error = vaetune("encode", "--output", "z.csv")
    assert "has no completed trial yet" in error


def test_lost_weights_are_reported(vaetune, folder):
    for path in (folder / "results" / "squares").rglob("checkpoint.npz"):
        path.unlink()
    code, _, error = vaetune("encode", "--output", "z.csv")
    assert (code, error.count("\n")) == (1, 1)
    assert "Run the search again" in error
    assert not (folder / "z.csv").exists()


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet"])
def test_ctrl_c_leaves_no_partial_file(vaetune, folder, monkeypatch, ending):
    def stop(self, run, trial_id, share):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaetune.cli.live.bars.EvaluationProgress.on_progress", stop)
    before = file_contents(folder)
    expected = (130, "Stopped. Nothing was written.\n", "")
    assert vaetune("encode", "--output", f"z.{ending}", "--map", "map.png") == expected
    assert file_contents(folder) == before


@pytest.mark.long
def test_a_signal_leaves_no_partial_file(folder):
    np.save(folder / "many.npy", np.zeros((400_000, 9, 10), np.uint8))
    before = set(folder.iterdir())
    command = ("encode", "--dataset", "many.npy", "--output", "z.csv")
    with PreparedCommand(command, cwd=folder) as process:
        partial = folder / ".z.csv.tmp"
        wait_until(lambda: partial.exists() or process.poll() is not None, "the table")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "Stopped. Nothing was written.\n", "")
    assert set(folder.iterdir()) - before <= {folder / "cache"}
