"""The chart of a race: the median over seeds of the lowest loss, against time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from race_clock import LIMIT_S, RaceRun
from race_tables import FREEZE_THAW, TITLES, by_contender

PICTURE = Path(__file__).parent / "letters.png"

COLOURS = {
    FREEZE_THAW: "#0072b2",
    "hyperband": "#56b4e9",
    "control": "#999999",
    "keras-tuner": "#d55e00",
    "optuna-median": "#009e73",
    "optuna-hyperband": "#66c2a5",
    "ray": "#cc79a7",
    "expert": "#000000",
}
"""Colours by contender. A contender and its variant with the suffix `EXAMPLE` share a colour."""

EXAMPLE = "-example"
"""Suffix of contenders that train the Keras example's network."""

PANELS = (  # Title, lowest and highest loss, and whether it shows the Keras example's network.
    ("With vaetune's default space", 98.0, 115.0, False),
    ("With the Keras example's network", 95.0, 220.0, True),
)


def draw_race(runs: Sequence[RaceRun], images: str) -> None:
    """Draws the runs on an image set.

    Args:
        runs: Runs of a race.
        images: Name of the image set.
    """
    from matplotlib.figure import Figure

    found = by_contender(runs, images)
    if FREEZE_THAW not in found:
        return
    figure = Figure(figsize=(10, 4.5), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for axes, (title, low, high, shows_example) in zip(panels, PANELS, strict=True):
        for name, by_seed in found.items():
            if name != FREEZE_THAW and name.endswith(EXAMPLE) != shows_example:
                continue
            _draw(axes, name, list(by_seed.values()))
        axes.set(title=title, xlabel="seconds", ylim=(low, high), xlim=(0, LIMIT_S))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right", edgecolor="none", framealpha=0.9, fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_ylabel("lowest validation loss, nats per image (median)")
    figure.savefig(PICTURE)


def _draw(axes: Any, name: str, runs: Sequence[RaceRun]) -> None:
    seconds = np.linspace(0, LIMIT_S, 261)
    medians = [float(np.median([run.best(at) for run in runs])) for at in seconds.tolist()]
    label = re.split("[:,] (?:cheap|vaetune|the Keras|with)", TITLES[name])[0]
    style = {"linewidth": 2.6 if name == FREEZE_THAW else 1.5}
    colour = COLOURS[name.removesuffix(EXAMPLE)]
    axes.step(seconds, medians, where="post", color=colour, label=label, **style)
