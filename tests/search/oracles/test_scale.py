"""Scaling of losses with and without a floor, including negative losses."""

import numpy as np
import pytest

from vaetune.search.oracles.scale import Scale

LOSSES = [100.0, 104.0, 110.0, 97.0, 130.0]


@pytest.mark.parametrize("floor", [None, 50.0, 0.0])
@pytest.mark.parametrize("losses", [LOSSES, LOSSES[:1], [100.0, 100.0]])
def test_scaling_keeps_the_order_and_can_be_inverted(floor, losses):
    scale = Scale.of(losses, floor)
    numbers = scale.onto(losses)
    for number, loss in zip(numbers, losses, strict=True):
        if loss < max(losses):
            assert scale.loss(float(number)) == pytest.approx(loss)
    ordered = [number for _, number in sorted(zip(losses, numbers, strict=True))]
    assert ordered == sorted(ordered)
    assert np.all(np.isfinite(numbers))


@pytest.mark.parametrize("shift", [0.0, -5000.0])
@pytest.mark.parametrize("width", [1.0, 1000.0])
def test_scaling_without_a_floor_ignores_offset_and_unit(shift, width):
    plain = Scale.of(LOSSES, None).onto(LOSSES)
    moved = [shift + width * loss for loss in LOSSES]
    assert Scale.of(moved, None).onto(moved) == pytest.approx(plain)


def test_differences_near_the_floor_are_enlarged():
    scale = Scale.of([51.0, 52.0, 100.0, 101.0], 50.0)
    near, next_to, far, further = scale.onto([51.0, 52.0, 99.0, 100.0])
    assert next_to - near > 10 * (further - far)


def test_exploding_losses_do_not_flatten_the_others():
    usual = np.linspace(95, 110, 19).tolist()
    for floor in (None, 50.0):
        calm = Scale.of([*usual, 111.0], floor).onto(usual[:5])
        wild = Scale.of([*usual, 1e9], floor)
        assert np.ptp(wild.onto(usual[:5])) > 0.8 * np.ptp(calm)
        assert wild.onto([1e9])[0] == wild.onto([110.0])[0]


def test_a_loss_at_the_floor_is_finite():
    assert np.isfinite(Scale.of([50.0, 60.0], 50.0).onto([50.0]))[0]


def test_similar_losses_are_stretched_by_a_limited_factor():
    floor, losses = 50.0, [100.0, 100.2, 100.1, 100.3, 99.9, 100.05]
    scale = Scale.of(losses, floor)
    assert 1.5 < scale.factor < 10
    assert Scale.of([60.0, 100.0, 140.0, 200.0], floor).factor == 1.0
