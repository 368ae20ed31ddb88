"""Tables of the measurements of `gpu.py`."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_tables import markdown_table
from workloads import read_lines

Row = Mapping[str, Any]

_SEARCHES = {"mnist": "50,000 images of MNIST", "digits": "the packaged digits"}

_SPACES = {"0.1": "space of 0.1, batches of 128", "default": "default space, batches of 64"}

_GOALS: Sequence[tuple[str, float, float, str, Callable[[Row], float | None]]] = (
    (
        "a compiled step of the space of 0.1, batches of 128",
        0.8,
        0.35,
        "ms",
        lambda row: _step(row, "0.1"),
    ),
    ("the search of MNIST, from the cache", 50, 35, "s", lambda row: _seconds(row, "mnist")),
    ("the search of the digits, from the cache", 20, 12, "s", lambda row: _seconds(row, "digits")),
    (
        "the first epoch of a search, with an empty cache",
        30,
        15,
        "s",
        lambda row: _first_epoch(row),
    ),
)
"""What is measured, goal, further goal, unit, and the value of a row."""


def read_gpu(path: Path) -> list[Row]:
    """Returns the rows of a file of results; none if there is no file."""
    return list(read_lines(path)) if path.exists() else []


def searches_table(rows: Sequence[Row]) -> str:
    """Returns the wall times of whole searches."""
    if not rows:
        return "Not measured yet."
    heads = (
        f"{_card(rows)}, 75 epochs",
        "not compiled",
        "compiled, first time",
        "compiled, from the cache",
    )
    lines = [
        (title, *(_spread(_of_search(rows, name, run)) for run in ("none", "cold", "warm")))
        for name, title in _SEARCHES.items()
    ]
    return markdown_table(heads, lines)


def steps_table(rows: Sequence[Row]) -> str:
    """Returns the durations of training steps."""
    if not rows:
        return "Not measured yet."
    heads = (
        "largest widths of",
        "not compiled",
        "compiled",
        "compilation: training, validation",
    )
    return markdown_table(heads, list(_step_lines(rows)))


def goals_table(rows: Sequence[Row]) -> str:
    """Returns goals and measured values."""
    lines = []
    for measure, goal, further, unit, value_of in _GOALS:
        values = [value for row in rows if (value := value_of(row)) is not None]
        median = statistics.median(values) if values else None
        reached = "**no**" if median is None or median > goal else "yes"
        wanted = f"at most {goal:g} {unit}, then {further:g}"
        measured = "not measured" if median is None else f"{median:.3g} {unit}"
        lines.append((measure, wanted, measured, reached))
    return markdown_table(("measure", "goal", "measured", "reached"), lines)


def _step_lines(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    steps = [row for row in rows if row["what"] == "steps"]
    for space, levels in dict.fromkeys((row["space"], row["levels"]) for row in steps):
        of = [row for row in steps if (row["space"], row["levels"]) == (space, levels)]
        by_kind = {row["compiled"]: row for row in of}
        compiled = by_kind.get(True)
        first = "first_epoch_s", "first_validation_s"
        yield (
            f"{_SPACES[space]}, {levels} level{'s' * (levels > 1)}",
            *(_milliseconds(by_kind.get(kind)) for kind in (False, True)),
            " and ".join(f"{compiled[key]:.0f} s" for key in first) if compiled else "",
        )


def _milliseconds(row: Row | None) -> str:
    return f"{row['ms_per_step']:.2f} ms" if row else "not measured"


def _of_search(rows: Sequence[Row], name: str, run: str) -> list[float]:
    wanted = {"what": f"search of {name}", "space": "0.1", "run": run}
    return [row["seconds"] for row in rows if wanted.items() <= row.items()]


def _spread(seconds: Sequence[float]) -> str:
    return ", ".join(f"{one:.1f} s" for one in seconds) or "not measured"


def _step(row: Row, space: str) -> float | None:
    is_it = row["what"] == "steps" and row["space"] == space and row["compiled"]
    return float(row["ms_per_step"]) if is_it else None


def _seconds(row: Row, name: str) -> float | None:
    is_it = (row["what"], row.get("run")) == (f"search of {name}", "warm")
    return float(row["seconds"]) if is_it and row["space"] == "0.1" else None


def _first_epoch(row: Row) -> float | None:
    is_it = row["what"].startswith("search of") and row.get("run") == "cold"
    return float(row["first_epoch_s"]) if is_it and row["space"] == "0.1" else None


def _card(rows: Sequence[Row]) -> str:
    return " and ".join(sorted({row["card"] for row in rows}))
