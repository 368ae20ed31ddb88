"""Tables, sentences and charts show the objective with its unit and direction."""

import pytest
from journals import (
    SPEC,
    make_rescored,
    make_session_end,
    make_study,
    make_trial_events,
)

from vaetune.config.objectives import OBJECTIVES
from vaetune.report.analysis.budgets import compare_at_equal_budget
from vaetune.report.charts.brackets import compute_rungs, draw_rungs
from vaetune.report.charts.comparison import compute_comparison, draw_comparison
from vaetune.report.charts.curves import (
    compute_curves,
    compute_progress,
    draw_curves,
    draw_progress,
)
from vaetune.report.sections.decisions import compute_decisions
from vaetune.report.sections.finalists import compute_finalists
from vaetune.report.sections.headline import compare, headline
from vaetune.report.sections.tables import compare_searches, describe_objectives, rank_trials
from vaetune.report.text.certainty import describe_certainty, describe_decision
from vaetune.report.text.search import describe_lead_over, describe_winner
from vaetune.report.text.trials import trial_line, trials_as_csv, trials_as_table
from vaetune.report.verdicts.training import judge_epochs
from vaetune.study.finalists import Rescoring
from vaetune.study.records import Decision
from vaetune.study.scores import Estimate

BY_NEIGHBOURS = SPEC.model_copy(update={"objective": "knn_accuracy"})
DECISION = Decision(expected_loss=0.05, low=0.04, high=0.06, epoch=3, cost_s=1.0)
TRIALS = [
    *make_trial_events("0000", [200.0], uses=[0.7]),
    *make_trial_events("0001", [180.0], uses=[0.9], configuration=1, decision=DECISION),
    *make_trial_events(
        "0002", [150.0, 140.0], uses=[0.93, 0.942], configuration=1, parent="0001", rung=1,
        epoch_from=1,
    ),
    *make_trial_events("0003", [110.0], uses=[0.5], configuration=2),
]  # fmt: skip


@pytest.fixture
def study():
    return make_study(*TRIALS, make_session_end(), search=BY_NEIGHBOURS)


def test_trials_are_listed_with_their_accuracy(study):
    header, first, *_ = trials_as_table(study).splitlines()
    assert "kNN accuracy" in header
    assert "70.0 %" in first
    assert "knn_accuracy,expected_knn_accuracy" in trials_as_csv(study)


def test_the_line_of_a_trial_has_its_reached_and_expected_accuracy(study):
    events = make_trial_events("0001", [180.0], uses=[0.9], decision=DECISION)
    line = trial_line("trial 0001", events[0], events[-1], (), OBJECTIVES["knn_accuracy"])
    assert "90.0 %  epochs 1 to 1" in line
    assert "expected 95.0 \N{PLUS-MINUS SIGN} 1.0 after epoch 3" in line
    assert "nats" not in line


def test_the_winner_is_described_by_accuracy_and_loss(study):
    text = describe_winner(study, study.winner, None)
    assert text.splitlines()[0].split() == ["kNN", "accuracy", "94.2", "%"]
    assert "validation loss  140.00 nats" in text
    decision = describe_decision(study, study.winner)
    by_loss = "winner by loss   trial 0003, 110.00 nats per image, kNN accuracy 50.0 %"
    assert by_loss in decision


def test_a_higher_accuracy_is_described_as_above():
    accuracy, loss = OBJECTIVES["knn_accuracy"], OBJECTIVES["val_loss"]
    assert describe_lead_over(accuracy, 0.942, 0.9) == "4.2 points above"
    assert describe_lead_over(accuracy, 0.9, 0.942) == "4.2 points below"
    assert describe_lead_over(loss, 100.0, 103.0) == "3.00 nats below"


def test_the_headline_has_the_accuracy_and_the_winner_by_loss(study):
    example = make_study(*make_trial_events("0000", [200.0], uses=[0.9]), search=BY_NEIGHBOURS)
    text = headline(study, example)
    accuracy = "94.2\N{NO-BREAK SPACE}% kNN accuracy"
    assert f"reaches {accuracy} after 3 epochs, 4.2 points above the Keras example" in text
    assert text.endswith(" Chosen by kNN accuracy; the loss would choose trial 0003.")
    rows = [row for group in compare(study, example).groups.values() for row in group]
    assert [(row.name, row.difference) for row in rows if row.is_objective] == [
        ("kNN accuracy", "+4.2")
    ]


def test_the_table_of_trials_is_ordered_by_accuracy(study):
    board = rank_trials(study)
    assert board.columns[2].title == "kNN accuracy"
    assert [line.cells[2].text for line in board.lines][:2] == [
        "94.2\N{NO-BREAK SPACE}%",
        "90.0\N{NO-BREAK SPACE}%",
    ]


