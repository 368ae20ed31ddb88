"""Measures the losses and seconds of searches and trainings that run as a user runs them.

    python benchmarks/quality.py searches                          # hyperband and hyperband-0.1
    python benchmarks/quality.py letters --images letters.npz      # the same, on other images
    python benchmarks/quality.py random                            # 40 random configurations
    python benchmarks/quality.py mnist --images mnist.npz          # full MNIST, grey
    python benchmarks/quality.py latent-2 --images mnist.npz       # ... with two latent dimensions
    python benchmarks/quality.py binarized --images mnist.npz      # ... pixels drawn in each epoch
    python benchmarks/quality.py emoji --images emoji.npz          # colour
    python benchmarks/quality.py precision                         # bfloat16 against float32
    python benchmarks/quality.py structures                        # seconds of a new structure
    python benchmarks/quality.py --table                           # print the table only

Each run consists of vaetune's own commands. Their results are in `build/quality/`, and the
measurements are appended to `results/quality.jsonl`. After an interruption, the same command
continues; the interrupted run has no seconds in its row. `--only TEXT` limits it to runs with TEXT
in their names.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from quality_tables import ROWS, read_rows, report

BUILD = Path(__file__).parent.parent / "build" / "quality"

SUBSET, SUBSET_VALIDATION = 5000, 1000
"""Numbers of training and validation images that are drawn from a file with seed 0."""

RECIPE = {
    "activation": "gelu",
    "output_stride": 2,
    "output_bias": "mean",
    "learning_rate_warmup": 1,
    "weight_average": 0.999,
}
LEVELS = {"levels": 3, "level_channels": 4, "blocks": 1, "batch_size": 64}
PRECISIONS = ("float32", "mixed_bfloat16")
DENSE = {"encoder": "dense", "decoder": "dense", "dense_layers": 2, "output_bias": "mean"}


@dataclass(frozen=True)
class Run:
    """Commands that lead to one study, and whether its winner is evaluated on the test images.

    Attributes:
        name: Name of the run and of its folder.
        group: First word of the command line.
        study: Path of the study in the folder of results.
        command: Arguments of `vaetune`, without the folder.
        evaluate: Further arguments of `vaetune evaluate`; None: the winner is not evaluated. By
            default the importance-weighted bound takes one sample and equals the negative ELBO,
            because more samples would take minutes.
        search: Text of the search file that the command names; empty without one.
    """

    name: str
    group: str
    study: str
    command: tuple[str, ...]
    evaluate: tuple[str, ...] | None = ("--importance-samples", "1")
    search: str = ""

    @property
    def results(self) -> Path:
        """Folder of all results of the run."""
        return BUILD / self.name


def training(name: str, group: str, values: Mapping[str, Any], *options: str, **keys: Any) -> Run:
    """Returns a run of `vaetune train`."""
    sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    command = ("train", "--name", "model", *sets, *options)
    return Run(name, group, "baselines/model", command, **keys)


def paired_searches(group: str, seeds: Sequence[int], *options: str) -> Iterator[Run]:
    """Yields the default searches of vaetune 0.1 and of this version, in turn."""
    for seed in seeds:
        for file in ("hyperband-0.1", "hyperband"):
            command = ["search", file, "--seed", str(seed), *options]
            yield Run(f"{group}-{file}-seed-{seed}", group, file, tuple(command))


def full_mnist(images: Path) -> Iterator[Run]:
    """Yields the trainings on all of MNIST, two seeds each."""
    on_all = ("--dataset", str(images), "--on", "train+validation")
    annealed = (*on_all, "--learning-rate-decay", "cosine")
    wide = RECIPE | LEVELS | {"filters_1": 32, "filters_2": 64, "dense_units": 256}
    grey = wide | {"latent_dim": 16, "learning_rate": 0.003}
    flat = RECIPE | DENSE | {"dense_units": 512, "latent_dim": 2, "batch_size": 64}
    del flat["output_stride"]  # A dense decoder has none.
    for seed in (0, 1):
        options = (*annealed, "--seed", str(seed), "--epochs")
        yield training(f"mnist-seed-{seed}", "mnist", grey, *options, "30")
        small = flat | {"learning_rate": 0.0015, "weight_decay": 0.03}
        yield training(f"latent-2-seed-{seed}", "latent-2", small, *options, "30")
        name = f"binarized-seed-{seed}"
        keys = (
            f'data = {{ dataset = {json.dumps(str(images))}, binarize = "stochastic" }}',
            "budget = { max_epochs = 45 }",
            'training = { learning_rate_decay = "cosine" }',
        )
        evaluation = ("--importance-samples", "5000", "--images", "1000")
        with_seed = ("--seed", str(seed))
        yield grid_search(name, "binarized", grey, keys, *with_seed, evaluate=evaluation)


def grid_search(
    name: str,
    group: str,
    values: Mapping[str, Any],
    keys: Sequence[str],
    *options: str,
    **attributes: Any,
) -> Run:
    """Returns a run of a grid search.

    Args:
        name: Name of the run and of its search.
        group: First word of the command line.
        values: Fixed values and lists of values, by name of the hyperparameter.
        keys: Further lines of the search file.
        options: Further arguments of `vaetune search`.
        attributes: Further attributes of the run.
    """
    space = (
        f"{key} = {{ {'values' if isinstance(value, list) else 'value'} = {json.dumps(value)} }}"
        for key, value in values.items()
    )
    lines = ['algorithm = "grid"', "baseline = false", *keys, "[space]", *space]
    command = ("search", str(BUILD / f"{name}.toml"), *options)
    return Run(name, group, name, command, search="\n".join(lines) + "\n", **attributes)


def all_runs(images: Path | None) -> Iterator[Run]:
    """Yields the runs of all groups; without `images`, only those that need no file of images."""
    yield from paired_searches("searches", range(5))
    draws = ("search", "random", "--max-trials", "40", "--seed", "0", "--no-baseline")
    yield Run("random", "random", "random", draws, evaluate=None)
    base = RECIPE | {"levels": 3, "level_channels": 2, "filters_1": 16, "filters_2": 32}
    base |= {"dense_units": 256, "latent_dim": 16, "batch_size": 64, "learning_rate": 0.006}
    models: Mapping[str, Mapping[str, Any]] = {"example": {}, "default": base}
    for repeat, levels in itertools.product(range(3), (1, 2, 3)):
        name = f"structures-{levels}-{repeat}"
        twice = base | {"levels": levels, "learning_rate": [0.005, 0.006]}
        if levels == 1:
            del twice["level_channels"]  # One level has none.
        keys = ("budget = { max_epochs = 1 }", 'device = "cpu"')
        yield grid_search(name, "structures", twice, keys, evaluate=None)
    for repeat in range(3):
        for (model, values), precision in itertools.product(models.items(), PRECISIONS):
            options = ("--precision", precision, "--epochs", "4", "--seed", str(repeat))
            name = f"precision-{model}-{precision}-{repeat}"
            yield training(name, "precision", values, *options, evaluate=None)
    if images is None:
        return
    yield from paired_searches("letters", range(3), "--dataset", str(BUILD / "letters.npz"))
    yield from full_mnist(images)
    colour = RECIPE | {"stages": 3, "weight_average": 0.99, "learning_rate": 0.002}
    colour |= {"latent_dim": 64, "dense_units": 256, "batch_size": 32}
    example = {"latent_dim": 64, "dense_units": 256}
    for seed in range(3):
        coloured = ("--dataset", str(images), "--seed", str(seed), "--epochs")
        yield training(f"emoji-example-seed-{seed}", "emoji", example, *coloured, "22")
        yield training(f"emoji-seed-{seed}", "emoji", colour, *coloured, "30")


def draw_subset(images: Path, target: Path) -> None:
    """Draws the images of searches from a file of images, unless they are drawn already.

    Args:
        images: File with `x_train`, `y_train`, `x_test` and `y_test`.
        target: File to write: 5,000 training and 1,000 validation images, and all test images.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with np.load(images) as arrays:
        order = np.random.default_rng(0).permutation(len(arrays["x_train"]))
        train, validation, _ = np.split(order, [SUBSET, SUBSET + SUBSET_VALIDATION])
        drawn = {f"{kind}_test": arrays[f"{kind}_test"] for kind in "xy"}
        for kind in "xy":
            drawn[f"{kind}_train"] = arrays[f"{kind}_train"][train]
            drawn[f"{kind}_val"] = arrays[f"{kind}_train"][validation]
    np.savez_compressed(target, **drawn)


