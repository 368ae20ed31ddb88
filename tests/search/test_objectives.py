"""Searches with another objective than the validation loss."""

import pickle
import shutil
from dataclasses import replace

import pytest
from comparisons import assert_same_search, checkpoint_of, events_of
from image_sets import make_images
from long_forms import long
from tiny_searches import GRID, IMAGES, TINY, changed, run, stop

from vaetune.config.space import Pinned
from vaetune.config.spec import Budget, DataSpec, Limits
from vaetune.data.images import Split
from vaetune.errors import ResultsError, SpecError
from vaetune.search.executors.ray_worker import Worker, share_images
from vaetune.search.oracles.control import end_trial, make_oracle, request_trial
from vaetune.study.events import EpochEnded, TrialEnded, TrialStarted
from vaetune.study.ranking import winner_by_loss
from vaetune.study.records import Assignment
from vaetune.training import trial as trial_module
from vaetune.training.tasks import EpochDone, Task, TrainedModel

LEFT_OUT = make_images(validation=9, test=6).validation
WITH_LEFT_OUT = replace(IMAGES, left_out=(LEFT_OUT.take(slice(2)), LEFT_OUT, LEFT_OUT))
"""The tiny images, with two left-out images for training, and nine for validation and test each."""

_ASSIGNMENT_FIELDS = tuple(Assignment.model_fields)

BY_KNN = changed(TINY, objective="knn_accuracy")


@pytest.fixture(scope="module")
def by_knn(tmp_path_factory):
    return run(tmp_path_factory.mktemp("neighbours"), BY_KNN)


@pytest.fixture
def falling_accuracies(monkeypatch):
    """Replaces measured accuracies by falling ones, so that the first epoch is the best."""
    measured = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    monkeypatch.setattr(
        trial_module, "measure_use", lambda *_: type("", (), {"mean": lambda _: next(measured)})()
    )


def test_epochs_record_accuracies_and_trials_are_scored_by_the_error_rate(by_knn):
    epochs = events_of(by_knn, EpochEnded)
    assert all(0 <= epoch.objective <= 1 for epoch in epochs)
    for ended in events_of(by_knn, TrialEnded):
        best = by_knn.trial(ended.trial_id).best
        assert ended.score == 1 - best.objective
        assert ended.best_val_loss == best.val_loss


def test_trials_are_ranked_by_accuracy_then_by_loss(by_knn):
    ranks = [(-trial.score, trial.best.val_loss) for trial in by_knn.ranking]
    assert ranks == sorted(ranks)
    assert len({accuracy for accuracy, _ in ranks}) < len(ranks), "there are no ties to break"


def test_the_best_epoch_has_the_highest_accuracy_not_the_lowest_loss(tmp_path, falling_accuracies):
    spec = changed(GRID, objective="probe_accuracy", budget=Budget(max_epochs=3, max_trials=2))
    study = run(tmp_path, spec)
    assert [trial.best.epoch for trial in study.trials] == [1, 1]
    assert study.trials[0].best.val_loss > study.trials[0].lowest_loss
    assert [trial.trial_id for trial in study.ranking] == ["0000", "0001"]
    kept = checkpoint_of(study, "0000")
    assert (kept.best_epoch, kept.best_objective) == (1, 0.9)


@pytest.mark.parametrize("events", [13, *long(4)])
def test_an_interrupted_search_continues_to_the_same_results(by_knn, tmp_path, events):
    stop(tmp_path, events, BY_KNN)
    assert_same_search(run(tmp_path, BY_KNN), by_knn)


def test_continuing_with_another_objective_is_refused(tmp_path):
    run(tmp_path, GRID)
    with pytest.raises(ResultsError, match="objective: val_loss -> knn_accuracy"):
        run(tmp_path, changed(GRID, objective="knn_accuracy"))


@pytest.mark.parametrize("key", ["objective", "choose_by"])
def test_images_without_labels_are_refused_before_anything_is_written(tmp_path, key):
    images = replace(IMAGES, train=Split(IMAGES.train.images, None), class_names=None)
    with pytest.raises(SpecError, match=f'{key} = "knn_accuracy" needs the class of each image'):
        run(tmp_path, changed(GRID, **{key: "knn_accuracy"}), images=images)
    assert not list(tmp_path.iterdir())


def test_images_of_a_single_class_are_refused(tmp_path):
    images = replace(IMAGES, train=Split(IMAGES.train.images, IMAGES.train.labels * 0))
    with pytest.raises(SpecError, match="images of at least two classes"):
        run(tmp_path, changed(GRID, objective="probe_accuracy"), images=images)


def test_hyperband_promotes_the_lower_loss_of_equal_accuracies():
    oracle = make_oracle(changed(TINY, objective="knn_accuracy", budget=Budget(max_epochs=9)))
    losses = [130.0, 110.0, 140.0, 105.0, 120.0, 150.0, 101.0, 160.0, 100.0]
    for loss in losses:
        trial = request_trial(oracle)
        end_trial(oracle, trial.trial_id, 0.25, False, loss)
    promoted = [request_trial(oracle).hyperparameters.values["tuner/trial_id"] for _ in range(3)]
    assert promoted == ["0008", "0006", "0003"]


