"""A search is recorded, goes on where it was stopped, and mixes with no other."""

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
    recorded,
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
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def finished(undisturbed, tmp_path):
    """The same search, done in a folder of the test's own."""
    shutil.copytree(undisturbed.folder.parent, tmp_path, dirs_exist_ok=True)
    return load_study(tmp_path / "tiny")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Two trials of one epoch."""
    return run(tmp_path_factory.mktemp("short"), GRID)


@pytest.fixture
def finished_short(short, tmp_path):
    """The same search, done in a folder of the test's own."""
    shutil.copytree(short.folder.parent, tmp_path, dirs_exist_ok=True)
    return load_study(tmp_path / "tiny")


def test_a_search_runs_what_it_announced(undisturbed):
    plan = undisturbed.started.plan
    assert len(undisturbed.trials) == sum(rung.trials for rung in plan) == 6
    assert undisturbed.epochs_trained == undisturbed.epochs_planned == 11
    assert {trial.status for trial in undisturbed.trials} == {"completed"}
    assert undisturbed.is_complete


def test_the_first_in_the_ranking_has_the_lowest_validation_loss_of_all(undisturbed):
    losses = [epoch.val_loss for trial in undisturbed.trials for epoch in trial.epochs]
    assert undisturbed.ranking[0].score == min(losses)


def test_every_trial_leaves_pictures_and_the_leaders_their_weights(undisturbed):
    folders = [undisturbed.trial_folder(trial.trial_id) for trial in undisturbed.trials]
    assert all((folder / "pictures.npz").exists() for folder in folders)
    best = {trial.trial_id for trial in undisturbed.ranking[:3]}
    assert (
        best
        <= trials_with_checkpoints(undisturbed)
        < {trial.trial_id for trial in undisturbed.trials}
    )


def test_the_same_search_again_gives_the_same_journal(undisturbed, tmp_path):
    assert recorded(run(tmp_path)) == recorded(undisturbed)


def test_the_seed_changes_what_is_tried(undisturbed, tmp_path):
    other = run(tmp_path, TINY.model_copy(update={"seed": 4}))
    assert [t.hyperparameters for t in other.trials] != [
        t.hyperparameters for t in undisturbed.trials
    ]


# Events of a session: its start, then trial_started, epochs, trial_ended for each trial.
@pytest.mark.parametrize("events", [1, 13, *long(2, 3, 4, 9, 20)])
def test_a_stopped_search_goes_on_to_the_same_end(undisturbed, tmp_path, events):
    assert stop(tmp_path, events).last_end.reason == "interrupted"
    assert_same_search(run(tmp_path), undisturbed)


def test_a_search_may_be_stopped_again_and_again(undisturbed, tmp_path):
    for _ in range(40):
        try:
            study = run(tmp_path, watcher=StopAfter(4))
            break
        except KeyboardInterrupt:
            continue
    assert_same_search(study, undisturbed)


def test_promotions_train_exactly_like_one_stretch(tmp_path):
    """1 -> 3 -> 9 epochs, bit for bit: weights, optimizer, random state, data order."""
    pinned = Space.pinned_at(TINY_REFERENCE | {"learning_rate": 0.01})
    spec = TINY.model_copy(update={"space": pinned, "budget": Budget(max_epochs=9)})
    promoted = run(tmp_path, spec)
    assert [t.epoch_to for t in promoted.trials] == [1, 3, 9]
    values = promoted.trials[0].hyperparameters
    with open_baseline(
        single_configuration(values, 9, like=spec), IMAGES, DEVICE, tmp_path
    ) as opened:
        interval = run_session(opened)
    losses = ("loss", "kl_loss", "val_loss", "val_kl_loss")
    curves = [
        [[getattr(epoch, name) for name in losses] for epoch in study.curve(study.trials[-1])]
        for study in (promoted, interval)
    ]
    assert curves[0] == curves[1]
    ours, theirs = checkpoint_of(promoted, "0002"), checkpoint_of(interval, "0000")
    assert ours.epoch == theirs.epoch == 9
    assert_same_weights(ours, theirs)


def test_a_finished_search_trains_nothing_more(finished, tmp_path):
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


def test_other_images_are_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match=r"data fingerprint: f{12} -> e{12}"):
        run(tmp_path, images=make_images(fingerprint="e" * 64))


def test_what_is_no_part_of_the_experiment_may_change(undisturbed, finished, tmp_path):
    changed = TINY.model_copy(update={"description": "other words", "device": "cpu"})
    assert recorded(run(tmp_path, changed)) == recorded(undisturbed)


