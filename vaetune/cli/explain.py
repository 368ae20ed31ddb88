"""`vaetune explain`: find out what each choice of a winner is worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import advise_if_moved, clean_interrupt, find_named, say, title_of
from vaetune.cli.options import Results, StudyName
from vaetune.cli.search import progress_of
from vaetune.errors import ResultsError
from vaetune.study import MAX_PATH_SEEDS, PATH_SEEDS

if TYPE_CHECKING:
    from vaetune.data import ImageSet
    from vaetune.study import Explanation, Study


def explain(
    name: StudyName = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_PATH_SEEDS,
            help="Number of seeds from which each configuration is trained.",
        ),
    ] = PATH_SEEDS,
    dataset: Annotated[str | None, typer.Option(help="Images, if they have moved.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the outcome.")] = False,
    results: Results = Path("results"),
) -> None:
    """Find out what each group of choices of the winner is worth.

    The Keras example becomes the winner in at most six steps, such as the widths or the learning
    rate. Their order is the one that improves most what chose the winner, by default the loss. Each
    configuration on the way is trained for the epochs of the winner. The trainings are in
    results/baselines/, and the report shows the table.
    """
    with clean_interrupt():
        study = find_named(results, name)
        explanation = explain_study(study, seeds, dataset, quiet)
        from vaetune.report import explanation_as_table, write_report

        say(explanation_as_table(explanation))
        say(f"Report: {write_report(results)}")


def explain_study(study: "Study", seeds: int, dataset: str | None, quiet: bool) -> "Explanation":
    """Trains what is missing on the path to a winner, and returns the path.

    Raises:
        ResultsError: It is no complete search with a winner.
    """
    from vaetune.study import continue_command, explain as explain_winner, list_baselines

    if study.started.kind == "baseline":
        raise ResultsError(
            f"{study.address} is a single training. `vaetune explain` needs a search."
        )
    if not study.is_complete:
        raise ResultsError(
            f"The search {study.name} is not complete, so its winner may change. Wait for its end, "
            f"or continue it with `{continue_command(study)}` if it was stopped."
        )
    found = explain_winner(study, list_baselines(study.results), seeds)
    if found is None:
        raise ResultsError(f"The search {study.name} has no winner, because every trial failed.")
    return found if found.is_complete else _train(found, dataset, quiet)


def _train(found: "Explanation", dataset: str | None, quiet: bool) -> "Explanation":
    from vaetune.config import VALIDATION_LOSS
    from vaetune.device import choose_device

    study = found.study
    images = _images_of(study, dataset)
    device = choose_device(study.search.device)
    from vaetune.report import describe_effort
    from vaetune.search import estimate_path_s, train_path

    if not quiet:
        say(title_of(study, found.trial))
        say(f"To train: {describe_effort(found, estimate_path_s(found))}.")
        say("Press Ctrl-C to stop; the same command continues.")

    def print_training(title: str, trained: "Study") -> None:
        if not quiet:
            (trial,) = trained.trials
            reached = "failed"
            if trial.best is not None:
                loss = VALIDATION_LOSS.short(trial.best.val_loss)
                other = (
                    "" if found.measure.is_loss else f"{found.measure.short(trial.best.value)}, "
                )
                reached = f"{other}{loss}"
            say(f"{title}, seed {trained.search.seed}: {reached}, {trial.duration_s or 0:.1f} s")

    return train_path(
        found, images, device, lambda session: progress_of(session, quiet=True), print_training
    )


def _images_of(study: "Study", dataset: str | None) -> "ImageSet":
    """Returns the images of a search.

    Raises:
        DataError: They have moved or changed.
    """
    from vaetune.data import load_prepared
    from vaetune.evaluation import check_images

    data = study.search.data
    if dataset is not None:
        data = data.model_copy(update={"dataset": dataset})
    elif not study.names_images:
        raise ResultsError(
            f"The images of {study.name} were given as arrays by a script. Name a file of the same "
            "images with --dataset."
        )
    with advise_if_moved(dataset is not None):
        images = load_prepared(data, say)
    check_images(study, images)
    return images
