"""A threshold flags the expected share of images, and its interval covers the true share."""

import numpy as np
import pytest
from scipy.stats import beta

from vaetune.errors import ResultsError
from vaetune.evaluation.threshold import check_quantile, find_threshold


@pytest.mark.parametrize(
    ("quantile", "count", "rank"),
    [(0.99, 99, 99), (0.99, 199, 198), (0.99, 10_000, 9901), (0.95, 39, 38), (0.5, 1, 1)],
)
def test_the_threshold_is_the_score_that_flags_the_expected_share(quantile, count, rank):
    scores = np.random.default_rng(0).permutation(count).astype(float)
    found = find_threshold(scores, quantile)
    assert (found.rank, found.value, found.images) == (rank, rank - 1, count)
    assert found.expected_share <= 1 - quantile + 1e-12
    assert not found.has_too_few
    assert (scores > found.value).sum() == count - rank


def test_the_threshold_of_too_few_images_is_their_largest_score():
    found = find_threshold(np.array([3.0, 1.0, 2.0]), 0.99)
    assert (found.value, found.rank, found.has_too_few) == (3.0, 3, True)
    assert found.expected_share == 0.25
    assert found.interval == pytest.approx(beta(1, 3).interval(0.95))


@pytest.mark.parametrize("count", [20, 500])
def test_the_interval_covers_the_true_share_in_95_of_100_sets(count):
    """Scores are uniform in [0, 1], so the true share above t is 1 - t."""
    sets = np.random.default_rng(count).uniform(size=(4000, count))
    found = [find_threshold(each, 0.95) for each in sets]
    low, high = np.array([each.interval for each in found]).T
    share = 1 - np.array([each.value for each in found])
    assert ((low <= share) & (share <= high)).mean() == pytest.approx(0.95, abs=0.01)
    assert share.mean() == pytest.approx(found[0].expected_share, abs=0.002)


def test_an_infinite_score_can_be_the_threshold_and_is_not_flagged():
    scores = np.array([1.0, np.inf, np.inf, 2.0])
    found = find_threshold(scores, 0.9)
    assert (found.value, (scores > found.value).any()) == (np.inf, False)
    assert find_threshold(scores, 0.4).value == 2.0


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.5, 99.0, float("nan")])
def test_a_quantile_is_between_0_and_1(quantile):
    with pytest.raises(ResultsError, match=r"above 0 and below 1, such as 0\.99\. Received: "):
        check_quantile(quantile)
    check_quantile(0.99)
