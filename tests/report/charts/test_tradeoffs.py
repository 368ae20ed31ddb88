"""Trade-offs between loss and size, and their Pareto front."""

import pytest
from hypothesis import given, strategies as st
from journals import SPEC, VALUES, make_started, make_study, make_trial_events

from vaetune.config.space import REFERENCE
from vaetune.config.spec import single_configuration
from vaetune.report.charts.tradeoffs import (
    Candidate,
    best_per_latent_dim,
    compute_tradeoffs,
    draw_tradeoff,
    list_candidates,
)
from vaetune.study.builder import build_study

FLOOR = 45.5


def make_search():
    """Two completed configurations, one of them promoted, and a failed configuration."""
    return make_study(
        *make_trial_events("0000", [200.0], parameters=100, duration_s=5.0),
        *make_trial_events(
            "0001",
            [190.0],
            configuration=1,
            parameters=50,
            hyperparameters=VALUES | {"latent_dim": 2},
        ),
        *make_trial_events("0002", [], configuration=2, status="failed", error="NaN"),
        *make_trial_events(
            "0003", [180.0, 185.0], parent="0000", epoch_from=1, parameters=100, duration_s=7.0
        ),
    )


def make_baseline(tmp_path, loss=170.0):
    search = single_configuration(REFERENCE, 3, like=SPEC)
    started = make_started("reference", search=search, kind="baseline")
    return build_study(
        [started, *make_trial_events("0000", [loss], hyperparameters=REFERENCE)], tmp_path
    )


def test_a_candidate_is_a_configuration_at_its_lowest_loss(tmp_path):
    first, second, reference = list_candidates(make_search(), make_baseline(tmp_path))
    assert (first.trial_id, first.role, first.loss, first.excess) == (
        "0003",
        "winner",
        180.0,
        180.0 - FLOOR,
    )
    assert (first.reconstruction, first.kl) == (135.0, 45.0)
    assert first.train_s == 12.0, "the time does not include the trial that it continues"
    assert (second.trial_id, second.role, second.latent_dim) == ("0001", "other", 2)
    assert (reference.role, reference.loss) == ("reference", 170.0)


def test_the_best_of_each_latent_size_is_never_the_reference(tmp_path):
    candidates = list_candidates(make_search(), make_baseline(tmp_path))
    assert [(c.latent_dim, c.trial_id) for c in best_per_latent_dim(candidates)] == [
        (2, "0001"),
        (8, "0003"),
    ]


def test_a_candidate_has_the_number_of_its_levels():
    events = make_trial_events("0000", [150.0], hyperparameters=VALUES | {"levels": 3})
    several, *_ = list_candidates(make_study(*events), None)
    one, *_ = list_candidates(make_study(*make_trial_events("0000", [150.0])), None)
    assert (several.levels, one.levels) == (3, 1)


def make_candidate(number, parameters, loss, role="other"):
    losses = (loss - 40, loss, loss - 10, 10.0)
    return Candidate(f"{number:04d}", role, *losses, parameters, 1.0, 2, collapsed=False)


sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(50, 59)), min_size=1, max_size=12)


@given(sizes)
def test_the_pareto_front_has_the_points_that_no_other_point_beats(pairs):
    candidates = [make_candidate(n, *pair) for n, pair in enumerate(pairs)]
    info = compute_tradeoffs(candidates)[0]
    places = {(point.x, point.y) for point in info.points}
    for point in info.points:
        beaten = any(
            x <= point.x and y <= point.y and (x, y) != (point.x, point.y) for x, y in places
        )
        if point.on_front:
            assert not beaten
        elif not beaten:
            assert sum((p.x, p.y) == (point.x, point.y) and p.on_front for p in info.points) == 1


def test_the_front_ignores_the_reference_and_the_winner_is_drawn_last():
    candidates = [make_candidate(0, 5, 60, "winner"), make_candidate(1, 1, 50, "reference")]
    info = compute_tradeoffs(candidates)[0]
    assert [(point.role, point.on_front) for point in info.points] == [
        ("reference", False),
        ("winner", True),
    ]


def test_a_candidate_of_unknown_size_has_no_point():
    info, *_ = compute_tradeoffs([make_candidate(0, None, 60), make_candidate(1, 7, 70)])
    assert [point.trial_id for point in info.points] == ["0001"]


def test_rate_and_distortion_add_up_to_the_loss():
    *_, info = compute_tradeoffs([make_candidate(0, 5, 60)])
    ((x, y),) = [(point.x, point.y) for point in info.points]
    assert (x, y, info.is_log) == (10.0, 50.0, False)


def test_large_sizes_are_abbreviated():
    candidates = [make_candidate(n, size, 60) for n, size in enumerate((10_000, 5_000_000))]
    (axes,) = draw_tradeoff(compute_tradeoffs(candidates)[0]).axes
    written = axes.xaxis.get_major_formatter()
    assert [written(value) for value in (500, 2000, 20_000, 5e6)] == ["500", "2,000", "20k", "5M"]


@pytest.mark.parametrize("count", [1, 5])
def test_a_chart_has_a_legend_and_a_label_for_parameters(count):
    candidates = [make_candidate(n, n + 1, 90 - n) for n in range(count)]
    candidates.append(make_candidate(count, 20, 45, "winner"))
    figure = draw_tradeoff(compute_tradeoffs(candidates)[0])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["winner", "others", "Pareto front"]
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_xlabel() == "parameters"
