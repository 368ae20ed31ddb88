"""An edge of the space is mentioned only if losses fall towards it."""

import pytest
from journals import make_rescored, make_session_end, make_study, make_trial_events
from pasted_lines import HYPERBAND, paste

from vaetune.config.space import Choice, Range, Space
from vaetune.config.spec import SearchSpec
from vaetune.report.analysis.budgets import compare_at_equal_budget
from vaetune.report.verdicts.edges import judge_edges, trend_towards_first
from vaetune.report.verdicts.verdict import change

VALUES = {"filters_1": 8, "filters_2": 32, "dense_units": 128, "latent_dim": 16, "levels": 1}
VALUES |= {"learning_rate": 4e-3, "batch_size": 64}


def judge(configurations, spec=HYPERBAND, also=()):
    """A study and its verdict. `configurations`: pairs of hyperparameters and a loss."""
    events = [
        event
        for number, (values, loss) in enumerate(configurations)
        for event in make_trial_events(
            f"{number:04d}",
            [loss],
            configuration=number,
            hyperparameters=VALUES | values,
        )
    ]
    study = make_study(*events, *also, make_session_end(), search=spec)
    return study, judge_edges(study, compare_at_equal_budget(study))


def by_value(name, losses):
    """Configurations with one hyperparameter. `losses`: the losses of each of its values."""
    return [({name: value}, loss) for value, column in losses.items() for loss in column]


def rising_from(loss, count=5):
    """Losses that rise from `loss` in steps of 0.25 nats."""
    return [loss + 0.25 * number for number in range(count)]


def test_losses_that_fall_towards_the_winner_s_value_suggest_a_wider_space(tmp_path):
    _, verdict = judge(by_value("batch_size", {32: rising_from(100.0), 64: rising_from(106.0)}))
    assert verdict.seen == (
        "The winner is at the edge of the space, and losses fall towards it: batch_size = 32, the "
        "smallest value, with 100.5 nats against 106.5 for 64 (median losses of 10 configurations "
        "after 1 epoch)."
    )
    assert paste(tmp_path, verdict.lines) == {"space.batch_size": {"values": (16, 32, 64)}}


def test_the_largest_value_is_also_an_edge(tmp_path):
    losses = {8: rising_from(120.0), 16: rising_from(110.0), 32: rising_from(100.0)}
    _, verdict = judge(by_value("latent_dim", losses))
    assert (
        "latent_dim = 32, the largest value, with 100.5 nats against 110.5 for 16" in verdict.seen
    )
    assert paste(tmp_path, verdict.lines) == {"space.latent_dim": {"values": (8, 16, 32, 64)}}


@pytest.mark.parametrize(
    "losses",
    [
        # The winner alone is better.
        {32: [90.0, 107.0, 108.0, 109.0, 110.0], 64: rising_from(106.0)},
        # Too few configurations have one of the values.
        {32: rising_from(100.0, 2), 64: rising_from(106.0, 12)},
        {32: rising_from(100.0, 12), 64: rising_from(106.0, 2)},
    ],
)
def test_a_winner_at_an_edge_alone_is_no_evidence(losses):
    assert judge(by_value("batch_size", losses))[1] is None


def test_the_trend_must_hold_for_all_three_values():
    losses = {8: rising_from(100.0), 16: rising_from(110.0), 32: rising_from(105.0)}
    assert judge(by_value("latent_dim", losses))[1] is None
    losses = {8: rising_from(105.0), 16: rising_from(100.0), 32: rising_from(110.0)}
    assert judge(by_value("latent_dim", losses))[1] is None, "the winner is in the middle"


def test_the_value_of_the_winner_must_be_at_the_edge():
    losses = {8: rising_from(100.0, 4), 16: rising_from(106.0), 32: rising_from(112.0)}
    order = ["0004", "0000", "0001", "0002", "0003"]
    rescored = make_rescored({(one, 1): 100.0 + place for place, one in enumerate(order)})
    study, verdict = judge(by_value("latent_dim", losses), also=[rescored])
    assert study.winner.hyperparameters["latent_dim"] == 16
    assert verdict is None


def test_the_largest_supported_value_is_no_edge():
    losses = {1: rising_from(120.0), 2: rising_from(110.0), 3: rising_from(100.0)}
    assert judge(by_value("levels", losses))[1] is None


def test_a_range_is_widened_by_half_its_length(tmp_path):
    rates = {0.0022: rising_from(120.0), 0.004: rising_from(110.0), 0.0098: rising_from(100.0)}
    _, verdict = judge(by_value("learning_rate", rates))
    assert (
        "learning_rate = 0.0098, near the end of its range at 0.01, with 100.5 nats in the outer "
        "third against 110.5 in the middle"
    ) in verdict.seen
    (found,) = paste(tmp_path, verdict.lines).values()
    assert found == {"min": 0.002, "max": 0.022, "scale": "log"}
    rates = {0.0022: rising_from(120.0), 0.004: rising_from(110.0), 0.007: rising_from(100.0)}
    assert judge(by_value("learning_rate", rates))[1] is None, "the winner is not near the end"


def test_at_most_three_edges_are_described_and_have_lines():
    names = {"filters_1": (8, 16), "filters_2": (32, 64), "dense_units": (128, 256)}
    names["batch_size"] = (64, 32)
    good = {name: better for name, (_, better) in names.items()}
    bad = {name: worse for name, (worse, _) in names.items()}
    better = [(good, x) for x in rising_from(100.0, 4)] + [(good | {"filters_1": 8}, 101.0)]
    _, verdict = judge(better + [(bad, x) for x in rising_from(120.0)])
    assert verdict.seen.count(" value, with ") == 3
    assert "filters_1" not in verdict.seen, "the least sure edge"
    assert verdict.lines.startswith("[space]\n")
    assert len(verdict.lines.splitlines()) == 4


def test_a_widened_range_keeps_its_condition():
    space = Space(
        latent_dim=Choice(values=(2, 4)),
        activation=Choice(values=("relu", "gelu")),
        beta=Range(min=0.5, max=1, when={"activation": ("gelu",)}),
    )
    own = {"latent_dim": 4, "activation": "gelu"}
    better = [(own | {"beta": 0.51}, loss) for loss in rising_from(100.0)]
    worse = [(own | {"beta": 0.75}, loss) for loss in rising_from(110.0)]
    study, verdict = judge(better + worse, SearchSpec(space=space))
    assert verdict.lines == (
        '[space]\nbeta = { min = 0.25, max = 1, when = { activation = ["gelu"] } }'
    )
    assert change(study, {"space.beta": space.beta.model_copy(update={"min": 0.25})})


def test_a_trend_needs_two_standard_errors():
    assert trend_towards_first([rising_from(1.0), rising_from(9.0)]) > 2.5
    assert trend_towards_first([[1.0, 2.0, 8.0], [3.0, 4.0, 9.0]]) is None
    assert trend_towards_first([rising_from(1.0), []]) is None
    assert trend_towards_first([rising_from(1.0), rising_from(9.0), [0.5]]) is None
