"""`vaetune train`: train one configuration outside a search."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, fail, find_named, say
from vaetune.cli.help import model_option, results_option, training_option
from vaetune.cli.options import (
    BatchSize,
    Dataset,
    DecayOption,
    DeviceFlag,
    OnOption,
    Overwrite,
    PrecisionFlag,
    Quiet,
    Results,
    Seed,
    TrialId,
)
from vaetune.cli.search import announce, progress_of

if TYPE_CHECKING:
    from vaetune.config import ResolvedSearch
    from vaetune.study import Study


def train(
    best: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Train the winner of this search, for longer."),
    ] = None,
    trial: TrialId = None,
    epochs: Annotated[int, training_option(min=1, help="Number of epochs to train.")] = 30,
    on: Annotated[
        OnOption | None,
        training_option(
            help="Images to train on. Default: those of --best, otherwise train.",
        ),
    ] = None,
    learning_rate_decay: Annotated[
        DecayOption | None,
        training_option(help="Learning-rate schedule over the epochs."),
    ] = None,
    patience: Annotated[
        int | None,
        training_option(help="Number of epochs without improvement to stop after."),
    ] = None,
    filters_1: Annotated[
        int | None, model_option(help="Channels of the first convolution.")
    ] = None,
    filters_2: Annotated[
        int | None, model_option(help="Channels of the second convolution.")
    ] = None,
    dense_units: Annotated[int | None, model_option(help="Width of the dense layer.")] = None,
    latent_dim: Annotated[
        int | None,
        model_option(
            help="Latent dimensions; with --best, the best trial of that size.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        model_option(help="Learning rate of the Adam optimizer."),
    ] = None,
    beta: Annotated[float | None, model_option(help="Weight of the KL divergence.")] = None,
    name: Annotated[
        str | None,
        results_option(help="Name of the folder in results/baselines/."),
    ] = None,
    dataset: Dataset = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    precision: PrecisionFlag = None,
    device: DeviceFlag = None,
    results: Results = Path("results"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train one configuration from its beginning, outside any search.

    With --best this is the winner of a search, on its images and with its settings; otherwise it is
    the Keras example. Options change either. With --on train+validation, one image in twenty is
    held out to choose the epoch. The result is in results/baselines/.
    """
    chosen = {
        "filters_1": filters_1,
        "filters_2": filters_2,
        "dense_units": dense_units,
        "latent_dim": None if best else latent_dim,
        "learning_rate": learning_rate,
        "beta": beta,
    }
    flags = {
        "budget.max_epochs": epochs,
        "budget.patience": patience,
        "data.dataset": dataset,
        "data.train_on": on.value if on else None,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "training.learning_rate_decay": learning_rate_decay.value if learning_rate_decay else None,
        "device": device.value if device else None,
    }
    own = {key: value for key, value in chosen.items() if value is not None}
    if best is None and trial is not None:
        raise typer.BadParameter("--trial goes with --best, which names its search")
    with clean_interrupt():
        if best is None:
            from vaetune.config import resolve_single

            run_baseline(resolve_single(own, flags), results, name, overwrite, quiet)
        else:
            train_best(best, trial, latent_dim, own, flags, results, name, overwrite, quiet)


def train_best(
    search_name: str,
    trial_id: str | None,
    latent_dim: int | None,
    hyperparameters: Mapping[str, float],
    flags: Mapping[str, object],
    results: Path,
    name: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Trains the winner of a search, or another of its trials, from its beginning."""
    from vaetune.config import resolve_single
    from vaetune.study import pick

    study = find_named(results, search_name)
    if trial_id is not None and latent_dim is not None:
        raise typer.BadParameter("give --trial or --latent-dim, not both")
    picked = pick(study, trial_id, latent_dim)
    resolved = resolve_single(hyperparameters, flags, picked.hyperparameters, study.search)
    spec = resolved.spec
    described = f"Trial {picked.trial_id} of {study.name}, trained from its beginning"
    spec = spec.model_copy(update={"description": described})
    resolved = replace(resolved, name=f"{study.name}-trial-{picked.trial_id}", spec=spec)
    run_baseline(resolved, results, name, overwrite, quiet, of=study)


def run_baseline(
    resolved: "ResolvedSearch",
    results: Path,
    name: str | None,
    overwrite: bool,
    quiet: bool,
    of: "Study | None" = None,
) -> None:
    """Trains one configuration, on the images of a study if it is one of its trials."""
    from vaetune.cli.console import describe_device
    from vaetune.data import load_images, prepare_images
    from vaetune.device import choose_device
    from vaetune.report import describe_winner
    from vaetune.study import command

    single = resolved.spec
    images = load_images(single.data.dataset)
    device = choose_device(single.device)
    from vaetune.evaluation import check_images
    from vaetune.search import open_baseline, run_session

    if of is not None:
        check_images(of, prepare_images(images, of.search.data))
    images = prepare_images(images, single.data)
    with open_baseline(
        single, images, device, results, name=name, stem=resolved.name or None, overwrite=overwrite
    ) as opened:
        announce(opened, resolved, describe_device(device), quiet)
        with progress_of(opened, quiet) as watcher:
            study = run_session(opened, watcher)
    if study.winner is None:
        fail(f"The training failed: {study.trials[0].error}")
    say(f"Trained {study.name}, in {study.folder}/")
    say(describe_winner(study, study.winner, None))
    say(f"Next: {command('evaluate', study)}")
