"""The finalists of a search are rescored, the same way each time, or not at all."""

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
    """A small search to its end."""
    return run(tmp_path_factory.mktemp("finished"), GRID)


@pytest.fixture(scope="module")
def executor():
    return LocalExecutor(TrainingContext(IMAGES), DEVICE)


def copy_of(study, results, *, without=()):
    """The same search elsewhere, without events of these kinds."""
    shutil.copytree(study.folder.parent, results, dirs_exist_ok=True)
    journal = results / "tiny" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["event"] not in without]
    journal.write_text("\n".join(kept) + "\n")
    return load_study(results / "tiny")


def scores_of(study):
    return study.rescored.rescoring.finalists


def test_the_difference_is_paired_over_images(finished, executor):
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


def test_weights_of_another_epoch_are_left_out(finished, executor, tmp_path):
    study = copy_of(finished, tmp_path)
    journal = study.folder / "journal.jsonl"
    other = study.finalists[1].trial_id
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:  # as if it had been at its best later, on another machine
        if line["event"] == "epoch_ended" and line["trial_id"] == other:
            line["epoch"] = 2
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    rescoring = rescore(load_study(study.folder), executor)
    assert [one.trial_id for one in rescoring.finalists] == [study.finalists[0].trial_id]
    assert rescoring.left_out == (other,)


# In a search


def test_a_search_ends_with_its_finalists_rescored(finished):
    shown = finished.rescored.rescoring
    assert {one.trial_id for one in shown.finalists} == {t.trial_id for t in finished.finalists}
    assert (shown.posterior_samples, shown.seed, shown.images) == (4, 3, 14)
    losses = [one.negative_elbo.mean for one in shown.finalists]
    assert losses == sorted(losses)
    assert finished.winner.trial_id == shown.finalists[0].trial_id
    assert isinstance(events_of(finished, (FinalistsRescored, SessionEnded))[-1], SessionEnded)


def test_a_complete_search_of_an_earlier_version_is_rescored_once(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored",))
    assert study.is_complete
    assert not is_decided(study, GRID)
    again = run(tmp_path, GRID)
    assert scores_of(again) == scores_of(finished)
    journal = (study.folder / "journal.jsonl").read_bytes()
    run(tmp_path, GRID)
    assert (study.folder / "journal.jsonl").read_bytes() == journal


def test_a_finalist_whose_weights_are_gone_is_trained_again_and_that_is_shown(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored",))
    (study.trial_folder(study.finalists[1].trial_id) / CHECKPOINT_NAME).unlink()
    again = run(tmp_path, GRID)
    assert scores_of(again) == scores_of(finished)
    (lost,) = events_of(again, FileSetAside)
    assert "trained again" in lost.remedy


def test_a_search_that_was_stopped_while_rescoring_is_rescored_again(finished, tmp_path):
    study = copy_of(finished, tmp_path, without=("finalists_rescored", "session_ended"))

    class StopInTheMiddle(StopAfter):
        def on_progress(self, run, trial_id, share):
            if share == 0.5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, GRID, watcher=StopInTheMiddle(99))
    stopped = load_study(study.folder)
    assert (stopped.rescored, stopped.last_end.reason) == (None, "interrupted")
    assert stopped.winner == stopped.ranking[0]
    assert scores_of(run(tmp_path, GRID)) == scores_of(finished)


def test_without_time_left_the_next_session_rescores(finished, tmp_path):
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
    assert len(scores_of(study)) == len(study.finalists) == 4
    assert scores_of(study)[0].trial_id == study.winner.trial_id


# Other seeds


def with_seeds(count):
    return changed(GRID, limits=Limits(final_seeds=count))


def test_other_seeds_choose_the_winner_and_can_be_continued(finished, tmp_path):
    copy_of(finished, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, with_seeds(2), watcher=StopAfter(8))
    begun = {one.name: one.is_complete for one in list_baselines(tmp_path).studies}
    assert any(begun.values())
    assert load_study(tmp_path / "tiny").retrained is None
    study = run(tmp_path, with_seeds(2))
    shown = study.retrained.retraining
    assert (shown.seeds, shown.epochs) == ((4, 5), 1)
    means = {one.trial_id: one.mean.mean for one in shown.finalists}
    assert study.winner.trial_id == min(means, key=means.get)
    assert {trial.trial_id for trial in study.finalists} == set(means)
    baselines = {one.name: one for one in list_baselines(tmp_path).studies}
    names = {f"tiny-{n}-seed-{seed}-squares-1" for n in (0, 1) for seed in (4, 5)}
    assert set(baselines) == names == {name for one in shown.finalists for name in one.trainings}
    assert {one.started.kind for one in baselines.values()} == {"baseline"}
    assert len(study.rescorings) == 1, "what was rescored stays as it was"
    trained = {one.name: one.sessions for one in baselines.values()}
    again = run(tmp_path, with_seeds(1))
    assert events_of(again, FinalistsRetrained) == events_of(study, FinalistsRetrained)
    assert {one.name: one.sessions for one in list_baselines(tmp_path).studies} == trained


def test_a_training_from_another_seed_is_shown_by_its_name_and_not_as_the_example(
    finished, tmp_path
):
    copy_of(finished, tmp_path)
    heard = set()

    class Heard(StopAfter):
        def on_event(self, run, event):
            heard.add(run)

    run(tmp_path, with_seeds(1), watcher=Heard(0))
    assert heard == {"search", "configuration 0 seed 4", "configuration 1 seed 4"}
