"""Models judged on the test images, from a terminal."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vaetune.errors import ResultsError, VaetuneError
from vaetune.terminal import note, title_of

if TYPE_CHECKING:
    from vaetune.evaluation import EvaluationProtocol
    from vaetune.journal import TrialEvaluated
    from vaetune.spec import DataSpec
    from vaetune.study import Study, Trial


def is_export(name: str, results: Path) -> bool:
    """Whether a name is the folder of an export, and of no study."""
    from vaetune.destination import read_manifest
    from vaetune.shelf import has_begun

    folders = (results / name, Path(name))
    return not any(map(has_begun, folders)) and read_manifest(folders[1]) is not None


def judge_study(
    study: "Study",
    trial_id: str | None,
    dataset: str | None,
    protocol: "EvaluationProtocol",
    wanted: int | None,
    again: bool,
    results: Path,
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """The evaluations of a trial and of the Keras example, by what to call them."""
    from vaetune.shelf import find_baseline
    from vaetune.study import pick

    picked = pick(study, trial_id)
    data = study.search.data
    protocol = _for_images(
        replace(protocol, seed=study.search.seed, binarize=data.binarize),
        study.started.data.test_images,
        wanted,
    )
    models = {f"trial {picked.trial_id}": (study, picked)}
    baseline = find_baseline(study, results)
    if baseline and baseline.winner:
        models["Keras example"] = (baseline, baseline.winner)
    else:
        note("There is no Keras example trained alike to hold it against.")
    recorded = {name: one.evaluation(trial, protocol) for name, (one, trial) in models.items()}
    judged = {name: event for name, event in recorded.items() if event and not again}
    missing = {name: model for name, model in models.items() if name not in judged}
    if missing:
        judged |= _judge(missing, study, _placed(data, dataset), protocol)
    told = {name: judged[name] for name in models if name in judged}
    return title_of(study, picked), told


def judge_exported(
    folder: Path, dataset: str | None, protocol: "EvaluationProtocol", wanted: int | None
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """The evaluation of an exported model, by what to call it."""
    from rich.console import Console

    from vaetune.data import load_prepared
    from vaetune.device import choose_device
    from vaetune.progress import EvaluationProgress
    from vaetune.spec import NAMED_SETS

    device = choose_device("auto", exact=True)
    from vaetune.judge import find_export, judge_export
    from vaetune.signals import StoppableWatcher

    exported = find_export(folder)
    if exported is None:
        raise ResultsError(f"What {folder} says of itself is damaged. Export it again.")
    data = exported.data
    if dataset is None and data.dataset not in NAMED_SETS:
        raise ResultsError(
            f'{folder} does not say where its images "{data.dataset}" are. '
            "Name them with --dataset."
        )
    images = load_prepared(_placed(data, dataset))
    if images.fingerprint != exported.fingerprint:
        note("These are other images than the model was trained and validated on.")
    protocol = _for_images(
        replace(protocol, seed=exported.seed, binarize=data.binarize), len(images.test), wanted
    )
    progress = EvaluationProgress(Console(stderr=True), str(folder))
    with progress, StoppableWatcher(progress) as watcher:
        tell = partial(watcher.on_progress, "search", None)
        event = judge_export(exported, images, protocol, device, tell)
    return f"The model in {folder}/", {f"trial {exported.trial_id}": event}


def _placed(data: "DataSpec", dataset: str | None) -> "DataSpec":
    """The same images, where they are now."""
    return data.model_copy(update={"dataset": dataset or data.dataset})


def _for_images(
    protocol: "EvaluationProtocol", available: int, wanted: int | None
) -> "EvaluationProtocol":
    """The protocol where there are so many test images, with a note if more were wanted."""
    if wanted is not None and wanted > available:
        note(f"There are {available:,} test images, fewer than --images {wanted}: all are used.")
    return protocol.limited_to(available)


def _judge(
    models: "dict[str, tuple[Study, Trial]]",
    study: "Study",
    data: "DataSpec",
    protocol: "EvaluationProtocol",
) -> Iterator[tuple[str, "TrialEvaluated"]]:
    """Evaluates models on the images of a study; that of another study may fail."""
    from rich.console import Console

    from vaetune.data import load_prepared
    from vaetune.device import choose_device
    from vaetune.progress import EvaluationProgress

    images = load_prepared(data)
    device = choose_device("auto", exact=True)
    from vaetune.judge import judge
    from vaetune.signals import StoppableWatcher

    for name, (one, trial) in models.items():
        progress = EvaluationProgress(Console(stderr=True), name)
        try:
            with progress, StoppableWatcher(progress) as watcher:
                tell = partial(watcher.on_progress, "search", None)
                event = judge(one, trial.trial_id, images, protocol, device, tell)
        except VaetuneError as error:
            if one is study:
                raise
            note(f"The {name} is not judged beside it. {error}")
        else:
            yield name, event
