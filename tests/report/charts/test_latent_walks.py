"""Interpolations and traversals of the active latent dimensions."""

import numpy as np
import pytest

from vaetune.report.charts.latent_walks import (
    STEPS,
    TRAVERSAL_LIMIT,
    Activity,
    find_active,
    interpolate,
    traversal_values,
    traverse,
)


def test_active_dimensions_are_ordered_by_their_variance():
    z = np.random.default_rng(0).standard_normal((400, 4)) * np.array([0.5, 0.0, 2.0, 0.09])
    z[:, 1] = 7.0  # far from 0, and the same for each image
    active = find_active(z)
    assert [each.dimension for each in active] == [2, 0]
    assert [each.variance for each in active] == pytest.approx([4.0, 0.25], rel=0.2)


def test_equally_active_dimensions_keep_their_order():
    z = np.repeat(np.array([[1.0], [-1.0]]), 3, axis=1)
    assert find_active(z) == tuple(Activity(dimension, 1.0) for dimension in range(3))


def test_a_model_that_diverged_or_collapsed_has_no_active_dimension():
    assert find_active(np.full((9, 3), np.nan)) == ()
    assert find_active(np.zeros((9, 3))) == ()
    assert find_active(np.zeros((0, 3))) == ()


def test_means_that_are_not_finite_do_not_count():
    z = np.array([[1.0, 0.0], [np.inf, 0.0], [-1.0, np.nan], [-1.0, 0.0]])
    assert find_active(z) == (Activity(0, 1.0),)


def test_a_walk_between_two_means_is_straight_and_includes_both():
    ends = np.array([[0.0, 1.0], [2.0, -1.0], [5.0, 5.0], [5.0, 6.0]])
    walks = interpolate(ends, steps=3)
    assert walks.dtype == np.float32
    assert walks.tolist() == [
        [[0.0, 1.0], [1.0, 0.0], [2.0, -1.0]],
        [[5.0, 5.0], [5.0, 5.5], [5.0, 6.0]],
    ]
    assert interpolate(ends).shape == (2, STEPS, 2)


def test_a_traversal_varies_one_dimension_and_sets_the_others_to_zero():
    walks = traverse((Activity(2, 1.0), Activity(0, 0.5)), 3, np.array([-1.0, 1.0]))
    assert walks.dtype == np.float32
    assert walks.tolist() == [
        [[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]],
        [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]],
    ]


def test_the_range_of_a_traversal_is_even_and_passes_through_zero():
    values = traversal_values()
    assert (values[0], values[STEPS // 2], values[-1]) == (-TRAVERSAL_LIMIT, 0.0, TRAVERSAL_LIMIT)
    assert np.diff(values) == pytest.approx(np.full(STEPS - 1, 2 * TRAVERSAL_LIMIT / (STEPS - 1)))
