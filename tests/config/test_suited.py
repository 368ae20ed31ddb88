"""The space of a new search file suits the images. Each line of the space gives a reason."""

import pytest

from vaetune.config.search_file import resolve
from vaetune.config.space import DEFAULT_SPACE
from vaetune.config.stages import check_stages
from vaetune.config.template import compose, write_template

SHAPES = [(8, 8, 1), (16, 90, 3), (31, 40, 1), (32, 32, 3), (48, 48, 1), (64, 64, 3), (96, 128, 1)]
SHAPES += [(128, 128, 3), (500, 300, 32)]


def space_of(tmp_path, shape, count=5000, algorithm="hyperband"):
    tmp_path.mkdir(exist_ok=True)
    path = write_template("mine", algorithm, folder=tmp_path, image_shape=shape, count=count)
    return resolve(path).spec.space


@pytest.mark.parametrize("count", [12, 5_000, 1_000_000])
def test_grey_images_of_28_x_28_have_the_default_space(tmp_path, count):
    assert space_of(tmp_path, (28, 28, 1), count) == DEFAULT_SPACE


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("algorithm", ["hyperband", "random", "bayesian", "grid"])
def test_images_are_large_enough_for_their_space(tmp_path, shape, algorithm):
    space = space_of(tmp_path, shape, algorithm=algorithm)
    check_stages(space, shape)
    assert space.structures() == (1 if algorithm == "grid" else 6 if min(shape[:2]) >= 32 else 3)


@pytest.mark.parametrize(
    ("side", "stages"),
    [(31, None), (32, (2, 3)), (48, (2, 3)), (64, (3, 4)), (127, (3, 4)), (128, (4, 5))],
)
def test_larger_images_have_more_stages(tmp_path, side, stages):
    found = space_of(tmp_path, (side, side + 9, 1)).stages
    assert (found and found.listed()) == stages


def test_deep_networks_are_normalized(tmp_path):
    for side in (32, 64):
        space = space_of(tmp_path / str(side), (side, side, 1))
        for stages in space.stages.listed():
            used = space.used(
                {name: one.listed()[0] for name, one in space.dimensions()} | {"stages": stages}
            )
            assert used.get("normalization") == ("group" if stages > 2 else None)
    assert space_of(tmp_path, (32, 32, 1), algorithm="grid").normalization is None


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [((8, 8, 1), (4, 8, 16)), ((48, 48, 1), (8, 16, 32)), ((28, 28, 3), (32, 64, 128))],
)
def test_images_with_more_values_have_more_latent_dimensions(tmp_path, shape, sizes):
    space = space_of(tmp_path, shape)
    assert space.latent_dim.listed() == sizes
    assert min(space.dense_units.listed()) >= max(sizes)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1_999, (16, 32)), (2_000, (32, 64)), (20_000, (64, 128))]
)
def test_more_images_have_larger_batches(tmp_path, count, sizes):
    assert space_of(tmp_path, (64, 64, 3), count).batch_size.listed() == sizes


def test_images_with_many_values_have_lower_learning_rates(tmp_path):
    assert space_of(tmp_path / "colour", (64, 64, 3)).learning_rate.max < 0.006
    assert space_of(tmp_path, (31, 31, 1)).learning_rate == DEFAULT_SPACE.learning_rate


def test_each_line_gives_its_reason():
    lines = compose("mine", "hyperband", "digits", (64, 96, 3), 2615).splitlines()
    for line in (
        "# The values suit 2,615 images of 64 x 96 x 3.",
        "filters_1 = { values = [16, 32] }                          "
        "# few: most time is for 32 x 48 maps",
        "stages = { values = [3, 4] }                               "
        "# 64 x 96 pixels: maps of 8 x 12 or 4 x 6",
        'normalization = { value = "group" }                        '
        "# without it, deep networks diverge",
        "level_channels = { values = [2, 4] }                       "
        "# few: each is on maps of up to 16 x 24",
        "latent_dim = { values = [32, 64, 128] }                    "
        "# many: 18,432 values in an image",
        "batch_size = { values = [32, 64] }                         "
        "# 2,615 images make enough steps",
    ):
        assert line in lines
    assert sum("stages = " in line for line in lines) == 1, "the line replaces the example"
    assert max(map(len, lines)) <= 104
