"""The best epoch, the ranking and the winner follow the objective."""

import json
from dataclasses import replace

import pytest
from journals import (
    SPEC,
    make_epoch,
    make_rescored,
    make_session_end,
    make_started,
    make_study,
    make_trial_events,
    write_journal,
)

from vaetune.study.catalog import find_baseline, find_best_trained
from vaetune.study.checkpoint import Checkpoint
from vaetune.study.events import EpochEnded, FinalistsRescored, FinalistsRetrained, TrialEnded
from vaetune.study.finalists import Retraining, SeedScores, rank_by_mean
from vaetune.study.notebook import describe_trial
from vaetune.study.ranking import leaders, pick, ranked_trials, winner_by_loss
from vaetune.study.scores import Estimate

BY_NEIGHBOURS = SPEC.model_copy(update={"objective": "knn_accuracy"})
TRIALS = [
    *make_trial_events("0000", [200.0, 150.0, 120.0], uses=[0.9, 0.7, 0.8]),
    *make_trial_events("0001", [180.0], uses=[0.9], configuration=1),
    *make_trial_events("0002", [110.0, 115.0], uses=[0.5, 0.5], configuration=2),
]


@pytest.fixture
def study():
    return make_study(*TRIALS, make_session_end(), search=BY_NEIGHBOURS)


def test_the_best_epoch_has_the_best_value_and_then_the_lowest_loss(study):
    assert [trial.best.epoch for trial in study.trials] == [1, 1, 1]
    assert [trial.score for trial in study.trials] == [0.9, 0.9, 0.5]
    assert [trial.lowest_loss for trial in study.trials] == [120.0, 180.0, 110.0]
    assert study.trials[0].rank == (1 - 0.9, 200.0)


def test_equal_values_are_ranked_by_the_loss(study):
    assert [trial.trial_id for trial in study.ranking] == ["0001", "0000", "0002"]
    assert pick(study).trial_id == "0001"
    assert [one.trial_id for one in leaders(ranked_trials(study), keep_best=1)] == [
        "0001",
        "0000",
        "0002",
    ]


def test_the_trial_that_the_loss_chooses_is_found(study):
    assert winner_by_loss(study).trial_id == "0002"
    assert winner_by_loss(make_study(*TRIALS, search=SPEC)) is None


def test_a_trial_is_described_by_its_objective(study):
    assert describe_trial(study.winner).startswith("trial 0001, 90.0 %, 1 epoch")
    assert "kNN accuracy" in study._repr_html_()
    assert repr(study.trials[2]) == "<Trial 0002: completed, epoch 2, 50.0 %>"


def test_a_table_has_a_column_of_the_objective(study):
    assert study.trials_table()["knn_accuracy"].tolist() == [0.9, 0.9, 0.5]
    assert "knn_accuracy" not in make_study(*TRIALS).trials_table()


def test_an_objective_other_than_the_loss_is_written_to_the_journal():
    plain = json.loads(make_epoch("0000", 1, 200.0).model_dump_json())
    assert "objective" not in plain
    measured = make_epoch("0000", 1, 200.0, 0.5)
    assert EpochEnded.model_validate_json(measured.model_dump_json()) == measured
    ended = TrialEnded(trial_id="0000", status="completed", score=0.5, duration_s=1)
    assert "best_val_loss" not in json.loads(ended.model_dump_json())


def test_a_measure_other_than_the_loss_is_recorded_with_rescored_finalists():
    event = make_rescored({("0000", 1): 100.0, ("0001", 1): 101.0})
    recorded = event.model_dump_json()
    assert not [word for word in ("chosen_by", '"use') if word in recorded]
    rescoring = event.rescoring
    first = rescoring.finalists[0].__class__(
        **{**vars(rescoring.finalists[0]), "use": Estimate(0.9, 0.01)}
    )
    by_accuracy = rescoring.__class__(
        **{**vars(rescoring), "finalists": (first,), "chosen_by": "knn_accuracy"}
    )
    event = FinalistsRescored(rescoring=by_accuracy, duration_s=1.0)
    assert FinalistsRescored.model_validate_json(event.model_dump_json()) == event


