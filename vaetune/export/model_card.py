"""A model card: what a model is, how it is used, how good it is, and what it is not for.

It holds recorded facts alone, in Markdown with the metadata that the Hugging Face Hub reads.

References:
    Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from vaetune.report import (
    MAX_DIMENSIONS,
    REACH,
    counted,
    describe_protocol,
    describe_rescored,
    describe_retrained,
    evaluation_rows,
    list_settings,
    printable,
)
from vaetune.study import EpochEnded, Study, Trial, TrialEvaluated

Rows = list[tuple[str, ...]]

_THIS, _EXAMPLE = "this model", "Keras example"

_PICTURES: Mapping[str, tuple[str, str]] = {
    "reconstructions.png": (
        "Reconstructions",
        "Validation images, and below them what is decoded from their z_mean.",
    ),
    "prior_samples.png": (
        "Samples",
        "Decoded from random z of the prior N(0, 1), not chosen.",
    ),
    "manifold.png": (
        "The latent space",
        "Decoded from a grid over both dimensions, in equal steps of the prior's probability.",
    ),
    "interpolations.png": (
        "Between images",
        "Decoded from the straight line between the z_mean of two validation images.",
    ),
    "traversal.png": (
        "One dimension at a time",
        f"Decoded from -{REACH} to {REACH} along each active dimension, all others at 0; the most "
        f"active first, {MAX_DIMENSIONS} at most. The variance is that of z_mean over validation "
        "images.",
    ),
    "clusters.png": (
        "Where images lie",
        "The z_mean of validation images, in colours of their classes where there are any.",
    ),
}
"""Title and caption of each picture, in the order in which they are to be seen."""

_FILES: Mapping[str, Rows] = {
    "keras": [
        ("vae.keras", "the whole model, with vaetune's class"),
        ("encoder.keras", "images to z_mean and z_log_var"),
        ("decoder.keras", "z to images"),
    ],
    "saved-model": [("saved_model/", "TensorFlow: encode, decode, reconstruct, sample")],
    "onnx": [("encoder.onnx", "images to z_mean and z_log_var"), ("decoder.onnx", "z to images")],
    "litert": [
        ("encoder.tflite", "images to z_mean and z_log_var"),
        ("decoder.tflite", "z to images"),
    ],
}

_NOT_OF_THE_EXPERIMENT = ("description", "baseline", "device", "data.dataset", "limits.")
"""Settings that change nothing of a model, and a path of the user's own."""


@dataclass(frozen=True)
class ExportFacts:
    """An export that is being written.

    Attributes:
        study: The search, or the baseline, that the trial is of.
        trial: The trial of which the model is handed over.
        baseline: The Keras example trained on the same images, if there is one.
        formats: The formats that were written and read back, such as ("keras", "onnx").
        figures: Names of the pictures that were written.
        has_predict: Whether `predict.py` was written.
    """

    study: Study
    trial: Trial
    baseline: Study | None
    formats: tuple[str, ...]
    figures: tuple[str, ...]
    has_predict: bool


def write_card(handover: ExportFacts) -> str:
    """The model card of an export, as Markdown that begins with YAML metadata."""
    study, trial = handover.study, handover.trial
    return _template().render(
        study=study,
        trial=trial,
        data=study.started.data,
        best=trial.best,
        latent_dim=trial.hyperparameters["latent_dim"],
        shape=study.started.data.image_shape,
        binarize=study.search.data.binarize,
        formats=handover.formats,
        has_predict=handover.has_predict,
        pictures=[(n, *told) for n, told in _PICTURES.items() if n in handover.figures],
        files=_files(handover),
        **_told_of_test_images(handover),
        **_told_of_validation_images(handover),
        **_told_of_origin(study, trial),
    )


@cache
def _template() -> Template:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = plain
    environment.globals["counted"] = counted
    return environment.from_string(
        files("vaetune.export").joinpath("model_card.md.j2").read_text("utf-8")
    )


