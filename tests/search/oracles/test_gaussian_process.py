"""The Gaussian process interpolates curves, and knows what it does not know."""

import numpy as np
import pytest

from vaetune.search.oracles.gaussian_process import (
    NOISE,
    PARTS,
    RUN_VARIANCE,
    SHARED_VARIANCE,
    CurveProcess,
    Points,
)

LENGTHS = np.ones((2, 2))


def points(*rows):
    """Points of configuration, epoch and run."""
    configurations, epochs, runs = zip(*rows, strict=True)
    return Points(np.array(configurations, float), np.log(epochs), np.array(runs))


SEEN = points(((0, 0), 1, 0), ((0, 0), 3, 0), ((1, 1), 1, 1))
LOSSES = np.array([0.4, 0.1, 0.8])


def test_it_is_the_textbook_s_conditional_distribution():
    """Against the formula with an inverse, and a covariance written out for two points."""

    def matern(d):
        scaled = np.sqrt(5) * d
        return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)

    def covariance(a, b):
        (x, t, run), (z, s, other) = a, b
        apart = np.linalg.norm(np.subtract(x, z))
        fade = lambda length: np.exp(-0.5 * ((np.log(t) - np.log(s)) / length) ** 2)  # noqa: E731
        (first, time), (second, later) = PARTS
        total = SHARED_VARIANCE * fade(1.66) + matern(apart) * first * fade(time)
        total += matern(apart) * second * fade(later)
        return total + (run == other) * RUN_VARIANCE * fade(0.46)

    rows = [((0, 0), 1, 0), ((0, 0), 3, 0), ((1, 1), 1, 1)]
    asked = ((0.5, 0), 9, 2)
    matrix = np.array([[covariance(a, b) for b in rows] for a in rows])
    matrix += (NOISE + 1e-6) * np.eye(3)
    across = np.array([covariance(a, asked) for a in rows])
    residual = LOSSES - LOSSES.mean()
    mean, deviation = CurveProcess(SEEN, LOSSES, LENGTHS).predict(points(asked))
    assert mean[0] == pytest.approx(LOSSES.mean() + across @ np.linalg.inv(matrix) @ residual)
    variance = covariance(asked, asked) - across @ np.linalg.inv(matrix) @ across
    spread = (residual @ np.linalg.inv(matrix) @ residual + 10) / 13
    assert deviation[0] == pytest.approx(np.sqrt(variance * spread))


def test_it_passes_near_what_it_saw():
    mean, deviation = CurveProcess(SEEN, LOSSES, LENGTHS).predict(SEEN)
    assert mean == pytest.approx(LOSSES, abs=0.01)
    assert deviation.max() < 0.03


def test_it_is_less_sure_of_later_epochs_of_other_configurations_and_of_other_runs():
    process = CurveProcess(SEEN, LOSSES, LENGTHS)
    asked = points(((0, 0), 3, 0), ((0, 0), 3, 5), ((0, 0), 6, 0), ((0, 0), 9, 0), ((0, 3), 9, 6))
    _, deviation = process.predict(asked)
    assert np.all(np.diff(deviation) > 0)


def test_losses_that_surprise_it_make_it_less_sure():
    _, calm = CurveProcess(SEEN, LOSSES, LENGTHS).predict(points(((2, 2), 9, 9)))
    _, alarmed = CurveProcess(SEEN, 5 * LOSSES, LENGTHS).predict(points(((2, 2), 9, 9)))
    assert alarmed > 1.2 * calm


def test_two_runs_of_one_configuration_share_most_of_their_losses():
    seen = points(((0, 0), 9, 0), ((1, 1), 9, 1))
    process = CurveProcess(seen, np.array([-0.5, 0.5]), LENGTHS)
    mean, _ = process.predict(points(((0, 0), 9, 0), ((0, 0), 9, 7)))
    assert mean[1] == pytest.approx(mean[0], abs=0.02)
