"""`vaetune check`: a preview of a search or of images."""

import re
import sys
from dataclasses import replace

import pytest
from image_sets import make_images
from PIL import Image
from user_folder import SEARCH_FILE, file_contents

import vaetune.data as data_package
from vaetune.config.reading import Copies, Reading
from vaetune.data import sources


@pytest.mark.slow
@pytest.mark.usefixtures("shared_probes")
def test_check_probes_a_search_and_writes_no_file(vaetune, folder):
    before = file_contents(folder)
    code, out, error = vaetune("check", "squares.toml", "--batch-size", 64, "--no-baseline")
    assert (code, error) == (0, "")
    assert out.startswith("vaetune 0.2.0: check of squares\n")
    assert re.search(r"training\.batch_size +64 +flag", out)
    assert "25 training and 5 validation images of 9 x 10 x 1" in out
    assert re.search(r"^Images: .*\n  splits +25 training, 5 validation and 12 test", out, re.M)
    assert "To train: 6 trials of 5 configurations, 11 epochs." in out
    assert "saved and loaded unchanged" in out
    assert len(re.findall(r"ms per step of 25 images$", out, re.MULTILINE)) == 5
    assert "Batches are limited to the number of training images." in out
    assert re.search(r"^Estimated time: \d.* (seconds?|minutes)\.$", out, re.MULTILINE)
    assert re.search(r"^Memory: at most .* so far", out, re.MULTILINE)
    assert re.search(r"^Disk: at most \d+ MB ", out, re.MULTILINE)
    assert out.endswith("Ready. Next: vaetune search squares.toml and the same options\n")
    assert file_contents(folder) == before


def test_check_refuses_an_invalid_search(refused, folder):
    assert "squares.toml: unknown key" in error_of_changed_search(
        refused, folder, "seed = 3", "sead = 3"
    )
    assert "There is no image set" in refused("check", "squares.toml", "--dataset", "gone.npz")
    assert 'There is no search "none"' in refused("check", "none")
    (folder / "best.toml").write_text(SEARCH_FILE)
    assert "results/best/ is reserved" in refused("check", "best.toml")


def error_of_changed_search(refused, folder, old, new):
    """The error of `vaetune check` if `new` replaces `old` in the search file."""
    (folder / "squares.toml").write_text(SEARCH_FILE.replace(old, new))
    error = refused("check", "squares.toml")
    (folder / "squares.toml").write_text(SEARCH_FILE)
    return error


@pytest.mark.slow
def test_check_reports_too_little_memory(refused, folder, monkeypatch):
    from vaetune.search.preflight import probe

    def run_out_of_memory(*given):
        raise MemoryError

    monkeypatch.setattr(probe.EpochRunner, "train", run_out_of_memory)
    assert "There is not enough memory to train" in refused("check", "squares.toml")