@pytest.mark.parametrize(
    ("compute", "draw"),
    [
        (lambda study: compute_curves(study, None), draw_curves),
        (lambda study: compute_progress(study, None), draw_progress),
        (compute_rungs, draw_rungs),
        (lambda study: compute_comparison([study, study]), draw_comparison),
    ],
)
@pytest.mark.parametrize("is_use", [True, False])
def test_axes_of_charts_follow_the_direction_of_the_objective(study, compute, draw, is_use):
    drawn = study if is_use else make_study(*TRIALS, make_session_end())
    axes = draw(compute(drawn)).axes[0]
    low, high = axes.get_ylim()
    assert (low > high) == is_use, "only axes of an accuracy are inverted"
    assert ("kNN accuracy, %" in axes.get_ylabel()) == is_use
    if is_use:
        assert axes.yaxis.get_major_formatter()(0.058, None) == "94.2"


def test_expected_and_reached_accuracies_are_compared(study):
    (row,) = compute_decisions(study).rows
    assert row.expected == "95.0\N{NO-BREAK SPACE}% \N{PLUS-MINUS SIGN} 1.0\N{NO-BREAK SPACE}%"
    assert row.reached == "94.2\N{NO-BREAK SPACE}%"
    summary = compute_decisions(study).summary
    assert "1 were within one standard deviation, and the median error was 0.8 points." in summary


def test_configurations_are_compared_by_their_accuracy(study):
    budget = compare_at_equal_budget(study)
    assert budget.text(min(budget.losses.values())) == "90.0\N{NO-BREAK SPACE}%"


def test_an_accuracy_that_still_rises_is_reported(study):
    verdict = judge_epochs(study)
    assert "kNN accuracy was still rising when training ended, by 1.2 points" in verdict.seen


def test_searches_of_different_objectives_are_not_compared(study):
    by_loss = make_study(*TRIALS, make_session_end())
    assert compare_searches([study, by_loss]) == ()
    sentence = (
        "Searches of different objectives are not compared: kNN accuracy and validation loss."
    )
    assert describe_objectives([study, by_loss]) == sentence
    assert describe_objectives([study, study]) == ""
    (group,) = compare_searches([study, study])
    assert group.data_name == "digits, by kNN accuracy"


def make_rescored_by_accuracy(uses, measure="knn_accuracy"):
    """A rescoring event. `uses`: accuracy and its standard error by trial id and epoch."""
    event = make_rescored({key: 200.0 - 100 * use for key, (use, _) in uses.items()})
    best = max(use for use, _ in uses.values())
    finalists = tuple(
        one.__class__(
            **vars(one)
            | {"use": Estimate(use, error), "use_behind": Estimate(best - use, 0.01 * (use < best))}
        )
        for one, (use, error) in zip(event.rescoring.finalists, uses.values(), strict=True)
    )
    rescoring = Rescoring(32, 0, 1000, finalists, (), measure)
    return event.model_copy(update={"rescoring": rescoring})


def test_finalists_are_shown_with_their_accuracy(study):
    keys = [("0002", 3), ("0000", 1), ("0003", 1)]
    event = make_rescored_by_accuracy(
        dict(zip(keys, [(0.95, 0.007), (0.94, 0.0075), (0.5, 0.016)], strict=True))
    )
    decided = make_study(*TRIALS, event, make_session_end(), search=BY_NEIGHBOURS)
    text = describe_decision(decided, decided.winner)
    assert "kNN accuracy 95.0 +- 0.7 %; 105.00 +- 1.25 nats" in text
    assert "lead over trial 0000: 1.0 +- 1.0 points, inside the noise" in text
    assert describe_certainty(decided).startswith(
        "By the kNN accuracy on 1,000 validation images, the winner leads trial 0000 by 1.0 +- "
        "1.0 points: inside the noise"
    )
    found = compute_finalists(decided)
    assert (found.measure, found.objective) == ("kNN accuracy", "kNN accuracy")
    assert found.rows[0].use == "95.0 \N{PLUS-MINUS SIGN} 0.7 %"
    assert found.rows[1].behind == "1.0 \N{PLUS-MINUS SIGN} 1.0 points"


def test_accuracy_can_rank_the_finalists_of_a_search_by_loss():
    keys = [("0000", 1), ("0003", 1), ("0002", 2)]
    event = make_rescored_by_accuracy(
        dict(zip(keys, [(0.95, 0.007), (0.94, 0.0075), (0.5, 0.016)], strict=True))
    )
    trials = [
        *make_trial_events("0000", [200.0]),
        *make_trial_events("0002", [150.0, 140.0, 145.0], configuration=1),
        *make_trial_events("0003", [110.0], configuration=2),
    ]
    decided = make_study(*trials, event, make_session_end())
    assert decided.winner.trial_id == "0000"
    text = headline(decided, None)
    assert "reaches 200.0 nats per image" in text
    assert "Chosen by kNN accuracy; the loss would choose it as well." in text
