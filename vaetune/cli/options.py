"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vaetune.cli.help import budget_option, results_option, training_option, workers_option


class DeviceOption(StrEnum):
    """Values of --device."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


class PrecisionOption(StrEnum):
    """Values of --precision."""

    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


class OnOption(StrEnum):
    """Values of --on."""

    train = "train"
    both = "train+validation"


class DecayOption(StrEnum):
    """Values of --learning-rate-decay."""

    none = "none"
    cosine = "cosine"


class AlgorithmOption(StrEnum):
    """Values of --algorithm."""

    hyperband = "hyperband"
    random = "random"
    bayesian = "bayesian"
    grid = "grid"


class FormatOption(StrEnum):
    """Values of --format."""

    table = "table"
    json = "json"
    csv = "csv"


class ExportFormat(StrEnum):
    """Values of --format where a model is handed over."""

    keras = "keras"
    saved_model = "saved-model"
    onnx = "onnx"
    litert = "litert"
    all = "all"


class EvaluationFormat(StrEnum):
    """Values of --format where there is no row a trial."""

    table = "table"
    json = "json"


Workers = Annotated[
    int,
    workers_option(
        min=1,
        help="Number of models to train in parallel; more than 1 requires Ray.",
    ),
]

ThreadsPerWorker = Annotated[
    int | None,
    workers_option(
        min=1,
        help="CPU threads per worker. Default: the cores are divided evenly.",
    ),
]

GpusPerWorker = Annotated[
    float | None,
    workers_option(
        min=0.0,
        help="GPUs per worker, such as 0.25. Default: they are divided evenly.",
    ),
]

Address = Annotated[
    str | None,
    workers_option(help="HOST:PORT of a running Ray cluster to train on."),
]

Results = Annotated[
    Path,
    results_option(help="Folder of all results.", show_default=True, file_okay=True),
]

Dataset = Annotated[
    str | None,
    training_option(
        help="Images: digits, mnist, fashion_mnist, an .npz file or a folder.",
    ),
]

MaxEpochs = Annotated[int | None, budget_option(help="Epochs of the longest trials.")]

MaxTrials = Annotated[
    int | None,
    budget_option(help="Number of trials; random, bayesian and grid only."),
]

MinEpochs = Annotated[
    int | None,
    budget_option(help="Epochs of the shortest trials; Hyperband only."),
]

Factor = Annotated[
    int | None,
    budget_option(
        help="Reduction factor: each rung keeps 1 in N trials; Hyperband only.",
    ),
]

HyperbandIterations = Annotated[
    int | None,
    budget_option(help="Number of runs of Hyperband's whole schedule."),
]

KeepBest = Annotated[
    int | None,
    training_option(help="Number of best trials whose weights are kept."),
]

FinalSeeds = Annotated[
    int | None,
    training_option(
        help="Number of other seeds to train the finalists from before one wins.",
    ),
]

Baseline = Annotated[
    bool | None,
    training_option(
        "--baseline/--no-baseline",
        help="Also train the Keras example, to compare with.",
    ),
]

Seed = Annotated[
    int | None,
    training_option(help="Random seed of configurations, weights and image order."),
]

BatchSize = Annotated[int | None, training_option(help="Number of images per training step.")]

PrecisionFlag = Annotated[
    PrecisionOption | None,
    training_option(help="Numeric precision of training; mixed_bfloat16 is for GPUs."),
]

DeviceFlag = Annotated[
    DeviceOption | None,
    workers_option(help="Device to train on; auto takes a GPU if there is one."),
]

Overwrite = Annotated[
    bool,
    results_option("--overwrite", help="Discard earlier results first."),
]

Quiet = Annotated[bool, results_option("--quiet", "-q", help="Print the outcome only.")]

TrialId = Annotated[str | None, typer.Option(help="Id of a trial to take instead of the winner.")]

StudyName = Annotated[
    str | None,
    typer.Argument(help="A search, or baselines/NAME. Default: the latest search."),
]
