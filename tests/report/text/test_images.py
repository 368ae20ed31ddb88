"""Descriptions of images and of how they were read."""

import pytest
from journals import make_data

from vaetune.config.reading import Copies, Reading
from vaetune.report.text.images import (
    describe_image_set,
    describe_images,
    describe_reading,
    describe_warnings,
    list_image_facts,
)


def make_reading(**changes):
    defaults = {"kind": "arrays", "dtype": "uint8", "low": 0, "high": 255, "range": (0, 255)}
    return Reading(**defaults | changes)


def make_image_set(data=None, **reading):
    """A data set of 600 images with this reading."""
    counts = {"train_images": 400, "validation_images": 100, "test_images": 100}
    return make_data(reading=make_reading(**reading), **counts | (data or {}))


def test_one_line_describes_the_images_and_their_range():
    data = make_image_set(dtype="uint16", high=4095, range=(0, 4095))
    assert describe_reading(data) == "600 images of 28 x 28 x 1, uint16 0..4095 taken as 0..1"


@pytest.mark.parametrize(
    ("reading", "end"),
    [
        ({"dtype": "float64", "range": (-1, 1)}, "float64 -1..1 taken as 0..1"),
        ({"dtype": "float32", "range": (0, 0.125)}, "float32 0..0.125 taken as 0..1"),
        (
            {"dtype": "int32", "high": 1048575, "range": (0, 1048575)},
            "int32 0..1048575 taken as 0..1",
        ),
        ({"range": (0, 16), "rule": "given"}, "taken as 0..1, as the search file says"),
        ({"clipped": 1}, "taken as 0..1, 1 value outside clipped"),
        ({"clipped": 1200}, "taken as 0..1, 1,200 values outside clipped"),
    ],
)
def test_the_line_names_range_choice_and_clipped_values(reading, end):
    assert describe_reading(make_image_set(**reading)).endswith(f" {end}")


def test_without_a_record_the_line_has_number_and_shape():
    expected = "5,000 training and 1,000 validation images of 28 x 28 x 1"
    assert describe_reading(make_data()) == expected
    names = [name for name, _ in list_image_facts(make_data())]
    assert names == ["splits", "classes"]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((), "validation and test images held out by vaetune"),
        (("test",), "your own test images, validation images held out by vaetune"),
        (("validation", "test"), "your own validation and test images"),
    ],
)
def test_splits_are_counted_and_their_origin_is_named(own, words):
    facts = dict(list_image_facts(make_image_set(own_splits=own)))
    assert facts["splits"] == f"400 training, 100 validation and 100 test images; {words}"


def test_classes_are_named_and_counted():
    labelled = {"class_names": ("cat", "dog\n"), "class_counts": (350, 1250)}
    assert (
        dict(list_image_facts(make_image_set(labelled)))["classes"] == "2: cat (350), dog (1,250)"
    )
    many = {"class_names": tuple(f"c{n}" for n in range(23)), "class_counts": (1,) * 23}
    words = dict(list_image_facts(make_image_set(many)))["classes"]
    assert words.startswith("23: c0 (1), ")
    assert words.endswith("c19 (1) and 3 more")
    assert "no labels" in dict(list_image_facts(make_image_set({"class_names": None})))["classes"]


def test_every_change_to_the_images_is_listed():
    facts = list_image_facts(
        make_image_set(
            copies=Copies(distinct=563, across=37),
            layout="channels_first",
            pages="channels",
            image_size=(64, 48),
            resize="pad",
            background="white",
            notes=("The array z is not used.",),
            warnings=("37 copies.", "Black."),
        )
    )
    assert facts[2:] == (
        ("distinct", "563 of 600 images"),
        ("axes", "channels first in the file; channels last for the model"),
        ("TIFF pages", "taken as channels"),
        ("resized", "to 64 x 48, pad"),
        ("background", "white, behind transparent pixels"),
        ("note", "The array z is not used."),
        ("warning", "37 copies."),
        ("warning", "Black."),
    )


@pytest.mark.parametrize(
    ("channels", "show", "words"),
    [
        (1, None, None),
        (3, None, None),
        (3, (2,), "channel 2 of 3 in grey"),
        (4, None, "channels 0, 1 and 2 of 4 as red, green and blue"),
        (2, None, "each of the 2 channels in grey, below its number"),
        (2, (1, 0), "channels 1 and 0 of 2 as red and green"),
        (7, (6, 3, 0), "channels 6, 3 and 0 of 7 as red, green and blue"),
    ],
)
def test_the_display_of_channels_is_explained(channels, show, words):
    facts = dict(list_image_facts(make_image_set({"image_shape": (28, 28, channels)}, show=show)))
    assert facts.get("pictures") == words


def test_the_description_of_images_has_a_line_for_each_fact():
    lines = describe_images(make_image_set(warnings=("37 copies.",))).splitlines()
    assert lines[0] == describe_reading(make_image_set())
    assert lines[1].startswith("  splits   400 training")
    assert lines[2].startswith("  classes  3: zero")
    assert lines[3:] == ["  warning  37 copies."]


def test_the_images_of_a_search_are_described_in_one_line():
    assert (
        describe_image_set(make_image_set())
        == f"Images: {make_image_set().name}, {describe_reading(make_image_set())}"
    )


def test_every_warning_has_its_own_line():
    assert describe_warnings(make_data()) == ""
    assert describe_warnings(make_image_set(notes=("A note.",))) == ""
    lines = describe_warnings(make_image_set(warnings=("37 copies.", "Black."))).splitlines()
    assert lines == ["Warning: 37 copies.", "Warning: Black."]
