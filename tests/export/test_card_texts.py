"""A model card describes the networks of a model correctly, with every kind of layer."""

import pytest

from vaetune.config.space import REFERENCE
from vaetune.export.card_texts import (
    describe_figures,
    describe_files,
    describe_networks,
    is_example,
)

SHAPE = (28, 28, 1)


def test_the_keras_example_has_two_convolutions():
    assert describe_networks(SHAPE, REFERENCE) == (
        "The encoder has two convolutions with 32, 64 filters, each of which halves height and "
        "width, down to 7 x 7, then a dense layer of 16 units, z_mean and z_log_var. The decoder "
        "mirrors it with transposed convolutions. The activation is relu."
    )
    assert is_example(SHAPE, REFERENCE | {"latent_dim": 16, "filters_2": 8, "beta": 2.0})


def test_a_ladder_is_described_level_by_level():
    values = {
        **REFERENCE,
        "stages": 3,
        "blocks": 1,
        "normalization": "group",
        "activation": "leaky_relu",
        "output_stride": 2,
        "levels": 3,
        "level_channels": 1,
        "weight_average": 0.99,
    }
    text = describe_networks(SHAPE, values)
    assert "three stages with 32, 64, 128 filters, each a convolution and 1 residual block" in text
    assert "down to 4 x 4" in text
    assert "mirrors it with transposed convolutions; its last layer doubles" in text
    assert "The activation is leaky relu after group normalization." in text
    assert "three levels of latent variables" in text
    assert "below it maps of 4 x 4 and 7 x 7 with 1 channel, which" in text
    assert "a moving average" in text


def test_dense_networks_have_no_convolutions():
    values = {**REFERENCE, "encoder": "dense", "decoder": "dense", "dense_layers": 2}
    text = describe_networks(SHAPE, values)
    assert "The encoder has 2 dense layers of 16 units, then z_mean" in text
    assert "The decoder has 2 dense layers of 16 units, then one layer for all pixels." in text
    assert "convolution" not in text
    mixed = describe_networks(SHAPE, {**REFERENCE, "encoder": "dense"})
    assert "The decoder has a dense layer, then two convolutions with 32, 64 filters" in mixed


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "silu"},
        {"stages": 3},
        {"blocks": 1},
        {"normalization": "batch"},
        {"encoder": "dense"},
        {"decoder": "dense"},
        {"output_stride": 2},
        {"levels": 2},
    ],
)
def test_a_model_with_other_layers_is_not_the_keras_example(change):
    assert not is_example(SHAPE, REFERENCE | change)
    assert describe_networks(SHAPE, REFERENCE | change) != describe_networks(SHAPE, REFERENCE)


def test_the_sizes_of_the_maps_are_those_of_the_model():
    from vaetune.models.build import build_vae

    values = {**REFERENCE, "stages": 3, "levels": 3, "filters_1": 2, "filters_2": 2}
    shapes = build_vae((17, 19, 1), values).level_shapes
    sizes = " and ".join(f"{height} x {width}" for height, width, _ in shapes)
    assert f"maps of {sizes} with 4 channels" in describe_networks((17, 19, 1), values)


def test_texts_about_a_model_with_one_level_do_not_mention_levels():
    names = ["reconstructions.png", "traversal.png"]
    one, several = describe_figures(names, 1), describe_figures(names, 2)
    assert [row[0] for row in one] == [row[0] for row in several] == names
    assert "level" not in str(one)
    assert "through the posterior means of all levels" in several[0][2]
    assert several[1][2].endswith("Lower levels are at their prior means.")
    files = dict(describe_files(["keras", "saved-model", "litert"], 1))
    assert list(files)[:3] == ["vae.keras", "encoder.keras", "decoder.keras"]
    assert not [name for name in files if "generator" in name]
    more = dict(describe_files(["onnx", "saved-model"], 3))
    assert {"reconstructor.onnx", "generator.onnx"} <= set(more)
    assert more["saved_model/"].endswith("encode_levels")
