"""`vaetune check`: try a search before it is run."""

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import clean_interrupt, say
from vaetune.cli.options import (
    Baseline,
    BatchSize,
    Dataset,
    DeviceFlag,
    Factor,
    FinalSeeds,
    HyperbandIterations,
    KeepBest,
    MaxEpochs,
    MaxTrials,
    MinEpochs,
    PrecisionFlag,
    Seed,
    ThreadsPerWorker,
    Workers,
)
from vaetune.cli.search import describe_trainers
from vaetune.version import __version__

if TYPE_CHECKING:
    from vaetune.config import ResolvedSearch, SearchSpec
    from vaetune.search import DurationRange, ExecutorOptions, ProbeResult


def check(
    name: Annotated[str, typer.Argument(help="A file searches/NAME.toml, or a path.")],
    dataset: Dataset = None,
    max_epochs: MaxEpochs = None,
    max_trials: MaxTrials = None,
    min_epochs: MinEpochs = None,
    factor: Factor = None,
    hyperband_iterations: HyperbandIterations = None,
    keep_best: KeepBest = None,
    final_seeds: FinalSeeds = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    precision: PrecisionFlag = None,
    baseline: Baseline = None,
    device: DeviceFlag = None,
    workers: Workers = 1,
    threads_per_worker: ThreadsPerWorker = None,
) -> None:
    """Try a search before it is run, and estimate its duration.

    It reads the search file and the images, checks the device and times a few steps. The options
    are those of search that change its duration. Nothing is written into results/.
    """
    from vaetune.config import check_not_reserved, find_search, resolve
    from vaetune.search import ExecutorOptions

    flags = {
        "data.dataset": dataset,
        "budget.max_epochs": max_epochs,
        "budget.min_epochs": min_epochs,
        "budget.factor": factor,
        "budget.hyperband_iterations": hyperband_iterations,
        "budget.max_trials": max_trials,
        "limits.keep_best": keep_best,
        "limits.final_seeds": final_seeds,
        "seed": seed,
        "training.batch_size": batch_size,
        "training.precision": precision.value if precision else None,
        "baseline": baseline,
        "device": device.value if device else None,
    }
    resolved = resolve(find_search(name), flags)
    check_not_reserved(resolved.name)
    with clean_interrupt():
        check_search(resolved, name, ExecutorOptions(workers, threads_per_worker))


def describe_duration_range(span: "DurationRange") -> str:
    """A duration as a person would give it, such as "2.7 to 4.8 minutes"."""
    (low, unit), (high, high_unit) = (_in_words(each) for each in (span.low, span.high))
    if (low, unit) == (high, high_unit):
        return f"{low} {unit if low != '1' else unit.rstrip('s')}"
    return f"{low} to {high} {unit}" if unit == high_unit else f"{low} {unit} to {high} {high_unit}"


def _in_words(seconds: float) -> tuple[str, str]:
    """A number and its unit, of about two digits."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        number = seconds / length
        if number >= 1.5:
            return (f"{number:.0f}" if number >= 10 else f"{number:.1f}"), unit
    return f"{max(1.0, seconds):.0f}", "seconds"


def describe_probe(probed: "ProbeResult", spec: "SearchSpec", train_images: int) -> str:
    """Describes a dry run in plain text: what was tried, measured and estimated.

    Args:
        probed: Result of the dry run.
        spec: The search.
        train_images: Number of training images.
    """
    from vaetune.config import short_hyperparameters
    from vaetune.report import counted

    timed = [
        f"  {short_hyperparameters(one.hyperparameters)}: {1000 * one.step_s:.0f} ms a step of "
        f"{counted(one.batch_size, 'image')}"
        for one in probed.timed
    ]
    too_large = max(one.batch_size for one in probed.timed) == train_images
    lines = [
        "Tried: the largest model was built, trained on a batch, saved, and read back the same.",
        "Timed:",
        *timed,
        *(["Its batches are of all training images: there are no more."] if too_large else []),
        f"Time, an estimate{_of_workers(probed)}: {describe_duration_range(probed.duration)}"
        + (", the Keras example included." if spec.baseline else "."),
        "  Configurations that were not timed are reckoned by the sizes of their layers. Which are",
        "  promoted, and how busy the machine will be, is not known: hence the range.",
        f"Memory: {_size(probed.peak_memory)} of main memory at most so far, with the largest "
        f"model; {_size(probed.image_memory)} of it are images."
        + (" Each worker takes as much, but for the images." if probed.workers > 1 else ""),
        f"Disk: {_size(probed.disk)} at most, for weights and pictures.",
    ]
    return "\n".join(lines)


def _of_workers(probed: "ProbeResult") -> str:
    return f" for {probed.workers} workers" if probed.workers > 1 else ""


def _size(size: int) -> str:
    """Bytes as a person would give them."""
    megabytes = size / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(1.0, megabytes):.0f} MB"


def check_search(resolved: "ResolvedSearch", name: str, options: "ExecutorOptions") -> None:
    """Tries a search before it is run; writes nothing."""
    from vaetune.data import load_prepared
    from vaetune.device import available_cores, choose_device
    from vaetune.report import describe_plan, describe_search
    from vaetune.search import ExecutorOptions

    spec = resolved.spec
    images = load_prepared(spec.data)
    cores = available_cores()
    threads = options.threads if not options.needs_ray else options.threads_each(cores)
    device = choose_device(spec.device, threads=threads)
    from vaetune.search import probe_search, summarise

    data = summarise(images)
    say(f"vaetune {__version__}: check of {resolved.name}")
    say(describe_search(spec, data, resolved.origins, describe_trainers(options, device)))
    say("Trying it: a model is saved and read back, and a few steps are timed.")
    workers = options.workers
    if workers > 1 and device.name != "CPU":
        workers = 1
        say("The estimate assumes one worker: parallel training on GPUs cannot be estimated.")
    probed = probe_search(spec, images, workers, workers * device.threads / cores)
    say(f"To come: {describe_plan(probed.plan)}.")
    say(describe_probe(probed, spec, data.train_images))
    has_flags = "flag" in resolved.origins.values() or options != ExecutorOptions()
    say(f"Ready. Next: vaetune search {shlex.quote(name)}{' and the same flags' * has_flags}")
