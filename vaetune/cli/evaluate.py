"""`vaetune evaluate`: evaluate models on the test images."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import (
    advise_if_moved,
    clean_interrupt,
    find_exported,
    find_named,
    is_export,
    note,
    say,
    title_of,
)
from vaetune.cli.options import EvaluationFormat, Results, StudyName, TrialId
from vaetune.errors import ResultsError, VaetuneError
from vaetune.study import IMPORTANCE_IMAGES, IMPORTANCE_SAMPLES

if TYPE_CHECKING:
    from vaetune.config import DataSpec
    from vaetune.study import EvaluationProtocol, Study, Trial, TrialEvaluated


def evaluate(
    name: StudyName = None,
    trial: TrialId = None,
    importance_samples: Annotated[
        int,
        typer.Option(
            min=1, help="Number of samples k of the bound on the negative log-likelihood."
        ),
    ] = IMPORTANCE_SAMPLES,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of test images used for the bound, the first ones.",
            show_default=str(IMPORTANCE_IMAGES),
        ),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Evaluate again, even if a result is recorded.")
    ] = False,
    output: Annotated[
        EvaluationFormat, typer.Option("--format", help="Output format.")
    ] = EvaluationFormat.table,
    dataset: Annotated[
        str | None,
        typer.Option(help="Images, if they have moved; required for an export."),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Evaluate the winner and the Keras example on the test images.

    Nothing else uses the test images. The results are recorded, and a second run prints them again.
    With the folder of an export, such as results/best, its model is evaluated and nothing is
    recorded.
    """
    from vaetune.study import EvaluationProtocol

    protocol = EvaluationProtocol(
        seed=0,
        importance_samples=importance_samples,
        importance_images=IMPORTANCE_IMAGES if images is None else images,
    )
    with clean_interrupt():
        if name is not None and is_export(name, results):
            if trial is not None:
                raise typer.BadParameter("an export holds one trial: leave out --trial")
            title, evaluations = evaluate_exported(Path(name), dataset, protocol, images)
        else:
            study = find_named(results, name)
            title, evaluations = evaluate_study(
                study, trial, dataset, protocol, images, again, results
            )
    if output is EvaluationFormat.json:
        from vaetune.report import evaluations_as_json

        say(evaluations_as_json(evaluations))
        return
    from vaetune.report import evaluations_as_table

    say(f"{title} on the test images")
    say(evaluations_as_table(evaluations))


def evaluate_study(
    study: "Study",
    trial_id: str | None,
    dataset: str | None,
    protocol: "EvaluationProtocol",
    wanted: int | None,
    again: bool,
    results: Path,
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """Returns a title, and the evaluations of a trial and of the Keras example by their names."""
    from vaetune.study import find_baseline, pick

    picked = pick(study, trial_id)
    data = study.search.data
    _note_if_fewer(study.started.data.test_images, wanted)
    protocol = study.complete_protocol(protocol)
    models = {f"trial {picked.trial_id}": (study, picked)}
    baseline = find_baseline(study, results)
    if baseline and baseline.winner:
        models[study.reference_name] = (baseline, baseline.winner)
    else:
        note("No matching Keras example was found, so only the winner is shown.")
    recorded = {name: one.evaluation(trial, protocol) for name, (one, trial) in models.items()}
    found = {name: event for name, event in recorded.items() if event and not again}
    missing = {name: model for name, model in models.items() if name not in found}
    if missing:
        with advise_if_moved(dataset is not None):
            found |= _evaluate(missing, study, _moved(data, dataset), protocol)
    return title_of(study, picked), {name: found[name] for name in models if name in found}


def evaluate_exported(
    folder: Path, dataset: str | None, protocol: "EvaluationProtocol", wanted: int | None
) -> "tuple[str, dict[str, TrialEvaluated]]":
    """Returns a title, and the evaluation of an exported model by its name."""
    from rich.console import Console

    from vaetune.cli.live.bars import EvaluationProgress
    from vaetune.data import load_images, prepare_others
    from vaetune.device import choose_device

    device = choose_device("auto", exact=True)
    from vaetune.evaluation import evaluate_export
    from vaetune.search import StoppableWatcher

    exported = find_exported(folder)
    data = exported.data
    if dataset is None and exported.named_set is None:
        raise ResultsError(
            f'{folder} does not say where its images "{data.dataset}" are. '
            "Give their path with --dataset."
        )
    images = prepare_others(load_images(dataset or data.dataset, data), data)
    if images.fingerprint != exported.fingerprint:
        note("These are not the images that the model was trained and validated on.")
    _note_if_fewer(len(images.test), wanted)
    protocol = replace(protocol, seed=exported.seed, binarize=data.binarize)
    protocol = protocol.limited_to(len(images.test))
    progress = EvaluationProgress(Console(stderr=True), str(folder))
    with progress, StoppableWatcher(progress) as watcher:
        show = partial(watcher.on_progress, "search", None)
        event = evaluate_export(
            folder, exported.trial_id, exported.epoch, images, protocol, device, show
        )
    return f"The model in {folder}/", {f"trial {exported.trial_id}": event}


def _moved(data: "DataSpec", dataset: str | None) -> "DataSpec":
    """Returns the same images at another path, if one is given."""
    return data.model_copy(update={"dataset": dataset or data.dataset})


def _note_if_fewer(available: int, wanted: int | None) -> None:
    """Prints a note if there are fewer test images than were asked for."""
    if wanted is not None and wanted > available:
        note(f"There are {available:,} test images, fewer than --images {wanted}: all are used.")


def _evaluate(
    models: "dict[str, tuple[Study, Trial]]",
    study: "Study",
    data: "DataSpec",
    protocol: "EvaluationProtocol",
) -> Iterator[tuple[str, "TrialEvaluated"]]:
    """Evaluates models on the images of a study; a failure of another study's model is a note."""
    from rich.console import Console

    from vaetune.cli.live.bars import EvaluationProgress
    from vaetune.data import load_prepared
    from vaetune.device import choose_device

    images = load_prepared(data)
    device = choose_device("auto", exact=True)
    from vaetune.evaluation import record_evaluation
    from vaetune.search import StoppableWatcher

    for name, (one, trial) in models.items():
        progress = EvaluationProgress(Console(stderr=True), name)
        try:
            with progress, StoppableWatcher(progress) as watcher:
                show = partial(watcher.on_progress, "search", None)
                event = record_evaluation(one, trial.trial_id, images, protocol, device, show)
        except VaetuneError as error:
            if one is study:
                raise
            note(f"The {name} was not evaluated. {error}")
        else:
            yield name, event
