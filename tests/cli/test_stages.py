"""More stages than the image size allows are refused before training."""

import numpy as np
import pytest
from user_folder import SEARCH_FILE, file_contents

from vaetune.config.search_file import resolve
from vaetune.config.space import Space
from vaetune.config.stages import check_stages, most_stages
from vaetune.errors import SpecError
from vaetune.models.build import build_vae
from vaetune.search.run import run_search

REASON = (
    "stages expects at most 2 for images of 9 x 10 pixels, received {}: each stage halves the "
    "size, and 3 stages need at least 16 pixels in height and width. Use fewer stages, or enlarge "
    "the images with --image-size."
)


@pytest.fixture
def deep(folder):
    """A search file with more stages than the images allow."""
    (folder / "deep.toml").write_text(SEARCH_FILE + "stages = { values = [2, 3] }\n")
    return folder / "deep.toml"


@pytest.mark.parametrize(
    ("command", "received"),
    [
        (("search", "deep.toml"), "2, 3"),
        (("search", "deep.toml", "--workers", 2), "2, 3"),
        (("check", "deep.toml"), "2, 3"),
        (("train", "--dataset", "squares.npz", "--epochs", 1, "--set", "stages=4"), "4"),
    ],
)
def test_a_command_refuses_too_many_stages_for_the_images(refused, deep, command, received):
    assert refused(*command) == f"vaetune: {REASON.format(received)}\n"


def test_the_size_of_the_given_images_is_checked(vaetune, deep):
    np.savez(deep.with_name("larger.npz"), x=np.zeros((30, 16, 17), np.uint8))
    _, _, error = vaetune("check", "deep.toml", "--dataset", "larger.npz")
    assert "all 30 images are equal" in error, "the images are large enough for the stages"


def test_run_search_refuses_too_many_stages(deep):
    before = file_contents(deep.parent)
    with pytest.raises(SpecError, match="stages expects at most 2 for images of 9 x 10 pixels"):
        run_search(resolve(deep), results=deep.parent / "results", verbose=False)
    assert file_contents(deep.parent) == before


@pytest.mark.parametrize(
    ("shape", "most"),
    [((8, 8, 1), 2), ((15, 99, 1), 2), ((16, 16, 1), 3), ((28, 28, 1), 3), ((128, 64, 3), 5)],
)
def test_the_last_stage_leaves_a_map_of_at_least_2_x_2(shape, most):
    assert most_stages(shape) == most
    small = {"filters_1": 2, "filters_2": 2, "dense_units": 2}
    assert len(build_vae(shape, {**small, "stages": most}).encoder.layers) > most
    message = rf"`stages` must be at most {most} for images of {shape[0]} x {shape[1]} pixels"
    with pytest.raises(ValueError, match=rf"{message}\. Received: {most + 1}"):
        build_vae(shape, {**small, "stages": most + 1})


def test_the_largest_number_of_stages_in_a_space_is_checked():
    for stages in ({"values": [3, 2]}, {"min": 2, "max": 3}, {"value": 3}):
        space = Space.model_validate({"stages": stages})
        check_stages(space, (16, 16, 1))
        with pytest.raises(SpecError, match="at most 2 for images of 15 x 16"):
            check_stages(space, (15, 16, 1))
    check_stages(Space(), (8, 8, 1))
