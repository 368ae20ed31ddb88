"""Compilation of training steps is planned from the search, its images and the device."""

import pytest

from vaetune.config.compilation import REPAID_STEPS, Compilation, plan_compilation, repays
from vaetune.config.dimensions import Choice, Pinned
from vaetune.config.space import Space
from vaetune.config.spec import Budget, SearchSpec, Training

SPACE = Space(filters_1=Choice(values=(8, 16)), levels=Choice(values=(1, 2)))
TOO_FEW = Compilation(0, "not compiled: too few steps to repay it")


def spec_of(compile="auto", space=SPACE, epochs=100, **training):
    return SearchSpec(
        algorithm="random",
        budget=Budget(max_epochs=epochs, max_trials=10),
        training=Training(compile=compile, **training),
        space=space,
    )


@pytest.mark.parametrize(
    ("wanted", "has_gpu", "expected"),
    [
        ("auto", True, Compilation(2)),
        ("auto", False, Compilation(0, "only on a GPU")),
        ("padded", True, Compilation(2)),
        ("padded", False, Compilation(2)),
        ("none", True, Compilation(0)),
    ],
)
def test_one_program_is_compiled_for_each_structure(wanted, has_gpu, expected):
    assert plan_compilation(spec_of(wanted), 6_400, has_gpu) == expected


def test_enough_steps_are_needed_unless_compilation_is_requested():
    # 10 trials x 100 epochs for 2 programs: 500 epochs of 16 steps each.
    assert REPAID_STEPS == 500 * 16
    assert plan_compilation(spec_of(), 16 * 128, has_gpu=True) == Compilation(2)
    assert plan_compilation(spec_of(), 15 * 128, has_gpu=True) == TOO_FEW
    assert plan_compilation(spec_of("padded"), 15 * 128, has_gpu=True) == Compilation(2)
    assert plan_compilation(spec_of(epochs=99), 16 * 128, has_gpu=True) == TOO_FEW


def test_a_smaller_batch_size_has_more_steps():
    space = SPACE.model_copy(update={"batch_size": Choice(values=(32, 128))})
    assert plan_compilation(spec_of(space=space), 32 * 32, has_gpu=True) == Compilation(4)
    assert plan_compilation(spec_of(space=space), 31 * 32, has_gpu=True) == TOO_FEW
    assert plan_compilation(spec_of(batch_size=64), 16 * 64, has_gpu=True) == Compilation(2)
    space = SPACE.model_copy(update={"levels": Pinned(value=1)})
    assert repays(spec_of(epochs=REPAID_STEPS, space=space), 128, train_images=5)


def test_training_on_images_on_the_disk_is_not_compiled():
    compilation = plan_compilation(spec_of("padded"), 6_400, has_gpu=True, from_disk=True)
    assert compilation.programs == 0
    assert "from the disk" in compilation.reason
