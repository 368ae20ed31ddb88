"""`vaetune score`: thresholds, flagged images, AUROC, tables and heat maps."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from exports import StubReader
from image_sets import make_split
from picture_folders import save
from PIL import Image
from sklearn.metrics import roc_auc_score
from user_folder import file_contents, folder_after_search, search_and_export

from vaetune import report

pytestmark = pytest.mark.usefixtures("own_cache")

TOO_FEW = "4 validation images are too few to say which loss is expected of a complex image"

TRAIN, TEST = make_split(60, (9, 10, 1), 1), make_split(30, (9, 10, 1), 2)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A user's folder after a search without class 2, and an export. Tests work in a copy."""
    folder = tmp_path_factory.mktemp("searched")
    search_and_export(folder, TRAIN, TEST, 'leave_out = ["2"]')
    return folder


folder = folder_after_search


def test_the_images_of_a_search_are_scored_flagged_and_drawn(vaetune, folder, monkeypatch):
    drawn = []
    write = report.write_heat_maps

    def write_two(path, maps):
        drawn.append(maps)
        fields = ("originals", "reconstructions", "losses", "titles")
        write(
            path, replace(maps, anomalous=1, **{name: getattr(maps, name)[:2] for name in fields})
        )

    monkeypatch.setattr(report, "write_heat_maps", write_two)
    command = ("score", "--output", "s.csv", "--odd", "2", "--heat-maps", "maps.png")
    code, out, error = vaetune(*command, "--quantile", "0.8")
    assert code == 0
    assert error.startswith(TOO_FEW)
    assert error.count("\n") == 1
    frame = pd.read_csv("s.csv", dtype={"class_name": str})
    description_columns = ["name", "split", "label", "class_name"]
    values = ["score", "negative_elbo", "expected_loss", "reconstruction", "kl"]
    values += ["reconstruction_error", "lowest_loss", "compressed_size"]
    assert [*frame] == [*description_columns, *values, "flagged"]
    assert frame["name"].tolist() == [*range(60), *range(30)]
    assert frame["label"].tolist() == [*TRAIN.labels, *TEST.labels]
    assert (frame["split"] == "left_out").tolist() == (frame["label"] == 2).tolist()

    val_scores = frame["score"][frame["split"] == "validation"]
    threshold = sorted(val_scores)[int(np.ceil(0.8 * (len(val_scores) + 1))) - 1]
    assert frame["flagged"].tolist() == (frame["score"] > threshold).tolist()
    assert f"Threshold: {threshold:,.2f} nats, quantile 0.8 of {len(val_scores)} validation" in out
    for split in ("train", "validation", "test", "left_out"):
        flagged = frame["flagged"][frame["split"] == split]
        line = f"{flagged.sum()} of {len(flagged)} ({flagged.mean():.2%}) {split.replace('_', ' ')}"
        assert line in out

    new = frame[frame["split"].isin(["test", "left_out"])]
    expected = roc_auc_score(new["label"] == 2, new["score"])
    odd = (new["label"] == 2).sum()
    counts = f"{odd} odd images, {len(new) - odd} normal"
    assert f"AUROC: {expected:.4f} for 2 against all others ({counts})\n" in out
    listed_lines = out[out.index("Most anomalous:") : out.index("AUROC")].splitlines()[1:]
    highest = frame.sort_values("score", ascending=False, kind="stable").head(10)
    assert len(listed_lines) == 10
    for line, (_, row) in zip(listed_lines, highest.iterrows(), strict=True):
        assert line.split()[:2] == [f"{row['score']:,.2f}", str(row["name"])]
        assert line.endswith("flagged") == row["flagged"]
    with Image.open("maps.png") as picture:
        assert picture.format == "PNG"
    assert drawn[0].splits == ["train", "validation", "test", "left out"]
    assert not drawn[0].is_corrected, "there are too few validation images"
    most_anomalous = frame.sort_values("score", ascending=False, kind="stable").iloc[0]
    title = f"{most_anomalous['split'].replace('_', ' ')} {most_anomalous['name']}"
    assert drawn[0].titles[0] == f"{most_anomalous['score']:,.1f} nats: {title}"
    assert out.endswith("Table: s.csv\nHeat maps: maps.png, with 12 images\n")


