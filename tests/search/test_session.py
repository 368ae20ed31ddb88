"""Searches in this process: journal, interrupts, lost files, baselines and extensions."""

import json
import math
import shutil

import pytest
import tensorflow as tf
from comparisons import (
    assert_same_search,
    assert_same_weights,
    checkpoint_of,
    events_of,
    recorded_events,
    trials_with_checkpoints,
)
from image_sets import make_images
from long_forms import long
from tiny_searches import (
    DEVICE,
    GRID,
    IMAGES,
    TINY,
    TINY_REFERENCE,
    TINY_SPACE,
    StopAfter,
    changed,
    run,
    stop,
)

from vaetune.config.search_file import ResolvedSearch
from vaetune.config.space import REFERENCE, Choice, Pinned, Space
from vaetune.config.spec import Budget, Limits, Training, single_configuration
from vaetune.data.images import Split
from vaetune.errors import JournalError, ResultsError
from vaetune.files import lock_results
from vaetune.search import baseline as baseline_module, phases as phases_module
from vaetune.search.phases import run_session
from vaetune.search.session import open_baseline, open_search
from vaetune.search.tuner import VAETuner
from vaetune.study.builder import load_study
from vaetune.study.catalog import list_baselines
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.study.events import (
    EpochEnded,
    SearchExtended,
    SessionStarted,
)
from vaetune.training import context as context_module
from vaetune.training.context import TrainingContext
from vaetune.training.restore import restore_best
from vaetune.training.runner import EpochRunner


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def finished(uninterrupted, tmp_path):
    """A copy of the search in the test's own folder."""
    shutil.copytree(uninterrupted.folder.parent, tmp_path, dirs_exist_ok=True)
    return load_study(tmp_path / "tiny")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A search of two trials of one epoch."""
    return run(tmp_path_factory.mktemp("short"), GRID)


@pytest.fixture
def short_copy(short, tmp_path):
    """A copy of the short search in the test's own folder."""
    shutil.copytree(short.folder.parent, tmp_path, dirs_exist_ok=True)
    return load_study(tmp_path / "tiny")


def test_a_search_runs_the_announced_trials(uninterrupted):
    plan = uninterrupted.started.plan
    assert len(uninterrupted.trials) == sum(rung.trials for rung in plan) == 6
    assert uninterrupted.epochs_trained == uninterrupted.epochs_planned == 11
    assert {trial.status for trial in uninterrupted.trials} == {"completed"}
    assert uninterrupted.is_complete


def test_the_first_ranked_trial_has_the_lowest_validation_loss(uninterrupted):
    losses = [epoch.val_loss for trial in uninterrupted.trials for epoch in trial.epochs]
    assert uninterrupted.ranking[0].score == min(losses)


def test_every_trial_saves_pictures_and_leaders_keep_their_weights(uninterrupted):
    folders = [uninterrupted.trial_folder(trial.trial_id) for trial in uninterrupted.trials]
    assert all((folder / "pictures.npz").exists() for folder in folders)
    best = {trial.trial_id for trial in uninterrupted.ranking[:3]}
    assert (
        best
        <= trials_with_checkpoints(uninterrupted)
        < {trial.trial_id for trial in uninterrupted.trials}
    )


def test_repeating_a_search_gives_the_same_journal(uninterrupted, tmp_path):
    assert recorded_events(run(tmp_path)) == recorded_events(uninterrupted)


def test_another_seed_gives_other_configurations(uninterrupted, tmp_path):
    other = run(tmp_path, TINY.model_copy(update={"seed": 4}))
    assert [t.hyperparameters for t in other.trials] != [
        t.hyperparameters for t in uninterrupted.trials
    ]


# Events of a session: its start, then trial_started, epochs, trial_ended for each trial.
@pytest.mark.parametrize("events", [1, 13, *long(2, 3, 4, 9, 20)])
def test_an_interrupted_search_continues_to_the_same_results(uninterrupted, tmp_path, events):
    assert stop(tmp_path, events).last_end.reason == "interrupted"
    assert_same_search(run(tmp_path), uninterrupted)


def test_a_search_that_is_interrupted_repeatedly_gives_the_same_results(uninterrupted, tmp_path):
    for _ in range(40):
        try:
            study = run(tmp_path, watcher=StopAfter(4))
            break
        except KeyboardInterrupt:
            continue
    assert_same_search(study, uninterrupted)


