"""A trial's model exported, for scripts, notebooks and commands.

It imports no TensorFlow itself: the process that reads an export back imports it at the same time.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.device import Device, choose_device
from vaetune.export.folder import check_replaceable
from vaetune.export.reader import Reader
from vaetune.study import Study, Trial, load_study, pick

if TYPE_CHECKING:
    from vaetune.export.bundle import Export


def export_trial(
    study: Study,
    trial: Trial | str | None = None,
    folder: str | os.PathLike[str] = "model",
    formats: str | Iterable[str] = (),
    *,
    device: Device = "auto",
    on_step: Callable[[str], None] = lambda step: None,
) -> "Export":
    """Writes a trained model to a folder and verifies it, as `vaetune best --export` does.

    A separate process without vaetune loads each format. A format that cannot be written, or that
    gives other numbers than the original, is left out, and `failures` of the result says why. An
    earlier export in the folder is replaced at the end, as a whole.

    Args:
        study: A search or a baseline.
        trial: A trial or its id. Default: the winner.
        folder: Folder to write.
        formats: Formats besides "keras": "saved-model", "onnx", "litert" or "all".
        device: Device that TensorFlow is brought up on if it does not run yet.
        on_step: Called with each step in words, such as "Writing the model as onnx".

    Raises:
        ResultsError: There is no such trial or format, the trial's weights were not kept, the
            folder holds files of another program, or no format could be exported.

    Example:
        >>> vaetune.export_trial(study, folder="model", formats=["onnx"])
        >>> vae = vaetune.load_model("model/vae.keras")
    """
    target = Path(folder)
    present = load_study(study.folder)  # evaluations may have been added since
    picked = pick(present, trial.trial_id if isinstance(trial, Trial) else trial)
    names = (formats,) if isinstance(formats, str) else tuple(formats)
    check_replaceable(target)
    with Reader() as reader:
        choose_device(device)
        from vaetune.export.bundle import write_export

        return write_export(present, picked, present.results, target, reader, names, on_step)
