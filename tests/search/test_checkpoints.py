"""Leaders keep their checkpoints, others lose them, and damaged files are set aside."""

from dataclasses import replace

import numpy as np
import pytest
from journals import make_started

from vaetune.errors import ResultsError
from vaetune.search import checkpoints
from vaetune.search.checkpoints import DAMAGED_NAME, CheckpointKeeper
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.study.events import FileSetAside
from vaetune.study.journal import Journal, read_journal
from vaetune.study.ranking import RankedTrial, leaders

RANKED = [
    RankedTrial("0000", (140.0, 140.0), 2, configuration=0),
    RankedTrial("0001", (150.0, 150.0), 4, configuration=1),
    RankedTrial("0002", (130.0, 130.0), 8, configuration=2),
    RankedTrial("0003", (145.0, 145.0), 8, configuration=2),
    RankedTrial("0004", (160.0, 160.0), 4, configuration=1),
    RankedTrial("0005", (170.0, 170.0), 2, configuration=0),
]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (1, {"0002", "0000", "0001"}),
        (3, {"0002", "0000", "0003", "0001"}),
        (4, {"0002", "0000", "0003", "0001"}),
        (9, {"0000", "0001", "0002", "0003", "0004", "0005"}),
    ],
)
def test_leaders_are_the_best_and_the_best_of_each_latent_size(most, expected):
    found = leaders(RANKED, most)
    assert {leader.trial_id for leader in found} == expected
    assert leaders(reversed(RANKED), most) == found
    assert [leader.rank for leader in found] == sorted(leader.rank for leader in found)