def test_steps_may_be_compiled_in_one_session_and_not_in_the_next(tmp_path):
    stop(tmp_path, 3, GRID)
    changed = GRID.with_compile("none")
    resolved = ResolvedSearch("tiny", changed, {})
    with open_search(resolved, IMAGES, DEVICE, tmp_path) as opened:
        assert opened.spec == changed
    study = run(tmp_path, changed)
    assert study.is_complete
    assert [session.compile for session in study.sessions] == ["auto", "none"]
    assert study.search.training.compile == "auto"


def test_overwriting_discards_the_old_search(finished_short, tmp_path):
    study = run(tmp_path, GRID.model_copy(update={"seed": 5}), overwrite=True)
    assert study.started.search.seed == 5
    assert len(study.trials) == 2


def test_a_folder_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ResultsError, match=r"files of another program, such as thesis\.tex"):
            run(tmp_path, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["thesis.tex"]


def test_an_overwriting_that_was_cut_off_is_finished_short(short, finished_short, tmp_path):
    (finished_short.folder / "journal.jsonl").rename(finished_short.folder / "journal.discarded")
    assert recorded(run(tmp_path, GRID)) == recorded(short)
    assert not (finished_short.folder / "journal.discarded").exists()


@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_trials_whose_journal_is_gone_are_set_aside_and_shown_of(
    short, finished_short, tmp_path, content
):
    weights = (
        finished_short.trial_folder(finished_short.winner.trial_id) / CHECKPOINT_NAME
    ).read_bytes()
    journal = finished_short.folder / "journal.jsonl"
    if content is None:
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[:500] if content else b"")
    heard = Heard()
    again = run(tmp_path, GRID, watcher=heard)
    assert recorded(again) == recorded(short)
    (lost,) = again.set_aside
    assert heard.events[0] == lost
    assert (lost.file, lost.aside) == ("journal.jsonl", "journal.torn-0" if content else None)
    assert "trials.orphaned-1/ until --overwrite" in lost.remedy
    orphan = (
        finished_short.folder
        / "trials.orphaned-1"
        / finished_short.winner.trial_id
        / CHECKPOINT_NAME
    )
    assert orphan.read_bytes() == weights
    assert (finished_short.folder / "journal.torn-0").exists() == bool(content)


def test_what_was_set_aside_outlives_a_second_loss_and_goes_with_an_overwriting(
    finished_short, tmp_path
):
    journal = finished_short.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:500])
    (finished_short.folder / "trials").rename(finished_short.folder / "trials.orphaned-1")
    (finished_short.folder / "trials" / "0000").mkdir(parents=True)
    (lost,) = run(tmp_path, GRID).set_aside
    assert "trials.orphaned-2/" in lost.remedy
    assert (finished_short.folder / "trials.orphaned-1" / finished_short.winner.trial_id).exists()
    assert (finished_short.folder / "journal.torn-0").exists()
    run(tmp_path, GRID, overwrite=True)
    assert not list(finished_short.folder.glob("*orphaned*"))
    assert not (finished_short.folder / "journal.torn-0").exists()


def test_orphans_are_announced_though_a_search_was_killed_before_it_announced_them(
    finished_short, tmp_path
):
    (finished_short.folder / "journal.jsonl").unlink()
    (finished_short.folder / "trials").rename(finished_short.folder / "trials.orphaned-1")
    assert "trials.orphaned-1/" in run(tmp_path, GRID).set_aside[0].remedy


def test_a_torn_line_is_announced_in_the_journal(finished_short, tmp_path):
    journal = finished_short.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-9])
    (torn,) = run(tmp_path, GRID).set_aside
    assert (torn.file, torn.aside[:13]) == ("journal.jsonl", "journal.torn-")
    assert "is done again" in torn.remedy


class Heard:
    """Keeps the events that a watcher receives."""

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
def test_a_finished_search_makes_again_what_it_lost(undisturbed, finished, tmp_path, name, kept):
    second = finished.ranking[1].trial_id
    folder = finished.trial_folder(second) if kept == "leader" else finished.folder
    lost = folder / (name if kept == "leader" else "pictures.npz")
    lost.unlink()
    again = run(tmp_path)
    assert_same_search(again, undisturbed)
    assert lost.exists()
    epochs = [event for event in events_of(again, EpochEnded) if event.trial_id == second]
    assert len(epochs) == len(finished.ranking[1].epochs), "no event comes twice"


def test_a_winner_that_is_half_made_again_is_made_again_whole(undisturbed, finished, tmp_path):
    long = next(trial for trial in finished.ranking if len(trial.epochs) > 1)
    weights = finished.trial_folder(long.trial_id) / CHECKPOINT_NAME
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
    assert checkpoint_of(finished, long.trial_id).epoch < long.epoch_to
    half = load_study(finished.folder)
    if long.best.epoch != checkpoint_of(finished, long.trial_id).best_epoch:
        with pytest.raises(ResultsError, match="is older than the journal"):
            restore_best(half, long)
    assert_same_search(run(tmp_path), undisturbed)


