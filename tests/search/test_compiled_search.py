"""A search with compiled steps is the same search."""

import math

import pytest
from comparisons import assert_same_search
from tiny_searches import TINY, changed, run, stop

from vaetune.config.space import Choice
from vaetune.study.checkpoint import CHECKPOINT_NAME, Checkpoint
from vaetune.training import context

PADDED = TINY.with_compile("padded")


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """The tiny search without and with compiled steps."""
    specs = {"none": TINY, "padded": PADDED}
    return [run(tmp_path_factory.mktemp(name), spec) for name, spec in specs.items()]


def test_trials_and_losses_are_those_of_uncompiled_steps(searches):
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
            assert first.shape[-1] == trial.hyperparameters["filters_1"]


@pytest.mark.long
@pytest.mark.parametrize("events", [4, 9, 14])
def test_an_interrupted_search_continues_exactly(searches, tmp_path, events):
    stop(tmp_path, events, PADDED)
    assert_same_search(run(tmp_path, PADDED), searches[1])


@pytest.mark.long
def test_programs_compiled_in_the_background_give_the_same_numbers(tmp_path, monkeypatch):
    two = TINY.space.model_copy(update={"activation": Choice(values=("relu", "gelu"))})
    spec = changed(PADDED, space=two)
    ahead = run(tmp_path / "background", spec)

    def compile_now(compilations):
        for compilation in compilations:
            compilation.finish()

    monkeypatch.setattr(context, "compile_in_background", compile_now)
    assert_same_search(run(tmp_path / "foreground", spec), ahead)