def test_promotions_train_exactly_like_one_longer_trial(tmp_path):
    """Promotions from 1 to 3 to 9 epochs give the same bits as one trial of 9 epochs.

    Equal bits require the same random state and order of images.
    """
    pinned = Space.pinned_at(TINY_REFERENCE | {"learning_rate": 0.01})
    spec = TINY.model_copy(update={"space": pinned, "budget": Budget(max_epochs=9)})
    promoted = run(tmp_path, spec)
    assert [t.epoch_to for t in promoted.trials] == [1, 3, 9]
    values = promoted.trials[0].hyperparameters
    with open_baseline(
        single_configuration(values, 9, like=spec), IMAGES, DEVICE, tmp_path
    ) as opened:
        single = run_session(opened)
    losses = ("loss", "kl_loss", "val_loss", "val_kl_loss")
    curves = [
        [[getattr(epoch, name) for name in losses] for epoch in study.curve(study.trials[-1])]
        for study in (promoted, single)
    ]
    assert curves[0] == curves[1]
    ours, theirs = checkpoint_of(promoted, "0002"), checkpoint_of(single, "0000")
    assert ours.epoch == theirs.epoch == 9
    assert_same_weights(ours, theirs)


def test_running_a_finished_search_again_changes_nothing(finished, tmp_path):
    journal = (finished.folder / "journal.jsonl").read_bytes()
    again = run(tmp_path)
    assert (finished.folder / "journal.jsonl").read_bytes() == journal
    assert again.winner == finished.winner


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"seed": 5}, r"seed: 3 -> 5"),
        ({"budget": Budget(max_epochs=4)}, r"budget\.max_epochs: 3 -> 4"),
        ({"training": Training(batch_size=9)}, r"training\.batch_size: 32 -> 9"),
        ({"space": Space()}, r"space\.latent_dim"),
    ],
)
def test_a_changed_experiment_is_refused_with_its_differences(finished, tmp_path, change, names):
    journal = (finished.folder / "journal.jsonl").read_bytes()
    with pytest.raises(ResultsError, match=names):
        run(tmp_path, TINY.model_copy(update=change))
    assert (finished.folder / "journal.jsonl").read_bytes() == journal


def test_continuing_with_other_images_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match=r"data fingerprint: f{12} -> e{12}"):
        run(tmp_path, images=make_images(fingerprint="e" * 64))


def test_settings_outside_the_experiment_may_change(uninterrupted, finished, tmp_path):
    changed = TINY.model_copy(update={"description": "other words", "device": "cpu"})
    assert recorded_events(run(tmp_path, changed)) == recorded_events(uninterrupted)


def test_the_compile_setting_may_change_between_sessions(tmp_path):
    stop(tmp_path, 3, GRID)
    changed = GRID.with_compile("none")
    resolved = ResolvedSearch("tiny", changed, {})
    with open_search(resolved, IMAGES, DEVICE, tmp_path) as opened:
        assert opened.spec == changed
    study = run(tmp_path, changed)
    assert study.is_complete
    assert [session.compile for session in study.sessions] == ["auto", "none"]
    assert study.search.training.compile == "auto"


def test_overwriting_discards_the_old_search(short_copy, tmp_path):
    study = run(tmp_path, GRID.model_copy(update={"seed": 5}), overwrite=True)
    assert study.started.search.seed == 5
    assert len(study.trials) == 2


def test_a_folder_with_files_of_another_program_is_refused_unchanged(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ResultsError, match=r"files of another program, such as thesis\.tex"):
            run(tmp_path, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["thesis.tex"]


def test_an_interrupted_overwrite_is_completed(short, short_copy, tmp_path):
    (short_copy.folder / "journal.jsonl").rename(short_copy.folder / "journal.discarded")
    assert recorded_events(run(tmp_path, GRID)) == recorded_events(short)
    assert not (short_copy.folder / "journal.discarded").exists()


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_trials_without_a_journal_are_set_aside_and_reported(short, short_copy, tmp_path, content):
    weights = (short_copy.trial_folder(short_copy.winner.trial_id) / CHECKPOINT_NAME).read_bytes()
    journal = short_copy.folder / "journal.jsonl"
    if content is None:
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[:500] if content else b"")
    watcher = RecordingWatcher()
    again = run(tmp_path, GRID, watcher=watcher)
    assert recorded_events(again) == recorded_events(short)
    (lost,) = again.set_aside
    assert watcher.events[0] == lost
    assert (lost.file, lost.aside) == ("journal.jsonl", "journal.torn-0" if content else None)
    assert "trials.orphaned-1/ until --overwrite" in lost.remedy
    orphan = short_copy.folder / "trials.orphaned-1" / short_copy.winner.trial_id / CHECKPOINT_NAME
    assert orphan.read_bytes() == weights
    assert (short_copy.folder / "journal.torn-0").exists() == bool(content)


