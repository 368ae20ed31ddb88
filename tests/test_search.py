"""A search is recorded, goes on where it was stopped, and mixes with no other."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from image_sets import make_images
from vaetune import search as search_module
from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.data import Split
from vaetune.device import ChosenDevice
from vaetune.errors import JournalError, ResultsError
from vaetune.hypermodel import VAEHyperModel
from vaetune.journal import EpochEnded, TrialEnded, TrialStarted, read_journal
from vaetune.search import open_baseline, open_search
from vaetune.spec import (
    REFERENCE,
    Budget,
    Choice,
    Pinned,
    Range,
    ResolvedSearch,
    SearchSpec,
    Space,
    Training,
    single_configuration,
)
from vaetune.study import list_baselines, load_study

IMAGES = make_images()
DEVICE = ChosenDevice("CPU", 2)
TINY_SPACE = Space(
    filters_1=Choice(values=(2, 3)),
    filters_2=Choice(values=(3, 4)),
    dense_units=Choice(values=(4, 5)),
    latent_dim=Choice(values=(2, 3)),
    learning_rate=Range(min=1e-3, max=1e-1, scale="log"),
)
TINY = SearchSpec(
    seed=3,
    baseline=False,
    budget=Budget(max_epochs=3),
    training=Training(batch_size=8),
    space=TINY_SPACE,
)
TINY_REFERENCE = {"filters_1": 2, "filters_2": 3, "dense_units": 4}


@pytest.fixture(autouse=True)
def deterministic_ops():
    tf.config.experimental.enable_op_determinism()


def run(results, spec=TINY, name="tiny", images=IMAGES, watcher=None, overwrite=False):
    resolved = ResolvedSearch(name, spec, {})
    with open_search(resolved, images, DEVICE, results, overwrite=overwrite) as opened:
        return opened.run(watcher)


def told(study):
    """What a journal tells of trials and epochs, without times."""
    events = {}
    for event in read_journal(study.folder / "journal.jsonl"):
        if isinstance(event, TrialStarted | EpochEnded | TrialEnded):
            timeless = event.model_dump(exclude={"time", "train_s", "validation_s", "duration_s"})
            key = (event.event, event.trial_id, timeless.get("epoch"))
            events[key] = timeless
    return events


def checkpoint_of(study, trial_id):
    return Checkpoint.load(study.trial_folder(trial_id))


def assert_same_weights(left, right):
    for group in ("weights", "optimizer", "best_weights"):
        for one, other in zip(getattr(left, group), getattr(right, group), strict=True):
            np.testing.assert_array_equal(one, other)


class StopAfter:
    """Presses Ctrl-C after so many events."""

    def __init__(self, events):
        self.left = events

    def on_event(self, kind, event):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_progress(self, share):
        pass


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("undisturbed"))


def test_a_search_runs_what_it_announced(undisturbed):
    plan = undisturbed.started.plan
    assert len(undisturbed.trials) == sum(rung.trials for rung in plan) == 6
    assert undisturbed.epochs_trained == undisturbed.epochs_planned == 11
    assert {trial.status for trial in undisturbed.trials} == {"completed"}
    assert undisturbed.is_complete


def test_the_winner_has_the_lowest_validation_loss_of_all(undisturbed):
    losses = [epoch.val_loss for trial in undisturbed.trials for epoch in trial.epochs]
    assert undisturbed.winner.score == min(losses)


def test_every_trial_leaves_a_checkpoint_and_pictures(undisturbed):
    for trial in undisturbed.trials:
        names = {path.name for path in undisturbed.trial_folder(trial.trial_id).iterdir()}
        assert names == {CHECKPOINT_NAME, "pictures.npz"}


def test_the_same_search_again_gives_the_same_journal(undisturbed, tmp_path):
    assert told(run(tmp_path)) == told(undisturbed)


def test_the_seed_changes_what_is_tried(undisturbed, tmp_path):
    other = run(tmp_path, TINY.model_copy(update={"seed": 4}))
    assert [t.hyperparameters for t in other.trials] != [
        t.hyperparameters for t in undisturbed.trials
    ]


# Events of a session: its start, then trial_started, epochs, trial_ended for each trial.
@pytest.mark.parametrize("events", [1, 2, 3, 4, 9, 13, 20])
def test_a_stopped_search_goes_on_to_the_same_end(undisturbed, tmp_path, events):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAfter(events))
    assert load_study(tmp_path / "tiny").last_end.reason == "interrupted"
    study = run(tmp_path)
    assert told(study) == told(undisturbed)
    for trial in study.trials:
        assert_same_weights(
            checkpoint_of(study, trial.trial_id), checkpoint_of(undisturbed, trial.trial_id)
        )


def test_a_search_may_be_stopped_again_and_again(undisturbed, tmp_path):
    for _ in range(40):
        try:
            study = run(tmp_path, watcher=StopAfter(4))
            break
        except KeyboardInterrupt:
            continue
    assert told(study) == told(undisturbed)


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
        stretch = opened.run()
    losses = ("loss", "kl_loss", "val_loss", "val_kl_loss")
    curves = [
        [[getattr(epoch, name) for name in losses] for epoch in study.curve(study.trials[-1])]
        for study in (promoted, stretch)
    ]
    assert curves[0] == curves[1]
    ours, theirs = checkpoint_of(promoted, "0002"), checkpoint_of(stretch, "0000")
    assert ours.epoch == theirs.epoch == 9
    assert_same_weights(ours, theirs)


def test_a_finished_search_trains_nothing_more(tmp_path):
    study = run(tmp_path)
    journal = (study.folder / "journal.jsonl").read_bytes()
    again = run(tmp_path)
    assert (study.folder / "journal.jsonl").read_bytes() == journal
    assert again.winner == study.winner


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"seed": 5}, r"seed: 3 -> 5"),
        ({"budget": Budget(max_epochs=4)}, r"budget\.max_epochs: 3 -> 4"),
        ({"training": Training(batch_size=9)}, r"training\.batch_size: 8 -> 9"),
        ({"space": Space()}, r"space\.latent_dim"),
    ],
)
def test_a_changed_experiment_is_refused_with_its_differences(tmp_path, change, names):
    study = run(tmp_path)
    journal = (study.folder / "journal.jsonl").read_bytes()
    with pytest.raises(ResultsError, match=names):
        run(tmp_path, TINY.model_copy(update=change))
    assert (study.folder / "journal.jsonl").read_bytes() == journal


def test_other_images_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(ResultsError, match=r"data fingerprint: f{12} -> e{12}"):
        run(tmp_path, images=make_images(fingerprint="e" * 64))


def test_what_is_no_part_of_the_experiment_may_change(undisturbed, tmp_path):
    run(tmp_path)
    changed = TINY.model_copy(update={"description": "other words", "device": "cpu"})
    assert told(run(tmp_path, changed)) == told(undisturbed)


def test_overwriting_discards_the_old_search(tmp_path):
    run(tmp_path)
    study = run(tmp_path, TINY.model_copy(update={"seed": 5}), overwrite=True)
    assert study.started.search.seed == 5
    assert len(study.trials) == 6


def test_a_folder_of_another_program_is_left_alone(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ResultsError, match=r"files of another program, such as thesis\.tex"):
            run(tmp_path, overwrite=overwrite)
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["thesis.tex"]


def test_an_overwriting_that_was_cut_off_is_finished(undisturbed, tmp_path):
    study = run(tmp_path)
    (study.folder / "journal.jsonl").rename(study.folder / "journal.discarded")
    assert told(run(tmp_path)) == told(undisturbed)
    assert not (study.folder / "journal.discarded").exists()


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


def test_a_search_whose_journal_was_torn_goes_on(undisturbed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, watcher=StopAfter(9))
    journal = tmp_path / "tiny" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"time":"2026-')
    assert told(run(tmp_path)) == told(undisturbed)
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
    build = VAEHyperModel.build

    def build_but_three_filters(self, hp):
        if hp.get("filters_1") == 3:
            raise RuntimeError("no odd\nfilters")
        return build(self, hp)

    monkeypatch.setattr(VAEHyperModel, "build", build_but_three_filters)
    study = run(tmp_path)
    failed = [t for t in study.trials if t.hyperparameters["filters_1"] == 3]
    assert failed
    assert study.failures == tuple(failed)
    assert failed[0].error == "RuntimeError: no odd filters"
    assert "build_but_three_filters" in failed[0].traceback
    assert study.winner.hyperparameters["filters_1"] == 2
    assert study.is_complete


def test_a_full_disk_stops_the_search_without_blaming_the_trial(undisturbed, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def refuse(self, folder):
            raise ResultsError("No space left on device.")

        patch.setattr(Checkpoint, "save", refuse)
        with pytest.raises(ResultsError, match="No space left"):
            run(tmp_path)
    stopped = load_study(tmp_path / "tiny")
    assert stopped.failures == ()
    assert (stopped.last_end.reason, stopped.last_end.message) == (
        "error",
        "No space left on device.",
    )
    assert told(run(tmp_path)) == told(undisturbed)


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
    monkeypatch.setattr(search_module, "REFERENCE", small)


def test_a_search_trains_the_reference_beside_it_once(tmp_path):
    spec = TINY.model_copy(update={"baseline": True, "budget": Budget(max_epochs=1)})
    run(tmp_path, spec)
    (baseline,) = list_baselines(tmp_path)
    assert baseline.name == "reference-squares-1"
    assert baseline.trials[0].hyperparameters == REFERENCE
    assert baseline.trials[0].parameters == baseline.trials[0].parameters
    journal = (baseline.folder / "journal.jsonl").read_bytes()
    run(tmp_path, spec, name="another")
    assert (baseline.folder / "journal.jsonl").read_bytes() == journal
    assert len(list_baselines(tmp_path)) == 1


def test_a_baseline_of_another_budget_gets_a_name_of_its_own(tmp_path, small_reference):
    for epochs in (1, 2):
        spec = TINY.model_copy(update={"baseline": True, "budget": Budget(max_epochs=epochs)})
        run(tmp_path, spec, name=f"search-{epochs}")
    other_data = make_images(fingerprint="a" * 64)
    run(tmp_path, spec, name="other-data", images=other_data)
    names = {baseline.name for baseline in list_baselines(tmp_path)}
    assert len(names) == 3


def test_a_baseline_that_was_stopped_goes_on_with_the_search(tmp_path, small_reference):
    spec = TINY.model_copy(update={"baseline": True})
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, spec, watcher=StopAfter(5))
    (stopped,) = list_baselines(tmp_path)
    assert not stopped.is_complete
    assert len(stopped.trials[0].epochs) in (1, 2)
    run(tmp_path, spec)
    (baseline,) = list_baselines(tmp_path)
    assert baseline.is_complete
    assert [epoch.epoch for epoch in baseline.trials[0].epochs] == [1, 2, 3]


def test_the_journal_is_json_lines_that_other_programs_can_read(undisturbed):
    lines = (undisturbed.folder / "journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "search_started"
    assert events[0]["format"] == 1
    assert events[1]["environment"]["versions"]["keras-tuner"] == "1.4.8"
    assert events[-1] == events[-1] | {"event": "session_ended", "reason": "completed"}
