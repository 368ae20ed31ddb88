"""Expected losses of an algorithm are compared with the losses that trials reached."""

import re

import pytest
from journals import OPEN_PLAN, START, make_study, make_trial_events

from vaetune.report.page import render_report
from vaetune.report.sections.decisions import compute_decisions
from vaetune.study.records import Decision

pytestmark = pytest.mark.usefixtures("without_charts")


def expect(loss, epoch=3, width=5.0):
    return Decision(
        expected_loss=loss, low=loss - width, high=loss + width, epoch=epoch, cost_s=2.25
    )


def make_search(plan=OPEN_PLAN):
    """Three configurations; only the second one trains for three epochs."""
    return make_study(
        *make_trial_events("0000", [120.0]),
        *make_trial_events("0001", [118.0], configuration=1, decision=expect(100.0)),
        *make_trial_events(
            "0002",
            [107.0, 109.0],
            configuration=1,
            parent="0001",
            epoch_from=1,
            decision=expect(104.0),
        ),
        *make_trial_events("0003", [115.0], configuration=2, decision=expect(101.0)),
        plan=plan,
    )


def test_a_forecast_is_compared_with_the_loss_of_its_epoch():
    rows = compute_decisions(make_search()).rows
    assert [(row.trial_id, row.choice, row.epochs) for row in rows] == [
        ("0001", "new", "1\N{EN DASH}1"),
        ("0002", "continued after epoch 1", "2\N{EN DASH}3"),
        ("0003", "new", "1\N{EN DASH}1"),
    ]
    assert [row.reached for row in rows] == ["107.0", "107.0", "\N{EN DASH}"]
    assert rows[0].expected == "100.0 \N{PLUS-MINUS SIGN} 5.0"
    assert rows[0].cost == "2.2"


def test_the_summary_counts_the_comparable_forecasts():
    summary = compute_decisions(make_search()).summary
    assert "2 of 3 forecasts can be compared" in summary
    assert "1 were within one standard deviation, and the median error was 5.0 nats" in summary


def test_the_summary_states_that_no_forecast_can_be_compared():
    study = make_study(*make_trial_events("0000", [118.0], decision=expect(100.0)))
    assert compute_decisions(study).summary.startswith("None of 1 forecast")


def test_a_failed_trial_has_no_reached_loss():
    study = make_study(
        *make_trial_events(
            "0000", [118.0], status="failed", error="NaN", epoch_to=1, decision=expect(100.0, 1)
        )
    )
    assert [row.reached for row in compute_decisions(study).rows] == ["\N{EN DASH}"]


def test_other_algorithms_have_no_decisions():
    assert compute_decisions(make_study(*make_trial_events("0000", [120.0]))) is None
    page = render_report([make_study(*make_trial_events("0000", [120.0]))], {}, START)
    assert "What did the algorithm expect" not in page


def test_the_page_shows_decisions_and_the_progress_of_the_search():
    page = render_report([make_search()], {}, START)
    table = re.search(r"What did the algorithm expect.*?</table>", page, flags=re.DOTALL)[0]
    assert table.count("<tr>") == 4
    assert "continued after epoch 1" in table
    assert "5 of at most 11 epochs" in page


def test_the_state_of_an_open_search_counts_epochs():
    assert make_search().state == "not complete, 4 trials, 5 of at most 11 epochs"
