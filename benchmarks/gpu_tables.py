"""Tables of the measurements of `gpu.py`."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_tables import markdown_table
from workloads import read_lines

Row = Mapping[str, Any]

_SEARCHES = {
    f"{images}, {space}": {"what": f"search of {name}", "space": number}
    for number, space in (("0.1", "space of 0.1"), ("default", "default space"))
    for name, images in (("mnist", "50,000 images of MNIST"), ("digits", "the packaged digits"))
}
"""What is searched, by title."""

_RUNS = {"none": "not compiled", "cold": "compiled, first time", "warm": "compiled, from the cache"}

_SPACES = {"0.1": "space of 0.1, batches of 128", "default": "default space, batches of 64"}

_GOALS: Sequence[tuple[str, float, float, str, Callable[[Sequence[Row]], Sequence[float]]]] = (
    (
        "a compiled step of the space of 0.1, batches of 128",
        0.8,
        0.35,
        " ms",
        lambda rows: _values(rows, "ms_per_step", what="steps", space="0.1", compiled=True),
    ),
    (
        "the search of MNIST, from the cache",
        50,
        35,
        " s",
        lambda rows: _of_searches(rows, "seconds", run="warm", what="search of mnist"),
    ),
    (
        "the same, as a share of Keras Tuner's time on the same card",
        0.15,
        0.08,
        "",
        lambda rows: _shares_of_keras_tuner(rows),
    ),
    (
        "the search of the digits, from the cache",
        20,
        12,
        " s",
        lambda rows: _of_searches(rows, "seconds", run="warm", what="search of digits"),
    ),
    (
        "the first epoch of a search, with an empty cache",
        30,
        15,
        " s",
        lambda rows: _of_searches(rows, "first_epoch_s", run="cold"),
    ),
    (
        "programs that a second search compiles",
        0,
        0,
        "",
        lambda rows: _of_searches(rows, "programs", run="warm"),
    ),
)
"""What is measured, goal, further goal, unit, and the function that returns the values."""


def read_gpu(path: Path) -> list[Row]:
    """Returns the rows of a results file; an empty list if there is no file."""
    return list(read_lines(path)) if path.exists() else []


def searches_table(rows: Sequence[Row]) -> str:
    """Returns the table of wall times of whole searches."""
    if not rows:
        return "Not measured yet."
    heads = (
        f"{_card(rows)}, 75 epochs",
        *_RUNS.values(),
    )
    lines = [
        (title, *(_spread(_of_searches(rows, "seconds", run=run, **wanted)) for run in _RUNS))
        for title, wanted in _SEARCHES.items()
    ]
    return markdown_table(heads, lines)


def steps_table(rows: Sequence[Row]) -> str:
    """Returns the table of durations of training steps."""
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
    for measure, goal, further, unit, values_of in _GOALS:
        values = values_of(rows)
        median = statistics.median(values) if values else None
        reached = "**no**" if median is None or median > goal else "yes"
        wanted = f"at most {goal:g}{unit}" + (f", then {further:g}" if further < goal else "")
        measured = "not measured" if median is None else f"{median:.3g}{unit}"
        lines.append((measure, wanted, measured, reached))
    return markdown_table(("measure", "goal", "measured", "reached"), lines)


def time_table(rows: Sequence[Row]) -> str:
    """Returns the table of where the time of searches with one worker goes."""
    heads = (
        "search",
        "start, images",
        "training",
        "validation",
        "between epochs",
        "rescoring",
        "report",
    )
    lines = list(_time_lines(rows))
    return markdown_table(heads, lines) if lines else "Not measured yet."


def _time_lines(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    parts = "training_s", "validation_s", "rescoring_s"
    for title, wanted in _SEARCHES.items():
        for run, kind in _RUNS.items():
            own = _plain_searches(rows, run=run, **wanted)
            for row in (row for row in own if "trials_s" in row):
                training, validation, rescoring = (row[part] for part in parts)
                between = row["trials_s"] - training - validation
                end = row["seconds"] - row["start_s"] - row["trials_s"] - rescoring
                spent = row["start_s"], training, validation, between, rescoring, end
                yield f"{title}, {kind}", *(f"{seconds:.1f} s" for seconds in spent)


def _step_lines(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    steps = [row for row in rows if row["what"] == "steps"]
    for space, levels in dict.fromkeys((row["space"], row["levels"]) for row in steps):
        own = [row for row in steps if (row["space"], row["levels"]) == (space, levels)]
        by_kind = {row["compiled"]: row for row in own}
        compiled = by_kind.get(True)
        first = "first_epoch_s", "first_validation_s"
        yield (
            f"{_SPACES[space]}, {levels} level{'s' * (levels > 1)}",
            *(_milliseconds(by_kind.get(kind)) for kind in (False, True)),
            " and ".join(f"{compiled[key]:.0f} s" for key in first) if compiled else "",
        )


def _milliseconds(row: Row | None) -> str:
    return f"{row['ms_per_step']:.2f} ms" if row else "not measured"


def _values(rows: Sequence[Row], name: str, **wanted: Any) -> list[float]:
    """Returns a value of the rows that hold it and all wanted values."""
    return [float(row[name]) for row in _with(rows, **wanted) if name in row]


def _with(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if wanted.items() <= row.items()]


def _plain_searches(rows: Sequence[Row], space: str = "0.1", **wanted: Any) -> list[Row]:
    """Returns the searches with one worker in float32."""
    searches = [row for row in rows if row["what"].startswith("search of ")]
    plain = [row for row in searches if not row.keys() & {"workers", "precision"}]
    return _with(plain, space=space, **wanted)


def _of_searches(rows: Sequence[Row], name: str, **wanted: Any) -> list[float]:
    return _values(_plain_searches(rows, **wanted), name)


def _shares_of_keras_tuner(rows: Sequence[Row]) -> list[float]:
    theirs = _values(rows, "seconds", what="keras-tuner", complete=True)
    ours = _of_searches(rows, "seconds", run="warm", what="search of mnist")
    return [statistics.median(ours) / statistics.median(theirs)] if ours and theirs else []


def _spread(seconds: Sequence[float]) -> str:
    return ", ".join(f"{one:.1f} s" for one in seconds) or "not measured"


def _card(rows: Sequence[Row]) -> str:
    return " and ".join(sorted({row["card"] for row in rows}))
