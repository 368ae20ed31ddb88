"""Measures how each choice of the default space affects the loss, one change at a time.

    python benchmarks/choices.py              # train what is not in the table, then print it
    python benchmarks/choices.py --share 0/2  # half of the work; --share 1/2 does the other half

Each training has 9 epochs on the packaged digits and one thread, with vaetune's own training. The
table shows the lowest validation loss of each seed, and the difference of their mean from that of
the base configuration. After an interruption, the same command continues.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping
from statistics import mean
from typing import TYPE_CHECKING, Any

from workloads import RESULTS

if TYPE_CHECKING:
    from vaetune.study import EpochEnded
    from vaetune.training import TrainingContext

TABLE = RESULTS / "choices.jsonl"
EPOCHS = 9
SEEDS = (0, 1)

BASE: Mapping[str, Any] = {
    "filters_1": 16,
    "filters_2": 32,
    "dense_units": 256,
    "latent_dim": 16,
    "levels": 3,
    "level_channels": 2,
    "learning_rate": 0.006,
    "batch_size": 64,
    "activation": "gelu",
    "output_stride": 2,
    "output_bias": "mean",
    "learning_rate_warmup": 1,
    "weight_average": 0.99,
}
"""A configuration in the middle of the default space."""

_DENSE = {"encoder": "dense", "decoder": "dense", "dense_layers": 2, "dense_units": 512}

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "the base": {},
    "one level": {"levels": 1},
    "two levels": {"levels": 2},
    "relu": {"activation": "relu"},
    "silu": {"activation": "silu"},
    "output bias of zero": {"output_bias": "zeros"},
    "no average": {"weight_average": 0},
    "no warm-up": {"learning_rate_warmup": 0},
    "no warm-up, rate 0.012": {"learning_rate_warmup": 0, "learning_rate": 0.012},
    "rate 0.012": {"learning_rate": 0.012},
    "rate 0.002": {"learning_rate": 0.002},
    "output stride 1": {"output_stride": 1},
    "batches of 32": {"batch_size": 32},
    "batches of 128": {"batch_size": 128},
    "one channel a level": {"level_channels": 1},
    "four channels a level": {"level_channels": 4},
    "filters 8/32": {"filters_1": 8},
    "filters 32/32": {"filters_1": 32},
    "filters 16/64": {"filters_2": 64},
    "dense 128": {"dense_units": 128},
    "dense 512": {"dense_units": 512},
    "latent 8": {"latent_dim": 8},
    "latent 32": {"latent_dim": 32},
    "three stages": {"stages": 3},
    "one residual block a stage": {"blocks": 1},
    "group normalization": {"normalization": "group"},
    "batch normalization": {"normalization": "batch"},
    "leaky relu": {"activation": "leaky_relu"},
    "elu": {"activation": "elu"},
    "average 0.98": {"weight_average": 0.98},
    "average 0.995": {"weight_average": 0.995},
    "KL warm-up over 1 epoch": {"kl_warmup": 1},
    "free bits 0.1": {"free_bits": 0.1},
    "weight decay 0.01": {"weight_decay": 0.01},
    "clip norm 100": {"clip_norm": 100},
    "cosine decay": {"learning_rate_decay": "cosine"},
    "latent 2, one level": {"latent_dim": 2, "levels": 1},
    "latent 2, dense networks 512/512": {**_DENSE, "latent_dim": 2},
}
"""Changes of the base configuration, by name."""


def train_epochs(
    values: Mapping[str, Any], seed: int, context: "TrainingContext", epochs: int = EPOCHS
) -> Iterator["EpochEnded"]:
    """Trains a configuration and yields its epochs.

    Args:
        values: Hyperparameters by name.
        seed: Random seed of the training.
        context: Images to train on.
        epochs: Number of epochs.
    """
    from vaetune.config import SearchSpec, used
    from vaetune.study import Assignment
    from vaetune.training import EpochDone, Task, train_task

    spec = SearchSpec.model_validate(
        {"algorithm": "single", "seed": seed, "budget": {"max_epochs": epochs}}
    )
    trial = Assignment(
        trial_id="0000",
        configuration=0,
        iteration=0,
        bracket=0,
        rung=0,
        parent=None,
        epoch_from=0,
        epoch_to=epochs,
        hyperparameters=used(values),
    )
    for message in train_task(Task(spec, (trial,), None), context):
        if isinstance(message, EpochDone):
            yield message.ended


def train(
    values: Mapping[str, Any], seed: int, context: "TrainingContext"
) -> Iterator[tuple[float, float]]:
    """Yields the validation loss and the CPU seconds of each epoch."""
    began_s = time.process_time()
    for epoch in train_epochs(values, seed, context):
        yield epoch.val_loss, time.process_time() - began_s
        began_s = time.process_time()


def read_rows() -> list[dict[str, Any]]:
    """Returns the rows of the trainings that were measured."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


def measure(part: int, parts: int) -> None:
    """Trains the missing configurations of one part of the work, and appends their rows.

    Args:
        part: Number of the part, from 0.
        parts: Number of parts.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    from vaetune.data import load_images
    from vaetune.training import TrainingContext

    context = TrainingContext(load_images("digits"))
    wanted = [(name, seed) for name in CHANGES for seed in SEEDS]
    known = {(row["change"], row["seed"]) for row in read_rows()}
    for name, seed in wanted[part::parts]:
        if (name, seed) in known:
            continue
        curve = list(train({**BASE, **CHANGES[name]}, seed, context))
        losses, seconds = (
            [round(each, 3) for each in column] for column in zip(*curve, strict=True)
        )
        row = {"change": name, "seed": seed, "val_loss": losses, "cpu_s": seconds}
        with TABLE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{name}, seed {seed}: {min(losses):.2f} nats, {sum(seconds):.0f} s", flush=True)


def table() -> str:
    """Returns the table in Markdown.

    The CPU seconds are means over epochs except the first one, which includes compilation.
    """
    rows = read_rows()
    lines = ["| change | nats | against the base | CPU s an epoch |", "|---|---|---|---|"]
    means = {}
    for name in CHANGES:
        own = [row for row in rows if row["change"] == name]
        if not own:
            continue
        means[name] = mean(min(row["val_loss"]) for row in own)
        seconds = mean(second for row in own for second in row["cpu_s"][1:])
        gain = "" if name == "the base" else f"{means[name] - means['the base']:+.2f}"
        losses = ", ".join(f"{min(row['val_loss']):.2f}" for row in own)
        lines.append(f"| {name} | {losses} | {gain} | {seconds:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Trains the missing configurations and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", default="0/1", help="part of the work to do, such as 0/2")
    parser.add_argument("--table", action="store_true", help="print the table only")
    arguments = parser.parse_args()
    if not arguments.table:
        measure(*map(int, arguments.share.split("/")))
    print(table())


if __name__ == "__main__":
    main()