def plain(text: str, longest: int = 100) -> str:
    """Text as Markdown that shows it as it is: names come from files and folders."""
    return _MARKUP.sub(r"\\\g<0>", printable(text, longest))


_MARKUP = re.compile(r"[\\`*\[\]<>|#~$&!]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def _told_of_test_images(handover: ExportFacts) -> dict[str, Any]:
    judged = _judged(handover)
    event = judged.get(_THIS)
    evaluation = event.evaluation if event else None
    example = judged.get(_EXAMPLE)
    theirs = f", the Keras example's {example.evaluation.negative_elbo.mean:.2f}" if example else ""
    rows = _side_by_side([evaluation_rows(each) for each in judged.values()])
    return {
        "evaluation": evaluation,
        "judged": list(judged),
        "judged_rows": [tuple(map(_neat, row)) for row in rows],
        "against": theirs,
        "protocol": _protocol(event) if event else [],
        "evaluate_command": _evaluate_command(handover.study, handover.trial),
    }


def _judged(handover: ExportFacts) -> dict[str, TrialEvaluated]:
    """What the test images say of the model, and of the Keras example by the same protocol."""
    event = handover.study.evaluation(handover.trial)
    if event is None:
        return {}
    baseline, theirs = _example(handover) or (None, None)
    other = baseline.evaluation(theirs, event.evaluation.protocol) if baseline and theirs else None
    return {_THIS: event} | ({_EXAMPLE: other} if other else {})


def _example(handover: ExportFacts) -> tuple[Study, Trial] | None:
    """Describes the Keras example next to the model, unless it is the model."""
    baseline = handover.baseline
    if baseline is None or baseline.winner is None or baseline.folder == handover.study.folder:
        return None
    return baseline, baseline.winner


def _protocol(event: TrialEvaluated) -> list[str]:
    lines = _neat(describe_protocol(event.evaluation)).splitlines()
    each = ", ".join(f"{kl:.2f}" for kl in event.evaluation.kl_per_dimension)
    return [*(line.strip() for line in lines), f"KL of each latent dimension, nats: {each}"]


def _neat(text: str) -> str:
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")


def _evaluate_command(study: Study, trial: Trial) -> str:
    which = [] if trial == study.winner else ["--trial", trial.trial_id]
    return printable(f"vaetune evaluate {shlex.join([study.address, *which])}", 500)


def _without_folders(command: Sequence[str]) -> str:
    """A command without where things are on the user's machine: of a path the last part."""
    words = [re.sub(r"[^=]*[/\\](?=[^/\\])", "", word.rstrip("/\\")) for word in command]
    return printable(shlex.join(words), longest=1000)


def _told_of_validation_images(handover: ExportFacts) -> dict[str, Any]:
    study, trial = handover.study, handover.trial
    _, theirs = _example(handover) or (None, None)
    models = {_THIS: trial, _EXAMPLE: theirs}
    best = {name: one.best for name, one in models.items() if one and one.best}
    again = {
        "Rescored": describe_rescored(study, trial),
        "Trained from other seeds": describe_retrained(study, trial),
    }
    return {
        "validated": list(best),
        "validated_rows": _side_by_side([_losses(epoch) for epoch in best.values()]),
        "judged_again": [f"{what}: {_neat(told)}" for what, told in again.items() if told],
        "is_winner": trial == study.winner and study.started.kind == "search",
    }


def _losses(epoch: EpochEnded) -> dict[str, str]:
    return {
        "negative ELBO, nats per image": f"{epoch.val_loss:.2f}",
        "reconstruction": f"{epoch.val_reconstruction_loss:.2f}",
        "KL": f"{epoch.val_kl_loss:.2f}",
        "best epoch": str(epoch.epoch),
    }


def _side_by_side(told: Sequence[Mapping[str, str]]) -> Rows:
    """Rows of a table with a column for each model."""
    return [(key.strip(), *(each[key] for each in told)) for key in told[0]] if told else []


def _told_of_origin(study: Study, trial: Trial) -> dict[str, Any]:
    environment = study.environment
    return {
        "data_rows": _data_rows(study),
        "origin_rows": _origin_rows(study, trial),
        "command": _without_folders(environment.command) if environment else "",
        "hyperparameter_rows": [(k, f"{v:.6g}") for k, v in trial.hyperparameters.items()],
        "settings": _settings(study),
    }


def _data_rows(study: Study) -> Rows:
    data, chosen = study.started.data, study.search.data
    counts = (data.train_images, data.validation_images, data.test_images)
    rows: Rows = [
        ("name", plain(data.name)),
        ("training, validation and test images", ", ".join(f"{count:,}" for count in counts)),
        ("height, width, channels", ", ".join(map(str, data.image_shape))),
        ("classes", _classes(data.class_names)),
        ("binarised", chosen.binarize),
        ("SHA-256 of all arrays", f"`{data.fingerprint}`"),
    ]
    return rows


def _classes(names: Sequence[str] | None) -> str:
    if names is None:
        return "no labels"
    shown = ", ".join(plain(name) for name in names[:_MAX_CLASSES])
    return f"{len(names)}: {shown}" + (", ..." if len(names) > _MAX_CLASSES else "")


_MAX_CLASSES = 20


def _origin_rows(study: Study, trial: Trial) -> Rows:
    best, environment = trial.best, study.environment
    duration_s = sum(part.duration_s for part in study.lineage(trial))
    rows: Rows = [
        ("found by", _finder(study)),
        ("trial", _place(study, trial)),
        ("epochs", f"{best.epoch if best else 0} of {trial.epoch_to}, the best by validation loss"),
        ("trained", f"{trial.started:%Y-%m-%d %H:%M} UTC, {duration_s:.1f} s"),
        ("seed", str(study.search.seed)),
    ]
    if environment:
        versions = {**environment.versions, "Python": environment.python}
        rows += [
            (
                "on",
                plain(
                    f"{environment.device}, {counted(environment.threads, 'thread')}; "
                    f"{environment.cpu}; {environment.platform}"
                ),
            ),
            (
                "with",
                plain(", ".join(f"{name} {version}" for name, version in versions.items()), 500),
            ),
        ]
    return rows


def _finder(study: Study) -> str:
    if study.started.kind == "baseline":
        described = plain(study.search.description)
        return described or "nothing: one configuration, trained outside any search"
    configurations = len({trial.configuration for trial in study.trials})
    failed = f", {len(study.failures)} failed" if study.failures else ""
    return (
        f"search {plain(study.name)} ({study.search.algorithm}), begun "
        f"{study.started.time:%Y-%m-%d}, {'complete' if study.is_complete else 'not complete'}: "
        f"{counted(len(study.trials), 'trial')}{failed}, "
        f"{counted(configurations, 'configuration')}, {counted(study.epochs_trained, 'epoch')}"
    )


def _place(study: Study, trial: Trial) -> str:
    place = f"{trial.trial_id}, configuration {trial.configuration}"
    if study.search.algorithm == "hyperband":
        place += f", bracket {trial.bracket}, rung {trial.rung}"
    if study.started.kind == "search" and trial in study.preference:
        place += f"; rank {study.preference.index(trial) + 1} of {len(study.preference)}"
    return place


def _settings(study: Study) -> Rows:
    settings = list_settings(study.search)
    return [(key, value) for key, value in settings if not key.startswith(_NOT_OF_THE_EXPERIMENT)]


def _files(handover: ExportFacts) -> Rows:
    rows = [row for name in handover.formats for row in _FILES[name]]
    if handover.has_predict:
        rows.append(("predict.py", "a command for image files, with numpy, Pillow, onnxruntime"))
    rows += [
        ("preprocessing.json", "what becomes of an image before it is encoded"),
        ("hyperparameters.json", "this card's facts, for programs"),
    ]
    return [(f"[{name}]({name})", what) for name, what in rows]
