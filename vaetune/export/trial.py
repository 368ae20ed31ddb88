"""Exports the model of a trial, for scripts, notebooks and commands.

This module does not import TensorFlow. It first starts the process that verifies the export, so
that both processes load TensorFlow at the same time.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.device import Device, choose_device
from vaetune.evaluation import StudyImages, prepare_given
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
    images: StudyImages | None = None,
    device: Device = "auto",
    on_step: Callable[[str], None] = lambda step: None,
) -> "Export":
    """Writes a trained model to a folder and verifies it, as `vaetune best --export` does.

    A separate process without vaetune loads each format. A format that cannot be written or that
    differs from the original is left out, and `failures` of the result says why. An earlier export
    in the folder is replaced at the end, completely or not at all.

    An export contains the losses of validation images, with which `score_images` sets a threshold.
    If the images cannot be read, it is written without them; `no_losses` of the result says why.

    Args:
        study: Search or baseline that the trial belongs to.
        trial: Trial or its id. Default: the winner.
        folder: Folder to write.
        formats: Formats besides "keras": "saved-model", "onnx", "litert" or "all".
        images: Images of the study, or any source that `load_images` accepts, if the study does
            not know their place: arrays, or files that have moved. Default: the data set of the
            search.
        device: Device for TensorFlow, unless TensorFlow has already been initialised.
        on_step: Called with a description of each step, such as "Writing the model as onnx".

    Raises:
        ResultsError: There is no such trial or format, the trial's weights were not kept, the
            folder holds files of another program, the images are not those of the study, or no
            format could be exported.
        DataError: `images` cannot be read.

    Example:
        >>> vaetune.export_trial(study, folder="model", formats=["onnx"])
        >>> vae = vaetune.load_model("model/vae.keras")
    """
    target = Path(folder)
    current = load_study(study.folder)  # Evaluations may have been added since `study` was loaded.
    picked = pick(current, trial.trial_id if isinstance(trial, Trial) else trial)
    names = (formats,) if isinstance(formats, str) else tuple(formats)
    check_replaceable(target)
    given = None if images is None else prepare_given(current, images)
    with Reader() as reader:
        choose_device(device)
        from vaetune.export.bundle import write_export

        return write_export(current, picked, current.results, target, reader, names, on_step, given)
