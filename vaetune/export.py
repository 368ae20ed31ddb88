"""The best trial as a folder that others can use."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from vaetune.archive import DAMAGE
from vaetune.card import write_card
from vaetune.checkpoint import CHECKPOINT_NAME, Checkpoint, write_variables
from vaetune.destination import (
    MANIFEST,
    PROGRAM,
    list_files,
    refuse_foreign,
    replace_folder,
)
from vaetune.errors import ResultsError
from vaetune.formats import ALWAYS, FORMATS, chosen_formats, remove_format, write_format
from vaetune.handover import Handover
from vaetune.model import VAE, build_vae
from vaetune.pictures import Gallery
from vaetune.preprocessing import describe_preprocessing
from vaetune.readback import ReadBack, read_back
from vaetune.reader import Reader
from vaetune.retention import leaders, standings
from vaetune.shelf import find_baseline
from vaetune.showcase import draw_showcase
from vaetune.standalone.read_back import describe
from vaetune.study import Study, Trial

_PREDICT = "predict.py"
_NEEDED_BY_PREDICT = "onnx"


def load_model(path: str | Path) -> VAE:
    """Loads a VAE from a `.keras` file that vaetune exported.

    Raises:
        ResultsError: There is no such file, or it holds no VAE of vaetune.
    """
    if not Path(path).is_file():
        raise ResultsError(f"There is no model at {path}. `vaetune best --export` writes one.")
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (*DAMAGE, OSError, KeyError) as error:
        raise ResultsError(_unreadable(path, error)) from error
    if not isinstance(model, VAE):
        raise ResultsError(
            f"{path} holds a {type(model).__name__}, expected a VAE such as vae.keras. "
            "Load encoder.keras and decoder.keras with keras.saving.load_model."
        )
    return model


def restore_best(study: Study, trial: Trial) -> VAE:
    """Rebuilds a trial's model with the weights of its best epoch.

    Raises:
        ResultsError: Its checkpoint is damaged, or was not kept.
    """
    folder = study.trial_folder(trial.trial_id)
    kept = {leader.trial_id for leader in leaders(standings(study), study.search.limits.keep_best)}
    if trial.trial_id not in kept and not (folder / CHECKPOINT_NAME).exists():
        raise ResultsError(
            f"The weights of trial {trial.trial_id} were not kept: a search keeps those of its "
            "leaders and of the best of each latent_dim. There are those of "
            f"{', '.join(_kept(study))}. Run the search again with a larger --keep-best: "
            "it makes more of them anew."
        )
    checkpoint = Checkpoint.load(folder)
    if trial.best is None or checkpoint.best_epoch != trial.best.epoch:
        raise ResultsError(
            f"The checkpoint of trial {trial.trial_id} is older than its record: the search was "
            "stopped, or runs. Run it to its end first."
        )
    vae = build_vae(study.started.data.image_shape, trial.hyperparameters)
    write_variables(vae.variables, checkpoint.best_weights)
    return vae


def _kept(study: Study) -> list[str]:
    """The completed trials whose weights are there, best first."""
    folders = {trial.trial_id: study.trial_folder(trial.trial_id) for trial in study.ranking}
    return [trial_id for trial_id, path in folders.items() if (path / CHECKPOINT_NAME).exists()]


def _unreadable(path: str | Path, error: Exception) -> str:
    words = " ".join(str(error).split())
    if "unsafe" in words or "arbitrary code" in words:
        return (
            f"{path} asks for code of its own to be run, such as a Lambda layer: it is not loaded. "
            "A model that vaetune exported asks for none: export it again."
        )
    return f"{path} is not a readable Keras model: {words}"


@dataclass(frozen=True)
class Export:
    """What was handed over.

    Attributes:
        folder: Where it is.
        apart: How far each format's endpoints are apart from the original, by the format.
        failures: Why formats that were asked for are not in it, by the format.
    """

    folder: Path
    apart: Mapping[str, Mapping[str, float]]
    failures: Mapping[str, str]


def export_trial(
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
        results: Where the baselines are.
        target: The folder to write.
        reader: Reads the export back.
        formats: Names of `FORMATS`, or "all"; Keras's own is always written.
        tell: Hears what is being done.

    Raises:
        ResultsError: The folder cannot be written or holds what is not vaetune's, no format could
            be handed over, or the trial's checkpoint is missing or damaged.
    """
    refuse_foreign(target)
    with tf.device("CPU:0"):
        vae = restore_best(study, trial)
    baseline = find_baseline(study, results)

    def write(folder: Path) -> dict[str, ReadBack]:
        read = _write_models(folder, vae, chosen_formats(formats), tell)
        tell("Drawing what it makes")
        figures = draw_showcase(vae, study, trial)
        for name, image in figures.items():
            (folder / name).write_bytes(image)
        tell("Reading the model back")
        whole = [name for name in read if read[name].error is None]
        read |= read_back(reader, folder, whole, vae, Gallery.load(study.folder))
        _remove_failed(folder, read)
        handed = tuple(name for name, one in read.items() if one.error is None)
        has_predict = _NEEDED_BY_PREDICT in handed
        _write_words(
            folder, Handover(study, trial, baseline, handed, tuple(figures), has_predict), read
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
) -> dict[str, ReadBack]:
    """Writes each format; of those that could not be, there is an error."""
    written = {}
    for name in names:
        tell(f"Writing the model as {name}")
        try:
            write_format(name, folder, vae)
        except OSError:
            raise  # such as a full disk: nothing is handed over
        except ResultsError as error:
            written[name] = ReadBack({}, str(error))
        except Exception as error:  # noqa: BLE001  whatever a library raises, others are written
            written[name] = ReadBack({}, describe(error))
        else:
            written[name] = ReadBack({})
    return written


def _remove_failed(folder: Path, read: Mapping[str, ReadBack]) -> None:
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


def _write_words(folder: Path, handed: Handover, read: Mapping[str, ReadBack]) -> None:
    """Writes what tells of the models: to people, to programs, and the manifest at the end."""
    study, trial = handed.study, handed.trial
    if handed.has_predict:
        (folder / _PREDICT).write_bytes((files("vaetune.standalone") / _PREDICT).read_bytes())
    (folder / "README.md").write_text(write_card(handed), encoding="utf-8")
    _write_json(folder / "preprocessing.json", describe_preprocessing(study))
    told = {
        name: {"files": list(FORMATS[name].files), "apart": dict(read[name].apart)}
        for name in handed.formats
    }
    names = sorted({MANIFEST, *list_files(folder)})
    manifest = {**_manifest(study, trial), "formats": told, "files": names}
    _write_json(folder / MANIFEST, manifest)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _manifest(study: Study, trial: Trial) -> dict[str, Any]:
    best = trial.best
    data = study.started.data
    return {
        "program": PROGRAM,
        "search": study.name,
        "trial_id": trial.trial_id,
        "configuration": trial.configuration,
        "hyperparameters": dict(trial.hyperparameters),
        "epochs": best.epoch if best else None,
        "parameters": trial.parameters,
        "validation": {
            "negative_elbo": best.val_loss if best else None,
            "reconstruction_loss": best.val_reconstruction_loss if best else None,
            "kl_loss": best.val_kl_loss if best else None,
            "unit": "nats per image, one posterior sample",
            "images": data.validation_images,
        },
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.image_shape),
            "pixel_range": [0.0, 1.0],
            # Not where the images are: an export is for others.
            **study.search.data.model_dump(include={"binarize", "train_on"}),
        },
        "seed": study.search.seed,
        "versions": dict(study.environment.versions) if study.environment else {},
    }
