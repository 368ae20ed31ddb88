"""Writes a model card: what a model is, how to use it, its quality and its limits.

The card contains only recorded facts. It is Markdown with the metadata of the Hugging Face Hub.

References:
    Mitchell et al., "Model Cards for Model Reporting", 2019.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from vaetune.config import LIKELIHOODS, Objective, value_of
from vaetune.evaluation import VALIDATION_LOSSES
from vaetune.export.card_texts import (
    Rows,
    describe_figures,
    describe_files,
    describe_networks,
    is_example,
)
from vaetune.export.model_index import dataset_type, list_measured, quoted
from vaetune.export.preprocessing import preparation_context
from vaetune.report import (
    counted,
    describe_place,
    describe_protocol,
    describe_rescored,
    describe_retrained,
    describe_winner_by_loss,
    evaluation_rows,
    kl_by_level,
    list_settings,
    printable,
)
from vaetune.study import EpochEnded, Study, Trial, TrialEvaluated, evaluate_command

_MODEL = "this model"

_HIDDEN_SETTINGS = ("description", "baseline", "device", "data.dataset", "limits.")
"""Settings without influence on the model, and the path of the user's images."""


@dataclass(frozen=True)
class ExportFacts:
    """The facts that a model card describes.

    Attributes:
        study: Search or baseline that the trial belongs to.
        trial: Exported trial.
        baseline: Run of the Keras example on the same images, or None.
        formats: Names of the exported formats, such as ("keras", "onnx").
        figures: File names of the figures.
        has_predict: Whether the export includes `predict.py`.
        scored_images: Number of validation images in its file of losses; 0 without this file.
    """

    study: Study
    trial: Trial
    baseline: Study | None
    formats: tuple[str, ...]
    figures: tuple[str, ...]
    has_predict: bool
    scored_images: int = 0

    @property
    def levels(self) -> int:
        """Number of levels of latent variables of the model."""
        return int(value_of(self.trial.hyperparameters, "levels"))


def write_card(facts: ExportFacts) -> str:
    """The model card of an export: Markdown that begins with YAML metadata."""
    study, trial = facts.study, facts.trial
    return _template().render(
        study=study,
        trial=trial,
        data=study.started.data,
        best=trial.best,
        latent_dim=trial.hyperparameters["latent_dim"],
        levels=facts.levels,
        shape=study.started.data.image_shape,
        dataset_type=dataset_type(study),
        measured=list_measured(study, trial),
        binarize=study.search.data.binarize,
        likelihood=study.likelihood,
        words=LIKELIHOODS[study.likelihood],
        bits=None if trial.best is None else study.bits(trial.best.val_loss),
        **preparation_context(study),
        formats=facts.formats,
        has_predict=facts.has_predict,
        figures=describe_figures(facts.figures, facts.levels),
        files=_files(facts),
        **_test_context(facts),
        **_validation_context(facts),
        **_training_context(study, trial),
    )


@cache
def _template() -> Template:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = plain
    environment.filters["quoted"] = quoted
    environment.globals["counted"] = counted
    return environment.from_string(
        files("vaetune.export").joinpath("model_card.md.j2").read_text("utf-8")
    )


def plain(text: str, longest: int = 100) -> str:
    """Escapes a text for Markdown, because names come from files and folders.

    Args:
        text: Any text.
        longest: Characters to keep.
    """
    return _MARKUP.sub(r"\\\g<0>", printable(text, longest))


