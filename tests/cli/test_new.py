"""`vaetune new`: a new search file for images."""

import re
import subprocess
import sys

import numpy as np
import pytest
from picture_folders import noise
from PIL import Image

from vaetune.config.search_file import resolve
from vaetune.config.space import DEFAULT_SPACE


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "bayesian", "grid"])
def test_new_writes_a_valid_search_file_that_is_listed(vaetune, folder, algorithm):
    code, out, error = vaetune("new", "mine", "--algorithm", algorithm, "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    assert out == (
        "Written: searches/mine.toml\n"
        "Next: edit it, then `vaetune check mine`, then `vaetune search mine`\n"
    )
    _, out, _ = vaetune("search")
    assert re.search(r"^  mine +[A-Z].* on squares\.npz$", out, re.MULTILINE)
    resolved = resolve(folder / "searches" / "mine.toml")
    assert resolved.spec.algorithm == algorithm
    assert resolved.spec.data.dataset == str(folder / "squares.npz")


def test_new_does_not_overwrite_a_search_file(vaetune, refused, folder):
    vaetune("new", "mine")
    assert "searches/mine.toml already exists." in refused("new", "mine")


@pytest.mark.parametrize("name", ["best", "baselines", "a/b", "..", "mine.toml"])
def test_new_refuses_an_invalid_name(refused, folder, name):
    refused("new", name)
    assert not (folder / "searches").exists()


def test_new_warns_about_missing_images(vaetune, folder):
    code, out, error = vaetune("new", "faces", "--dataset", "nowhere")
    assert code == 0
    assert out.startswith("Written: searches/faces.toml\n")
    assert error == f"There is nothing at nowhere yet. {ADVICE}\n"
    spec = resolve(folder / "searches" / "faces.toml").spec
    assert spec.data.dataset == str(folder / "nowhere")
    assert spec.space == DEFAULT_SPACE
    for name, dataset in (("ours", "squares.npz"), ("theirs", "mnist")):
        assert vaetune("new", name, "--dataset", dataset)[2] == ""


ADVICE = (
    "So its space is for grey images of 28 x 28 pixels. Once the images can be read, delete the "
    "file and run the command again, or edit data.dataset and [space]."
)


def test_new_reports_why_images_cannot_be_read(vaetune, folder):
    (folder / "damaged.npz").write_bytes(b"PK")
    for side in (20, 30):
        (folder / "mixed").mkdir(exist_ok=True)
        Image.new("L", (side, side)).save(folder / "mixed" / f"{side}.png")
    np.save(folder / "small.npy", np.zeros((20, 7, 9), np.uint8))
    reasons = {
        "damaged.npz": "damaged.npz is not a complete .npz file. Save plain arrays",
        "mixed": "mixed contains images of 2 different sizes: 1 of 20 x 20, 1 of 30 x 30.",
        "small.npy": "small.npy has images of 7 x 9 pixels, expected at least 8 x 8.",
        "squares.toml": "squares.toml is not an image set: expected digits,",
    }
    for number, (dataset, reason) in enumerate(reasons.items()):
        code, _, error = vaetune("new", f"mine-{number}", "--dataset", dataset)
        assert code == 0
        assert error.startswith(reason)
        assert error.endswith(f" {ADVICE}\n")
        assert error.count("\n") == 1
        assert resolve(folder / "searches" / f"mine-{number}.toml").spec.space == DEFAULT_SPACE


SHAPES = {
    "8 x 8 grey": (8, 8),
    "28 x 28 grey": (28, 28),
    "32 x 32 colour": (32, 32, 3),
    "64 x 64 colour": (64, 64, 3),
    "96 x 128 grey": (96, 128),
    "128 x 128 colour": (128, 128, 3),
}


# tests/cli/test_app.py checks and searches images of 40 x 32 x 3 with a file that `new` writes.
@pytest.mark.long
@pytest.mark.parametrize("name", SHAPES)
def test_check_accepts_what_new_writes(vaetune, folder, name):
    np.savez(folder / "ours.npz", x=noise(24, *SHAPES[name]))
    assert vaetune("new", "ours", "--dataset", "ours.npz")[0] == 0
    code, out, _ = vaetune("check", "ours")
    assert code == 0
    assert out.endswith("Ready. Next: vaetune search ours\n")


@pytest.mark.parametrize("algorithm", ["hyperband", "random", "bayesian", "grid"])
def test_new_writes_a_space_for_the_images(vaetune, folder, algorithm):
    np.savez(folder / "ours.npz", x=noise(24, 64, 70, 3))
    vaetune("new", "ours", "--dataset", "ours.npz", "--algorithm", algorithm)
    space = resolve(folder / "searches" / "ours.toml").spec.space
    assert space.stages.listed() == ((3,) if algorithm == "grid" else (3, 4))
    assert space.latent_dim.listed() == (32, 64, 128)


def test_new_does_not_import_tensorflow(folder):
    script = "import sys; from vaetune.cli.new import new; new('ours', dataset='squares.npz')"
    script += "; assert 'numpy' in sys.modules and not {'tensorflow', 'keras'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (folder / "searches" / "ours.toml").exists()


def test_an_unknown_algorithm_is_a_usage_error(vaetune, folder):
    assert vaetune("new", "mine", "--algorithm", "genetic")[0] == 2
