"""Options of the commands: single options, and groups of options."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vaetune.cli.groups import (
    Overrides,
    budget_option,
    model_option,
    results_option,
    training_option,
    workers_option,
)
from vaetune.cli.values import (
    DecayOption,
    DeviceOption,
    LikelihoodOption,
    ObjectiveOption,
    OnOption,
    PrecisionOption,
    ResizeOption,
    SplitOption,
)

Results = Annotated[
    Path,
    results_option(help="Folder of all results.", show_default=True, file_okay=True),
]

Dataset = Annotated[
    str | None,
    training_option(
        help="Images: digits, mnist, fashion_mnist, a folder, or an .npz, .npy or idx file.",
    ),
]

TrialId = Annotated[str | None, model_option(help="Id of the trial to use instead of the winner.")]

TableFile = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Table to write: .npz, .csv or .parquet."),
]

Splits = Annotated[
    list[SplitOption] | None,
    typer.Option(
        "--split",
        metavar="<train|validation|test|left_out>",
        help="Split to take; may be given several times. Default: all images.",
    ),
]

Resize = Annotated[ResizeOption | None, typer.Option(help="Way to resize images of another size.")]

StartWith = Annotated[
    list[str] | None,
    budget_option(
        "--start-with",
        metavar="best:NAME[:COUNT]",
        help="Begin with the best configurations of an earlier search; may be given several times.",
    ),
]

StudyName = Annotated[
    str | None,
    typer.Argument(help="A search, or baselines/NAME. Default: the latest search."),
]


@dataclass(frozen=True)
class BudgetOptions:
    """The number of trials and epochs."""

    max_epochs: Annotated[
        int | None,
        Overrides("budget.max_epochs"),
        budget_option(help="Number of epochs of the longest trials."),
    ] = None
    max_trials: Annotated[
        int | None,
        Overrides("budget.max_trials"),
        budget_option(help="Number of trials, at most; not for Hyperband."),
    ] = None
    total_epochs: Annotated[
        int | None,
        Overrides("budget.total_epochs"),
        budget_option(help="Sum of the epochs of all trials, at most; freeze-thaw only."),
    ] = None
    min_epochs: Annotated[
        int | None,
        Overrides("budget.min_epochs"),
        budget_option(help="Number of epochs of the shortest trials; Hyperband only."),
    ] = None
    factor: Annotated[
        int | None,
        Overrides("budget.factor"),
        budget_option(help="Reduction factor: each rung keeps 1 in N trials; Hyperband only."),
    ] = None
    hyperband_iterations: Annotated[
        int | None,
        Overrides("budget.hyperband_iterations"),
        budget_option(help="Number of runs of Hyperband's whole schedule."),
    ] = None


@dataclass(frozen=True)
class LimitOptions:
    """When a search stops early."""

    time_budget: Annotated[
        str | None,
        Overrides("limits.time_budget"),
        budget_option(help="Time to stop after, such as 1h30m; the winner so far is exported."),
    ] = None
    max_failure_rate: Annotated[
        float | None,
        Overrides("limits.max_failure_rate"),
        budget_option(help="Share of failed trials above which the search stops."),
    ] = None


@dataclass(frozen=True)
class WinnerOptions:
    """How the winner is chosen, and what it is compared with."""

    objective: Annotated[
        ObjectiveOption | None,
        Overrides("objective"),
        training_option(help="Measure, on the validation images, that the search improves."),
    ] = None
    choose_by: Annotated[
        ObjectiveOption | None,
        Overrides("choose_by"),
        training_option(help="Measure that decides among the finalists. Default: the objective."),
    ] = None
    keep_best: Annotated[
        int | None,
        Overrides("limits.keep_best"),
        training_option(help="Number of best trials whose weights are kept."),
    ] = None
    final_seeds: Annotated[
        int | None,
        Overrides("limits.final_seeds"),
        training_option(help="Number of other seeds to train the finalists from before one wins."),
    ] = None
    baseline: Annotated[
        bool | None,
        Overrides("baseline"),
        training_option("--baseline/--no-baseline", help="Train the Keras example as well."),
    ] = None


@dataclass(frozen=True)
class ImageOptions:
    """The images, and how they are read."""

    dataset: Annotated[Dataset, Overrides("data.dataset")] = None
    image_size: Annotated[
        str | None,
        Overrides("data.image_size"),
        training_option(help="Size of all images after resizing: 64, or HEIGHTxWIDTH."),
    ] = None
    skip_unreadable: Annotated[
        bool | None,
        Overrides("data.skip_unreadable"),
        training_option("--skip-unreadable", help="Leave out image files that cannot be read."),
    ] = None
    leave_out: Annotated[
        list[str] | None,
        Overrides("data.leave_out"),
        training_option(
            metavar="CLASS", help="Class to leave out of all splits; may be given several times."
        ),
    ] = None


@dataclass(frozen=True)
class TrainingOptions(ImageOptions):
    """The images, and how a model is trained on them."""

    likelihood: Annotated[
        LikelihoodOption | None,
        Overrides("data.likelihood"),
        training_option(help="Likelihood of the pixels, which the reconstruction loss is made of."),
    ] = None
    seed: Annotated[
        int | None,
        Overrides("seed"),
        training_option(help="Random seed of configurations, weights and image order."),
    ] = None
    batch_size: Annotated[
        int | None,
        Overrides("training.batch_size"),
        training_option(help="Number of images per training step."),
    ] = None
    precision: Annotated[
        PrecisionOption | None,
        Overrides("training.precision"),
        training_option(
            help="Numeric precision of training; mixed_bfloat16 is faster on GPUs and some CPUs."
        ),
    ] = None
    device: Annotated[
        DeviceOption | None,
        Overrides("device"),
        workers_option(help="Device to train on; auto uses a GPU if there is one."),
    ] = None


@dataclass(frozen=True)
class ScheduleOptions:
    """How long one configuration is trained, and on which images."""

    epochs: Annotated[
        int,
        Overrides("budget.max_epochs"),
        training_option(min=1, help="Number of epochs to train."),
    ] = 30
    on: Annotated[
        OnOption | None,
        Overrides("data.train_on"),
        training_option(help="Images to train on. Default: those of --best, otherwise train."),
    ] = None
    learning_rate_decay: Annotated[
        DecayOption | None,
        Overrides("training.learning_rate_decay"),
        training_option(help="Learning-rate schedule over the epochs."),
    ] = None
    patience: Annotated[
        int | None,
        Overrides("budget.patience"),
        training_option(help="Number of epochs without improvement to stop after."),
    ] = None


@dataclass(frozen=True)
class WorkerOptions:
    """Workers on this machine."""

    workers: Annotated[
        int,
        workers_option(
            min=1, help="Number of models to train in parallel; more than 1 requires Ray."
        ),
    ] = 1
    threads_per_worker: Annotated[
        int | None,
        workers_option(min=1, help="CPU threads per worker. Default: the cores divided evenly."),
    ] = None


@dataclass(frozen=True)
class ClusterOptions(WorkerOptions):
    """Workers on this machine or on a Ray cluster."""

    gpus_per_worker: Annotated[
        float | None,
        workers_option(
            min=0.0, help="GPUs per worker, such as 0.25. Default: the GPUs divided evenly."
        ),
    ] = None
    address: Annotated[
        str | None, workers_option(help="HOST:PORT of a running Ray cluster to train on.")
    ] = None


@dataclass(frozen=True)
class OutputOptions:
    """Where results are written, and how much is printed."""

    results: Results = Path("results")
    overwrite: Annotated[
        bool, results_option("--overwrite", help="Discard earlier results first.")
    ] = False
    quiet: Annotated[bool, results_option("--quiet", "-q", help="Print only the outcome.")] = False


@dataclass(frozen=True)
class BaselineOutputOptions(OutputOptions):
    """Where a single training is written."""

    name: Annotated[
        str | None, results_option(help="Name of the folder in results/baselines/.")
    ] = None
