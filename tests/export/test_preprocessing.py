"""preprocessing.json says what was done to the training images."""

import pytest
from journals import SPEC, make_study

from vaetune.config.spec import DataSpec
from vaetune.export.manifest import describe_preprocessing


def test_shape_range_and_channels_are_those_of_the_data():
    shown = describe_preprocessing(make_study(image_shape=(9, 11, 3)))
    assert {key: shown["image"][key] for key in ("height", "width", "channels", "colour")} == {
        "height": 9,
        "width": 11,
        "channels": 3,
        "colour": "RGB",
    }
    assert shown["scale"] == {"divide_by": 255, "range": [0.0, 1.0], "dtype": "float32"}
    assert shown["layout"] == ["image", "height", "width", "channel"]
    assert describe_preprocessing(make_study())["image"]["colour"] == "grey"


@pytest.mark.parametrize(
    ("method", "threshold"), [("none", None), ("threshold", 0.5), ("stochastic", None)]
)
def test_binarisation_is_that_of_the_search(method, threshold):
    search = SPEC.model_copy(update={"data": DataSpec(binarize=method)})
    shown = describe_preprocessing(make_study(search=search))
    assert shown["binarize"] == {"method": method, "threshold": threshold}


def test_images_of_another_size_are_resized_unless_somebody_decides_otherwise():
    assert describe_preprocessing(make_study())["resize"]["policy"] == "resize"
