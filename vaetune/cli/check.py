"""`vaetune check`: try a search before it is run."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaetune.cli.console import advise_if_moved, clean_interrupt, say
from vaetune.cli.groups import flags_of, training_option
from vaetune.cli.options import (
    BudgetOptions,
    Results,
    StartWith,
    TrainingOptions,
    WinnerOptions,
    WorkerOptions,
)
from vaetune.cli.search import compilation_of, describe_trainers, resolve_and_start
from vaetune.errors import SpecError
from vaetune.version import __version__

if TYPE_CHECKING:
    from vaetune.config import ResolvedSearch, SearchSpec
    from vaetune.data import ImageSet
    from vaetune.search import DurationRange, ExecutorOptions, ProbeResult


def check(
    *,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A file searches/NAME.toml, or a path. Without it, the images of --dataset are "
            "shown."
        ),
    ] = None,
    budget: BudgetOptions,
    start_with: StartWith = None,
    training: TrainingOptions,
    winner: WinnerOptions,
    workers: WorkerOptions,
    results: Results = Path("results"),
    sheet: Annotated[
        Path | None,
        training_option(
            help="PNG file of 40 images to write. Default: DATASET-images.png in --results, or "
            "none with NAME."
        ),
    ] = None,
) -> None:
    """Try a search before it is run, or look at images.

    With NAME, it reads the search file and the images, checks the device, times a few steps and
    estimates the duration of the search. The options are those of `vaetune search` that change
    the experiment or its duration. Without NAME, it shows how the images of --dataset are read.
    """
    from vaetune.config import check_not_reserved, find_search

    flags = flags_of(budget, training, winner)
    with clean_interrupt():
        if name is None:
            check_dataset({**flags, "start_with": start_with}, sheet, results)
            return
        from vaetune.search import ExecutorOptions

        resolved = resolve_and_start(find_search(name), flags, start_with, results)
        check_not_reserved(resolved.name)
        options = ExecutorOptions(workers.workers, workers.threads_per_worker)
        check_search(resolved, name, options, sheet)


IMAGES_OF_A_SHEET = 40


def check_dataset(
    flags: Mapping[str, object], sheet: Path | None, results: Path = Path("results")
) -> None:
    """Reads images, prints how they were read and writes a contact sheet.

    Args:
        flags: Values of options, by key of the search file.
        sheet: File of the contact sheet. Default: in `results`, named after the images.
        results: Folder of all results.
    """
    from vaetune.config import resolve_single
    from vaetune.data import load_prepared
    from vaetune.report import describe_images
    from vaetune.search import summarise

    given = {key: value for key, value in flags.items() if value is not None}
    if "data.dataset" not in given:
        raise SpecError(
            "There is nothing to check. Give the name of a search, as in `vaetune check "
            "hyperband`, or images, as in `vaetune check --dataset FOLDER`."
        )
    if other := next((key for key in given if not key.startswith("data.")), None):
        option = other.rpartition(".")[2].replace("_", "-")
        raise SpecError(
            f"--{option} is an option of a search. Give the name of a search too, as in `vaetune "
            f"check hyperband --{option} ...`, or leave the option out."
        )
    data = resolve_single({}, flags).spec.data
    images = load_prepared(data, say)
    say(f"vaetune {__version__}: check of the images {images.name}")
    say(describe_images(summarise(images), data))
    write_sheet(images, sheet or results / f"{images.name}-images.png")
    same = " and the same options" * (len(given) > 1 or results != Path("results"))
    dataset = shlex.quote(str(given["data.dataset"]))
    say(f"Ready. Next: vaetune search hyperband --dataset {dataset}{same}")


def write_sheet(images: "ImageSet", path: Path) -> None:
    """Writes a contact sheet of training images and prints its path."""
    from vaetune.data import choose_examples
    from vaetune.report import counted, write_contact_sheet

    show = images.reading.show if images.reading else None
    count = write_contact_sheet(path, choose_examples(images, IMAGES_OF_A_SHEET), show)
    say(f"Contact sheet: {path}, with {counted(count, 'training image')} as a model sees them.")


def describe_duration_range(span: "DurationRange") -> str:
    """Describes a range of durations in words, such as "2.7 to 4.8 minutes"."""
    (low, unit), (high, high_unit) = (_in_words(each) for each in (span.low, span.high))
    if (low, unit) == (high, high_unit):
        return f"{low} {unit if low != '1' else unit.rstrip('s')}"
    return f"{low} to {high} {unit}" if unit == high_unit else f"{low} {unit} to {high} {high_unit}"


def _in_words(seconds: float) -> tuple[str, str]:
    """Returns a duration as a number of about two digits, and its unit."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        number = seconds / length
        if number >= 1.5:
            return (f"{number:.0f}" if number >= 10 else f"{number:.1f}"), unit
    return f"{max(1.0, seconds):.0f}", "seconds"