CONFIGURATIONS = [
    RankedTrial(f"{number:04d}", (160.0 - number, 0.0), 2, configuration=number // 2)
    for number in range(14)
]
"""Two trials each of seven configurations, each better than the one before."""


def test_leaders_include_the_best_trial_of_each_of_the_best_five_configurations():
    found = [leader.trial_id for leader in leaders(CONFIGURATIONS, 1)]
    assert found == ["0013", "0011", "0009", "0007", "0005"]


@pytest.mark.parametrize("ranked_trials", [RANKED, CONFIGURATIONS, CONFIGURATIONS[::-1]])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_leaders_follow_from_the_previous_leaders_and_the_new_trial(ranked_trials, most):
    so_far = []
    for count, trial in enumerate(ranked_trials, start=1):
        so_far = leaders([*so_far, trial], most)
        assert so_far == leaders(ranked_trials[:count], most)


def test_the_first_of_two_equal_trials_leads():
    equals = [RankedTrial("0001", (130.0, 130.0), 2, 0), RankedTrial("0000", (130.0, 130.0), 2, 0)]
    assert leaders(equals, 1) == [equals[1]]


def test_there_are_no_leaders_without_completed_trials():
    assert leaders([], 3) == []


def make_checkpoint(epoch=3):
    weights, optimizer = (np.arange(6.0),), (np.arange(4.0), np.arange(2.0))
    return Checkpoint(epoch, weights, optimizer, 2, 140.0, (np.ones(6),))


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append(make_started())
        yield journal


@pytest.fixture
def keeper(tmp_path, journal):
    """A keeper with the checkpoints of four trials, each after epoch 3."""
    keeper = CheckpointKeeper(tmp_path, journal)
    for number in range(4):
        keeper.save(f"000{number}", make_checkpoint())
        keeper.flush_all()
    return keeper


def path_of(folder, trial_id, name=CHECKPOINT_NAME):
    return folder / "trials" / trial_id / name


def damage(path):
    """Removes the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def recorded_files(journal):
    """The files that the journal records as set aside, each with its new name."""
    events = read_journal(journal.path)
    return [(e.file, e.aside) for e in events if isinstance(e, FileSetAside)]


def test_only_needed_checkpoints_and_the_best_weights_of_leaders_stay(keeper, tmp_path):
    before = path_of(tmp_path, "0000").read_bytes()
    keeper.remove_unneeded(needed={"0000"}, leaders={"0000", "0001"})
    assert path_of(tmp_path, "0000").read_bytes() == before
    leader = Checkpoint.load(path_of(tmp_path, "0001").parent)
    assert not leader.is_trainable
    np.testing.assert_array_equal(leader.best_weights[0], np.ones(6))
    assert (leader.best_epoch, leader.best_val_loss) == (2, 140.0)
    assert path_of(tmp_path, "0001").stat().st_size < len(before)
    assert not path_of(tmp_path, "0002").exists()
    assert not path_of(tmp_path, "0003").exists()


def test_a_saved_checkpoint_is_reduced_to_its_weights_without_reading_the_file(
    keeper, tmp_path, monkeypatch
):
    load = Checkpoint.load
    monkeypatch.setattr(Checkpoint, "load", None)
    keeper.remove_unneeded(needed={"0000", "0001", "0002"}, leaders={"0003"})
    kept = load(path_of(tmp_path, "0003").parent)
    assert not kept.is_trainable
    np.testing.assert_array_equal(kept.best_weights[0], np.ones(6))


def test_the_checkpoint_of_an_overtaken_leader_is_removed(keeper, tmp_path):
    keeper.remove_unneeded(needed=set(), leaders={"0000"})
    keeper.remove_unneeded(needed=set(), leaders={"0001"})
    assert not path_of(tmp_path, "0000").exists()


def test_unneeded_checkpoints_of_an_earlier_session_are_removed(keeper, tmp_path, journal):
    CheckpointKeeper(tmp_path, journal).remove_unneeded(needed=set(), leaders={"0002"})
    assert [path.parent.name for path in tmp_path.glob(f"trials/*/{CHECKPOINT_NAME}")] == ["0002"]


def test_only_the_last_of_several_quick_checkpoints_is_written(tmp_path, journal):
    keeper = CheckpointKeeper(tmp_path, journal)
    for epoch in (1, 2, 3):
        keeper.save("0000", make_checkpoint(epoch))
    assert not path_of(tmp_path, "0000").exists()
    keeper.flush_all()
    assert Checkpoint.load(path_of(tmp_path, "0000").parent).epoch == 3
    path_of(tmp_path, "0000").unlink()
    keeper.flush_all()
    assert not path_of(tmp_path, "0000").exists(), "no checkpoint is pending"


def test_a_checkpoint_is_written_at_once_after_the_interval(tmp_path, journal, monkeypatch):
    monkeypatch.setattr(checkpoints, "INTERVAL_S", 0.0)
    keeper = CheckpointKeeper(tmp_path, journal)
    for epoch in (1, 2):
        keeper.save("0000", make_checkpoint(epoch))
        assert Checkpoint.load(path_of(tmp_path, "0000").parent).epoch == epoch


def test_a_failed_write_of_a_checkpoint_is_not_repeated(tmp_path, journal, monkeypatch):
    def refuse(self, folder):
        raise ResultsError("no space")

    monkeypatch.setattr(checkpoints, "INTERVAL_S", 0.0)
    keeper = CheckpointKeeper(tmp_path, journal)
    monkeypatch.setattr(Checkpoint, "save", refuse)
    with pytest.raises(ResultsError, match="no space"):
        keeper.save("0000", make_checkpoint())
    keeper.flush_all()


def test_a_saved_checkpoint_is_found_unchanged(keeper, journal):
    found = keeper.find("0000", last_epoch=3, must_exist=True)
    assert (found.epoch, found.best_epoch) == (3, 2)
    assert recorded_files(journal) == []


def test_a_damaged_checkpoint_is_set_aside_and_recorded_once(keeper, tmp_path, journal):
    damage(path_of(tmp_path, "0000"))
    assert keeper.find("0000", last_epoch=3, must_exist=True) is None
    assert keeper.find("0000", last_epoch=3, must_exist=True) is None
    assert path_of(tmp_path, "0000", DAMAGED_NAME).exists()
    assert recorded_files(journal) == [
        (f"trials/0000/{CHECKPOINT_NAME}", f"trials/0000/{DAMAGED_NAME}")
    ]


def test_a_checkpoint_ahead_of_the_journal_is_set_aside(keeper, tmp_path):
    assert keeper.find("0000", last_epoch=2, must_exist=True) is None
    assert path_of(tmp_path, "0000", DAMAGED_NAME).exists()


def test_a_missing_checkpoint_is_recorded_only_if_it_must_exist(keeper, tmp_path, journal):
    for trial_id in ("0000", "0001"):
        path_of(tmp_path, trial_id).unlink()
    assert keeper.find("0000", last_epoch=3, must_exist=False) is None
    assert recorded_files(journal) == [], "the search was killed before it wrote the checkpoint"
    assert keeper.find("0001", last_epoch=3, must_exist=True) is None
    assert recorded_files(journal) == [(f"trials/0001/{CHECKPOINT_NAME}", None)]


def test_training_cannot_continue_from_weights_without_an_optimizer(keeper, journal):
    keeper.remove_unneeded(needed=set(), leaders={"0000"})
    assert keeper.find("0000", last_epoch=3, must_exist=True) is None
    assert keeper.load("0000").best_epoch == 2
    assert recorded_files(journal) == []


def test_a_leader_with_a_damaged_or_missing_checkpoint_is_lost(keeper, tmp_path):
    assert not keeper.is_lost("0000", epoch_to=3)
    assert keeper.is_lost("0000", epoch_to=4), "the checkpoint ends at an earlier epoch"
    damage(path_of(tmp_path, "0000"))
    assert keeper.is_lost("0000", epoch_to=3)
    path_of(tmp_path, "0001").unlink()
    assert keeper.is_lost("0001", epoch_to=3)


def test_equal_arrays_are_stored_once(tmp_path):
    apart = make_checkpoint()
    same = replace(apart, best_epoch=apart.epoch, best_weights=apart.weights)
    sizes = {}
    for name, checkpoint in (("apart", apart), ("same", same)):
        checkpoint.save(tmp_path / name)
        sizes[name] = (tmp_path / name / CHECKPOINT_NAME).stat().st_size
        loaded = Checkpoint.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.best_weights[0], checkpoint.best_weights[0])
    assert sizes["same"] < sizes["apart"]