_MARKUP = re.compile(r"[\\`*\[\]<>|#~$&!]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def _test_context(facts: ExportFacts) -> dict[str, Any]:
    """The template's variables about the test images."""
    evaluations = _find_evaluations(facts)
    event = evaluations.get(_MODEL)
    evaluation = event.evaluation if event else None
    name = facts.study.reference_name
    reference = evaluations.get(name)
    elbo = f"{reference.evaluation.negative_elbo.mean:.2f}" if reference else ""
    rows = evaluation_rows([*evaluations.values()]) if evaluations else []
    return {
        "evaluation": evaluation,
        "evaluated": list(evaluations),
        "evaluation_rows": [(name.strip(), *map(_typeset, cells)) for name, *cells in rows],
        "reference_elbo": f"; that of the {name} is {elbo}" if elbo else "",
        "protocol": _protocol(event) if event else [],
        "evaluate_command": _evaluate_command(facts.study, facts.trial),
    }


def _find_evaluations(facts: ExportFacts) -> dict[str, TrialEvaluated]:
    """The evaluation of the model, and that of the Keras example by the same protocol."""
    event = facts.study.evaluation(facts.trial)
    if event is None:
        return {}
    baseline, reference = _find_reference(facts) or (None, None)
    protocol = event.evaluation.protocol
    other = baseline.evaluation(reference, protocol) if baseline and reference else None
    return {_MODEL: event} | ({facts.study.reference_name: other} if other else {})


def _find_reference(facts: ExportFacts) -> tuple[Study, Trial] | None:
    """The Keras example, unless there is none or the exported model is the Keras example."""
    baseline = facts.baseline
    if baseline is None or baseline.winner is None or baseline.folder == facts.study.folder:
        return None
    return baseline, baseline.winner


def _protocol(event: TrialEvaluated) -> list[str]:
    lines = _typeset(describe_protocol(event.evaluation)).splitlines()
    of_level = kl_by_level(event.evaluation)
    details = [
        f"KL of each {'channel' if number > 1 else 'latent dimension'}"
        f"{f' of {name}' if name else ''}, nats: {values}"
        for number, (name, values) in enumerate(of_level.items(), start=1)
    ]
    return [*(line.strip() for line in lines), *details]


def _typeset(text: str) -> str:
    return text.replace("+-", "\N{PLUS-MINUS SIGN}")


def _evaluate_command(study: Study, trial: Trial) -> str:
    # The card hides the folders of the user's machine.
    portable = replace(study, folder=Path("results") / study.address)
    return printable(evaluate_command(portable, trial), 500)


def _without_folders(command: Sequence[str]) -> str:
    """A command with every path cut to its last part, to hide folders of the user's machine."""
    words = [re.sub(r"[^=]*[/\\](?=[^/\\])", "", word.rstrip("/\\")) for word in command]
    return printable(shlex.join(words), longest=1000)


def _validation_context(facts: ExportFacts) -> dict[str, Any]:
    """The template's variables about the validation images."""
    study, trial = facts.study, facts.trial
    _, reference = _find_reference(facts) or (None, None)
    models = {_MODEL: trial, study.reference_name: reference}
    best = {name: one.best for name, one in models.items() if one and one.best}
    is_winner = trial == study.winner and study.started.kind == "search"
    scores = {
        "Chosen by the loss": describe_winner_by_loss(study) if is_winner else None,
        "Rescored": describe_rescored(study, trial),
        "Trained from other seeds": describe_retrained(study, trial),
    }
    return {
        "validated": list(best),
        "validation_rows": _table([_losses(epoch, trial.objective) for epoch in best.values()]),
        "more_scores": [f"{name}: {_typeset(text)}" for name, text in scores.items() if text],
        "is_winner": is_winner,
    }


def _losses(epoch: EpochEnded, objective: Objective) -> dict[str, str]:
    use = {} if objective.is_loss else {objective.title: objective.number(epoch.value)}
    return {
        **use,
        "negative ELBO, nats per image": f"{epoch.val_loss:.2f}",
        "reconstruction": f"{epoch.val_reconstruction_loss:.2f}",
        "KL": f"{epoch.val_kl_loss:.2f}",
        "best epoch": str(epoch.epoch),
    }


def _table(columns: Sequence[Mapping[str, str]]) -> Rows:
    """Rows of a table with a column for each model."""
    if not columns:
        return []
    return [(key.strip(), *(column[key] for column in columns)) for key in columns[0]]


def _training_context(study: Study, trial: Trial) -> dict[str, Any]:
    """The template's variables about data, training and settings."""
    environment = study.environment
    return {
        "data_rows": _data_rows(study),
        "origin_rows": _origin_rows(study, trial),
        "command": _without_folders(environment.command) if environment else "",
        "hyperparameter_rows": [
            (name, value if isinstance(value, str) else f"{value:.6g}")
            for name, value in trial.hyperparameters.items()
        ],
        "networks": describe_networks(study.started.data.image_shape, trial.hyperparameters),
        "is_example": is_example(study.started.data.image_shape, trial.hyperparameters),
        "settings": _settings(study),
    }


def _data_rows(study: Study) -> Rows:
    data = study.started.data
    counts = (data.train_images, data.validation_images, data.test_images)
    rows: Rows = [
        ("name", plain(data.name)),
        ("training, validation and test images", ", ".join(f"{count:,}" for count in counts)),
        ("height, width, channels", ", ".join(map(str, data.image_shape))),
        ("classes", _classes(data.class_names)),
        ("binarisation", study.search.data.binarize),
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
    measure = "validation loss" if trial.objective.is_loss else trial.objective.title
    duration_s = sum(part.duration_s for part in study.lineage(trial))
    rows: Rows = [
        ("found by", _describe_study(study)),
        ("trial", _describe_trial(study, trial)),
        ("epoch", f"{best.epoch if best else 0} of {trial.epoch_to}, the best by {measure}"),
        ("trained", f"{trial.started:%Y-%m-%d %H:%M} UTC, {duration_s:.1f} s"),
        ("seed", str(study.search.seed)),
    ]
    if environment:
        versions = {**environment.versions, "Python": environment.python}
        rows += [
            (
                "machine",
                plain(
                    f"{environment.device}, {counted(environment.threads, 'thread')}; "
                    f"{environment.cpu}; {environment.platform}"
                ),
            ),
            (
                "versions",
                plain(", ".join(f"{name} {version}" for name, version in versions.items()), 500),
            ),
        ]
    return rows


def _describe_study(study: Study) -> str:
    if study.started.kind == "baseline":
        description = plain(study.search.description)
        return description or "no search: a single configuration was trained"
    configurations = len({trial.configuration for trial in study.trials})
    failed = f", {len(study.failures)} failed" if study.failures else ""
    return (
        f"search {plain(study.name)} ({study.search.algorithm}), started "
        f"{study.started.time:%Y-%m-%d}, {'complete' if study.is_complete else 'not complete'}: "
        f"{counted(len(study.trials), 'trial')}{failed}, "
        f"{counted(configurations, 'configuration')}, {counted(study.epochs_trained, 'epoch')}"
    )


def _describe_trial(study: Study, trial: Trial) -> str:
    text = f"{trial.trial_id}, {describe_place(study, trial)}"
    if study.started.kind == "search" and trial in study.preference:
        text += f"; rank {study.preference.index(trial) + 1} of {len(study.preference)}"
    return text


def _settings(study: Study) -> Rows:
    settings = list_settings(study.search)
    return [(key, value) for key, value in settings if not key.startswith(_HIDDEN_SETTINGS)]


def _files(facts: ExportFacts) -> Rows:
    rows = describe_files(facts.formats, facts.levels)
    if facts.has_predict:
        rows += [
            ("predict.py", "a program for image files; needs numpy, Pillow, onnxruntime"),
            ("philox.py", "random numbers of `predict.py`, the same as those of TensorFlow"),
            ("pictures.py", "how `predict.py` finds and writes images"),
            ("tables.py", "how `predict.py` writes tables"),
        ]
    if facts.scored_images:
        images = counted(facts.scored_images, "validation image")
        rows += [(VALIDATION_LOSSES, f"losses of {images}, for comparison by `vaetune score`")]
    rows += [
        ("prepare.py", "Python functions that prepare an image; need numpy and Pillow"),
        ("preprocessing.json", "how to prepare an image before it is encoded, for programs"),
        ("hyperparameters.json", "the facts of this card, for programs"),
    ]
    return [(f"[{name}]({name})", content) for name, content in rows]