def test_files_set_aside_are_kept_until_the_search_is_overwritten(short_copy, tmp_path):
    journal = short_copy.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:500])
    (short_copy.folder / "trials").rename(short_copy.folder / "trials.orphaned-1")
    (short_copy.folder / "trials" / "0000").mkdir(parents=True)
    (lost,) = run(tmp_path, GRID).set_aside
    assert "trials.orphaned-2/" in lost.remedy
    assert (short_copy.folder / "trials.orphaned-1" / short_copy.winner.trial_id).exists()
    assert (short_copy.folder / "journal.torn-0").exists()
    run(tmp_path, GRID, overwrite=True)
    assert not list(short_copy.folder.glob("*orphaned*"))
    assert not (short_copy.folder / "journal.torn-0").exists()


def test_trials_orphaned_before_a_kill_are_reported_by_the_next_session(short_copy, tmp_path):
    (short_copy.folder / "journal.jsonl").unlink()
    (short_copy.folder / "trials").rename(short_copy.folder / "trials.orphaned-1")
    assert "trials.orphaned-1/" in run(tmp_path, GRID).set_aside[0].remedy


def test_a_torn_line_is_recorded_in_the_journal(short_copy, tmp_path):
    journal = short_copy.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    (torn,) = run(tmp_path, GRID).set_aside
    assert (torn.file, torn.aside[:13]) == ("journal.jsonl", "journal.torn-")
    assert "is done again" in torn.remedy


class RecordingWatcher:
    """A watcher that keeps the events it receives."""

    def __init__(self):
        self.events = []

    def on_event(self, kind, event):
        self.events.append(event)

    def on_progress(self, run, trial_id, share):
        pass

    def on_wait(self):
        pass


@pytest.mark.parametrize("name", ["checkpoint.npz", "pictures.npz"])
@pytest.mark.parametrize("kept", ["leader", "gallery"])
def test_a_finished_search_recreates_lost_files(uninterrupted, finished, tmp_path, name, kept):
    second = finished.ranking[1].trial_id
    folder = finished.trial_folder(second) if kept == "leader" else finished.folder
    lost = folder / (name if kept == "leader" else "pictures.npz")
    lost.unlink()
    again = run(tmp_path)
    assert_same_search(again, uninterrupted)
    assert lost.exists()
    epochs = [event for event in events_of(again, EpochEnded) if event.trial_id == second]
    assert len(epochs) == len(finished.ranking[1].epochs), "no epoch is recorded twice"


