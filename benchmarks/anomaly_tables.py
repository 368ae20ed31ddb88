"""Tables of anomaly scores."""

import json
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_tables import markdown_table
from workloads import RESULTS

TABLE = RESULTS / "anomalies.jsonl"

Row = dict[str, Any]

CHOSEN_ON = ("digits", "photos", *(f"digits-without-{digit}" for digit in range(5)))
"""Models on which the correction was chosen, with seed 0. The others show how well it works."""

PUBLISHED = {
    "ELBO of a VAE with 2 latent dimensions": (96, 73, 97, 94, 73, 92, 95, 77, 92, 66),
    "ELBO of a VAE with 32 latent dimensions": (81, 9, 92, 87, 78, 86, 87, 51, 89, 58),
}
"""Published AUROC of each left-out digit, in percent: Tonnaer 2023, table 3.3."""


def read_rows() -> list[Row]:
    """Returns the rows that `anomalies.py` measured."""
    if not TABLE.exists():
        return []
    return [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


def anomalies_text(rows: Sequence[Row]) -> str:
    """Returns the tables and sentences about anomalies."""
    found = {
        name: [row for row in rows if row["measure"] == name]
        for name in ("corrections", "digits", "threshold")
    }
    parts = (
        corrections_table(found["corrections"]),
        digits_table(found["digits"]),
        threshold_sentence(found["threshold"]),
    )
    return "\n\n".join(part for part in parts if part) or "Not measured yet."


def corrections_table(rows: Sequence[Row]) -> str:
    """Returns the AUROC of each correction, for the models that chose it and for the others."""
    if not rows:
        return ""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_group_of(row), []).append(row)
    chosen = [row for row in rows if _is_chosen_on(row)]
    others = [row for row in rows if not _is_chosen_on(row)]
    lines = []
    for name in rows[0]["auroc"]:
        means = [_mean(part, name) for part in (chosen, others, *groups.values())]
        lines.append((name, *means))
    heads = ("subtracted from the negative ELBO", "chosen on", "shown on", *groups)
    return markdown_table(heads, lines)


def _group_of(row: Row) -> str:
    if row["model"].startswith("digits-without"):
        return "a digit left out"
    kinds = {"inverted": "inverted", "shuffled pixels": "shuffled", "uniform": "uniform grey"}
    return kinds.get(row["odd"], f"{row['model']}, other sets")


def _is_chosen_on(row: Row) -> bool:
    return row["model"] in CHOSEN_ON and row["seed"] == 0


def _mean(rows: Iterable[Row], name: str) -> str:
    values = [row["auroc"][name] for row in rows]
    return f"{statistics.mean(values):.3f}" if values else ""


def digits_table(rows: Sequence[Row]) -> str:
    """Returns the AUROC of each left-out digit of MNIST, with published values.

    The table is empty until all ten digits are measured.
    """
    found = {row["digit"]: row["auroc"] for row in rows}
    if len(found) < 10:
        return ""
    ours = [found[digit] for digit in range(10)]
    lines = [_digits_line("`vaetune score`", ours, 3)]
    lines += [_digits_line(name, [v / 100 for v in each], 2) for name, each in PUBLISHED.items()]
    return markdown_table(("digit left out", *map(str, range(10)), "mean"), lines)


def _digits_line(name: str, values: Sequence[float], decimals: int) -> tuple[str, ...]:
    shown = (f"{value:.{decimals}f}" for value in values)
    return (name, *shown, f"{statistics.mean(values):.3f}")


def threshold_sentence(rows: Sequence[Row]) -> str:
    """Returns a sentence about the share of images that the threshold flags."""
    if not rows:
        return ""
    shares = ", ".join(f"{row['flagged']:.2%}" for row in rows)
    one = rows[0]
    return (
        f"The 99% threshold, set on {one['held_out']:,} validation images of MNIST, flags "
        f"{shares} of the {one['images']:,} test images (a model for each of {len(rows)} seeds)."
    )
