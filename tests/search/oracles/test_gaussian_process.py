"""Predictions and uncertainties of the Gaussian process of loss curves."""

import numpy as np
import pytest
from scipy.stats import multivariate_t

from vaetune.search.oracles.gaussian_process import (
    KERNELS,
    ROUGH,
    SMOOTH,
    CurveProcess,
    Points,
)

LENGTHS = np.ones((len(KERNELS), 2, 2))
BOTH_KERNELS = pytest.mark.parametrize("number", range(len(KERNELS)), ids=["rough", "smooth"])


def points(*rows):
    """Points from rows of configuration, epoch and run."""
    configurations, epochs, runs = zip(*rows, strict=True)
    return Points(np.array(configurations, float), np.log(epochs), np.array(runs))


OBSERVED = points(((0, 0), 1, 0), ((0, 0), 3, 0), ((1, 1), 1, 1))
LOSSES = np.array([0.4, 0.1, 0.8])


@BOTH_KERNELS
def test_predictions_follow_the_textbook_conditional_distribution(number):
    """Compares with the formula that inverts the covariance, written out for pairs of points."""
    kernel, lengths = KERNELS[number], LENGTHS * [[[1.0], [3.0]], [[2.0], [0.5]]]

    def matern(d):
        scaled = np.sqrt(5) * d
        return (1 + scaled + scaled**2 / 3) * np.exp(-scaled)

    def covariance(a, b):
        (x, t, run), (z, s, other) = a, b
        apart = np.linalg.norm(np.subtract(x, z)) / lengths[number, :, 0]
        fade = lambda length: np.exp(-0.5 * ((np.log(t) - np.log(s)) / length) ** 2)  # noqa: E731
        (first, time), (second, later) = kernel.parts
        total = kernel.shared[0] * fade(kernel.shared[1])
        total += matern(apart[0]) * first * fade(time) + matern(apart[1]) * second * fade(later)
        return total + (run == other) * kernel.run[0] * fade(kernel.run[1])

    rows = [((0, 0), 1, 0), ((0, 0), 3, 0), ((1, 1), 1, 1)]
    asked = ((0.5, 0), 9, 2)
    matrix = np.array([[covariance(a, b) for b in rows] for a in rows])
    matrix += (kernel.noise + 1e-6) * np.eye(3)
    across = np.array([covariance(a, asked) for a in rows])
    residual = LOSSES - LOSSES.mean()
    mean, deviation = CurveProcess(OBSERVED, LOSSES, lengths, number).predict(points(asked))
    assert mean[0] == pytest.approx(LOSSES.mean() + across @ np.linalg.inv(matrix) @ residual)
    variance = covariance(asked, asked) - across @ np.linalg.inv(matrix) @ across
    spread = np.clip((residual @ np.linalg.inv(matrix) @ residual + 10) / 13, 0.3, 3.0)
    assert deviation[0] == pytest.approx(np.sqrt(variance * spread))


def draw_losses(kernel, seed):
    """Losses of 30 configurations after one and nine epochs, drawn from a Gaussian process."""
    rng = np.random.default_rng(seed)
    configurations = np.repeat(rng.random((30, 2)), 2, axis=0)
    seen = Points(configurations, np.log(np.tile([1.0, 9.0], 30)), np.repeat(np.arange(30), 2))
    lengths = LENGTHS * [[[1.0], [0.5]], [[1.0], [4.0]]]
    process = CurveProcess(seen, np.zeros(60), lengths, KERNELS.index(kernel))
    covariance = process._covariance(seen, seen) + kernel.noise * np.eye(60)
    return seen, rng.multivariate_normal(np.zeros(60), covariance), lengths


@pytest.mark.parametrize("kernel", KERNELS, ids=["rough", "smooth"])
def test_the_more_likely_kernel_is_used(kernel):
    drawn = [draw_losses(kernel, seed) for seed in range(10)]
    chosen = [KERNELS[CurveProcess.fit(*one).number] for one in drawn]
    assert chosen.count(kernel) >= 9


def test_the_evidence_equals_the_density_of_students_t():
    """Compares with scipy, for losses with a covariance of unknown scale."""
    process = CurveProcess(OBSERVED, LOSSES, LENGTHS, 0)
    covariance = process._covariance(OBSERVED, OBSERVED) + (ROUGH.noise + 1e-6) * np.eye(3)
    t = multivariate_t(shape=covariance, df=10)
    other = CurveProcess(OBSERVED, 2 * LOSSES, LENGTHS, 0)
    expected = t.logpdf(LOSSES - LOSSES.mean()) - t.logpdf(2 * (LOSSES - LOSSES.mean()))
    assert process.evidence - other.evidence == pytest.approx(expected)
    smooth = CurveProcess(OBSERVED, LOSSES, LENGTHS, 1)
    covariance = smooth._covariance(OBSERVED, OBSERVED) + (SMOOTH.noise + 1e-6) * np.eye(3)
    theirs = multivariate_t(shape=covariance, df=10).logpdf(LOSSES - LOSSES.mean())
    expected = theirs - t.logpdf(LOSSES - LOSSES.mean())
    assert smooth.evidence - process.evidence == pytest.approx(expected)


def test_predictions_are_close_to_observed_losses():
    mean, deviation = CurveProcess(OBSERVED, LOSSES, LENGTHS, 0).predict(OBSERVED)
    assert mean == pytest.approx(LOSSES, abs=0.01)
    assert deviation.max() < 0.03


def test_uncertainty_grows_for_other_runs_later_epochs_and_other_configurations():
    process = CurveProcess(OBSERVED, LOSSES, LENGTHS, 0)
    asked = points(((0, 0), 3, 0), ((0, 0), 3, 5), ((0, 0), 6, 0), ((0, 0), 9, 0), ((0, 3), 9, 6))
    _, deviation = process.predict(asked)
    assert np.all(np.diff(deviation) > 0)


def test_surprising_losses_increase_the_uncertainty():
    _, calm = CurveProcess(OBSERVED, LOSSES, LENGTHS, 0).predict(points(((2, 2), 9, 9)))
    _, surprised = CurveProcess(OBSERVED, 5 * LOSSES, LENGTHS, 0).predict(points(((2, 2), 9, 9)))
    assert surprised > 1.2 * calm


def test_two_runs_of_one_configuration_have_almost_the_same_prediction():
    seen = points(((0, 0), 9, 0), ((1, 1), 9, 1))
    process = CurveProcess(seen, np.array([-0.5, 0.5]), LENGTHS, 0)
    mean, _ = process.predict(points(((0, 0), 9, 0), ((0, 0), 9, 7)))
    assert mean[1] == pytest.approx(mean[0], abs=0.02)
