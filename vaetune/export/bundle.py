"""The best trial as a folder that others can use."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import tensorflow as tf

from vaetune.errors import ResultsError
from vaetune.export.folder import check_replaceable, list_files, replace_folder
from vaetune.export.formats import ALWAYS, FORMATS, chosen_formats, remove_format, write_format
from vaetune.export.manifest import MANIFEST, build_manifest, describe_preprocessing
from vaetune.export.model_card import ExportFacts, write_card
from vaetune.export.reader import Reader
from vaetune.export.showcase import draw_showcase
from vaetune.export.standalone.read_back import describe
from vaetune.export.verify import Verification, read_back
from vaetune.models import VAE
from vaetune.study import ProbeImages, Study, Trial, find_baseline
from vaetune.training import restore_best

_PREDICT = "predict.py"

_NEEDED_BY_PREDICT = "onnx"


@dataclass(frozen=True)
class Export:
    """What was handed over.

    Attributes:
        folder: Folder of the export.
        apart: Largest differences from the original, by format and endpoint.
        failures: Reasons why requested formats are missing, by format.
    """

    folder: Path
    apart: Mapping[str, Mapping[str, float]]
    failures: Mapping[str, str]


def write_export(
    study: Study,
    trial: Trial,
    results: Path,
    target: Path,
    reader: Reader,
    formats: Iterable[str] = (ALWAYS,),
    tell: Callable[[str], None] = lambda doing: None,
) -> Export:
    """Hands a trial's model over as a folder, whole or not at all.

    Each format is read back by a process that cannot import vaetune. One that cannot be written,
    or says something else than the original, is left out; the others are handed over.

    Args:
        results: Results folder, which holds the baselines.
        target: The folder to write.
        reader: Reads the export back.
        formats: Names of `FORMATS`, or "all"; Keras's own is always written.
        tell: Hears what is being done.

    Raises:
        ResultsError: The folder cannot be written or holds what is not vaetune's, no format could
            be handed over, or the trial's checkpoint is missing or damaged.
    """
    check_replaceable(target)
    names = chosen_formats(formats)
    with tf.device("CPU:0"):
        vae = restore_best(study, trial)
    baseline = find_baseline(study, results)

    def write(folder: Path) -> dict[str, Verification]:
        read = _write_models(folder, vae, names, tell)
        tell("Drawing what it makes")
        figures = draw_showcase(vae, study, trial)
        for name, image in figures.items():
            (folder / name).write_bytes(image)
        tell("Reading the model back")
        whole = [name for name in read if read[name].error is None]
        read |= read_back(reader, folder, whole, vae, ProbeImages.load(study.folder))
        _remove_failed(folder, read)
        handed = tuple(name for name, one in read.items() if one.error is None)
        has_predict = _NEEDED_BY_PREDICT in handed
        _write_words(
            folder, ExportFacts(study, trial, baseline, handed, tuple(figures), has_predict), read
        )
        return read

    read = replace_folder(target, write)
    return Export(
        target,
        {name: one.apart for name, one in read.items() if one.error is None},
        {name: one.error for name, one in read.items() if one.error is not None},
    )


def _write_models(
    folder: Path, vae: VAE, names: Iterable[str], tell: Callable[[str], None]
) -> dict[str, Verification]:
    """Writes each format; of those that could not be, there is an error."""
    written = {}
    for name in names:
        tell(f"Writing the model as {name}")
        try:
            write_format(name, folder, vae)
        except OSError:
            raise  # such as a full disk: nothing is handed over
        except ResultsError as error:
            written[name] = Verification({}, str(error))
        except Exception as error:  # noqa: BLE001  whatever a library raises, others are written
            written[name] = Verification({}, describe(error))
        else:
            written[name] = Verification({})
    return written


def _remove_failed(folder: Path, read: Mapping[str, Verification]) -> None:
    """Leaves nothing of a format that is not handed over.

    Raises:
        ResultsError: That is all of them.
    """
    failed = {name: one.error for name, one in read.items() if one.error is not None}
    if len(failed) == len(read):
        reasons = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise ResultsError(f"No format could be handed over. {reasons}")
    for name in failed:
        remove_format(name, folder)


def _write_words(folder: Path, handed: ExportFacts, read: Mapping[str, Verification]) -> None:
    """Writes the description of the models, for people and programs, and finally the manifest."""
    study, trial = handed.study, handed.trial
    if handed.has_predict:
        (folder / _PREDICT).write_bytes(
            (files("vaetune.export.standalone") / _PREDICT).read_bytes()
        )
    (folder / "README.md").write_text(write_card(handed), encoding="utf-8")
    _write_json(folder / "preprocessing.json", describe_preprocessing(study))
    told = {
        name: {"files": list(FORMATS[name].files), "apart": dict(read[name].apart)}
        for name in handed.formats
    }
    names = sorted({MANIFEST, *list_files(folder)})
    manifest = {**build_manifest(study, trial), "formats": told, "files": names}
    _write_json(folder / MANIFEST, manifest)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