def test_images_without_a_left_out_class_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r'leave_out = \["7"\] in \[data\]'):
        run(tmp_path, changed(GRID, objective="auroc"))
    no_validation = replace(IMAGES, left_out=(LEFT_OUT, LEFT_OUT.take(slice(0)), LEFT_OUT))
    with pytest.raises(SpecError, match="validation images of a left-out class"):
        run(tmp_path, changed(GRID, objective="auroc"), images=no_validation)


# Objectives for the choice among finalists only


@pytest.fixture(scope="module")
def by_loss(tmp_path_factory):
    return run(tmp_path_factory.mktemp("loss"), TINY)


def test_choose_by_ranks_finalists_of_a_complete_search_without_training(by_loss, tmp_path):
    shutil.copytree(by_loss.folder, tmp_path / "tiny")
    study = run(tmp_path, changed(TINY, choose_by="knn_accuracy"))
    assert events_of(study, EpochEnded) == events_of(by_loss, EpochEnded)
    rescoring = study.rescored.rescoring
    uses = [(-one.use.mean, one.negative_elbo.mean) for one in rescoring.finalists]
    assert uses == sorted(uses)
    assert {one.trial_id for one in rescoring.finalists} == {t.trial_id for t in study.finalists}
    assert winner_by_loss(study).trial_id == by_loss.winner.trial_id
    for one in rescoring.finalists:
        share = one.use.mean
        assert one.use.standard_error == pytest.approx((share * (1 - share) / 13) ** 0.5)
    assert run(tmp_path, TINY).winner.trial_id == by_loss.winner.trial_id


def test_the_journal_of_a_search_by_loss_names_no_objective(by_loss):
    journal = (by_loss.folder / "journal.jsonl").read_text()
    for word in ("objective", "choose_by", "chosen_by", '"use', "best_val_loss"):
        assert word not in journal


def test_other_seeds_are_compared_by_the_chosen_accuracy(tmp_path):
    limits = Limits(final_seeds=2)
    study = run(tmp_path, changed(GRID, choose_by="probe_accuracy", limits=limits))
    retraining = study.retrained.retraining
    assert retraining.chosen_by == "probe_accuracy"
    means = [one.mean.mean for one in retraining.finalists]
    assert means == sorted(means, reverse=True)
    assert all(0 <= use <= 1 for one in retraining.finalists for use in one.uses)
    assert study.winner.trial_id == retraining.finalists[0].trial_id


def two_level_spec(objective):
    """A search of models with two levels, averaged weights and a Gaussian likelihood."""
    two_levels = {"levels": Pinned(value=2), "weight_average": Pinned(value=0.9)}
    space = GRID.space.model_copy(update=two_levels)
    return changed(GRID, objective=objective, space=space, data=DataSpec(likelihood="gaussian"))


@pytest.fixture(scope="module", params=["auroc", *long("probe_accuracy")])
def with_left_out(request, tmp_path_factory):
    """A search of images with left-out classes, for each objective."""
    spec = two_level_spec(request.param)
    return run(tmp_path_factory.mktemp("odd"), spec, images=WITH_LEFT_OUT)


def test_finalists_have_standard_errors_and_the_auroc_counts_pairs(with_left_out):
    assert with_left_out.rescored.rescoring.chosen_by == with_left_out.search.objective
    error = with_left_out.rescored.rescoring.finalists[0].use.standard_error
    if with_left_out.search.objective != "auroc":
        assert 0 <= error < 0.5, "0 if every image is classified correctly"
        return
    assert 0 < error < 0.5
    pairs = len(IMAGES.validation) * len(LEFT_OUT)
    for epoch in events_of(with_left_out, EpochEnded):
        assert 2 * pairs * epoch.objective == pytest.approx(round(2 * pairs * epoch.objective))


def test_a_worker_measures_the_same_objective_as_this_process(with_left_out):
    study, spec, name = with_left_out, with_left_out.search, with_left_out.search.objective
    sent = share_images(WITH_LEFT_OUT)
    assert len(sent.left_out[2]) == 0, "workers receive no test images"
    assert len(sent.left_out[0]) == 0, "workers receive no left-out training images"
    worker = Worker(pickle.loads(pickle.dumps(sent)), "cpu", 2)
    started, trial = events_of(study, TrialStarted)[0], study.trials[0]
    task = Task(
        spec, (Assignment(**{key: getattr(started, key) for key in _ASSIGNMENT_FIELDS}),), None
    )
    (done,) = (message for message in worker.run(task) if isinstance(message, EpochDone))
    assert done.ended.objective == trial.epochs[0].objective
    assert done.ended.val_loss == trial.epochs[0].val_loss
    weights = checkpoint_of(study, trial.trial_id).best_weights
    model = TrainedModel(trial.hyperparameters, weights, "gaussian", chosen_by=name)
    samples, seed = study.rescored.rescoring.posterior_samples, spec.seed
    uses = {one.trial_id: one.use.mean for one in study.rescored.rescoring.finalists}
    assert worker.measure(model, samples, seed).mean_use == pytest.approx(uses[trial.trial_id])
