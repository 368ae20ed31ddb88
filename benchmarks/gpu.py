"""Measures vaetune on a GPU: steps, whole searches, and Keras Tuner on the same card.

    python benchmarks/gpu.py steps                         # milliseconds of a training step
    python benchmarks/gpu.py digits                        # whole searches of the packaged digits
    python benchmarks/gpu.py mnist --images mnist.npz      # whole searches of 50,000 images
    python benchmarks/gpu.py mnist --images mnist.npz --workers 4 --precision mixed_bfloat16
    python benchmarks/gpu.py commands                      # commands after a search of the digits
    python benchmarks/gpu.py keras-tuner --images mnist.npz --limit 200

Each measurement is printed and appended to `--results` at once. A whole search is a separate
command, so its time includes the start of Python. It runs three times: compiled with an empty cache
of programs, compiled with the cache of the first run, and without compilation ("none"). Algorithm
and space are those of vaetune 0.1, or with `--space default` those of the default search.

Keras Tuner runs its Hyperband over the space of 0.1 with the Keras example, until it ends or
`--limit` seconds have passed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from workloads import RESULTS, Run, Workload, append_line

SEARCHES = Path(__file__).parent.parent / "searches"

FILES = {"0.1": SEARCHES / "earlier" / "hyperband-0.1.toml", "default": SEARCHES / "hyperband.toml"}

STEPS = {
    "0.1": {"filters_1": 64, "filters_2": 128, "dense_units": 256, "latent_dim": 32},
    "default": {
        "filters_1": 16,
        "filters_2": 64,
        "dense_units": 256,
        "latent_dim": 32,
        "activation": "gelu",
        "output_stride": 2,
        "level_channels": 2,
        "learning_rate_warmup": 1,
        "weight_average": 0.99,
    },
}
"""The largest widths of each space."""

BATCH_SIZES = {"0.1": 128, "default": 64}

STEP_IMAGES, REPEATS = 12_800, 3

WHAT = ("steps", "digits", "mnist", "keras-tuner", "commands")

AFTER_SEARCH = {
    "best --export": ("best", "--export", "--output", "{folder}/export"),
    "evaluate": ("evaluate",),
    "evaluate an export": ("evaluate", "{folder}/export", "--dataset", "{images}"),
    "encode": ("encode", "--output", "{folder}/points.csv"),
    "score": ("score", "--output", "{folder}/scores.csv"),
    "train --best": ("train", "--best", "search", "--epochs", "2"),
}
"""Commands that use a model, by title, with the folder of the results and the images."""


def measure_steps(space: str, levels: int, compiled: bool) -> dict[str, Any]:
    """Times epochs of a training step in this process.

    Args:
        space: Name of the space, with its largest widths.
        levels: Number of levels.
        compiled: Whether steps are compiled.
    """
    import numpy as np
    import tensorflow as tf

    from vaetune.models import Architecture, build_vae, draw_variables
    from vaetune.training.feed import DeviceData
    from vaetune.training.padded.runner import PaddedRunner
    from vaetune.training.runner import EpochRunner
    from vaetune.training.schedule import Epoch, StepSettings, options_of

    values = {**STEPS[space], **({"levels": levels} if space == "default" else {})}
    shape, size = (28, 28, 1), BATCH_SIZES[space]
    random = np.random.default_rng(0)
    pixels = (random.random((STEP_IMAGES, *shape)) ** 6 * 255).astype(np.uint8)
    data = DeviceData(tf.constant(pixels), tf.constant(pixels[:1000]))
    template, options = build_vae(shape, values), options_of(values)
    runner = plain = EpochRunner(template, data, options=options)
    if compiled:
        wide = Architecture.of(shape, values)
        runner = PaddedRunner(wide, template, plain, data, options=options)
    runner.begin(tuple(np.asarray(v) for v in draw_variables(shape, values)), 1e-3)
    settings = StepSettings(warmup_steps=100.0, weight_average=values.get("weight_average", 0.0))
    epoch = Epoch(random.permutation(STEP_IMAGES).astype(np.int32), size, settings)
    times = []
    for call in (runner.train, lambda _: runner.validate()):
        began_s = time.perf_counter()
        call(epoch)
        first_s = time.perf_counter() - began_s
        repeated = []
        for _ in range(REPEATS):
            began_s = time.perf_counter()
            call(epoch)
            repeated.append(time.perf_counter() - began_s)
        times.append((first_s, median(repeated)))
    (first, epoch_s), (first_validation, validation_s) = times
    return {
        "ms_per_step": round(1000.0 * epoch_s / (STEP_IMAGES / size), 3),
        "first_epoch_s": round(first, 2),
        "ms_per_validation": round(1000.0 * validation_s, 1),
        "first_validation_s": round(first_validation, 2),
    }


def measure_search(
    file: Path, images: str, compiled: str, cache: Path, options: Sequence[str]
) -> dict[str, Any]:
    """Times a whole search command.

    Args:
        file: Search file.
        images: Name or path of the images.
        compiled: Value of `training.compile`.
        cache: Folder of the user's cache.
        options: Further options of the command.
    """
    programs = cache / "vaetune" / "programs"
    before = _count_files(programs)
    with tempfile.TemporaryDirectory() as folder:
        began = datetime.now(UTC)
        seconds = _search(file, images, compiled, Path(folder), cache, options)
        added = _count_files(programs) - before
        journal = _read_journal(Path(folder) / "search", began)
        return {"seconds": seconds, "programs": added, **journal}


def measure_commands(file: Path, images: str) -> dict[str, Any]:
    """Times the commands after a compiled search."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = folder / "cache"
        seconds = {"search": _search(file, images, "padded", folder, cache, ())}
        for title, command in AFTER_SEARCH.items():
            parts = [part.format(folder=folder, images=images) for part in command]
            seconds[title] = _run([*parts, "--results", name], cache)
        return {"seconds": seconds}