def describe_probe(
    probed: "ProbeResult", spec: "SearchSpec", train_images: int, is_compiled: bool = False
) -> str:
    """Describes a dry run in plain text: what was tried, measured and estimated.

    Args:
        probed: Result of the dry run.
        spec: The search.
        train_images: Number of training images.
        is_compiled: Whether training steps of the search are compiled. Those that were timed are
            not.
    """
    from vaetune.config import short_hyperparameters
    from vaetune.report import counted

    searched = spec.space.searched()
    timed = [
        f"  {short_hyperparameters(one.hyperparameters, searched)}: {1000 * one.step_s:.0f} ms per "
        f"step of {counted(one.batch_size, 'image')}"
        for one in probed.timed
    ]
    too_large = max(one.batch_size for one in probed.timed) == train_images
    lines = [
        "Tried: the largest model was built, trained on a batch, saved and loaded unchanged.",
        "Timed:",
        *timed,
        *(["Batches are limited to the number of training images."] if too_large else []),
        f"Estimated time{_conditions(probed, is_compiled)}: "
        + describe_duration_range(probed.duration)
        + (f", including the {_references(spec)}." if spec.baseline else "."),
        "  Configurations that were not timed are estimated from layer sizes. The estimate is a",
        "  range because promotions and the load of the machine are not known in advance.",
        f"Memory: at most {_size(probed.peak_memory)} of main memory so far, with the largest "
        f"model; the images use {_size(probed.image_memory)}."
        + (" Each worker needs as much, without the images." if probed.workers > 1 else ""),
        f"Disk: at most {_size(probed.disk)} for weights and pictures.",
    ]
    return "\n".join(lines)


def _references(spec: "SearchSpec") -> str:
    """Returns the name of the Keras example, and of its network with another likelihood."""
    from vaetune.config import example_name, list_references

    names = reversed(list_references(spec.data.likelihood))
    return " and the ".join(map(example_name, names))


def _conditions(probed: "ProbeResult", is_compiled: bool) -> str:
    workers = f" for {probed.workers} workers" if probed.workers > 1 else ""
    compiled = ", with uncompiled steps and without the time to compile others" * is_compiled
    return f"{workers}{compiled}"


def _size(size: int) -> str:
    """Returns a number of bytes in words, such as "12 MB"."""
    megabytes = size / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(1.0, megabytes):.0f} MB"


def check_search(
    resolved: "ResolvedSearch", name: str, options: "ExecutorOptions", sheet: Path | None = None
) -> None:
    """Tries a search before it is run, and prints what was found.

    Args:
        resolved: The search.
        name: Name or path of the search, as the user gave it.
        options: The workers of the search.
        sheet: File of a contact sheet. None: nothing is written.
    """
    from vaetune.device import available_cores, check_precision, choose_device
    from vaetune.report import (
        describe_images,
        describe_plan,
        describe_programs,
        describe_search,
        describe_small_space,
        describe_structures,
    )
    from vaetune.search import ExecutorOptions

    spec = resolved.spec
    images = _load_fitting(resolved)
    cores = available_cores()
    threads = options.threads if not options.needs_ray else options.threads_each(cores)
    device = choose_device(spec.device, threads=threads)
    check_precision(device, spec.training.precision)
    from vaetune.search import probe_search, summarise

    data = summarise(images)
    say(f"vaetune {__version__}: check of {resolved.name}")
    trainers, compilation = describe_trainers(options, device), compilation_of(spec, images, device)
    say(describe_search(spec, data, resolved.origins, trainers, compilation))
    say(f"Images: {describe_images(data, spec.data)}")
    if sheet is not None:
        write_sheet(images, sheet)
    say("Trying: saving and loading a model, and timing a few steps.")
    workers = options.workers
    if workers > 1 and device.is_gpu:
        workers = 1
        say("The estimate assumes one worker: parallel training on GPUs cannot be estimated.")
    probed = probe_search(spec, images, workers, workers * device.threads / cores)
    say(f"To train: {describe_plan(probed.plan)}.")
    about_space = describe_small_space(spec, probed.plan), describe_structures(spec, probed.plan)
    for text in filter(None, (*about_space, describe_programs(compilation))):
        say(text)
    say(describe_probe(probed, spec, data.train_images, compilation.programs > 0))
    has_flags = "flag" in resolved.origins.values() or options != ExecutorOptions()
    say(f"Ready. Next: vaetune search {shlex.quote(name)}{' and the same options' * has_flags}")


def _load_fitting(resolved: "ResolvedSearch") -> "ImageSet":
    """Loads the images of a search, and checks that its stages and objectives suit them."""
    from vaetune.config import check_stages
    from vaetune.data import load_prepared
    from vaetune.search import check_objectives

    with advise_if_moved(resolved.origins.get("data.dataset") == "flag"):
        images = load_prepared(resolved.spec.data, say)
    check_stages(resolved.spec.space, images.image_shape)
    check_objectives(resolved.spec, images)
    return images