def test_precision_reaches_the_training(tmp_path, monkeypatch):
    """tests/training/test_structures.py measures what a runner makes of it."""
    runner, asked = TrainingContext.runner, []

    def exact_runner(self, hyperparameters, precision="float32", *others, **named):
        asked.append(precision)
        return runner(self, hyperparameters, "float32", *others, **named)

    monkeypatch.setattr(TrainingContext, "runner", exact_runner)
    mixed = changed(GRID, training=Training(batch_size=32, precision="mixed_bfloat16"))
    assert run(tmp_path, mixed).is_complete
    assert asked.count("mixed_bfloat16") == 2, "two trials"
    assert set(asked) == {"mixed_bfloat16", "float32"}, "finalists are measured exactly"


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


def test_a_search_whose_journal_was_torn_goes_on(short, tmp_path):
    stop(tmp_path, 5, GRID)
    journal = tmp_path / "tiny" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"time":"2026-')
    assert recorded(run(tmp_path, GRID)) == recorded(short)
    assert [path.read_bytes() for path in journal.parent.glob("journal.torn-*")] == [
        b'{"time":"2026-'
    ]


def test_a_loss_that_is_no_number_fails_the_trial_where_it_arises(tmp_path):
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


def test_an_exception_is_the_trials_result_not_the_searchs_end(tmp_path, monkeypatch):
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


def test_a_full_disk_stops_the_search_without_blaming_the_trial(short, tmp_path, monkeypatch):
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
    assert recorded(run(tmp_path, GRID)) == recorded(short)


class Untouchable:
    """Test images that nobody may look at, only count."""

    def __len__(self):
        return 14

    def __getattr__(self, name):
        raise AssertionError(f"the test images were touched: {name}")

    __array__ = __getitem__ = __iter__ = property(lambda self: self.touched)


def test_no_search_looks_at_the_test_images(tmp_path):
    images = make_images()
    object.__setattr__(images, "test", Split(Untouchable(), None))
    spec = TINY.model_copy(update={"budget": Budget(max_epochs=1)})
    assert run(tmp_path, spec, images=images).winner


@pytest.fixture
def small_reference(monkeypatch):
    """Lets the baseline train fast: the search only passes it on."""
    small = {**REFERENCE, **TINY_REFERENCE}
    for module in (phases_module, baseline_module):
        monkeypatch.setattr(module, "REFERENCE", small)


def test_a_search_trains_the_reference_beside_it_once(tmp_path):
    spec = GRID.model_copy(update={"baseline": True, "budget": Budget(max_epochs=1, max_trials=1)})
    run(tmp_path, spec)
    (baseline,) = list_baselines(tmp_path).studies
    assert baseline.name == "reference-squares-1"
    assert baseline.trials[0].hyperparameters == REFERENCE
    assert baseline.trials[0].parameters == baseline.trials[0].parameters
    journal = (baseline.folder / "journal.jsonl").read_bytes()
    run(tmp_path, spec, name="another")
    assert (baseline.folder / "journal.jsonl").read_bytes() == journal
    assert len(list_baselines(tmp_path).studies) == 1


def test_a_baseline_of_another_budget_gets_a_name_of_its_own(tmp_path, small_reference):
    for epochs in (1, 2):
        spec = GRID.model_copy(
            update={"baseline": True, "budget": Budget(max_epochs=epochs, max_trials=1)}
        )
        run(tmp_path, spec, name=f"search-{epochs}")
    other_data = make_images(fingerprint="a" * 64)
    run(tmp_path, spec, name="other-data", images=other_data)
    names = {baseline.name for baseline in list_baselines(tmp_path).studies}
    assert len(names) == 3


def test_a_baseline_that_another_process_trains_is_left_to_it(tmp_path, small_reference):
    spec = GRID.model_copy(update={"baseline": True})
    with lock_results(tmp_path / "baselines" / "reference-squares-1"):
        study = run(tmp_path, spec)
    assert study.is_complete
    assert not list_baselines(tmp_path).studies


def test_a_baseline_whose_process_was_stopped_is_trained_in_the_end(
    tmp_path, small_reference, monkeypatch
):
    spec = GRID.model_copy(update={"baseline": True})
    locked = lock_results(tmp_path / "baselines" / "reference-squares-1")
    locked.__enter__()
    end = VAETuner.on_search_end
    monkeypatch.setattr(
        VAETuner, "on_search_end", lambda *its: (end(*its), locked.__exit__(None, None, None))
    )
    run(tmp_path, spec)
    assert [baseline.is_complete for baseline in list_baselines(tmp_path).studies] == [True]


