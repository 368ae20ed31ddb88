"""Exports the model of a trial as a folder that others can use."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import tensorflow as tf

from vaetune.errors import ResultsError, VaetuneError, one_line
from vaetune.evaluation import (
    VALIDATION_LOSSES,
    PreparedImages,
    model_of_trial,
    score_validation,
)
from vaetune.export.folder import check_replaceable, list_files, replace_folder
from vaetune.export.formats import ALWAYS, FORMATS, chosen_formats, remove_format, write_format
from vaetune.export.manifest import build_manifest
from vaetune.export.model_card import ExportFacts, write_card
from vaetune.export.preprocessing import describe_preprocessing
from vaetune.export.reader import Reader
from vaetune.export.showcase import draw_showcase
from vaetune.export.standalone.read_back import describe_error
from vaetune.export.verify import Verification, read_back
from vaetune.models import VAE
from vaetune.study import MANIFEST, ProbeImages, Study, Trial, find_baseline
from vaetune.training import restore_best

_PREDICT = ("predict.py", "philox.py", "pictures.py", "tables.py")

_PREPARE = "prepare.py"
"""The module that prepared the training images."""

_NEEDED_BY_PREDICT = "onnx"


@dataclass(frozen=True)
class Export:
    """An export that was written.

    Attributes:
        folder: Folder of the export.
        max_difference: Maximum difference from the original, by format and endpoint; see
            `standalone.read_back.max_difference`.
        failures: Reason why a requested format is not part of the export, by format.
        no_losses: Reason why it does not contain the losses of validation images; empty if it does.
    """

    folder: Path
    max_difference: Mapping[str, Mapping[str, float]]
    failures: Mapping[str, str]
    no_losses: str = ""


def write_export(
    study: Study,
    trial: Trial,
    results: Path,
    target: Path,
    reader: Reader,
    formats: Iterable[str] = (ALWAYS,),
    on_step: Callable[[str], None] = lambda step: None,
    images: PreparedImages | None = None,
) -> Export:
    """Exports a trial's model to a folder, completely or not at all.

    A process that cannot import vaetune reads each format back. A format that cannot be written or
    that differs from the original is left out; the other formats are exported.

    Args:
        study: Search or baseline that the trial belongs to.
        trial: Trial to export, with the weights of its best epoch.
        results: Folder of results, which holds the baselines.
        target: Folder to write.
        reader: Process that reads the export back.
        formats: Names of `FORMATS`, or "all". The Keras format is always written.
        on_step: Called with a description of each step as it begins.
        images: Images of the study. Default: read from their place.

    Raises:
        ResultsError: The folder cannot be written or holds other files, no format could be
            exported, or the trial's checkpoint is missing or damaged.
    """
    check_replaceable(target)
    names = chosen_formats(formats)
    with tf.device("CPU:0"):
        vae = restore_best(study, trial)
    baseline = find_baseline(study, results)

    def write(folder: Path) -> tuple[dict[str, Verification], str]:
        verifications = _write_models(folder, vae, names, on_step)
        on_step("Drawing the figures")
        figures = draw_showcase(vae, study, trial)
        for name, image in figures.items():
            (folder / name).write_bytes(image)
        on_step("Scoring validation images")
        scored_images, no_losses = _write_losses(folder, study, trial, vae, images)
        on_step("Reading the model back")
        written = [name for name, one in verifications.items() if one.error is None]
        verifications |= read_back(reader, folder, written, vae, ProbeImages.load(study.folder))
        _remove_failed(folder, verifications)
        verified = tuple(name for name, one in verifications.items() if one.error is None)
        has_predict = _NEEDED_BY_PREDICT in verified
        facts = ExportFacts(
            study, trial, baseline, verified, tuple(figures), has_predict, scored_images
        )
        _write_documents(folder, facts, verifications)
        return verifications, no_losses

    verifications, no_losses = replace_folder(target, write)
    return Export(
        target,
        {name: one.max_difference for name, one in verifications.items() if one.error is None},
        {name: one.error for name, one in verifications.items() if one.error is not None},
        no_losses,
    )


def _write_models(
    folder: Path, vae: VAE, names: Iterable[str], on_step: Callable[[str], None]
) -> dict[str, Verification]:
    """Writes each format and returns, by format, the error that occurred, if any."""
    written = {}
    for name in names:
        on_step(f"Writing the model as {name}")
        try:
            write_format(name, folder, vae)
        except OSError:
            raise  # Such as a full disk: the whole export fails.
        except ResultsError as error:
            written[name] = Verification({}, str(error))
        except Exception as error:  # noqa: BLE001  whatever a library raises, write the others
            written[name] = Verification({}, describe_error(error))
        else:
            written[name] = Verification({})
    return written


def _write_losses(
    folder: Path, study: Study, trial: Trial, vae: VAE, images: PreparedImages | None
) -> tuple[int, str]:
    """Writes the losses of validation images.

    Returns:
        The number of the images, and the reason why it is zero.
    """
    model = replace(model_of_trial(study, trial), load=lambda: vae)
    try:
        losses = score_validation(model, images)
    except VaetuneError as error:
        return 0, one_line(error)
    losses.write(folder / VALIDATION_LOSSES)
    return len(losses.negative_elbo), ""


def _remove_failed(folder: Path, verifications: Mapping[str, Verification]) -> None:
    """Removes the files of formats that failed.

    Raises:
        ResultsError: All formats failed.
    """
    failed = {name: one.error for name, one in verifications.items() if one.error is not None}
    if len(failed) == len(verifications):
        reasons = "; ".join(f"{name}: {error}" for name, error in failed.items())
        raise ResultsError(f"No format could be exported. {reasons}")
    for name in failed:
        remove_format(name, folder)


def _write_documents(
    folder: Path, facts: ExportFacts, verifications: Mapping[str, Verification]
) -> None:
    """Writes the programs, the model card, the preprocessing and, last, the manifest."""
    study, trial = facts.study, facts.trial
    _copy_program("vaetune.data", _PREPARE, folder)
    if facts.has_predict:
        for name in _PREDICT:
            _copy_program("vaetune.export.standalone", name, folder)
    (folder / "README.md").write_text(write_card(facts), encoding="utf-8")
    _write_json(folder / "preprocessing.json", describe_preprocessing(study))
    formats = {
        name: {
            "files": FORMATS[name].find_files(folder),
            "apart": dict(verifications[name].max_difference),
        }
        for name in facts.formats
    }
    names = sorted({MANIFEST, *list_files(folder)})
    manifest = {**build_manifest(study, trial), "formats": formats, "files": names}
    if facts.scored_images:
        manifest["validation_losses"] = facts.scored_images
    _write_json(folder / MANIFEST, manifest)


def _copy_program(package: str, name: str, folder: Path) -> None:
    """Copies a module into an export, unchanged."""
    (folder / name).write_bytes((files(package) / name).read_bytes())


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
