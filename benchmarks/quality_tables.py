"""Tables of the measurements of `quality.py`."""

import json
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workloads import RESULTS

ROWS = RESULTS / "quality.jsonl"

TITLES = {
    "searches-hyperband-0.1": "digits, `hyperband-0.1`",
    "searches-hyperband": "digits, `hyperband`",
    "letters-hyperband-0.1": "letters, `hyperband-0.1`",
    "letters-hyperband": "letters, `hyperband`",
    "random": "digits, 40 random configurations of the default space",
    "mnist": "full MNIST, three levels, 30 epochs",
    "latent-2": "full MNIST, two latent dimensions, dense networks, 30 epochs",
    "binarized": "full MNIST, pixels drawn in each epoch, 45 epochs",
    "emoji-example": "emoji, the Keras example's network with 64 latent dimensions",
    "emoji": "emoji, three stages, 64 latent dimensions",
    "structures-1": "one level",
    "structures-2": "two levels",
    "structures-3": "three levels",
    "precision-example-float32": "the Keras example, float32",
    "precision-example-mixed_bfloat16": "the Keras example, bfloat16",
    "precision-default-float32": "three levels, gelu, float32",
    "precision-default-mixed_bfloat16": "three levels, gelu, bfloat16",
}
"""Titles in the tables, by name of the run without its seed."""

Row = Mapping[str, Any]


def read_rows() -> list[dict[str, Any]]:
    """Returns the rows of the runs that were measured."""
    if not ROWS.exists():
        return []
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def found_table(rows: Sequence[Row]) -> str:
    """Returns the losses of the runs as a Markdown table, medians over seeds."""
    lines = [
        "| what | seeds | lowest validation loss | test: negative ELBO | ... bound, k = 5,000 "
        "| PSNR, dB | collapsed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, title in TITLES.items():
        own = [row for row in rows if _without_seed(row) == name]
        if not own or name.startswith(("precision", "structures")):
            continue
        collapsed = sum(row["collapsed"] for row in own), sum(row["trials"] for row in own)
        cells = (
            title,
            str(len(own)),
            _spread([row["val_loss"] for row in own]),
            _spread([row["test_elbo"][0] for row in own if "test_elbo" in row]),
            _spread([row["bound"][0] for row in own if "bound" in row]),
            _spread([row["psnr"] for row in own if "psnr" in row], 1),
            "{} of {}".format(*collapsed),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report() -> str:
    """Returns a line for each run, the table, and summaries."""
    rows = read_rows()
    lines = []
    for row in rows:
        elbo, bound = (_with_error(row.get(key)) for key in ("test_elbo", "bound"))
        seconds = f"{row['wall_s']} s, CPU {row['cpu_s']} s" if "wall_s" in row else ""
        cells = (row["run"], f"{row['val_loss']:.2f}", elbo, bound, seconds)
        lines.append("  ".join(cell for cell in cells if cell))
    summaries = (*ratios(rows), *precision_ratios(rows), *structure_seconds(rows))
    return "\n".join([*lines, "", found_table(rows), "", *summaries])


def ratios(rows: Sequence[Row]) -> Iterator[str]:
    """Yields median ratios of this version to vaetune 0.1, over searches with the same seed."""
    by_name = {row["run"]: row for row in rows}
    for group in ("searches", "letters"):
        pairs = [
            (row, by_name[earlier])
            for name, row in by_name.items()
            if name.startswith(f"{group}-hyperband-seed-")
            and (earlier := name.replace("hyperband", "hyperband-0.1")) in by_name
        ]
        if not pairs:
            continue
        for key in ("wall_s", "cpu_s"):
            timed = [new[key] / old[key] for new, old in pairs if key in new and key in old]
            if timed:
                yield f"{group}: {key}, median ratio of {len(timed)} pairs: {_spread(timed)}"
        above = [_above_floor(new) / _above_floor(old) for new, old in pairs]
        yield f"{group}: nats above the floor, median ratio of {len(pairs)} pairs: {_spread(above)}"


def precision_ratios(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the ratio of an epoch's seconds in bfloat16 to those in float32, for each model."""
    for model in ("example", "default"):
        exact, mixed = (
            [
                seconds
                for row in rows
                if _without_seed(row) == f"precision-{model}-{precision}"
                for seconds in row["train_s_of_epochs"][1:]  # The first includes compilation.
            ]
            for precision in ("float32", "mixed_bfloat16")
        )
        if exact and mixed:
            ratio = statistics.median(mixed) / statistics.median(exact)
            yield f"precision: bfloat16 to float32, {model}: {ratio:.2f}"


def structure_seconds(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the seconds by which the first trial of a structure takes longer than the second."""
    for levels in (1, 2, 3):
        own = [row["trial_s"] for row in rows if _without_seed(row) == f"structures-{levels}"]
        if own:
            extra = _spread([first - second for first, second in own])
            yield f"structures: first trial minus the second, levels {levels}: {extra} s"


def _without_seed(row: Row) -> str:
    return re.sub(r"-(seed-)?\d+$", "", row["run"])


def _above_floor(row: Row) -> float:
    return float(row["val_loss"] - row["entropy_floor"])


def _with_error(pair: Sequence[float] | None) -> str:
    return f"{pair[0]:.2f} ± {pair[1]:.2f}" if pair else ""


def _spread(values: Sequence[float], decimals: int = 2) -> str:
    if not values:
        return ""
    median = f"{statistics.median(values):.{decimals}f}"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.{decimals}f} to {max(values):.{decimals}f})"
