"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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
    int, typer.Option(min=1, help="Train so many models at a time; above 1 by Ray.")
]

ThreadsPerWorker = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of each worker; by default they share the cores."),
]

GpusPerWorker = Annotated[
    float | None,
    typer.Option(min=0.0, help="GPUs of each worker, such as 0.25; by default they share them."),
]

Address = Annotated[
    str | None, typer.Option(help="HOST:PORT of a Ray cluster that runs already: train there.")
]

Results = Annotated[
    Path, typer.Option(help="Folder of all results.", show_default=True, file_okay=True)
]

Dataset = Annotated[
    str | None,
    typer.Option(help="digits, mnist, fashion_mnist, an .npz file or a folder of images."),
]

MaxEpochs = Annotated[int | None, typer.Option(help="Epochs of the longest trials.")]

MaxTrials = Annotated[
    int | None, typer.Option(help="How many; random, bayesian and grid search only.")
]

MinEpochs = Annotated[
    int | None, typer.Option(help="Epochs of the shortest trials; Hyperband only.")
]

Factor = Annotated[int | None, typer.Option(help="A rung keeps one in this many; Hyperband only.")]

HyperbandIterations = Annotated[
    int | None, typer.Option(help="How often to run Hyperband's whole schedule.")
]

KeepBest = Annotated[
    int | None, typer.Option(help="How many of the best trials keep their weights.")
]

FinalSeeds = Annotated[
    int | None,
    typer.Option(help="Train the finalists from so many other seeds before one of them wins."),
]

Baseline = Annotated[
    bool | None,
    typer.Option("--baseline/--no-baseline", help="Also train the Keras example to compare."),
]

Seed = Annotated[int | None, typer.Option(help="Seed of configurations, weights and image order.")]

BatchSize = Annotated[int | None, typer.Option(help="Images a training step.")]

PrecisionFlag = Annotated[
    PrecisionOption | None, typer.Option(help="Of training; mixed_bfloat16 is for GPUs.")
]

DeviceFlag = Annotated[
    DeviceOption | None, typer.Option(help="Where to train; auto takes a GPU where there is one.")
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard earlier results first.")]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the outcome only.")]

TrialId = Annotated[str | None, typer.Option(help="Another trial than the winner, by its id.")]

StudyName = Annotated[
    str | None,
    typer.Argument(help="A search, or baselines/NAME; the latest search if left out."),
]
