"""Charts of brackets, and rank correlations between rungs."""

import numpy as np
import pytest
from journals import make_study, make_trial_events
from scipy.stats import spearmanr

from vaetune.report.charts.brackets import compute_rung_correlations, compute_rungs, draw_rungs

FLOOR = 45.5


def make_two_brackets():
    """A bracket with a failed trial and a promotion that wins, and a bracket with one trial."""
    return make_study(
        *make_trial_events("0000", [210.0]),
        *make_trial_events("0001", [200.0], configuration=1),
        *make_trial_events("0002", [], configuration=2, status="failed", error="NaN"),
        *make_trial_events(
            "0003", [190.0, 180.0], configuration=1, parent="0001", rung=1, epoch_from=1
        ),
        *(
            event.model_copy(update={"bracket": 0}) if hasattr(event, "bracket") else event
            for event in make_trial_events("0004", [220.0, 200.0, 195.0], configuration=3)
        ),
    )


def test_each_bracket_has_its_trials_at_the_epochs_of_their_rungs():
    info = compute_rungs(make_two_brackets())
    assert [bracket.title for bracket in info.brackets] == ["bracket 1", "bracket 0"]
    first, second = info.brackets
    assert [(s.trial_id, s.epoch, s.excess) for s in first.results] == [
        ("0000", 1, 210.0 - FLOOR),
        ("0001", 1, 200.0 - FLOOR),
        ("0002", 1, None),
        ("0003", 3, 180.0 - FLOOR),
    ]
    assert [(s.trial_id, s.epoch, s.excess) for s in second.results] == [("0004", 3, 195.0 - FLOOR)]
    assert (info.low, info.high) == (180.0 - FLOOR, 210.0 - FLOOR)


def test_promotions_failures_and_the_winner_are_distinguished():
    (first, _) = compute_rungs(make_two_brackets()).brackets
    assert [s.parent for s in first.results] == [None, None, None, "0001"]
    assert [s.failed for s in first.results] == [False, False, True, False]
    assert [s.is_winner for s in first.results] == [False, True, False, True], (
        "the earlier rung of the winner is marked as well"
    )


def test_several_iterations_are_named_in_the_titles():
    again = [
        event.model_copy(update={"iteration": 1}) if hasattr(event, "iteration") else event
        for event in make_trial_events("0001", [190.0], configuration=1, parent="0000", rung=1)
    ]
    study = make_study(*make_trial_events("0000", [200.0]), *again)
    titles = [bracket.title for bracket in compute_rungs(study).brackets]
    assert titles == ["iteration 1, bracket 1", "iteration 2, bracket 1"]


def test_a_single_bracket_has_no_title():
    events = make_trial_events(
        "0001", [190.0], configuration=0, parent="0000", rung=1, epoch_from=1
    )
    study = make_study(*make_trial_events("0000", [200.0]), *events)
    assert [bracket.title for bracket in compute_rungs(study).brackets] == [""]


def test_a_search_without_promotions_has_no_chart_of_rungs():
    assert compute_rungs(make_study(*make_trial_events("0000", [200.0]))) is None
    assert compute_rungs(make_study()) is None


def test_a_panel_shows_a_line_for_each_promotion_and_a_cross_for_each_failure():
    figure = draw_rungs(compute_rungs(make_two_brackets()))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["bracket 1", "bracket 0"]
    axes = figure.axes[0]
    drawn = [np.array(line.get_xydata()) for line in axes.get_lines()]
    promotion = np.array([[1, 200.0 - FLOOR], [3, 180.0 - FLOOR]])
    assert any(line.shape == (3, 2) and (line[:2] == promotion).all() for line in drawn)
    markers = {line.get_marker(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert markers["X"] == [[1, 210.0 - FLOOR]], "a failed trial is not at the top"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["winner", "others", "failed"]


def study_of(losses):
    """One trial per configuration, with one epoch per loss."""
    return make_study(
        *(
            event
            for number, values in enumerate(losses)
            for event in make_trial_events(f"{number:04d}", values, configuration=number)
        )
    )


def test_rungs_are_compared_by_their_common_configurations():
    short = [[300.0], [299.0]]
    losses = [[250.0, 9, 130.0], [240.0, 9, 140.0], [230.0, 9, 120.0], [220.0, 9, 110.0]]
    (only,) = compute_rung_correlations(study_of(short + losses))
    assert (only.epoch, only.later, only.configurations) == (1, 3, 4)
    before, _, after = zip(*losses, strict=True)
    assert only.correlation == pytest.approx(spearmanr(before, after).statistic)


def test_equal_losses_share_their_rank():
    losses = [[1.0, 5.0], [1.0, 7.0], [2.0, 5.0], [3.0, 9.0], [0.5]]
    (only,) = compute_rung_correlations(study_of(losses))
    before, after = zip(*losses[:4], strict=True)
    assert only.correlation == pytest.approx(spearmanr(before, after).statistic)


@pytest.mark.parametrize(
    "losses",
    [
        [[200.0, 190.0], [210.0, 180.0], [220.0]],
        [[200.0, float("nan")], [210.0, 180.0], [220.0, 170.0], [1.0]],
        [[200.0, 190.0], [200.0, 180.0], [200.0, 170.0], [1.0]],
    ],
    ids=["too few", "not finite", "level"],
)
def test_rungs_that_cannot_be_compared_have_no_correlation(losses):
    assert compute_rung_correlations(study_of(losses)) == ()