def test_a_damaged_baseline_is_left_alone_and_another_trained(tmp_path, small_reference):
    spec = GRID.model_copy(update={"baseline": True})
    run(tmp_path, spec)
    damaged = tmp_path / "baselines" / "reference-squares-1" / "journal.jsonl"
    content = damaged.read_bytes() + b"{}\n"
    damaged.write_bytes(content)
    run(tmp_path, spec, name="another")
    assert damaged.read_bytes() == content
    (baseline,) = list_baselines(tmp_path).studies
    assert baseline.name == "reference-squares-1-2"


def test_a_baseline_that_was_stopped_goes_on_with_the_search(tmp_path, small_reference):
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


def test_the_journal_is_json_lines_that_other_programs_can_read(undisturbed):
    lines = (undisturbed.folder / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "search_started"
    assert events[0]["format"] == 2
    assert events[1]["environment"]["versions"]["keras-tuner"] == "1.4.8"
    assert events[-1] == events[-1] | {"event": "session_ended", "reason": "completed"}


# Other algorithms

OTHERS = {
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


@pytest.fixture(scope="module", params=OTHERS)
def other(request, tmp_path_factory):
    """A search of another algorithm, and its spec."""
    spec = OTHERS[request.param]
    return run(tmp_path_factory.mktemp(request.param), spec), spec


def test_every_algorithm_runs_what_it_announced(other):
    study, spec = other
    assert study.is_complete
    assert len(study.trials) == study.trials_planned == {"random": 5}.get(spec.algorithm, 4)
    assert study.epochs_trained == study.epochs_planned
    assert {trial.epoch_to for trial in study.trials} == {spec.budget.max_epochs}
    configurations = {tuple(trial.hyperparameters.values()) for trial in study.trials}
    assert len(configurations) == len(study.trials), "a configuration is tried twice"


def test_every_algorithm_goes_on_where_it_was_stopped(other, tmp_path):
    study, spec = other
    # A suggestion takes long. One comes after the stop, and none before it.
    stop(tmp_path, 10 if spec.algorithm == "bayesian" else 12, spec)
    assert_same_search(run(tmp_path, spec), study)


def test_every_algorithm_keeps_a_bounded_number_of_checkpoints(other):
    study, spec = other
    sizes = {trial.hyperparameters["latent_dim"] for trial in study.trials}
    assert len(trials_with_checkpoints(study)) <= spec.limits.keep_best + len(sizes)
    assert study.winner.trial_id in trials_with_checkpoints(study)


# Extensions


def larger(spec=TINY, **budget):
    return changed(spec, budget=spec.budget.model_copy(update=budget))


def test_a_larger_budget_is_refused_unless_it_is_an_extension(finished, tmp_path):
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
            (OTHERS["random"], larger(OTHERS["random"], max_trials=11), 11),
            (larger(OTHERS["grid"], max_trials=2), OTHERS["grid"], 4),
        ),
    ],
    ids=["hyperband", "random", "grid"],
)
def test_an_extended_search_ends_like_one_of_that_size(
    undisturbed, tmp_path, spec, extended, trials
):
    whole = run(tmp_path / "whole", extended)
    if spec is TINY:
        shutil.copytree(undisturbed.folder, tmp_path / "tiny")
    else:
        run(tmp_path, spec)
    study = run(tmp_path, extended, extend=True)
    assert len(study.trials) == study.trials_planned == trials
    assert study.is_complete
    assert_same_search(study, whole)


def test_an_extension_goes_on_with_either_command(tmp_path):
    spec, extended = OTHERS["random"], larger(OTHERS["random"], max_trials=7)
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


def test_an_extension_that_says_not_how_far_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match=r"raise budget\.hyperband_iterations above 1"):
        run(tmp_path, extend=True)


def test_an_extension_of_another_experiment_is_refused(finished, tmp_path):
    with pytest.raises(ResultsError, match="seed: 3 -> 4"):
        run(tmp_path, changed(larger(hyperband_iterations=2), seed=4), extend=True)


def test_limits_may_change_between_sessions(undisturbed, tmp_path, monkeypatch):
    for module in ("study.study", "study.ranking"):
        monkeypatch.setattr(f"vaetune.{module}.FINALISTS", 1)
    stop(tmp_path, 9)
    study = run(tmp_path, changed(TINY, limits=Limits(keep_best=1)))
    assert recorded(study) == recorded(undisturbed)
    assert len(trials_with_checkpoints(study)) < len(trials_with_checkpoints(undisturbed))


def test_each_session_records_where_it_ran(tmp_path):
    stop(tmp_path, 5, GRID)
    study = run(tmp_path, GRID)
    sessions = events_of(study, SessionStarted)
    assert len(sessions) == 2
    assert sessions[1].environment.versions["tensorflow"] == tf.__version__
