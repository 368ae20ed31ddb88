"""Evaluation of trials on the test images, and the events in the journal."""

from dataclasses import replace

import numpy as np
import pytest
from image_sets import make_split
from journals import write_journal
from tiny_searches import DEVICE, IMAGES, run, stop

from vaetune.errors import InUseError, ResultsError
from vaetune.evaluation.held_out import record_evaluation
from vaetune.evaluation.metrics import evaluate
from vaetune.files import lock_results
from vaetune.study.builder import load_study
from vaetune.study.checkpoint import CHECKPOINT_NAME
from vaetune.study.events import FileSetAside, TrialEvaluated
from vaetune.study.journal import read_journal
from vaetune.study.scores import EvaluationProtocol
from vaetune.training.restore import restore_best

PROTOCOL = EvaluationProtocol(seed=3, posterior_samples=2, importance_samples=3)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return run(tmp_path_factory.mktemp("results"))


@pytest.fixture
def study(searched):
    """A finished search. Its journal is restored after the test."""
    path = searched.folder / "journal.jsonl"
    content = path.read_bytes()
    yield searched
    path.write_bytes(content)


def evaluate_winner(study, images=IMAGES, protocol=PROTOCOL, **options):
    return record_evaluation(study, study.winner.trial_id, images, protocol, DEVICE, **options)


def journal_of(study):
    return (study.folder / "journal.jsonl").read_bytes()


def test_the_best_epoch_is_evaluated_on_the_test_images(study):
    event = evaluate_winner(study)
    vae = restore_best(study, study.winner)
    assert event.evaluation == evaluate(vae, IMAGES.test, IMAGES.train, PROTOCOL)
    assert event.evaluation.test_images == len(IMAGES.test)
    assert (event.trial_id, event.epoch) == (study.winner.trial_id, study.winner.best.epoch)
    assert event.environment.device == "CPU"
    assert event.duration_s > 0


def test_the_evaluation_is_written_to_the_journal_and_changes_nothing_else(study):
    before = journal_of(study)
    event = evaluate_winner(study)
    again = load_study(study.folder)
    assert journal_of(study).startswith(before)
    assert list(read_journal(study.folder / "journal.jsonl"))[-1] == event
    assert again.evaluations == (event,)
    assert again.evaluation(again.winner) == event
    assert (again.trials, again.last_end) == (study.trials, study.last_end)
    assert again.is_complete


def test_a_finished_search_stays_finished(study):
    evaluate_winner(study)
    before = journal_of(study)
    run(study.folder.parent)
    assert journal_of(study) == before


def test_an_evaluation_does_not_change_how_a_stopped_search_continues(tmp_path, searched):
    stopped = stop(tmp_path, events=9)
    evaluate_winner(stopped)
    done = run(tmp_path)
    assert [(t.trial_id, t.score) for t in done.trials] == [
        (t.trial_id, t.score) for t in searched.trials
    ]
    assert len(done.evaluations) == 1


def test_other_images_are_refused_with_the_differences(study):
    before = journal_of(study)
    fewer = replace(IMAGES, test=make_split(9, (9, 10, 1), 3), fingerprint="e" * 64)
    message = r"data fingerprint: ffffffffffff -> eeeeeeeeeeee; test images: 14 -> 9\. "
    with pytest.raises(ResultsError, match=message):
        evaluate_winner(study, fewer)
    assert journal_of(study) == before


def test_images_with_another_fingerprint_are_refused(study):
    with pytest.raises(ResultsError, match=r"npz: data fingerprint: f+ -> d+\. Use"):
        evaluate_winner(study, replace(IMAGES, fingerprint="d" * 64))


def test_a_running_search_is_not_evaluated(study):
    before = journal_of(study)
    with lock_results(study.folder), pytest.raises(InUseError, match="is in use by process"):
        evaluate_winner(study)
    assert journal_of(study) == before


def test_ctrl_c_does_not_change_the_journal_and_releases_the_lock(study):
    before = journal_of(study)

    def interrupt(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_winner(study, on_progress=interrupt)
    assert journal_of(study) == before
    with lock_results(study.folder):
        pass


def test_a_trial_without_weights_is_refused_with_advice(study):
    lost = next(
        trial.trial_id
        for trial in study.ranking
        if not (study.trial_folder(trial.trial_id) / CHECKPOINT_NAME).exists()
    )
    message = (
        rf"weights of trial {lost} were not kept.*Run the search again with a larger keep_best"
    )
    with pytest.raises(ResultsError, match=message):
        record_evaluation(study, lost, IMAGES, PROTOCOL, DEVICE)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_missing_or_damaged_checkpoint_is_reported_in_one_line(study, damage):
    path = study.trial_folder(study.winner.trial_id) / CHECKPOINT_NAME
    content, before = path.read_bytes(), journal_of(study)
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    try:
        with pytest.raises(ResultsError, match="Run the search again") as refused:
            evaluate_winner(study)
    finally:
        path.write_bytes(content)
    assert "\n" not in str(refused.value)
    assert journal_of(study) == before


def test_an_incomplete_last_line_is_set_aside_and_reported(study):
    with (study.folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"time": "20')
    event = evaluate_winner(study)
    *_, aside, last = read_journal(study.folder / "journal.jsonl")
    assert isinstance(aside, FileSetAside)
    assert (study.folder / aside.aside).read_bytes() == b'{"time": "20'
    assert last == event


def test_an_evaluation_of_another_epoch_is_ignored(study, tmp_path):
    event = evaluate_winner(study)
    events = list(read_journal(study.folder / "journal.jsonl"))
    older = event.model_copy(update={"epoch": event.epoch + 1})
    write_journal(tmp_path, [*events[:-1], older])
    again = load_study(tmp_path)
    assert again.evaluations == (older,)
    assert again.evaluation(again.winner) is None


def test_the_latest_evaluation_with_a_protocol_is_used(study):
    first = evaluate_winner(study)
    other = evaluate_winner(study, protocol=replace(PROTOCOL, importance_samples=2))
    second = evaluate_winner(study)
    again = load_study(study.folder)
    assert second.evaluation == first.evaluation
    assert again.evaluation(again.winner) == second
    fitted = PROTOCOL.limited_to(len(IMAGES.test))
    assert again.evaluation(again.winner, fitted) == second
    assert again.evaluation(again.winner, other.evaluation.protocol) == other
    assert again.evaluation(again.winner, replace(fitted, seed=9)) is None
    assert again.evaluation(again.ranking[1]) is None


def test_infinite_values_are_kept_in_the_journal(study, tmp_path):
    event = evaluate_winner(study)
    odd = replace(event.evaluation, psnr=float("inf"), knn_accuracy=None)
    strange = event.model_copy(update={"evaluation": odd})
    write_journal(tmp_path, [*list(read_journal(study.folder / "journal.jsonl"))[:-1], strange])
    found = load_study(tmp_path).evaluations[0]
    assert isinstance(found, TrialEvaluated)
    assert np.isinf(found.evaluation.psnr)
    assert found == strange