def _search(
    file: Path, images: str, compiled: str, folder: Path, cache: Path, options: Sequence[str]
) -> float:
    text = file.read_text(encoding="utf-8")
    search = folder / "search.toml"
    search.write_text(text.replace("[training]\n", f'[training]\ncompile = "{compiled}"\n'))
    given = ["--dataset", images, "--results", str(folder), "--no-baseline"]
    return _run(["search", str(search), *given, *options], cache)


def _count_files(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def _run(command: Sequence[str], cache: Path) -> float:
    began_s = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vaetune", *command],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    return round(time.perf_counter() - began_s, 1)


def _read_journal(folder: Path, began: datetime) -> dict[str, Any]:
    """Returns what a search found, and where its time went.

    Args:
        folder: Folder of the search.
        began: When its command was called.
    """
    from vaetune import load_study

    study = load_study(folder)
    trials = sorted(study.trials, key=lambda trial: trial.started)
    epochs = [epoch for trial in trials for epoch in trial.epochs]
    # The journal's durations of an epoch do not include that a trial waits for its programs.
    first_s = (trials[0].epochs[0].time - trials[0].started).total_seconds()
    return {
        "epochs": len(epochs),
        "start_s": round((trials[0].started - began).total_seconds(), 1),
        "trials_s": round((_last_end(trials) - trials[0].started).total_seconds(), 1),
        "training_s": round(sum(epoch.train_s for epoch in epochs), 1),
        "validation_s": round(sum(epoch.validation_s for epoch in epochs), 1),
        "first_epoch_s": round(first_s, 1),
        "rescoring_s": round(sum(one.duration_s for one in study.rescorings), 1),
        "best": round(min(epoch.val_loss for epoch in epochs), 3),
    }


def _last_end(trials: Sequence[Any]) -> datetime:
    return max(trial.ended for trial in trials)


def measure_keras_tuner(images: str, limit: float) -> dict[str, Any]:
    """Times Keras Tuner's search in a separate process."""
    command = [sys.executable, __file__, "--here", images, str(limit)]
    began_s = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began_s
    if done.returncode or not done.stdout:
        last = "\n".join(done.stderr.splitlines()[-20:])
        sys.exit(
            f"Keras Tuner failed after {seconds:.0f} s (exit status {done.returncode}):\n{last}"
        )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": round(seconds, 1), **row}


def run_keras_tuner_here(images: str, limit: float) -> None:
    """Runs Keras Tuner in this process and prints its epochs and best loss within the limit."""
    import contenders
    import keras
    import tensorflow as tf

    from vaetune.data import load_images, to_unit_interval

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    splits = load_images(images)
    train, validation = (to_unit_interval(one.images) for one in (splits.train, splits.validation))
    contenders.load_arrays = lambda workload: (train, validation)
    run, began_s = Run("gpu", "keras-tuner", 0), time.perf_counter()
    add = run.add_epoch

    def add_until_limit(seconds: float, val_loss: float) -> None:
        add(seconds, val_loss)
        if time.perf_counter() - began_s > limit:
            finish(False)

    def finish(complete: bool) -> None:
        print(
            json.dumps({"epochs": run.epochs, "complete": complete, "best": run.best}), flush=True
        )
        os._exit(0)

    run.add_epoch = add_until_limit  # type: ignore[method-assign]
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload("gpu", "", len(train), len(validation), ())
        contenders.run_keras_tuner(run, workload, Path(folder))
    finish(True)


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields one row after the other."""
    file, mnist = FILES[arguments.space], arguments.images or "mnist"
    for what in arguments.what:
        if what == "steps":
            yield from _rows_of_steps(arguments)
        elif what == "keras-tuner":
            yield {"what": what, **measure_keras_tuner(mnist, arguments.limit)}
        elif what == "commands":
            row = {"what": what, "space": arguments.space}
            yield {**row, **measure_commands(file, arguments.images or "digits")}
        else:
            images = "digits" if what == "digits" else mnist
            yield from _rows_of_searches(f"search of {what}", file, images, arguments)


def _rows_of_steps(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for levels in arguments.levels:
        for compiled in (True, False):
            row = {"what": "steps", "space": arguments.space, "levels": levels}
            steps = measure_steps(arguments.space, levels, compiled)
            yield {**row, "compiled": compiled, **steps}


def _rows_of_searches(
    what: str, file: Path, images: str, arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    given: dict[str, Any] = {}
    if arguments.workers > 1:
        given["workers"] = arguments.workers
    if arguments.precision != "float32":
        given["precision"] = arguments.precision
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as cache:
        for run in arguments.runs:
            compiled = "none" if run == "none" else "padded"
            row = {"what": what, "space": arguments.space, "run": run, **given}
            yield {**row, **measure_search(file, images, compiled, Path(cache), options)}


def describe_card() -> dict[str, str]:
    """Returns the names and versions of the card and of the software."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    name, _, driver = subprocess.run(
        query, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.partition(",")
    from importlib.metadata import version

    packages = {package: version(package) for package in ("tensorflow", "keras", "keras-tuner")}
    return {"card": name.strip(), "driver": driver.strip(), **packages}


def main(given: Sequence[str] | None = None) -> None:
    """Parses the command line and measures."""
    if sys.argv[1:2] == ["--here"]:
        run_keras_tuner_here(sys.argv[2], float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="+", choices=WHAT)
    parser.add_argument("--images", help="File of MNIST's images, or of others for commands.")
    parser.add_argument("--space", choices=FILES, default="0.1")
    parser.add_argument("--levels", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", nargs="+", default=["cold", "warm", "none"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32")
    parser.add_argument("--limit", type=float, default=600.0, help="Seconds for Keras Tuner.")
    parser.add_argument("--results", type=Path, default=RESULTS / "gpu.jsonl")
    arguments = parser.parse_args(given)
    card = describe_card()
    for row in measurements(arguments):
        line = json.dumps({**card, "date": time.strftime("%Y-%m-%d"), **row})
        print(line, flush=True)
        append_line(arguments.results, line)


if __name__ == "__main__":
    main()
