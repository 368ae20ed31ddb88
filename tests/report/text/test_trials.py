"""The line of a trial: its hyperparameters and its expected loss."""

from journals import make_trial_events

from vaetune.config.family import REFERENCE
from vaetune.report.text.trials import trial_line
from vaetune.study.records import Decision

DECISION = Decision(expected_loss=101.26, low=95.0, high=108.0, epoch=9, cost_s=6.5)


def line_of(*searched, **options):
    start, _, end = make_trial_events("0003", [120.0], **options)
    return trial_line("trial 0003", start, end, searched)


def test_a_line_has_the_expected_loss_of_a_trial_that_an_algorithm_chose():
    assert "expected 101.3 \N{PLUS-MINUS SIGN} 6.5 after epoch 9" in line_of(decision=DECISION)
    assert "expected" not in line_of()


def test_the_line_of_the_keras_example_has_all_of_its_hyperparameters():
    """The search may fix some of them at other values."""
    example = line_of("latent_dim", hyperparameters=dict(REFERENCE))
    assert "epochs 1 to 1   filters 32/64, dense 16, latent 2, rate 0.001  " in example
    other = line_of("latent_dim", hyperparameters=dict(REFERENCE) | {"latent_dim": 4})
    assert "epochs 1 to 1   latent 4  " in other
