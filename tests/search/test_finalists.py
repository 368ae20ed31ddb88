"""The finalists of a search are rescored and trained again from other seeds."""

import json
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from comparisons import checkpoint_of, events_of
from tiny_searches import (
    DEVICE,
    GRID,
    IMAGES,
    StopAfter,
    changed,
    run,
)

from vaetune.config.search_file import ResolvedSearch
from vaetune.config.spec import Budget, Limits
from vaetune.search.executors.local import LocalExecutor
from vaetune.search.finalists import rescore
from vaetune.search.phases import run_session
from vaetune.search.resume import is_decided
from vaetune.search.session import open_search
from vaetune.study.builder import load_study
from vaetune.study.catalog import list_baselines
from vaetune.study.checkpoint import CHECKPOINT_NAME
from vaetune.study.events import FileSetAside, FinalistsRescored, FinalistsRetrained, SessionEnded
from vaetune.training.context import TrainingContext
from vaetune.training.tasks import TrainedModel


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished small search."""
    return run(tmp_path_factory.mktemp("finished"), GRID)


@pytest.fixture(scope="module")
def executor():
    return LocalExecutor(TrainingContext(IMAGES), DEVICE)


def copy_of(study, results, *, without=()):
    """Copies a search without events of these kinds, and returns the study of the copy."""
    shutil.copytree(study.folder.parent, results, dirs_exist_ok=True)
    journal = results / "tiny" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["event"] not in without]
    journal.write_text("\n".join(kept) + "\n")
    return load_study(results / "tiny")


def rescored_finalists(study):
    return study.rescored.rescoring.finalists


def test_differences_of_finalists_are_paired_over_images(finished, executor):
    first, second = rescore(finished, executor).finalists
    models = [
        TrainedModel(
            finished.trial(one.trial_id).hyperparameters,
            checkpoint_of(finished, one.trial_id).best_weights,
        )
        for one in (first, second)
    ]
    ours, theirs = executor.measure(models, finished.samples_due, finished.search.seed)
    difference = theirs.negative_elbo - ours.negative_elbo
    assert second.behind.mean == pytest.approx(difference.mean())
    assert second.behind.standard_error == pytest.approx(
        difference.std(ddof=1) / np.sqrt(len(difference))
    )
    assert (first.behind.mean, first.behind.standard_error) == (0.0, 0.0)
    assert first.negative_elbo.mean < second.negative_elbo.mean


def test_finalists_with_weights_of_another_epoch_are_left_out(finished, executor, tmp_path):
    study = copy_of(finished, tmp_path)
    journal = study.folder / "journal.jsonl"
    other = study.finalists[1].trial_id
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:  # As if the best epoch of the trial were 2, but its weights of epoch 1.
        if line["event"] == "epoch_ended" and line["trial_id"] == other:
            line["epoch"] = 2
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rescoring = rescore(load_study(study.folder), executor)
    assert [one.trial_id for one in rescoring.finalists] == [study.finalists[0].trial_id]
    assert rescoring.left_out == (other,)


# In a search


def test_a_search_rescores_its_finalists_before_its_end(finished):
    rescoring = finished.rescored.rescoring
    assert {one.trial_id for one in rescoring.finalists} == {t.trial_id for t in finished.finalists}
    assert (rescoring.posterior_samples, rescoring.seed, rescoring.images) == (4, 3, 14)
    losses = [one.negative_elbo.mean for one in rescoring.finalists]
    assert losses == sorted(losses)
    assert finished.winner.trial_id == rescoring.finalists[0].trial_id
    assert isinstance(events_of(finished, (FinalistsRescored, SessionEnded))[-1], SessionEnded)


def test_a_complete_search_of_an_earlier_version_is_rescored_once(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored",))
    assert study.is_complete
    assert not is_decided(study, GRID)
    again = run(tmp_path, GRID)
    assert rescored_finalists(again) == rescored_finalists(finished)
    journal = (study.folder / "journal.jsonl").read_bytes()
    run(tmp_path, GRID)
    assert (study.folder / "journal.jsonl").read_bytes() == journal


def test_a_finalist_with_lost_weights_is_trained_again_and_reported(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored",))
    (study.trial_folder(study.finalists[1].trial_id) / CHECKPOINT_NAME).unlink()
    again = run(tmp_path, GRID)
    assert rescored_finalists(again) == rescored_finalists(finished)
    (lost,) = events_of(again, FileSetAside)
    assert "trained again" in lost.remedy


def test_a_search_interrupted_while_rescoring_is_rescored_again(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored", "session_ended"))

    class StopHalfway(StopAfter):
        def on_progress(self, run, trial_id, share):
            if share == 0.5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, GRID, watcher=StopHalfway(99))
    stopped = load_study(study.folder)
    assert (stopped.rescored, stopped.last_end.reason) == (None, "interrupted")
    assert stopped.winner == stopped.ranking[0]
    assert rescored_finalists(run(tmp_path, GRID)) == rescored_finalists(finished)


def test_finalists_are_not_rescored_after_the_time_budget(finished, tmp_path):
    copy_of(finished, tmp_path, without=("finalists_rescored", "session_ended"))
    with open_search(ResolvedSearch("tiny", GRID, {}), IMAGES, DEVICE, tmp_path) as opened:
        study = run_session(opened, deadline_s=time.monotonic())
    assert study.last_end.reason == "time_budget"
    assert study.rescorings == ()


def test_an_extended_search_is_rescored_again(finished, tmp_path):
    copy_of(finished, tmp_path)
    whole = changed(GRID, budget=Budget(max_epochs=1))
    study = run(tmp_path, whole, extend=True)
    assert len(study.rescorings) == 2
    assert len(rescored_finalists(study)) == len(study.finalists) == 4
    assert rescored_finalists(study)[0].trial_id == study.winner.trial_id


# Other seeds


def with_seeds(count):
    """The search, with its finalists trained again from some other seeds."""
    return changed(GRID, limits=Limits(final_seeds=count))


def test_training_from_other_seeds_chooses_the_winner_and_can_be_continued(finished, tmp_path):
    copy_of(finished, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, with_seeds(2), watcher=StopAfter(8))
    started = {one.name: one.is_complete for one in list_baselines(tmp_path).studies}
    assert any(started.values())
    assert load_study(tmp_path / "tiny").retrained is None
    study = run(tmp_path, with_seeds(2))
    retraining = study.retrained.retraining
    assert (retraining.seeds, retraining.epochs) == ((4, 5), 1)
    means = {one.trial_id: one.mean.mean for one in retraining.finalists}
    assert study.winner.trial_id == min(means, key=means.get)
    assert {trial.trial_id for trial in study.finalists} == set(means)
    baselines = {one.name: one for one in list_baselines(tmp_path).studies}
    names = {f"tiny-{n}-seed-{seed}-squares-1" for n in (0, 1) for seed in (4, 5)}
    assert (
        set(baselines) == names == {name for one in retraining.finalists for name in one.trainings}
    )
    assert {one.started.kind for one in baselines.values()} == {"baseline"}
    assert len(study.rescorings) == 1, "finalists are not rescored again"
    trained = {one.name: one.sessions for one in baselines.values()}
    again = run(tmp_path, with_seeds(1))
    assert events_of(again, FinalistsRetrained) == events_of(study, FinalistsRetrained)
    assert {one.name: one.sessions for one in list_baselines(tmp_path).studies} == trained


def test_watchers_receive_the_name_of_a_training_from_another_seed(finished, tmp_path):
    copy_of(finished, tmp_path)
    runs = set()

    class RunRecorder(StopAfter):
        def on_event(self, run, event):
            runs.add(run)

    run(tmp_path, with_seeds(1), watcher=RunRecorder(0))
    assert runs == {"search", "configuration 0 seed 4", "configuration 1 seed 4"}
