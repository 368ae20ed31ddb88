"""Verdicts about failed trials and their causes, and about copies of images."""

import pytest
from journals import VALUES, make_session_end, make_study, make_trial_events
from pasted_lines import HYPERBAND, paste

from vaetune.config.dimensions import Choice
from vaetune.config.reading import Copies, Reading
from vaetune.config.search_file import load_search
from vaetune.report.verdicts.health import judge_copies, judge_failures

NAN = "The training loss became nan in epoch {}."


def search(completed, failed, spec=HYPERBAND):
    """A search. `completed`: learning rates. `failed`: pairs of learning rate and error."""
    trials = [
        *({"losses": [100.0], "rate": rate} for rate in completed),
        *({"status": "failed", "rate": rate, "error": error} for rate, error in failed),
    ]
    events = [
        event
        for number, trial in enumerate(trials)
        for event in make_trial_events(
            f"{number:04d}",
            hyperparameters=VALUES | {"learning_rate": trial.pop("rate")},
            configuration=number,
            **trial,
        )
    ]
    return make_study(*events, make_session_end(), search=spec)


def test_divergence_at_large_learning_rates_suggests_smaller_rates(tmp_path):
    failed = [(0.0081, NAN.format(1)), (0.0093, NAN.format(2))]
    verdict = judge_failures(search([0.002, 0.003, 0.0052], failed))
    assert verdict.seen == (
        "2 of 5 trials failed (40\xa0%), with this error: The loss became NaN or infinite."
    )
    assert verdict.advice.startswith("All of them have a learning_rate above 0.0052")
    (found,) = paste(tmp_path, verdict.lines).values()
    assert found == {"min": 0.002, "max": 0.0052, "scale": "log"}


def test_divergence_at_the_largest_of_some_rates_leaves_them_out(tmp_path):
    rates = Choice(values=(1e-3, 1e-2, 0.1, 10.0))
    space = HYPERBAND.space.model_copy(update={"learning_rate": rates})
    spec = HYPERBAND.model_copy(update={"space": space})
    failed = [(0.1, NAN.format(1)), (10.0, NAN.format(1))]
    verdict = judge_failures(search([1e-3, 1e-2], failed, spec))
    assert verdict.advice.startswith("All of them have a learning_rate above 0.01")
    assert paste(tmp_path, verdict.lines) == {"space.learning_rate": {"values": (1e-3, 1e-2)}}


def test_divergence_at_any_learning_rate_suggests_clipped_gradients(tmp_path):
    verdict = judge_failures(search([0.009], [(0.004, NAN.format(1))]))
    assert paste(tmp_path, verdict.lines) == {"space.clip_norm": {"value": 1}}


def test_a_lack_of_memory_suggests_smaller_batches(tmp_path):
    failed = [(0.004, "ResourceExhaustedError: OOM when allocating")]
    verdict = judge_failures(search([0.004], failed))
    assert paste(tmp_path, verdict.lines) == {"space.batch_size": {"values": (32,)}}
    verdict = judge_failures(search([0.004], failed, load_search("grid").spec))
    assert paste(tmp_path, verdict.lines, "grid") == {"training.batch_size": 64}


def test_the_most_frequent_of_other_errors_is_named():
    failed = [(0.004, "ValueError: no"), (0.004, "OSError: disk full"), (0.005, "ValueError: no")]
    verdict = judge_failures(search([0.004] * 4, failed))
    assert (
        verdict.seen == "3 of 7 trials failed (43\xa0%), 2 of them with this error: ValueError: no."
    )
    assert verdict.advice.startswith("`vaetune trials tiny --failed` shows the errors in full")
    assert verdict.lines == ""


def test_a_rare_failure_has_no_verdict():
    assert judge_failures(search([0.004] * 20, [(0.004, "ValueError: no")])) is None
    assert judge_failures(search([0.004], [])) is None


def reading(**copies):
    found = Copies(distinct=6000, **copies)
    return Reading(kind="arrays", dtype="uint8", low=0, high=255, range=(0, 255), copies=found)


@pytest.mark.parametrize(
    ("copies", "words"),
    [
        (
            {"across": 500},
            "500 of the 2,000 validation and test images are also in an earlier split, training "
            "or validation, so losses are too good.",
        ),
        (
            {"across": 1},
            "1 of the 2,000 validation and test images is also in an earlier split, training or "
            "validation, so losses are slightly too good.",
        ),
        (
            {"within": 700},
            "700 of the 7,000 images repeat another one of the same split, and count twice or "
            "more.",
        ),
        ({"within": 20}, ""),
        ({}, ""),
    ],
)
def test_copies_are_named_with_their_share(copies, words):
    verdict = judge_copies(make_study(reading=reading(**copies)))
    assert (verdict.seen if verdict else "") == words
    assert verdict is None or verdict.lines == ""


def test_a_journal_without_a_count_of_copies_has_no_verdict():
    assert judge_copies(make_study()) is None