def test_the_loss_decides_between_equal_accuracies_of_other_seeds():
    def scores(trial_id, losses, uses):
        return SeedScores(trial_id, 0, ("a", "b"), losses, uses)

    ranked = rank_by_mean(
        [
            scores("0000", (100.0, 100.0), (0.8, 0.8)),
            scores("0001", (90.0, 100.0), (0.7, 0.9)),
            scores("0002", (80.0, None), (0.99, None)),
            scores("0003", (120.0, 120.0), (0.9, 0.9)),
        ],
        BY_NEIGHBOURS.ranked_by,
    )
    assert [one.trial_id for one in ranked] == ["0003", "0001", "0000", "0002"]


def test_a_checkpoint_keeps_the_value_of_its_best_epoch(tmp_path):
    kept = Checkpoint(3, (), (), 2, 150.0, (), best_objective=0.75)
    kept.save(tmp_path)
    assert Checkpoint.load(tmp_path).best_value == 0.75
    Checkpoint(3, (), (), 2, 150.0, ()).save(tmp_path)
    assert Checkpoint.load(tmp_path).best_value == 150.0


def test_a_keras_example_with_another_objective_is_not_the_baseline(tmp_path, monkeypatch):
    other = make_study(*TRIALS, kind="baseline", search=SPEC.model_copy(update={"baseline": False}))
    monkeypatch.setattr("vaetune.study.catalog.list_baselines", lambda _: _Catalog(other))
    by_loss = make_study(*TRIALS)
    monkeypatch.setattr("vaetune.study.catalog.Space", lambda: other.search.space)
    assert find_baseline(by_loss, tmp_path) is other
    assert find_baseline(make_study(*TRIALS, search=BY_NEIGHBOURS), tmp_path) is None


def test_a_training_is_compared_with_the_keras_example_of_the_nearest_seed(tmp_path, monkeypatch):
    def make(seed, kind="baseline"):
        spec = SPEC.model_copy(update={"baseline": False, "seed": seed})
        return make_study(*TRIALS, kind=kind, search=spec)

    first, second = make(10), make(20)
    monkeypatch.setattr("vaetune.study.catalog.list_baselines", lambda _: _Catalog(first, second))
    monkeypatch.setattr("vaetune.study.catalog.Space", lambda: first.search.space)
    assert find_baseline(make(18), tmp_path) is second
    assert find_baseline(make(10), tmp_path) is first
    assert find_baseline(make(18, "search"), tmp_path) is None
    assert find_baseline(make(20, "search"), tmp_path) is second


class _Catalog:
    def __init__(self, *studies):
        self.studies = studies


# The best trained model


@pytest.fixture
def make_retrained_search(tmp_path):
    """Returns a function that makes a search with finalists trained from two other seeds.

    It takes the rescored accuracy of each finalist, the accuracies of both seeds, and the measure
    that decides.
    """

    def make(own, uses, measure="knn_accuracy"):
        folder = tmp_path / "tiny"
        rescored = make_rescored({("0001", 1): 150.0, ("0000", 1): 151.0, ("0002", 1): 152.0})
        finalists = [
            replace(one, use=Estimate(own, 0.01), use_behind=Estimate(0.0, 0.0))
            for one in rescored.rescoring.finalists
        ]
        rescoring = replace(rescored.rescoring, finalists=tuple(finalists), chosen_by=measure)
        names = [("0001", "a", "b"), ("0000", "c", "d"), ("0002", "e", "f")]
        scores = [SeedScores(one, 0, tuple(rest), (99.0, 98.0), uses) for one, *rest in names]
        retraining = Retraining((1, 2), 3, 32, tuple(scores), measure)
        for name in "ab":
            write_journal(tmp_path / "baselines" / name, [make_started(name, kind="baseline")])
        events = [
            FinalistsRescored(rescoring=rescoring, duration_s=1.0),
            FinalistsRetrained(retraining=retraining, duration_s=1.0),
        ]
        return make_study(*TRIALS, *events, search=BY_NEIGHBOURS, folder=folder)

    return make


@pytest.mark.parametrize(
    ("own", "uses", "name"),
    [(0.9, (0.8, 0.95), "b"), (0.96, (0.8, 0.95), "tiny"), (0.95, (0.95, 0.95), "b")],
)
def test_the_best_training_of_the_winning_configuration_is_found(
    make_retrained_search, own, uses, name
):
    assert find_best_trained(make_retrained_search(own, uses)).name == name


def test_the_trial_of_the_search_is_found_if_the_loss_decides(make_retrained_search):
    study = make_retrained_search(0.5, (0.8, 0.95), measure=None)
    assert find_best_trained(study) is study
