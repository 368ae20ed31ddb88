"""Encoding of configurations as points, including hyperparameters that a model does not use."""

import math

import numpy as np
import pytest

from vaetune.config.dimensions import Choice, Pinned, Range
from vaetune.config.space import DEFAULT_SPACE, Space
from vaetune.search.oracles.encoding import Encoder

SPACE = Space(
    filters_1=Choice(values=(32, 8, 16)),
    latent_dim=Range(min=2, max=32, scale="log"),
    learning_rate=Range(min=1e-4, max=1e-2, scale="log"),
    beta=Range(min=0.5, max=1.5),
    activation=Choice(values=("relu", "gelu", "elu")),
    levels=Choice(values=(1, 2)),
    level_channels=Choice(values=(2, 4, 8)),
)

FULL = {
    "filters_1": 16,
    "filters_2": 64,
    "dense_units": 16,
    "latent_dim": 8,
    "learning_rate": 1e-3,
    "beta": 1.25,
    "activation": "gelu",
    "levels": 2,
    "level_channels": 8,
}

TINY = Space(
    encoder=Choice(values=("conv", "dense")),
    decoder=Pinned(value="dense"),
    dense_layers=Choice(values=(1, 2), when={"encoder": ("dense",)}),
)
"""Three configurations."""

COLUMNS = ("filters_1", "latent_dim", "learning_rate", "beta", *3 * ("activation",))
COLUMNS += ("levels", "level_channels")


def point_of(values, space=SPACE):
    (point,) = Encoder(space).points([values])
    return dict(zip(range(len(point)), point, strict=True))


def coordinate(values, name):
    return point_of(values)[COLUMNS.index(name)]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("filters_1", 8, 0),
        ("filters_1", 16, 0.5),
        ("filters_1", 32, 1),
        ("latent_dim", 8, 0.5),
        ("learning_rate", 1e-3, 0.5),
        ("beta", 1.25, 0.75),
        ("levels", 1, 0),
    ],
)
def test_ordered_values_are_encoded_by_rank_or_on_the_scale_of_their_range(name, value, expected):
    assert coordinate(FULL | {name: value}, name) == pytest.approx(expected)


def test_all_categories_are_equally_far_apart():
    encoder = Encoder(SPACE)
    points = encoder.points([FULL | {"activation": one} for one in ("relu", "gelu", "elu")])
    apart = [np.linalg.norm(points[a] - points[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert apart == pytest.approx([1, 1, 1])


def test_an_unused_hyperparameter_is_in_the_middle_of_its_values():
    unused = {name: value for name, value in FULL.items() if name != "level_channels"}
    assert coordinate(unused, "level_channels") == 0.5
    without = {name: value for name, value in FULL.items() if name != "activation"}
    encoder = Encoder(SPACE)
    neutral, *used = encoder.points(
        [without, *(FULL | {"activation": one} for one in ("relu", "gelu", "elu"))]
    )
    distances = [np.linalg.norm(neutral - one) for one in used]
    assert max(distances) == pytest.approx(min(distances))


def test_drawn_and_varied_configurations_belong_to_the_space():
    encoder, rng = Encoder(SPACE), np.random.default_rng(0)
    parent = encoder.draw(rng.random(encoder.dimensions).tolist())
    complete = dict(FULL)
    for _ in range(200):
        drawn = encoder.draw(rng.random(encoder.dimensions).tolist())
        for one in (drawn, parent := encoder.vary(parent, rng, 0.6)):
            assert SPACE.used({**complete, **one}) == one
            assert ("level_channels" in one) == (one["levels"] == 2)
            dimensions = dict(SPACE.dimensions())
            assert all(dimensions[name].contains(value) for name, value in one.items())
            assert isinstance(one["latent_dim"], int)


def test_a_variation_changes_some_hyperparameters_and_keeps_the_others():
    encoder, rng = Encoder(SPACE), np.random.default_rng(0)
    varied = [encoder.vary(FULL, rng, 0.6) for _ in range(100)]
    kept = [sum(one.get(name) == FULL[name] for one in varied) for name in COLUMNS]
    assert min(kept) > 25
    assert max(kept) < 93
    assert all(encoder.vary(FULL, rng, 0.0) == FULL for _ in range(5))


def test_configurations_that_agree_to_three_digits_are_duplicates():
    encoder = Encoder(SPACE)
    keys = [encoder.key(FULL | {"learning_rate": rate}) for rate in (1e-3, 1.0001e-3, 1.01e-3)]
    assert keys[0] == keys[1] != keys[2]


def test_only_small_spaces_are_listed():
    listed = Encoder(TINY).everything
    assert len(listed) == TINY.size() == 3
    assert {(one["encoder"], one.get("dense_layers")) for one in listed} == {
        ("conv", None),
        ("dense", 1),
        ("dense", 2),
    }
    assert Encoder(SPACE).everything is None
    whole = Space(latent_dim=Range(min=2, max=9), beta=Choice(values=(1, 2.5)))
    assert len(Encoder(whole).everything) == whole.size() == 16


def test_the_only_configuration_of_a_pinned_space_is_listed():
    encoder = Encoder(Space.pinned_at({"latent_dim": 4}))
    assert encoder.dimensions == 0
    (only,) = encoder.everything
    assert only == encoder.draw([])
    assert encoder.points([only]).shape == (1, 0)


def test_a_narrow_range_has_a_long_length_scale():
    wide, narrow = (
        Encoder(Space(learning_rate=Range(min=low, max=1e-2, scale="log"))).lengths[0, 0, 0]
        for low in (1e-4, 1e-3)
    )
    assert narrow == pytest.approx(2 * wide)
    assert Encoder(DEFAULT_SPACE).lengths.shape == (2, 2, 7)
    assert np.all(Encoder(SPACE).lengths > 0)
    assert math.isfinite(Encoder(Space(kl_warmup=Choice(values=(0, 2)))).lengths.max())