def test_a_search_and_its_export_give_other_images_the_same_scores(vaetune, folder):
    save(folder / "photos" / "odd", TRAIN.images[:4, ..., 0])
    save(folder / "photos" / "usual", TRAIN.images[4:11, ..., 0])
    options = ("--dataset", "photos", "--output", "s.parquet", "--normal", "usual")
    frames, outs = [], []
    for model in ("squares", "results/best"):
        before = file_contents(folder)
        code, out, error = vaetune("score", model, *options)
        assert code == 0
        complexity, quantile = error.splitlines()
        assert complexity.startswith(TOO_FEW)
        assert quantile.startswith("4 validation images are too few for the quantile 0.99, ")
        written = {path for path in file_contents(folder) if path not in before}
        assert written <= {folder / "s.parquet"}
        frames.append(pd.read_parquet("s.parquet"))
        outs.append(out.partition("\n")[2])
    assert outs[0] == outs[1]
    assert "AUROC: " in outs[0]
    assert "for all others against usual (4 odd images, 7 normal)" in outs[0]
    assert re.search(r"^Flagged: \d+ of 11 \(\d+\.\d\d%\) images$", outs[0], re.M)
    frame = frames[0]
    assert frame["name"].tolist()[3:5] == ["odd/003.png", "usual/000.png"]
    np.testing.assert_allclose(frame["score"], frames[1]["score"], rtol=1e-5)