def vaetune(run: Run, *arguments: str) -> tuple[float, float]:
    """Runs a command of vaetune and returns its wall and CPU seconds."""
    command = [sys.executable, "-m", "vaetune", *arguments, "--results", str(run.results)]
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began_s, cpu_s


def measure(run: Run) -> dict[str, Any]:
    """Executes the commands of a run and returns its row."""
    continued = run.results.exists()
    if run.search:
        BUILD.mkdir(parents=True, exist_ok=True)
        (BUILD / f"{run.name}.toml").write_text(run.search, encoding="utf-8")
    wall_s, cpu_s = vaetune(run, *run.command, "--quiet")
    if run.evaluate is not None:
        vaetune(run, "evaluate", run.study, *run.evaluate)
    seconds = {} if continued else {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1)}
    return {"run": run.name, "group": run.group, **seconds, **describe(run)}


def describe(run: Run) -> dict[str, Any]:
    """Returns the measurements of a finished run."""
    import vaetune as package

    study = package.load_study(run.results / run.study)
    winner = study.winner
    assert winner
    assert winner.best
    trained = [trial for trial in study.trials if trial.status == "completed"]
    train_s = [epoch.train_s for epoch in study.curve(winner)]
    row = {
        "hyperparameters": dict(winner.hyperparameters),
        "parameters": winner.parameters,
        "val_loss": round(winner.best.val_loss, 3),
        "best_epoch": winner.best.epoch,
        "entropy_floor": study.started.data.entropy_floor,
        "trials": len(trained),
        "collapsed": sum(bool(trial.collapsed) for trial in trained),
        "failed": len(study.failures),
        "trial_s": [round(trial.duration_s, 2) for trial in trained],
        "train_s_of_epochs": [round(each, 2) for each in train_s],
        "val_losses": [round(epoch.val_loss, 3) for epoch in study.curve(winner)],
    }
    recorded = [
        event.evaluation for event in study.evaluations if event.trial_id == winner.trial_id
    ]
    if not recorded:
        return row
    last = recorded[-1]
    row |= {"test_elbo": rounded(last.negative_elbo), "psnr": round(last.psnr, 3)}
    if last.protocol.importance_samples > 1:
        row["bound"] = rounded(last.importance_weighted_bound)
    return row


def rounded(estimate: Any) -> list[float]:
    """Returns the mean and the standard error of an estimate."""
    return [round(estimate.mean, 3), round(estimate.standard_error, 3)]


def main() -> None:
    """Parses the command line, executes the missing runs, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="?", help="group of runs, such as searches")
    parser.add_argument("--images", type=Path, help="file of images that the group needs")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only runs with TEXT in the name"
    )
    parser.add_argument("--table", action="store_true", help="only print the table")
    arguments = parser.parse_args()
    images = arguments.images.resolve() if arguments.images else None
    runs = [run for run in all_runs(images) if run.group == arguments.group]
    if not arguments.table and not runs:
        parser.error("unknown group, or a group that needs --images: see the top of this file")
    if arguments.group == "letters" and images:
        draw_subset(images, BUILD / "letters.npz")
    known = {row["run"] for row in read_rows()}
    for run in [] if arguments.table else runs:
        if run.name in known or arguments.only not in run.name:
            continue
        row = measure(run)
        with ROWS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{run.name}: {row['val_loss']:.2f}, test {row.get('test_elbo')}", flush=True)
    print(report())


if __name__ == "__main__":
    main()
