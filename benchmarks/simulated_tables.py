"""Sentences and tables about recorded curves and simulated searches, for `tables.py`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from curves import Table
from markdown_tables import markdown_table

LETTERS = "letters"
"""Key of the worlds of letters in the results."""

SHOWN_EPOCHS = (1, 3, 9)
"""Epochs for which the texts show errors and noise."""


def recorded_sentence(table: Table) -> str:
    """Returns a sentence about the recorded curves."""
    if not table.is_complete:
        return "Not recorded yet."
    curves = table.curves()
    lowest = min(min(curve.val_loss) for curve in curves)
    seconds = [row.train_s + row.validation_s for row in table.seconds()]
    return (
        f"{len(curves)} configurations, the best one with {lowest:.2f} nats. "
        f"{len(table.again())} of them were trained twice. The standard deviation of a training, "
        f"if only its seed changes, is {_at_epochs(_deviations(table))}. An epoch takes "
        f"{min(seconds):.1f} to {max(seconds):.1f} s on one thread."
    )


def simulated_text(simulated: Mapping[str, Any] | None) -> str:
    """Returns the tables of simulated searches, with a sentence about the surrogates.

    Args:
        simulated: Result of `simulate.py`.
    """
    if not simulated:
        return "Not simulated yet."
    held_out = simulated["held_out"]
    error, deviation = (
        _at_epochs([held_out[name][epoch - 1] for epoch in SHOWN_EPOCHS])
        for name in ("root_mean_square", "deviation")
    )
    halves = simulated["quartiles"]
    parts = [
        f"Each half of the table predicts the losses of the other one with a root mean squared "
        f"error of {error}. Their standard deviations are {deviation}.",
        f"In {simulated['seeds']} worlds of the half for judging:",
        _table(halves["judging"], simulated["give_up_s"]),
        f"In {simulated['seeds']} worlds of the half for choosing:",
        _table(halves["choosing"], simulated["give_up_s"]),
    ]
    if LETTERS in halves:
        parts += [
            f"In {simulated['seeds']} worlds of the letters, made of {simulated['letters']} "
            "configurations with the seconds and the run noise of the digits:",
            _table(halves[LETTERS], simulated["give_up_s"]),
        ]
    return "\n\n".join(parts)


def _table(measured: Mapping[str, Mapping[str, Sequence[float]]], give_up_s: float) -> str:
    heads = ["search", "within 5 nats", "within 2 nats", "within 1 nat", "nats above after 130 s"]
    rows = []
    for title, measures in measured.items():
        times = [_seconds(measures[nats], give_up_s) for nats in ("5.0", "2.0", "1.0")]
        low, middle, high = measures["above"]
        rows.append([title, *times, f"{middle:.1f} ({low:.1f} to {high:.1f})"])
    return markdown_table(heads, rows)


def _seconds(quartiles: Sequence[float], give_up_s: float) -> str:
    low, middle, high = (
        f"{seconds:.0f}" if seconds < give_up_s else "not reached" for seconds in quartiles
    )
    return f"{middle}{' s' if middle[0].isdigit() else ''} ({low} to {high})"


def _deviations(table: Table) -> list[float]:
    """Returns the standard deviation of a training's loss, by epoch."""
    first = {curve.number: curve.val_loss for curve in table.curves()}
    pairs = [(first[curve.number], curve.val_loss) for curve in table.again()]
    # The difference of two trainings has twice the variance of one.
    return [
        statistics.fmean((b[epoch - 1] - a[epoch - 1]) ** 2 / 2 for a, b in pairs) ** 0.5
        for epoch in SHOWN_EPOCHS
    ]


def _at_epochs(nats: Sequence[float]) -> str:
    first, *between, last = [
        f"{one:.2f} nats after epoch {epoch}" for one, epoch in zip(nats, SHOWN_EPOCHS, strict=True)
    ]
    return f"{', '.join([first, *between])} and {last}"
