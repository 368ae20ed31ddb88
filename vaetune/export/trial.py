"""A trial's model exported, for scripts and notebooks."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.device import choose_device
from vaetune.export.folder import check_replaceable
from vaetune.export.reader import Reader
from vaetune.study import Study, Trial, pick, shared_folder

if TYPE_CHECKING:
    from vaetune.export.bundle import Export


def export_trial(
    study: Study,
    trial: Trial | str | None = None,
    folder: str | os.PathLike[str] = "model",
    formats: Sequence[str] = (),
) -> "Export":
    """Writes a trial's model to a folder, verifies every file and describes it in a model card.

    Args:
        study: A search or a baseline.
        trial: The trial, or its id. Default: the winner.
        folder: The folder to write. An earlier export in it is replaced as a whole.
        formats: Any of "saved-model", "onnx" and "litert", or "all". Keras's own format is always
            written.

    Returns:
        What was written, and the largest differences from the original.

    Raises:
        ResultsError: The folder holds other files, the trial's weights were not kept, or no format
            could be written.

    Example:
        >>> vaetune.export_trial(study, folder="model", formats=["onnx"])
    """
    picked = trial if isinstance(trial, Trial) else pick(study, trial)
    target = Path(folder)
    check_replaceable(target)
    with Reader() as reader:  # its process imports TensorFlow while this one does
        choose_device("auto")
        from vaetune.export.bundle import write_export

        results = shared_folder(study.folder, study.started.kind)
        return write_export(study, picked, results, target, reader, formats)
