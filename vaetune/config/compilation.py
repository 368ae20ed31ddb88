"""Whether the training steps of a search are compiled.

The decision needs no TensorFlow, so it is known before a search begins.
"""

from dataclasses import dataclass

from vaetune.config.choices import Compile
from vaetune.config.family import REFERENCE_BATCH_SIZE
from vaetune.config.spec import SearchSpec

MAX_PROGRAMS = 8
"""Programs that are compiled for the searches of a process, at most."""

REPAID_STEPS = 8_000
"""Training steps that repay the compilation of a program.

On an NVIDIA H200, training and validation compile in 20 to 57 s and a step saves 3.2 to 4 ms."""


@dataclass(frozen=True)
class Compilation:
    """The compiled programs of a search.

    Attributes:
        programs: Number of programs, at most; 0 if the steps are not compiled. Only the first
            `MAX_PROGRAMS` are compiled.
        reason: Reason why there are none, in a few words; empty if the search asks for none.
    """

    programs: int
    reason: str = ""


def may_compile(wanted: Compile, has_gpu: bool) -> bool:
    """Returns whether training steps can be compiled on a device.

    Args:
        wanted: Value of `Training.compile`.
        has_gpu: Whether the device is a GPU.
    """
    return wanted == "padded" or (wanted == "auto" and has_gpu)


def repays(spec: SearchSpec, batch_size: int, train_images: int) -> bool:
    """Returns whether a search compiles its programs for a batch size, where it may compile.

    Args:
        spec: Specification of the search.
        batch_size: Images per training step.
        train_images: Number of training images.
    """
    steps = planned_steps(spec, -(-train_images // batch_size))
    return spec.training.compile == "padded" or steps >= REPAID_STEPS


def planned_steps(spec: SearchSpec, steps_per_epoch: int) -> float:
    """Returns the number of training steps that a search plans for each program.

    Args:
        spec: Specification of the search.
        steps_per_epoch: Training steps of an epoch.
    """
    return spec.planned_epochs * steps_per_epoch / spec.space.programs()


def plan_compilation(
    spec: SearchSpec, train_images: int, has_gpu: bool, from_disk: bool = False
) -> Compilation:
    """Returns whether the training steps of a search are compiled.

    Args:
        spec: Specification of the search.
        train_images: Number of training images.
        has_gpu: Whether the device is a GPU.
        from_disk: Whether training reads the images from the disk.
    """
    wanted = spec.training.compile
    if not may_compile(wanted, has_gpu):
        return Compilation(0, "only on a GPU" if wanted == "auto" else "")
    if from_disk:
        return Compilation(0, "not compiled: training reads the images from the disk")
    fixed = (spec.training.batch_size or REFERENCE_BATCH_SIZE,)
    sizes = spec.space.batch_size.listed() if spec.space.batch_size else fixed
    # A smaller batch size has more steps, so it repays its programs first.
    if not repays(spec, min(train_images, *map(int, sizes)), train_images):
        return Compilation(0, "not compiled: too few steps to repay it")
    return Compilation(spec.space.programs())
