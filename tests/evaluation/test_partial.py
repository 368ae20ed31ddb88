"""An interrupted evaluation continues and gives the same numbers."""

import shutil
from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
from image_sets import make_split
from long_forms import long
from tiny_searches import DEVICE, IMAGES, run

from vaetune.evaluation import partial as partial_module
from vaetune.evaluation.held_out import record_evaluation
from vaetune.evaluation.metrics import evaluate
from vaetune.evaluation.partial import PARTIAL_NAME, PartialSums, describe_evaluation
from vaetune.models.build import build_vae
from vaetune.study.checkpoint import Checkpoint
from vaetune.study.scores import EvaluationProtocol

PROTOCOL = EvaluationProtocol(seed=3, posterior_samples=4, importance_samples=16)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return run(tmp_path_factory.mktemp("results"))


@pytest.fixture
def study(searched, tmp_path):
    """A copy of a finished search, which the test may change."""
    folder = tmp_path / "tiny"
    shutil.copytree(searched.folder, folder)
    return replace(searched, folder=folder)


class InterruptingProgress:
    """Records the shares of progress and raises KeyboardInterrupt at a limit.

    Args:
        share: The share at which the evaluation is interrupted. Above 1, it is never interrupted.
    """

    def __init__(self, share=2.0):
        self.limit = share
        self.shares = []

    def __call__(self, share):
        self.shares.append(share)
        if share >= self.limit:
            raise KeyboardInterrupt


def evaluate_winner(study, until=2.0, protocol=PROTOCOL):
    """Evaluates the winner, and interrupts the evaluation if `until` is at most 1.

    Args:
        study: The search.
        until: The share of the work at which the evaluation is interrupted.
        protocol: How the evaluation draws samples.

    Returns:
        The event, or None after an interruption, and the shares of progress.
    """
    progress = InterruptingProgress(until)
    given = (study, study.winner.trial_id, IMAGES, protocol, DEVICE, progress)
    if until <= 1.0:
        with pytest.raises(KeyboardInterrupt):
            record_evaluation(*given)
        return None, progress.shares
    return record_evaluation(*given), progress.shares


def first_share(study, protocol=PROTOCOL):
    """The share of the work that is done after the first step of an evaluation."""
    _, (share,) = evaluate_winner(study, 0.0, protocol)
    return share


@pytest.fixture(scope="module")
def uninterrupted(searched):
    """The event and the shares of progress of an uninterrupted evaluation."""
    return evaluate_winner(searched)


@pytest.fixture(scope="module")
def sums(searched, tmp_path_factory):
    """The content of the file of an evaluation that was interrupted after 90 % of its work."""
    folder = tmp_path_factory.mktemp("interrupted") / "tiny"
    shutil.copytree(searched.folder, folder)
    study = replace(searched, folder=folder)
    evaluate_winner(study, 0.9)
    return file_of(study).read_bytes()


@pytest.fixture
def interrupted(study, sums):
    """A search with an evaluation that was interrupted after 90 % of its work."""
    file_of(study).write_bytes(sums)
    return study


def file_of(study):
    return study.trial_folder(study.winner.trial_id) / PARTIAL_NAME


@pytest.mark.parametrize(
    "until", [(0.1, 0.5), *long(((0.1,),), ((0.5,),), ((0.9,),), ((0.2, 0.4, 0.6, 0.8),))]
)
def test_an_interrupted_evaluation_gives_the_same_bits(study, uninterrupted, until):
    """Posterior samples are a fifth of the work and are drawn first."""
    before = (study.folder / "journal.jsonl").read_bytes()
    parts = []
    for share in until:
        parts.append(evaluate_winner(study, share)[1])
        assert file_of(study).exists()
        assert (study.folder / "journal.jsonl").read_bytes() == before
    event, last = evaluate_winner(study)
    expected, every = uninterrupted
    assert event.evaluation == expected.evaluation
    assert len(last) < len(every)
    for earlier, later in pairwise([*parts, last]):
        assert later[0] > earlier[-1] - 0.1
    assert last[-1] == 1.0
    assert not file_of(study).exists()


def test_a_killed_evaluation_continues_from_the_last_saved_file(study, monkeypatch):
    monkeypatch.setattr(partial_module, "INTERVAL_S", 0.0)
    saved = []

    def copy_file(share):
        if file_of(study).exists():
            saved.append(file_of(study).read_bytes())

    record_evaluation(study, study.winner.trial_id, IMAGES, PROTOCOL, DEVICE, copy_file)
    assert len(set(saved)) > 10, "the file is written many times"
    file_of(study).write_bytes(saved[-1])
    assert first_share(study) > 0.9


@pytest.mark.parametrize("change", [{"importance_samples": 17}, {"seed": 4}, {"neighbours": 3}])
def test_another_protocol_starts_from_the_beginning(interrupted, change):
    assert first_share(interrupted, replace(PROTOCOL, **change)) < 0.1


def test_other_weights_start_from_the_beginning(interrupted):
    folder = interrupted.trial_folder(interrupted.winner.trial_id)
    kept = Checkpoint.load(folder)
    weights = [
        np.nextafter(one, 9, dtype=one.dtype) if one.dtype == np.float32 else one
        for one in kept.best_weights
    ]
    replace(kept, epoch=kept.epoch, weights=(), optimizer=(), best_weights=weights).save(folder)
    assert first_share(interrupted) < 0.1


def test_a_damaged_file_starts_from_the_beginning(interrupted, sums):
    assert first_share(interrupted) > 0.8
    file_of(interrupted).write_bytes(sums[: len(sums) // 2])
    assert first_share(interrupted) < 0.1


def test_the_duration_includes_the_interrupted_parts(study, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(partial_module.time, "monotonic", lambda: now[0])
    path = study.folder / "sums.npz"
    first = PartialSums(path, "key")
    first.update("elbo", 1, [np.zeros(3)])
    now[0] = 5.0
    first.__exit__(KeyboardInterrupt)
    now[0] = 100.0
    second = PartialSums(path, "key")
    now[0] = 102.0
    assert second.duration_s == 7.0
    assert PartialSums(path, "other").get("elbo") == (0, ())


def test_an_interrupted_evaluation_of_several_levels_continues(tmp_path):
    keras.utils.set_random_seed(5)
    values = {"filters_1": 2, "filters_2": 3, "dense_units": 4, "levels": 2, "level_channels": 2}
    vae = build_vae((9, 10, 1), values)
    splits = make_split(14, (9, 10, 1), 3), make_split(20, (9, 10, 1), 1)
    path, key = tmp_path / "sums.npz", describe_evaluation(vae, IMAGES, PROTOCOL)
    with pytest.raises(KeyboardInterrupt), PartialSums(path, key) as sums:
        evaluate(vae, *splits, PROTOCOL, InterruptingProgress(0.7), partial=sums)
    with PartialSums(path, key) as sums:
        assert sums.get("elbo")[0] == 4
        assert sums.get("bound")[0] > 2
        found = evaluate(vae, *splits, PROTOCOL, partial=sums)
    assert found == evaluate(vae, *splits, PROTOCOL)
