"""Records learning curves with vaetune's own training, for the simulated searches.

    python benchmarks/record_curves.py                 # 300 random configurations of the digits
    python benchmarks/record_curves.py --again 30      # the first 30 again, with another seed
    python benchmarks/record_curves.py --seconds       # the seconds of their epochs
    python benchmarks/record_curves.py --name letters --images benchmarks/data/letters.npz

The curves are those of vaetune's `random` search with two workers of one thread each. The results
of this search are in `build/curves/`. The tables in `benchmarks/curves/` are written at the end,
even if the recording is interrupted; the same command continues it. A larger `--count` extends a
complete recording. From the images of a file, 5,000 training and 1,000 validation images are drawn.

`--seconds` trains on some of the images in this process, on one thread. Do not run anything else on
the machine at the same time.
"""

import argparse
import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from choices import train_epochs
from curves import Curve, Seconds, Table, write_curves
from quality import draw_subset
from workloads import append_line

if TYPE_CHECKING:
    from vaetune import Study
    from vaetune.training import TrainingContext

BUILD = Path(__file__).parent.parent / "build" / "curves"

SEED, SEED_AGAIN = 7, 8
"""Random seeds of the search that records curves, and of the one that repeats some of them."""

TIMED_TRAIN, TIMED_VALIDATION, TIMED_EPOCHS = 1280, 500, 4
"""Numbers of images and epochs that are timed. The first epoch does not count: it traces steps."""


def record(
    name: str,
    seed: int,
    count: int,
    dataset: str,
    changes: Mapping[str, Any],
    workers: int = 2,
    results: Path | None = None,
) -> "Study":
    """Runs a random search of the default space, or continues it.

    Args:
        name: Name of the search.
        seed: Random seed of the search.
        count: Number of configurations.
        dataset: Name or file of the images.
        changes: Other keys of the search, by dotted name.
        workers: Number of configurations that train at the same time, on one thread each.
        results: Folder of all results. Default: `BUILD`.
    """
    import vaetune
    from vaetune.search import ExecutorOptions
    from vaetune.study import has_begun

    results = results or BUILD
    keys = {"seed": seed, "baseline": False, "budget.max_trials": count, "data.dataset": dataset}
    search = vaetune.load_search("random", {**keys, **changes})
    begun = vaetune.load_study(results / name) if has_begun(results / name) else None
    extend = begun is not None and (begun.search.budget.max_trials or 0) < count
    executor = ExecutorOptions(workers, threads=1)
    return vaetune.run_search(search, None, results, name=name, executor=executor, extend=extend)


def curves_of(study: "Study", numbers: Sequence[int] | None = None) -> Iterator[Curve]:
    """Yields the curves of the completed trials of a random search.

    Args:
        study: The search.
        numbers: Numbers of the configurations in the table. Default: those in the search.
    """
    for trial in sorted(study.trials, key=lambda trial: trial.configuration):
        if trial.status == "completed":
            number = numbers[trial.configuration] if numbers else trial.configuration
            losses = tuple(round(epoch.val_loss, 4) for epoch in trial.epochs)
            floor = round(study.started.data.entropy_floor, 4)
            yield Curve(number, dict(trial.hyperparameters), losses, floor)


def record_all(table: Table, dataset: str, count: int) -> None:
    """Records the curves of a table."""
    import vaetune

    try:
        record(table.name, SEED, count, dataset, {})
    finally:
        write_curves(table.curves_path, curves_of(vaetune.load_study(BUILD / table.name)))


def record_again(table: Table, dataset: str, count: int) -> None:
    """Trains the first configurations of a table again, with another seed."""
    import vaetune

    first = table.curves()[:count]
    name, points = f"{table.name}-again-{count}", [curve.values for curve in first]
    try:
        record(name, SEED_AGAIN, count, dataset, {"start_with": points})
    finally:
        study = vaetune.load_study(BUILD / name)
        write_curves(table.again_path, curves_of(study, [curve.number for curve in first]))


def record_seconds(table: Table, dataset: str) -> None:
    """Measures the seconds of an epoch of each network and batch size in a table."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from vaetune.device import choose_device

    choose_device("cpu", threads=1)
    from vaetune.data import load_images
    from vaetune.training import TrainingContext

    images = load_images(dataset)
    scales = (len(images.train) / TIMED_TRAIN, len(images.validation) / TIMED_VALIDATION)
    part = replace(
        images,
        train=images.train.take(slice(TIMED_TRAIN)),
        validation=images.validation.take(slice(TIMED_VALIDATION)),
    )
    context = TrainingContext(part)
    known = {row.number for row in table.seconds()}
    for number, values in networks(table.curves()).items():
        if number in known:
            continue
        train_s, validation_s = time_epoch(values, context)
        row = Seconds(number, round(train_s * scales[0], 4), round(validation_s * scales[1], 4))
        append_line(table.seconds_path, json.dumps(asdict(row)))
        print(f"{number}: {row.train_s:.2f} s and {row.validation_s:.2f} s an epoch", flush=True)


def networks(curves: Sequence[Curve]) -> dict[int, dict[str, Any]]:
    """Returns one configuration for all that differ only in the learning rate, by number."""
    found: dict[tuple[tuple[str, Any], ...], Curve] = {}
    for curve in curves:
        key = tuple((k, v) for k, v in curve.values.items() if k != "learning_rate")
        found.setdefault(key, curve)
    return {curve.number: curve.values for curve in found.values()}


def time_epoch(values: Mapping[str, Any], context: "TrainingContext") -> tuple[float, float]:
    """Returns the median seconds to train and to validate an epoch, except the first epoch."""
    epochs = list(train_epochs(values, 0, context, TIMED_EPOCHS))[1:]
    train_s = statistics.median(epoch.train_s for epoch in epochs)
    return train_s, statistics.median(epoch.validation_s for epoch in epochs)


def main() -> None:
    """Records the missing curves or seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="digits", help="name of the table")
    parser.add_argument("--images", type=Path, help="file of images; default: the packaged digits")
    parser.add_argument("--count", type=int, default=300, help="number of configurations")
    parser.add_argument("--again", type=int, help="number of configurations to train again")
    parser.add_argument("--seconds", action="store_true", help="measure the seconds of epochs")
    arguments = parser.parse_args()
    table, dataset = Table(arguments.name), "digits"
    if arguments.images:
        target = (BUILD / f"{table.name}.npz").resolve()
        draw_subset(arguments.images, target)
        dataset = str(target)
    elif table.name != "digits":
        parser.error("--name expects --images as well, except for the digits")
    if arguments.seconds:
        record_seconds(table, dataset)
    elif arguments.again:
        record_again(table, dataset, arguments.again)
    else:
        record_all(table, dataset, arguments.count)


if __name__ == "__main__":
    main()
