"""preprocessing.json describes how the training images were prepared."""

import json

import numpy as np
import pytest
from journals import SPEC, make_session_end, make_study, make_trial_events
from PIL import Image
from standalone_predict import predict

from vaetune.config.reading import Reading
from vaetune.config.spec import DataSpec
from vaetune.export.manifest import build_manifest
from vaetune.export.preprocessing import (
    describe_preprocessing,
    describe_reading,
    describe_scale,
    write_code,
)
from vaetune.study.exported import MANIFEST, find_export

BYTES = Reading(kind="files", dtype="uint8", low=0, high=255, range=(0, 255))
SCANS = BYTES.model_copy(
    update={
        **{"dtype": "uint16", "range": (0.0, 4095.0), "background": "white", "clipped": 1},
        **{"pages": "channels", "image_size": (9, 10), "resize": "crop"},
    }
)
TANH = Reading(
    **{"kind": "arrays", "dtype": "float32", "low": -1, "high": 1, "range": (-1, 1)},
    layout="channels_first",
)


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


def test_images_of_another_size_are_resized_by_default():
    assert describe_preprocessing(make_study())["resize"]["policy"] == "resize"


def test_bytes_are_described_alike_with_and_without_a_recorded_reading():
    old, new = (describe_preprocessing(make_study(reading=one)) for one in (None, BYTES))
    for table in ("image", "binarize", "layout"):
        assert new[table] == old[table]
    for table in ("resize", "scale"):
        assert {key: new[table][key] for key in old[table]} | {"policies": ""} == {
            **old[table],
            "policies": "",
        }
    assert "input" not in old


def test_the_input_is_what_the_search_recorded():
    reported = describe_preprocessing(make_study(image_shape=(9, 10, 5), reading=SCANS))
    assert reported["input"] == {
        "kind": "files",
        "dtype": "uint16",
        "range": [0, 4095],
        "layout": "channels_last",
        "pages": "channels",
        "background": "white",
    }
    assert (reported["image"]["colour"], reported["image"]["transparent"]) == ("other", "on white")
    assert (reported["resize"]["policy"], reported["resize"]["keeps_proportions"]) == ("crop", True)
    assert {key: reported["scale"][key] for key in ("subtract", "divide_by", "clip")} == {
        "subtract": 0,
        "divide_by": 4095,
        "clip": True,
    }
    scale = describe_preprocessing(make_study(reading=TANH))["scale"]
    assert (scale["subtract"], scale["divide_by"]) == (-1, 2)


def test_limits_keep_all_their_digits():
    reading = BYTES.model_copy(update={"dtype": "float64", "range": (0.1, 1 / 3)})
    reported = json.loads(json.dumps(describe_preprocessing(make_study(reading=reading))))
    assert reported["input"]["range"] == [0.1, 1 / 3]


def test_the_reading_is_described_in_sentences():
    assert describe_reading(SCANS) == [
        "Trained on uint16 values 0..4095 of image files, taken as 0..1.",
        "1 value outside this range was clipped.",
        "Transparent pixels were put on white.",
        "The pages of a TIFF file are the channels of one image.",
        'Images of another size were resized to 9 x 10: "crop".',
    ]
    assert describe_reading(TANH) == [
        "Trained on float32 values -1..1 of arrays, taken as 0..1.",
        "The order of their axes was channels first.",
    ]
    assert describe_scale(None) == describe_scale(BYTES) == "bytes divided by 255"
    assert describe_scale(SCANS) == "value / 4095, clipped"
    assert describe_scale(TANH) == "(value + 1) / 2, clipped"


@pytest.mark.parametrize("method", ["none", "threshold"])
@pytest.mark.parametrize("case", ["bytes", "pages", "array"])
def test_the_generated_code_prepares_images_like_predict(case, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(3)
    if case == "bytes":
        reading, shape, name = BYTES, (9, 10, 3), "image.png"
        Image.fromarray(generator.integers(0, 256, (9, 10, 3), np.uint8)).save(name)
    elif case == "pages":
        reading, shape, name = SCANS, (9, 10, 5), "image.tif"
        pages = generator.integers(0, 5000, (5, 12, 30), np.uint16)
        first, *others = map(Image.fromarray, pages)
        first.save(name, save_all=True, append_images=others)
    else:
        reading, shape, name = TANH, (9, 10, 2), "image.npy"
        np.save(name, generator.uniform(-1, 1, (2, 9, 10)).astype(np.float32))
    search = SPEC.model_copy(update={"data": DataSpec(binarize=method)})
    study = make_study(image_shape=shape, reading=reading, search=search)
    made = {}
    exec(write_code(study), made)
    expected = predict.load_image(name, describe_preprocessing(study), seed=0)
    assert made["images"].dtype == np.float32
    np.testing.assert_array_equal(made["images"], expected)


def test_a_search_without_a_recorded_reading_has_no_generated_code():
    assert write_code(make_study()) is None


def test_an_export_keeps_the_reading_options_but_not_the_path(tmp_path):
    options = {"range": (0, 4095), "image_size": "64x48", "resize": "pad", "background": "white"}
    search = SPEC.model_copy(update={"data": DataSpec(dataset="/home/me/scans", **options)})
    study = make_study(
        *make_trial_events("0000", [200.0]), make_session_end(), search=search, name="scans"
    )
    manifest = json.dumps(build_manifest(study, study.trial("0000")))
    (tmp_path / MANIFEST).write_text(manifest)
    exported = find_export(tmp_path)
    assert exported.data == search.data.model_copy(update={"dataset": exported.data.dataset})
    assert "/home/me" not in manifest
