"""The number of samples for rescoring, and leads that are larger than the noise."""

import math

import pytest

from vaetune.study.finalists import (
    MIN_SAMPLES,
    Lead,
    Rescoring,
    Retraining,
    SeedScores,
    count_samples,
    rank_by_mean,
)
from vaetune.study.scores import POSTERIOR_SAMPLES, Estimate


def test_the_number_of_samples_follows_from_the_numbers_of_images():
    assert count_samples(375_000, 1000, 5) == 15, "number of samples of the default search"
    assert count_samples(10**9, 1000, 5) == POSTERIOR_SAMPLES
    assert count_samples(14, 1000, 5) == MIN_SAMPLES
    assert count_samples(0, 0, 0) == MIN_SAMPLES


@pytest.mark.parametrize(
    ("mean", "error", "is_sure"),
    [(2.0, 1.0, True), (1.99, 1.0, False), (0.5, 0.0, True), (0.0, 0.0, False), (5.0, None, None)],
)
def test_a_lead_of_two_standard_errors_is_sure(mean, error, is_sure):
    assert Lead("0000", "0001", Estimate(mean, error)).is_sure is is_sure


def test_a_lead_of_nan_is_not_sure():
    assert not Lead("0000", "0001", Estimate(math.nan, math.nan)).is_sure


def scores(trial_id, *losses):
    return SeedScores(trial_id, int(trial_id), tuple("abc"[: len(losses)]), losses)


def test_finalists_are_ranked_by_mean_with_failed_ones_last():
    ranked = rank_by_mean(
        [scores("0000", 90.0, None), scores("0001", 100.0, 140.0), scores("0002", 110.0, 112.0)]
    )
    assert [one.trial_id for one in ranked] == ["0002", "0001", "0000"]
    assert ranked[0].mean == Estimate(111.0, pytest.approx(1.0))
    assert ranked[2].mean == Estimate(math.inf, None)


def test_the_lead_of_retrained_finalists_has_the_error_of_both_means():
    ranked = rank_by_mean([scores("0001", 117.0, 125.0), scores("0002", 110.0, 116.0)])
    lead = Retraining((1, 2), 9, 15, ranked).lead
    assert (lead.winner, lead.runner_up) == ("0002", "0001")
    assert lead.difference == Estimate(8.0, pytest.approx(5.0))
    assert not lead.is_sure


def test_one_seed_leaves_the_noise_unknown_and_a_failure_gives_no_lead():
    ranked = rank_by_mean([scores("0001", 117.0), scores("0002", 110.0)])
    assert Retraining((1,), 9, 15, ranked).lead.is_sure is None
    ranked = rank_by_mean([scores("0001", None), scores("0002", 110.0)])
    assert Retraining((1,), 9, 15, ranked).lead is None
    assert Retraining((1,), 9, 15, ranked[:1]).lead is None
    assert Rescoring(15, 0, 1000, ()).lead is None


def test_finalists_with_failed_trainings_keep_their_order():
    failed = [SeedScores(one, 0, ("a",), (None,)) for one in ("0009", "0001")]
    assert [one.trial_id for one in rank_by_mean(failed)] == ["0009", "0001"]
    better = SeedScores("0005", 1, ("b",), (120.0,))
    assert [one.trial_id for one in rank_by_mean([*failed, better])] == ["0005", "0009", "0001"]
