"""A lead is described with the kind of noise that was measured, or as uncertain."""

import pytest
from journals import (
    make_evaluated,
    make_rescored,
    make_retrained,
    make_study,
    make_trial_events,
)

from vaetune.report.text.certainty import (
    describe_certainty,
    describe_decision,
    describe_rescored,
    describe_retrained,
)


def study_of(*events, losses=(180.0, 181.0, 185.0), **options):
    trials = [
        event
        for number, loss in enumerate(losses)
        for event in make_trial_events(f"{number:04d}", [loss], configuration=number)
    ]
    return make_study(*trials, *events, **options)


RESCORED = {("0001", 1): 180.5, ("0000", 1): 181.25, ("0002", 1): 186.0}


@pytest.mark.parametrize(("error", "verdict"), [(0.25, "more"), (0.5, "inside the noise, less")])
def test_a_lead_is_compared_with_the_noise_of_images_and_samples(error, verdict):
    assert describe_certainty(study_of(make_rescored(RESCORED, behind=error))) == (
        "Rescored with 32 posterior samples of 1,000 validation images, the winner leads trial "
        f"0000 by 0.75 +- {error:.2f} nats: {verdict} than two standard errors of this difference "
        "over these images and samples. The effect of another training seed was not measured."
    )


def test_a_lead_of_retrained_configurations_is_compared_with_the_noise_of_seeds():
    seeds = make_retrained({"0000": (181.0, 183.0), "0001": (190.0, 191.0), "0002": (200.0, 201.0)})
    study = study_of(make_rescored(RESCORED), seeds)
    assert study.winner.trial_id == "0000"
    assert describe_certainty(study) == (
        "Trained from 2 other seeds for 3 epochs each, the winner's configuration leads "
        "that of trial 0001 by 8.50 +- 1.12 nats on average: more than two standard errors over "
        "the seeds."
    )
    assert describe_retrained(study, study.winner) == (
        "182.00 +- 1.00 nats, the mean of 181.00, 183.00 (2 other seeds, 3 epochs; trial 0000 "
        "itself has 1); lead over trial 0001: 8.50 +- 1.12 nats, beyond the noise"
    )
    assert describe_rescored(study, study.winner).endswith("; 0.75 +- 0.25 behind trial 0001")


def test_one_seed_leaves_the_noise_unknown():
    seeds = make_retrained({"0000": (182.0,), "0001": (190.0,), "0002": (None,)})
    shown = describe_certainty(study_of(seeds))
    assert shown.endswith("by 8.00 nats. The noise is unknown, because there is only one seed.")
    failed = make_retrained({"0000": (182.0,), "0001": (None,), "0002": (None,)})
    assert "no two of the finalists' configurations" in describe_certainty(study_of(failed))
    assert describe_retrained(study_of(failed), study_of().trial("0001")).startswith("failed (1")


def test_a_search_without_rescoring_is_described_as_such():
    assert "have not been rescored" in describe_certainty(study_of())
    assert "by 1.00 nats" in describe_certainty(study_of())


def test_finalists_that_could_not_be_rescored_leave_the_noise_unknown():
    rescored = make_rescored({("0001", 1): 180.5}, left_out=("0000", "0002"))
    assert "no two finalists could be rescored" in describe_certainty(study_of(rescored))


def test_a_decision_has_a_line_for_each_measurement():
    study = study_of(make_rescored(RESCORED), make_evaluated("0001", 1))
    lines = describe_decision(study, study.winner).splitlines()
    assert lines == [
        "  rescored         180.50 +- 1.25 nats (32 posterior samples of 1,000 validation images); "
        "lead over trial 0000: 0.75 +- 0.25 nats, beyond the noise",
        "  test images      130.50 +- 1.25 nats, the negative ELBO; 121.75 +- 1.12, the bound on "
        "the negative log-likelihood (k = 500)",
    ]


def test_a_trial_without_an_evaluation_has_the_command_to_evaluate():
    study = study_of(make_rescored(RESCORED))
    shown = describe_decision(study, study.trial("0002"))
    assert "180" not in shown
    assert "not evaluated yet: vaetune evaluate tiny --trial 0002" in shown
    assert describe_decision(study_of(), study_of().winner) == (
        "  test images      not evaluated yet: vaetune evaluate tiny"
    )