def test_check_without_a_search_describes_images_without_tensorflow(vaetune, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # Importing it fails.
    code, out, error = vaetune("check", "--dataset", "squares.npz")
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "vaetune 0.2.0: check of the images squares"
    assert lines[1] == "42 images of 9 x 10 x 1, uint8 0..255 taken as 0..1"
    assert re.match("  splits +25 training, 5 validation and 12 test images", lines[2])
    assert re.fullmatch(r"  classes +3: 0 \(\d+\), 1 \(\d+\), 2 \(\d+\)", lines[3])
    assert sum(map(int, re.findall(r"\((\d+)\)", lines[3]))) == 42
    assert lines[-1] == "Ready. Next: vaetune search hyperband --dataset squares.npz"
    sheet = folder / "results" / "squares-images.png"
    assert f"Contact sheet: {sheet.relative_to(folder)}, with 24 training images" in out
    with Image.open(sheet) as image:
        assert image.format == "PNG"
        assert image.width > 800


def test_the_contact_sheet_is_written_to_the_given_path(vaetune, folder):
    code, out, _ = vaetune("check", "--dataset", "squares.npz", "--sheet", "a/sheet.png")
    assert code == 0
    assert "Contact sheet: a/sheet.png, " in out
    assert (folder / "a" / "sheet.png").is_file()
    assert not (folder / "results").exists()


def test_the_contact_sheet_is_written_to_the_folder_of_results(vaetune, folder):
    code, out, _ = vaetune("check", "--dataset", "squares.npz", "--results", "mine")
    assert code == 0
    assert "Contact sheet: mine/squares-images.png, " in out
    assert (folder / "mine" / "squares-images.png").is_file()
    assert not (folder / "results").exists()
    assert out.endswith("vaetune search hyperband --dataset squares.npz and the same options\n")


def test_check_prints_how_images_were_read(vaetune, folder, monkeypatch):
    images = make_images(train=60, shape=(9, 10, 5))
    reading = Reading(
        kind="files",
        dtype="uint16",
        low=0,
        high=4095,
        range=(0, 4095),
        show=(4, 1, 0),
        copies=Copies(distinct=80, across=8),
        own_splits=("test",),
        warnings=("8 copies.",),
    )
    requests = []
    monkeypatch.setattr(
        sources,
        "load_prepared",
        lambda data, announce: requests.append(data) or replace(images, reading=reading),
    )
    monkeypatch.setattr(data_package, "load_prepared", sources.load_prepared)
    options = ("--image-size", "64x48", "--skip-unreadable")
    code, out, _ = vaetune("check", "--dataset", "squares.npz", *options)
    assert code == 0
    assert "88 images of 9 x 10 x 5, uint16 0..4095 taken as 0..1" in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "distinct 80 of 88 images" in lines
    assert "pictures channels 4, 1 and 0 of 5 as red, green and blue" in lines
    assert "warning 8 copies." in lines
    assert out.endswith("--dataset squares.npz and the same options\n")
    assert (requests[0].image_size, requests[0].skip_unreadable) == ((64, 48), True)


def test_check_needs_a_search_or_images(refused):
    assert "vaetune check --dataset FOLDER" in refused("check")
    assert "--image-size" not in refused("check", "--image-size", 64)
    error = refused("check", "--dataset", "squares.npz", "--batch-size", 8)
    assert "--batch-size is an option of a search" in error
    assert "--seed is an option" in refused("check", "--dataset", "squares.npz", "--seed", 1)


def test_an_invalid_image_size_is_reported_with_its_option(refused):
    error = refused("check", "--dataset", "squares.npz", "--image-size", "large")
    assert error.startswith("vaetune: --image-size must be a side such as 64")
    assert "--image-size" in refused("check", "squares.toml", "--image-size", 3)


def test_a_contact_sheet_does_not_overwrite_another_file(refused, folder):
    error = refused("check", "--dataset", "squares.npz", "--sheet", "squares.npz")
    assert "squares.npz is not a contact sheet of vaetune" in error


@pytest.mark.usefixtures("without_probing")
def test_check_prints_the_number_of_model_structures(vaetune, folder):
    (folder / "mine.toml").write_text(SEARCH_FILE)
    assert "Model structures" not in vaetune("check", "mine.toml")[1]
    structured = SEARCH_FILE + '\nactivation = { values = ["relu", "gelu"] }\n'
    (folder / "mine.toml").write_text(structured)
    line = "Model structures: at most 2, each with a computation graph of its own."
    assert line in vaetune("check", "mine.toml")[1].splitlines()


@pytest.mark.usefixtures("without_probing")
def test_check_prints_which_steps_are_compiled(vaetune, folder):
    (folder / "mine.toml").write_text(SEARCH_FILE)
    out = vaetune("check", "mine.toml")[1]
    assert re.search(r"^  training\.compile +auto +default +only on a GPU$", out, re.M)
    assert "Compiled training steps: only on a GPU." in out.splitlines()
    assert re.search(r"^Estimated time: ", out, re.M)
    compiled = SEARCH_FILE.replace("[training]", '[training]\ncompile = "padded"')
    (folder / "mine.toml").write_text(compiled)
    out = vaetune("check", "mine.toml")[1]
    assert re.search(r"^  training\.compile +padded +file +1 program, compiled once$", out, re.M)
    assert "Compiled training steps: 1 program." in out.splitlines()
    assert re.search(
        r"^Estimated time, with uncompiled steps and without the time to compile others: ",
        out,
        re.M,
    )