def test_a_choice_of_splits_keeps_the_scores_the_threshold_and_the_auroc(vaetune, folder):
    splits = ("--split", "test", "--split", "left_out")
    code, out, _ = vaetune("score", *splits, "--odd", "2", "--output", "s.csv", "--quantile", "0.8")
    assert code == 0
    frame = pd.read_csv("s.csv")
    assert set(frame["split"]) == {"test", "left_out"}
    code, out_of_all, _ = vaetune("score", "--odd", "2", "--output", "all.csv", "--quantile", "0.8")
    all_scores = pd.read_csv("all.csv")
    expected = all_scores[all_scores["split"].isin(["test", "left_out"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected, rtol=1e-5)
    for line in ("Threshold: .*", "AUROC: .*"):
        assert re.search(line, out)[0] == re.search(line, out_of_all)[0]


def test_training_on_an_odd_class_is_reported(vaetune, folder):
    code, out, error = vaetune("score", "--odd", "0", "--quantile", "0.5")
    assert (code, "AUROC: " in out) == (0, True)
    count = int((TRAIN.labels == 0).sum())
    assert f"\nThe model was trained or validated on {count} odd images" in error
    assert 'leave_out = ["LABEL"]' in error


def test_an_export_takes_the_threshold_from_its_validation_losses(vaetune, folder):
    shutil.move("results/best", "moved")
    np.savez("others.npz", x=TEST.images)
    command = ("score", "moved", "--dataset", "others.npz", "--output", "s.npz")
    code, out, error = vaetune(*command)
    assert code == 0
    assert "few for the quantile" in error
    assert "Threshold: " in out
    with np.load("s.npz") as arrays:
        assert arrays["flagged"].shape == (30,)
    (folder / "moved" / "validation_losses.csv").unlink()
    code, out, error = vaetune(*command)
    assert code == 0
    expected = "No threshold could be set, so no image is flagged. There is no "
    assert error.startswith(f"{expected}moved/validation_losses.csv. The model in moved")
    assert error.count("\n") == 1
    assert "Threshold" not in out
    assert "lagged" not in out
    with np.load("s.npz") as arrays:
        assert {"names", "score", "lowest_loss"} <= set(arrays)
        assert "flagged" not in arrays


def test_an_export_without_the_images_has_no_validation_losses(
    vaetune, folder, monkeypatch, without_figures
):
    monkeypatch.setattr("vaetune.export.trial.Reader", StubReader)
    (folder / "squares.npz").rename(folder / "gone.npz")
    code, _, error = vaetune("best", "--export")
    assert code == 0
    assert error.startswith(
        "Without losses of validation images, `vaetune score` sets no threshold"
    )
    assert "squares.npz" in error
    assert error.count("\n") == 1
    losses = folder / "results" / "best" / "validation_losses.csv"
    assert not losses.exists()
    assert "validation_losses.csv" not in (folder / "results" / "best" / "README.md").read_text()
    assert "If the images have moved, export the model with them: `vaetune best --export" in error
    np.savez("others.npz", x=TRAIN.images, y=TRAIN.labels)
    before = file_contents(folder)
    code, _, error = vaetune("best", "--export", "--dataset", "others.npz")
    assert (code, error.count("\n")) == (1, 1)
    assert '"squares" was run on other images than those in others.npz' in error
    assert file_contents(folder) == before
    assert vaetune("best", "--export", "--dataset", "gone.npz")[::2] == (0, "")
    assert len(losses.read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "s.txt"), "expected one that ends in .npz, .csv or .parquet"),
        (("--output", "squares.npz"), "squares.npz is not a table of scores and will not be"),
        (("--heat-maps", "maps.jpg"), "maps.jpg is not a name of a picture of heat maps"),
        (("--heat-maps", "no/maps.png"), "There is no folder no. Create it"),
        (("--quantile", "1"), "above 0 and below 1, such as 0.99. Received: 1."),
        (("--quantile", "nan"), "above 0 and below 1, such as 0.99. Received: nan."),
        (("--odd", "9"), 'There is no class "9". The classes are: 0, 1, 2.'),
        (
            ("--odd", "2", "--split", "test"),
            "Choose another class, or leave out --split (in Python",
        ),
        (("--odd", "x", "--dataset", "small"), "have no labels, so there is no AUROC"),
        (("--odd", "a", "--dataset", "one"), "There are no normal images, so there is no AUROC"),
        (("--dataset", "empty"), "empty contains no images"),
        (("--dataset", "large"), "takes 9 x 10. Resize them with --resize"),
        (("--dataset", "broken"), "broken"),
        (("--trial", "99"), "no trial 99. `vaetune trials squares` lists"),
    ],
)
def test_an_impossible_scoring_is_refused_in_one_line(vaetune, folder, arguments, message):
    save(folder / "large", np.zeros((2, 20, 20), np.uint8))
    save(folder / "small", np.zeros((2, 9, 10), np.uint8))
    save(folder / "one" / "a", np.zeros((2, 9, 10), np.uint8))
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_bytes(b"no image")
    (folder / "empty").mkdir()
    before = file_contents(folder)
    code, out, error = vaetune("score", *arguments)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"vaetune: [^\n]+\n", error)
    assert message in error
    assert file_contents(folder) == before


@pytest.mark.parametrize(
    "arguments", [("--odd", "1", "--normal", "2"), ("results/best", "--trial", "0000")]
)
def test_wrong_options_are_a_usage_error(vaetune, folder, arguments):
    assert vaetune("score", *arguments)[0] == 2


def test_ctrl_c_leaves_no_file(vaetune, folder, monkeypatch):
    def stop(self, run, trial_id, share):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaetune.cli.live.bars.EvaluationProgress.on_progress", stop)
    before = file_contents(folder)
    expected = (130, "Stopped. Nothing was written.\n", "")
    assert vaetune("score", "--output", "s.csv", "--heat-maps", "maps.png") == expected
    assert file_contents(folder) == before