def test_an_interrupted_retraining_of_a_lost_checkpoint_is_completed(
    uninterrupted, finished, tmp_path
):
    retrained = next(trial for trial in finished.ranking if len(trial.epochs) > 1)
    weights = finished.trial_folder(retrained.trial_id) / CHECKPOINT_NAME
    weights.unlink()
    train, epochs = EpochRunner.train_in_parts, []

    def stop_after_one(self, epoch):
        if epochs:
            raise KeyboardInterrupt
        epochs.append(1)
        return train(self, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochRunner, "train_in_parts", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert checkpoint_of(finished, retrained.trial_id).epoch < retrained.epoch_to
    partial = load_study(finished.folder)
    if retrained.best.epoch != checkpoint_of(finished, retrained.trial_id).best_epoch:
        with pytest.raises(ResultsError, match="is older than the journal"):
            restore_best(partial, retrained)
    assert_same_search(run(tmp_path), uninterrupted)


def test_trials_train_with_the_precision_of_the_search(tmp_path, monkeypatch):
    """tests/training/test_structures.py tests the effect of the precision on training."""
    runner, precisions = TrainingContext.runner, []

    def exact_runner(self, hyperparameters, precision="float32", *others, **named):
        precisions.append(precision)
        return runner(self, hyperparameters, "float32", *others, **named)

    monkeypatch.setattr(TrainingContext, "runner", exact_runner)
    mixed = changed(GRID, training=Training(batch_size=32, precision="mixed_bfloat16"))
    assert run(tmp_path, mixed).is_complete
    assert precisions.count("mixed_bfloat16") == 2, "two trials"
    assert set(precisions) == {"mixed_bfloat16", "float32"}, "finalists are rescored in float32"


@pytest.mark.parametrize("name", ["best", "baselines"])
def test_a_reserved_name_is_refused(tmp_path, name):
    with pytest.raises(ResultsError, match=f'cannot be named "{name}"'):
        run(tmp_path, name=name)


def test_a_second_writer_is_refused(tmp_path):
    resolved = ResolvedSearch("tiny", TINY, {})
    with (
        open_search(resolved, IMAGES, DEVICE, tmp_path),
        pytest.raises(JournalError, match="in use by process"),
    ):
        run(tmp_path)


def test_a_search_with_a_torn_journal_continues(short, tmp_path):
    stop(tmp_path, 5, GRID)
    journal = tmp_path / "tiny" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"time":"2026-')
    assert recorded_events(run(tmp_path, GRID)) == recorded_events(short)
    assert [path.read_bytes() for path in journal.parent.glob("journal.torn-*")] == [
        b'{"time":"2026-'
    ]


def test_a_nonfinite_loss_fails_the_trial_in_that_epoch(tmp_path):
    spec = TINY.model_copy(
        update={"space": TINY_SPACE.model_copy(update={"learning_rate": Pinned(value=1e30)})}
    )
    study = run(tmp_path, spec)
    assert study.is_complete
    assert study.winner is None
    assert {trial.status for trial in study.trials} == {"failed"}
    first = study.trials[0]
    assert "became" in first.error
    assert f"epoch {len(first.epochs)}." in first.error
    assert not math.isfinite(first.epochs[-1].loss + first.epochs[-1].val_loss)


def test_an_exception_fails_its_trial_and_the_search_continues(tmp_path, monkeypatch):
    draw = context_module.draw_variables

    def draw_but_three_filters(image_shape, hyperparameters, *others):
        if hyperparameters["filters_1"] == 3:
            raise RuntimeError("no odd\nfilters")
        return draw(image_shape, hyperparameters, *others)

    monkeypatch.setattr(context_module, "draw_variables", draw_but_three_filters)
    study = run(tmp_path)
    failed = [t for t in study.trials if t.hyperparameters["filters_1"] == 3]
    assert failed
    assert study.failures == tuple(failed)
    assert failed[0].error == "RuntimeError: no odd filters"
    assert "draw_but_three_filters" in failed[0].traceback
    assert study.winner.hyperparameters["filters_1"] == 2
    assert study.is_complete


def test_a_full_disk_stops_the_search_without_failing_the_trial(short, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(self, folder):
            raise ResultsError("No space left on device.")

        patch.setattr(Checkpoint, "save", refuse)
        with pytest.raises(ResultsError, match="No space left"):
            run(tmp_path, GRID)
    stopped = load_study(tmp_path / "tiny")
    assert stopped.failures == ()
    assert (stopped.last_end.reason, stopped.last_end.message) == (
        "error",
        "No space left on device.",
    )
    assert recorded_events(run(tmp_path, GRID)) == recorded_events(short)


class UnreadableImages:
    """Test images that fail every access except `len`."""

    def __len__(self):
        return 14

    def __getattr__(self, name):
        raise AssertionError(f"the test images were touched: {name}")

    __array__ = __getitem__ = __iter__ = property(lambda self: self.touched)


def test_a_search_does_not_read_the_test_images(tmp_path):
    images = make_images()
    object.__setattr__(images, "test", Split(UnreadableImages(), None))
    spec = TINY.model_copy(update={"budget": Budget(max_epochs=1)})
    assert run(tmp_path, spec, images=images).winner


@pytest.fixture
def small_reference(monkeypatch):
    """Replaces the Keras example by a tiny configuration, so that baselines train fast."""
    small = {**REFERENCE, **TINY_REFERENCE}
    for module in (phases_module, baseline_module):
        monkeypatch.setattr(module, "REFERENCE", small)


def test_two_searches_share_one_baseline(tmp_path):
    spec = GRID.model_copy(update={"baseline": True, "budget": Budget(max_epochs=1, max_trials=1)})
    run(tmp_path, spec)
    (baseline,) = list_baselines(tmp_path).studies
    assert baseline.name == "reference-squares-1"
    assert baseline.trials[0].hyperparameters == REFERENCE
    journal = (baseline.folder / "journal.jsonl").read_bytes()
    run(tmp_path, spec, name="another")
    assert (baseline.folder / "journal.jsonl").read_bytes() == journal
    assert len(list_baselines(tmp_path).studies) == 1


def test_baselines_of_other_budgets_and_other_images_have_distinct_names(tmp_path, small_reference):
    for epochs in (1, 2):
        spec = GRID.model_copy(
            update={"baseline": True, "budget": Budget(max_epochs=epochs, max_trials=1)}
        )
        run(tmp_path, spec, name=f"search-{epochs}")
    other_data = make_images(fingerprint="a" * 64)
    run(tmp_path, spec, name="other-data", images=other_data)
    names = {baseline.name for baseline in list_baselines(tmp_path).studies}
    assert len(names) == 3


def test_a_baseline_that_another_process_trains_is_skipped(tmp_path, small_reference):
    spec = GRID.model_copy(update={"baseline": True})
    with lock_results(tmp_path / "baselines" / "reference-squares-1"):
        study = run(tmp_path, spec)
    assert study.is_complete
    assert not list_baselines(tmp_path).studies


def test_a_baseline_that_is_unlocked_during_the_search_is_trained_afterwards(
    tmp_path, small_reference, monkeypatch
):
    spec = GRID.model_copy(update={"baseline": True})
    locked = lock_results(tmp_path / "baselines" / "reference-squares-1")
    locked.__enter__()
    end = VAETuner.on_search_end
    monkeypatch.setattr(
        VAETuner, "on_search_end", lambda *args: (end(*args), locked.__exit__(None, None, None))
    )
    run(tmp_path, spec)
    assert [baseline.is_complete for baseline in list_baselines(tmp_path).studies] == [True]


def test_a_damaged_baseline_is_kept_and_another_one_is_trained(tmp_path, small_reference):
    spec = GRID.model_copy(update={"baseline": True})
    run(tmp_path, spec)
    damaged = tmp_path / "baselines" / "reference-squares-1" / "journal.jsonl"
    content = damaged.read_bytes() + b"{}\n"
    damaged.write_bytes(content)
    run(tmp_path, spec, name="another")
    assert damaged.read_bytes() == content
    (baseline,) = list_baselines(tmp_path).studies
    assert baseline.name == "reference-squares-1-2"


def test_an_interrupted_baseline_continues_with_the_search(tmp_path, small_reference):
    spec = TINY.model_copy(update={"baseline": True})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, watcher=StopAfter(5))
    (stopped,) = list_baselines(tmp_path).studies
    assert not stopped.is_complete
    assert len(stopped.trials[0].epochs) in (1, 2)
    run(tmp_path, spec)
    (baseline,) = list_baselines(tmp_path).studies
    assert baseline.is_complete
    assert [epoch.epoch for epoch in baseline.trials[0].epochs] == [1, 2, 3]


def test_the_journal_consists_of_json_lines(uninterrupted):
    lines = (uninterrupted.folder / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "search_started"
    assert events[0]["format"] == 2
    assert events[1]["environment"]["versions"]["keras-tuner"] == "1.4.8"
    assert events[-1] == events[-1] | {"event": "session_ended", "reason": "completed"}


# Other algorithms

OTHER_ALGORITHMS = {
    "random": changed(TINY, algorithm="random", budget=Budget(max_epochs=2, max_trials=5)),
    "bayesian": changed(
        TINY,
        algorithm="bayesian",
        budget=Budget(max_epochs=1, max_trials=4, initial_trials=3),
        space=Space.pinned_at(TINY_REFERENCE).model_copy(
            update={"latent_dim": Choice(values=(2, 3, 4)), "filters_1": Choice(values=(2, 3))}
        ),
    ),
    "grid": changed(
        TINY,
        algorithm="grid",
        budget=Budget(max_epochs=2),
        space=Space.pinned_at(TINY_REFERENCE).model_copy(
            update={"latent_dim": Choice(values=(2, 3)), "filters_1": Choice(values=(2, 3))}
        ),
    ),
}


@pytest.fixture(scope="module", params=OTHER_ALGORITHMS)
def other_search(request, tmp_path_factory):
    """A search of another algorithm, and its spec."""
    spec = OTHER_ALGORITHMS[request.param]
    return run(tmp_path_factory.mktemp(request.param), spec), spec


def test_other_algorithms_run_the_announced_trials(other_search):
    study, spec = other_search
    assert study.is_complete
    assert len(study.trials) == study.trials_planned == {"random": 5}.get(spec.algorithm, 4)
    assert study.epochs_trained == study.epochs_planned
    assert {trial.epoch_to for trial in study.trials} == {spec.budget.max_epochs}
    configurations = {tuple(trial.hyperparameters.values()) for trial in study.trials}
    assert len(configurations) == len(study.trials), "no configuration is tried twice"


def test_other_algorithms_continue_to_the_same_results(other_search, tmp_path):
    study, spec = other_search
    # A Bayesian suggestion takes long. The interrupt comes before the only one.
    stop(tmp_path, 10 if spec.algorithm == "bayesian" else 12, spec)
    assert_same_search(run(tmp_path, spec), study)


def test_other_algorithms_keep_a_bounded_number_of_checkpoints(other_search):
    study, spec = other_search
    sizes = {trial.hyperparameters["latent_dim"] for trial in study.trials}
    assert len(trials_with_checkpoints(study)) <= spec.limits.keep_best + len(sizes)
    assert study.winner.trial_id in trials_with_checkpoints(study)


# Extensions


def larger(spec=TINY, **budget):
    """The spec with other values of its budget."""
    return changed(spec, budget=spec.budget.model_copy(update=budget))


def test_a_larger_budget_without_extend_is_refused(finished, tmp_path):
    with pytest.raises(
        ResultsError,
        match=r"hyperband_iterations: 1 -> 2\. Use --extend \(in Python: extend=True\) to continue",
    ):
        run(tmp_path, larger(hyperband_iterations=2))


@pytest.mark.parametrize(
    ("spec", "extended", "trials"),
    [
        (TINY, larger(hyperband_iterations=2), 12),
        *long(
            (OTHER_ALGORITHMS["random"], larger(OTHER_ALGORITHMS["random"], max_trials=11), 11),
            (larger(OTHER_ALGORITHMS["grid"], max_trials=2), OTHER_ALGORITHMS["grid"], 4),
        ),
    ],
    ids=["hyperband", "random", "grid"],
)
def test_an_extended_search_equals_a_search_of_the_larger_budget(
    uninterrupted, tmp_path, spec, extended, trials
):
    whole = run(tmp_path / "whole", extended)
    if spec is TINY:
        shutil.copytree(uninterrupted.folder, tmp_path / "tiny")
    else:
        run(tmp_path, spec)
    study = run(tmp_path, extended, extend=True)
    assert len(study.trials) == study.trials_planned == trials
    assert study.is_complete
    assert_same_search(study, whole)


def test_an_interrupted_extension_continues_with_or_without_extend(tmp_path):
    spec, extended = OTHER_ALGORITHMS["random"], larger(OTHER_ALGORITHMS["random"], max_trials=7)
    run(tmp_path, spec)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, extended, extend=True, watcher=StopAfter(4))
    assert not load_study(tmp_path / "tiny").is_complete
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, watcher=StopAfter(3))
    study = run(tmp_path, extended, extend=True)
    assert len(study.trials) == 7
    assert len(events_of(study, SearchExtended)) == 1
    again = run(tmp_path, extended, extend=True)
    assert again.is_complete
    assert len(again.trials) == 7


def test_an_extension_without_a_larger_budget_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match=r"raise budget\.hyperband_iterations above 1"):
        run(tmp_path, extend=True)


def test_an_extension_of_another_experiment_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match="seed: 3 -> 4"):
        run(tmp_path, changed(larger(hyperband_iterations=2), seed=4), extend=True)


def test_limits_may_change_between_sessions(uninterrupted, tmp_path, monkeypatch):
    for module in ("study.study", "study.ranking"):
        monkeypatch.setattr(f"vaetune.{module}.FINALISTS", 1)
    stop(tmp_path, 9)
    study = run(tmp_path, changed(TINY, limits=Limits(keep_best=1)))
    assert recorded_events(study) == recorded_events(uninterrupted)
    assert len(trials_with_checkpoints(study)) < len(trials_with_checkpoints(uninterrupted))


def test_each_session_records_its_environment(tmp_path):
    stop(tmp_path, 5, GRID)
    study = run(tmp_path, GRID)
    sessions = events_of(study, SessionStarted)
    assert len(sessions) == 2
    assert sessions[1].environment.versions["tensorflow"] == tf.__version__
