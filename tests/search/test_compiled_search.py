"""Searches with compiled training steps give the same results."""

import math
import shutil
from contextlib import nullcontext

import pytest
from comparisons import assert_same_search
from long_forms import long
from shared_contexts import SharedContext
from tiny_searches import DEVICE, IMAGES, TINY, StopAfter, changed, run, stop

from vaetune.config.space import Choice, Pinned, Space
from vaetune.search.executors import local
from vaetune.search.explain import train_path
from vaetune.study.catalog import list_baselines
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.study.events import CompilationBegan, EpochEnded, TrialStarted
from vaetune.study.explanation import explain
from vaetune.training import context
from vaetune.training.context import TrainingContext

DENSE = Space(
    encoder=Pinned(value="dense"),
    decoder=Pinned(value="dense"),
    **{name: getattr(TINY.space, name) for name in ("dense_units", "latent_dim", "learning_rate")},
)

SPECS = {"dense": changed(TINY, space=DENSE), "convolutional": TINY}
"""Steps of dense networks compile in a third of the time of convolutional ones.

tests/training/test_padded.py always compares steps of convolutional networks.
"""


class RecordingWatcher(StopAfter):
    """A watcher that keeps the events it receives."""

    def __init__(self):
        self.events = []

    def on_event(self, kind, event):
        self.events.append(event)


@pytest.fixture(scope="module", params=["dense", *long("convolutional")])
def spec(request):
    """The tiny search with dense or convolutional networks, without compiled steps."""
    return SPECS[request.param]


@pytest.fixture(scope="module")
def padded(spec):
    return spec.with_compile("padded")


@pytest.fixture(scope="module")
def own_context(spec):
    """Gives these searches new training steps, which no other test has compiled."""
    own = SharedContext(IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "TrainingContext", lambda images: own)
        yield


@pytest.fixture(scope="module")
def compiled(own_context, padded, tmp_path_factory):
    """The tiny search with compiled steps, and its events."""
    watcher = RecordingWatcher()
    return run(tmp_path_factory.mktemp("padded"), padded, watcher=watcher), watcher.events


@pytest.fixture(scope="module")
def searches(spec, compiled, tmp_path_factory):
    """The search without and with compiled steps."""
    return run(tmp_path_factory.mktemp("none"), spec), compiled[0]


def test_a_compilation_is_announced_once_and_not_recorded(compiled):
    study, events = compiled
    kinds = [type(event) for event in events]
    assert kinds.count(CompilationBegan) == 1
    assert kinds.index(TrialStarted) < kinds.index(CompilationBegan) < kinds.index(EpochEnded)
    assert len(study.trials) == 6
    assert "compilation_began" not in (study.folder / "journal.jsonl").read_text()


def test_compiled_steps_give_the_same_trials_and_losses(searches):
    plain, compiled = (
        {
            (trial.configuration, trial.epoch_to): [epoch.val_loss for epoch in trial.epochs]
            for trial in study.trials
        }
        for study in searches
    )
    assert plain.keys() == compiled.keys()
    for key, losses in plain.items():
        assert compiled[key] == pytest.approx(losses, rel=1e-4)
    assert all(math.isfinite(loss) for losses in compiled.values() for loss in losses)


def test_checkpoints_have_the_widths_of_their_configurations(searches):
    for trial in searches[1].trials:
        folder = searches[1].trial_folder(trial.trial_id)
        if (folder / CHECKPOINT_NAME).exists():
            first = Checkpoint.load(folder).best_weights[0]
            values = trial.hyperparameters
            assert first.shape[-1] == values.get("filters_1", values["dense_units"])


def compilations(watcher):
    return sum(isinstance(event, CompilationBegan) for event in watcher.events)


def test_trainings_from_other_seeds_use_the_programs_of_the_search(compiled, padded, tmp_path):
    shutil.copytree(compiled[0].folder, tmp_path / "tiny")
    watcher = RecordingWatcher()
    seeds = padded.limits.model_copy(update={"final_seeds": 1})
    again = run(tmp_path, changed(padded, limits=seeds), watcher=watcher)
    assert again.retrained
    assert compilations(watcher) == 0


@pytest.mark.long
def test_trainings_of_a_path_share_their_programs(compiled, tmp_path):
    """Its networks have one structure, filters of two very different sizes and two batch sizes."""
    study = run(tmp_path, TINY.with_compile("padded"))
    watcher = RecordingWatcher()
    found = explain(study, list_baselines(tmp_path), seeds=2)
    assert len(found.groups) == 3
    trained = []
    train_path(
        found,
        IMAGES,
        DEVICE,
        lambda session: nullcontext(watcher),
        lambda *one: trained.append(one),
    )
    assert len(trained) >= 8
    assert compilations(watcher) == 2 * 2


@pytest.mark.long
@pytest.mark.parametrize("events", [4, 9, 14])
def test_an_interrupted_search_continues_exactly(padded, searches, tmp_path, events):
    stop(tmp_path, events, padded)
    assert_same_search(run(tmp_path, padded), searches[1])


@pytest.mark.long
def test_programs_compiled_in_the_background_give_the_same_numbers(padded, tmp_path, monkeypatch):
    two = padded.space.model_copy(update={"activation": Choice(values=("relu", "gelu"))})
    spec = changed(padded, space=two)
    # Each search compiles its own steps.
    monkeypatch.setattr(local, "TrainingContext", TrainingContext)
    background = run(tmp_path / "background", spec)

    def compile_now(compilations):
        for compilation in compilations:
            compilation.finish()

    monkeypatch.setattr(context, "compile_in_background", compile_now)
    assert_same_search(run(tmp_path / "foreground", spec), background)
