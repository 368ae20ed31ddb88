"""A search refuses bad input with one line and exit status 1, and changes no file."""

import re

import full_disk
import numpy as np
import pytest
from PIL import Image
from prepared_commands import PreparedCommand
from user_folder import BAYESIAN, SEARCH_FILE, noise


def test_an_unknown_search_is_refused_with_a_suggestion(refused):
    assert 'There is no search "hyperbnd". Did you mean "hyperband"?' in refused(
        "search", "hyperbnd"
    )


def test_a_missing_search_file_is_refused(refused):
    assert "There is no search file at none.toml" in refused("search", "none.toml")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[budget]\nmax_epochs = = 3", r"not valid TOML: .*line 2"),
        ("[budget]\nmax_epoch = 3", r'unknown key "budget.max_epoch". Did you mean "max_epochs"'),
        ("[space]\nlatent_dims = 3", r'unknown hyperparameter .* Did you mean "latent_dim"'),
        (
            "[space]\nlatent_dim = { values = [] }",
            r"space\.latent_dim\.values must contain at least",
        ),
        ("[space]\nlatent_dim = { min = 4, max = 2 }", r"min must be less than max"),
        ('algorithm = "hyperbad"', r'Did you mean "hyperband"'),
    ],
)
def test_a_mistake_in_a_search_file_is_reported(refused, folder, text, shown):
    (folder / "bad.toml").write_text(text)
    assert re.search(shown, refused("search", "bad.toml"))


def test_a_flag_below_its_minimum_is_refused(refused):
    assert "--max-epochs should be greater" in refused("search", "squares.toml", "--max-epochs", 0)


def test_a_negative_number_of_final_seeds_is_refused(refused):
    assert "--final-seeds" in refused("search", "squares.toml", "--final-seeds", -1)


def test_a_bayesian_search_needs_more_trials_than_initial_trials(refused, folder):
    (folder / "short.toml").write_text(
        SEARCH_FILE.replace('"hyperband"', '"bayesian"').replace("max_epochs = 3", BAYESIAN)
    )
    error = refused("search", "short.toml", "--max-trials", 3)
    assert "--max-trials must be greater than budget.initial_trials, received 3 and 3" in error


def test_an_error_about_two_values_names_the_flag_that_was_given(refused):
    error = refused("search", "squares.toml", "--min-epochs", 5)
    assert error.startswith("vaetune: --min-epochs must be at most max_epochs")


def test_extend_and_overwrite_cannot_be_combined(vaetune, folder):
    code, _, error = vaetune("search", "squares.toml", "--extend", "--overwrite")
    assert code == 2
    assert "not both" in error
    assert not (folder / "results").exists()


def write_bad_images(folder, **arrays):
    """Writes arrays to bad.npz, and returns the option that selects this file."""
    np.savez(folder / "bad.npz", **arrays)
    return "--dataset", "bad.npz"


def images_with_pixel(value):
    """Random images as floats. One of their pixels has the value."""
    images = noise().astype(np.float32)
    images[3, 2, 1] = value
    return images


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": images_with_pixel(np.nan)},
        {"x_train": images_with_pixel(np.inf)},
        {"x_train": images_with_pixel(256)},
        {"x_train": images_with_pixel(-1)},
        {"x_train": np.full((20, 9, 9), "a")},
        {"x_train": noise(0)},
        {"x_train": noise(1)},
        {"x_train": noise(11)},
        {"x_train": noise(20, 7, 9)},
        {"x_train": np.array([{"pickled": 1}] * 20, dtype=object)},
        {"pictures": noise(), "masks": noise()},
    ],
    ids=lambda arrays: "-".join(f"{a.dtype.kind}{a.shape}" for a in arrays.values()),
)
def test_unusable_images_are_refused(refused, folder, arrays):
    flags = write_bad_images(folder, **arrays)
    assert "bad.npz" in refused("search", "squares.toml", *flags)
    assert not (folder / "results").exists()


def test_an_unknown_data_set_is_refused_with_a_suggestion(refused):
    assert "digits" in refused("search", "squares.toml", "--dataset", "digit")


def test_a_corrupt_png_is_named(refused, folder):
    (folder / "pictures").mkdir()
    for number, image in enumerate(noise()):
        Image.fromarray(image).save(folder / "pictures" / f"{number:02d}.png")
    broken = folder / "pictures" / "07.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert "07.png" in refused("search", "squares.toml", "--dataset", "pictures")


def test_images_of_mixed_sizes_are_counted_by_size(refused, folder):
    (folder / "pictures").mkdir()
    for number, image in enumerate(noise()):
        Image.fromarray(image).save(folder / "pictures" / f"{number:02d}.png")
    Image.fromarray(noise(1, 12, 9)[0]).save(folder / "pictures" / "05.png")
    error = refused("search", "squares.toml", "--dataset", "pictures")
    assert "19 of 9 x 9, 1 of 12 x 9" in error
    assert "--image-size 64" in error


def test_a_results_folder_that_is_a_file_is_refused(refused, folder):
    (folder / "taken").write_text("not a folder")
    assert "taken" in refused("search", "squares.toml", "--results", "taken")


def test_a_results_folder_that_cannot_be_created_is_refused(refused):
    assert "/proc/vaetune" in refused("search", "squares.toml", "--results", "/proc/vaetune")


def test_a_folder_with_files_of_another_program_is_not_changed(refused, folder):
    (folder / "results" / "squares").mkdir(parents=True)
    (folder / "results" / "squares" / "thesis.tex").write_text("years of work")
    assert "thesis.tex" in refused("search", "squares.toml")


def test_a_missing_gpu_is_reported(refused, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert "No GPU found" in refused("search", "squares.toml", "--device", "gpu")


def test_a_search_runs_after_a_full_disk_was_reported(vaetune, folder):
    """A limit of a few kilobytes per file stands for a full disk."""
    quick = ("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "-q")
    with PreparedCommand(quick, cwd=folder, program=full_disk.__file__) as process:
        code, _, error = process.finish(timeout=120)
    assert code == 1, error
    assert re.fullmatch(r"vaetune: [^\n]*cannot be written: File too large[^\n]*\n", error)
    code, _, error = vaetune(*quick)
    assert code == 0, error
