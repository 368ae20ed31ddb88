"""Writes the tables and charts of both README.md files from the measured results.

python benchmarks/tables.py          # write them and print the goals
python benchmarks/tables.py --check  # fail if they differ from the results
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from anomaly_tables import anomalies_text, read_rows as read_anomalies
from contenders import TITLES
from curves import Table
from gpu_tables import (
    goals_table as gpu_goals_table,
    read_gpu,
    searches_table,
    steps_table,
    time_table,
)
from markdown_tables import markdown_table
from quality_tables import found_table, read_rows
from race_chart import draw_race
from race_clock import read_race
from race_tables import race_text
from simulated_tables import recorded_sentence, simulated_text
from two_workers import PATH, SEARCH, Command, ratios, read_commands
from workloads import MEASURED, RESULTS, STEPS_ALONE, Run, read_runs

PAGES = (Path(__file__).parent / "README.md", Path(__file__).parents[1] / "README.md")
PICTURE = Path(__file__).parent / "race.png"
BEGIN, END = "<!-- begin {} -->", "<!-- end {} -->"


def fixed_cost(runs: Iterable[Run], contender: str) -> dict[int, float]:
    """Returns the seconds per trial besides training steps, by seed, at one step per epoch.

    The steps are those of vaetune's search with the same seed, timed without a search.
    """
    by_key = {run.key: run for run in runs}
    found = {}
    for (workload, name, seed), run in by_key.items():
        steps = by_key.get(("one-step", STEPS_ALONE, seed))
        if (workload, name) == ("one-step", contender) and steps:
            found[seed] = (run.wall_s - steps.wall_s) / run.trials
    return found


Row = tuple[str, str, str, str]


def goals_table(
    runs: Sequence[Run],
    goals: dict[str, Any] | None,
    commands: Sequence[Command],
    many: dict[str, Any] | None,
) -> str:
    """Returns the table of goals and measured values.

    Args:
        runs: Runs of `side_by_side.py`.
        goals: Result of `goals.py`.
        commands: Commands of `two_workers.py`.
        many: Result of `many_workers.py`.
    """
    rows = [*_search_goals(runs)]
    rows += _goals_besides_training(goals) if goals else ()
    rows += _goals_of_two_workers(runs, commands)
    rows += _goals_of_many_workers(many) if many else ()
    return markdown_table(("measure", "goal", "measured", "reached"), rows)


def _goal(
    measure: str, goal: float, unit: str, values: Sequence[float], is_minimum: bool = False
) -> Row:
    sign = "at least" if is_minimum else "at most"
    if not values:
        return measure, f"{sign} {goal:g}{unit}", "not measured", "**no**"
    value = statistics.median(values)
    spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
    reached = value >= goal if is_minimum else value <= goal
    measured = f"{value:.3g}{unit}{spread}"
    return measure, f"{sign} {goal:g}{unit}", measured, "yes" if reached else "**no**"


def _search_goals(runs: Sequence[Run]) -> Iterator[Row]:
    ours, theirs = fixed_cost(runs, "vaetune"), fixed_cost(runs, "keras-tuner")
    costs = [cost / theirs[seed] for seed, cost in ours.items() if seed in theirs]
    yield _goal("fixed cost of a trial, as a share of Keras Tuner's", 0.25, "", costs)
    promoted = [r.promoted_s for r in runs if r.key[:2] == ("one-step", "vaetune")]
    costs = [seconds for seconds in promoted if seconds]
    yield _goal("cost of a promoted trial besides its training steps", 0.1, " s", costs)
    search = [run for run in runs if run.key[:2] == ("digits", "vaetune")]
    shares = [run.training_s / run.wall_s for run in search if run.training_s]
    yield _goal("default search: share of its time inside training steps", 0.9, "", shares, True)
    wall = "default search: wall time, as a share of Keras Tuner's"
    yield _goal(wall, 0.85, "", _shares_of_keras_tuner(runs, "digits", "vaetune"))


def _shares_of_keras_tuner(runs: Sequence[Run], workload: str, contender: str) -> list[float]:
    """Returns a contender's wall times as shares of Keras Tuner's with the same seed."""
    plain = {run.seed: run.wall_s for run in runs if run.key[:2] == (workload, "keras-tuner")}
    ours = {run.seed: run.wall_s for run in runs if run.key[:2] == (workload, contender)}
    return [ours[seed] / plain[seed] for seed in sorted(ours.keys() & plain.keys())]


def _goals_besides_training(goals: dict[str, Any]) -> Iterator[Row]:
    yield _goal("`vaetune --help`, CPU time", 0.5, " s", [goals["help_cpu_s"]])
    yield _goal("`vaetune trials` of a default search, CPU time", 1, " s", [goals["trials_cpu_s"]])
    yield _goal("`vaetune report` of a default search, CPU time", 3, " s", [goals["report_cpu_s"]])
    for algorithm, cost in goals["oracle_ms"].items():
        yield _goal(
            f"oracle and journal per trial, {algorithm}, after 3,000 trials", 5, " ms", [cost]
        )
    report = goals["large_report"]
    yield _goal(
        "report of 1,000 trials x 30 epochs: time to write it", 5, " s", [report["write_s"]]
    )
    yield _goal("... its size", 5, " MB", [report["megabytes"]])
    yield _goal("... time to open it in Chromium", 1, " s", [report["open_s"]])
    yield _goal("... time of a filter", 0.1, " s", [report["filter_s"]])
    memory = [goals["memory_mb_per_trial"]]
    yield _goal("memory that a trial adds, over 100 trials", 1, " MB", memory)


def _goals_of_two_workers(runs: Sequence[Run], commands: Sequence[Command]) -> Iterator[Row]:
    wall = "default search, 2 workers: wall time, as a share of"
    if shares := ratios(commands):
        yield _goal(f"{wall} one worker's", 0.9, "", shares)
    if shares := _shares_of_keras_tuner(runs, "workers", "vaetune-workers"):
        yield _goal(f"{wall} Keras Tuner's", 0.72, "", shares)


def _goals_of_many_workers(many: dict[str, Any]) -> Iterator[Row]:
    workers, busy = many["settings"]["workers"], [many["utilisation_until_last_rung"]]
    yield _goal(
        f"{workers} simulated workers: utilisation until the last rung", 0.9, "", busy, True
    )
    yield _goal(
        "... driver time per trial event", 5, " ms", [1e3 * many["driver_s"] / many["events"]]
    )


def side_by_side_table(runs: Sequence[Run], workload: str) -> str:
    """Returns the table of all contenders on a workload."""
    rows = []
    for name, title in TITLES.items():
        own = [run for run in runs if run.key[:2] == (workload, name)]
        if not own:
            continue
        wall = [run.wall_s for run in own]
        row = [
            title,
            _with_spread(wall),
            f"{statistics.median(run.trials for run in own):g}",
            f"{statistics.median(run.epochs for run in own):g}",
        ]
        if workload == "one-step":
            costs = fixed_cost(runs, name).values()
            row.append(f"{statistics.median(costs):.2f}" if costs else "not measured")
        else:
            best = [run.best for run in own]
            row.append(_with_spread(best))
        row.append(f"{statistics.median(run.megabytes for run in own):.0f}")
        rows.append(row)
    fifth = "fixed cost per trial, s" if workload == "one-step" else "best loss, nats"
    return markdown_table(
        ("search", "wall time, s", "trials", "epochs", fifth, "on disk, MB"), rows
    )


def race_table(runs: Sequence[Run]) -> str:
    """Returns the table of each contender's time to the final loss of random search."""
    race = {run.key: run for run in runs if run.workload == "digits"}
    seeds = sorted(run.seed for run in race.values() if run.contender == "vaetune-random")
    rows = []
    for name, title in TITLES.items():
        times = []
        for seed in seeds:
            run = race.get(("digits", name, seed))
            if run:
                level = race["digits", "vaetune-random", seed].best
                times.append(next((t for t, loss in run.curve if loss <= level), math.inf))
        if times:
            reached = sum(map(math.isfinite, times))
            median = statistics.median(times)
            rows.append(
                (
                    title,
                    f"{median:.0f} s" if math.isfinite(median) else "not reached",
                    f"{reached} of {len(times)}",
                )
            )
    return markdown_table(("search", "median time to random search's final loss", "seeds"), rows)


def environment_line(runs: Sequence[Run], goals: dict[str, Any] | None) -> str:
    """Returns a line about machine and versions, from the last run."""
    cores = f"{goals['cores']} cores of " if goals else ""
    found = dict(runs[-1].environment)
    processor, python = found.pop("processor"), found.pop("python")
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"Measured on {cores}{processor}, Python {python}, {versions}."


def draw_comparison(runs: Sequence[Run]) -> None:
    """Draws the best validation loss against the wall time, one line per seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = ("#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#999999")
    for (name, title), colour in zip(TITLES.items(), colours, strict=True):
        for run in (run for run in runs if run.key[:2] == ("digits", name)):
            seconds, losses = zip(*run.curve, strict=True)
            label = title if run.seed == 1 else None
            ends = ([*seconds, run.wall_s], [*losses, losses[-1]])
            axes.step(*ends, where="post", color=colour, label=label, linewidth=1.6, alpha=0.8)
    axes.set(
        xlabel="wall time, seconds",
        ylabel="best validation loss, nats per image",
        title="Searches on 5,000 digits, 72 or 75 epochs each, one line per seed",
    )
    axes.set_ylim(top=220)
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(PICTURE)


def summary_table(runs: Sequence[Run]) -> str:
    """Returns the table with one row per tool."""
    rows = []
    for name in ("vaetune", "keras-tuner", "optuna", "ray"):
        own = [run for run in runs if run.key[:2] == ("digits", name)]
        costs = fixed_cost(runs, name).values()
        if own and costs:
            row = [TITLES[name]]
            row += [f"{statistics.median(run.wall_s for run in own):.0f} s"]
            row += [f"{statistics.median(run.best for run in own):.1f}"]
            rows.append((*row, f"{statistics.median(costs):.2f} s"))
    heads = (
        "75 epochs on the digits",
        "wall time",
        "best loss, nats",
        "cost of a trial besides steps",
    )
    return markdown_table(heads, rows)


def workers_sentence(runs: Sequence[Run], commands: Sequence[Command]) -> str:
    """Returns a sentence that compares two workers with one worker and with Keras Tuner."""
    ours, theirs = ratios(commands), _shares_of_keras_tuner(runs, "workers", "vaetune-workers")
    if not ours or not theirs:
        return "Not measured yet."
    return (
        "With `--workers 2` and one thread per worker, this search takes "
        f"{_with_spread(ours, 2)} of the time that one worker takes on the same two cores, and "
        f"{_with_spread(theirs, 2)} of Keras Tuner's time. These runs are from another day than "
        "the table."
    )


def time_sentence(goals: dict[str, Any] | None) -> str:
    """Returns a sentence about where the time of a default search goes."""
    if not goals:
        return "Not measured yet."
    shares = [f"{share:.1%} {what}" for what, share in goals["time_shares"].items()]
    return f"Where the time of a default search goes: {', '.join(shares)}."


def parts() -> dict[str, str]:
    """Returns the texts between the markers of the pages, by name of the marker."""
    runs = list(read_runs(RESULTS / "side_by_side.jsonl"))
    names = ("goals", "simulated", "many_workers")
    goals, simulated, many = (_read(RESULTS / f"{name}.json") for name in names)
    gpu = read_gpu(RESULTS / "gpu.jsonl")
    commands = [one for one in read_commands(PATH).values() if one.search == SEARCH]
    return {
        "goals": goals_table(runs, goals, commands, many),
        "time": time_sentence(goals),
        "summary": summary_table(runs),
        "workers-share": workers_sentence(runs, commands),
        **{workload: side_by_side_table(runs, workload) for workload in MEASURED},
        "race": race_table(runs),
        "recorded": recorded_sentence(Table("digits")),
        "simulated": simulated_text(simulated),
        "trained": race_text(read_race(RESULTS / "race.jsonl")),
        "environment": environment_line(runs, goals),
        "found": found_table(read_rows()),
        "anomalies": anomalies_text(read_anomalies()),
        "gpu": searches_table(gpu),
        "gpu-steps": steps_table(gpu),
        "gpu-time": time_table(gpu),
        "gpu-goals": gpu_goals_table(gpu),
    }


def render(text: str, found: dict[str, str]) -> str:
    """Returns a page with new texts between its markers."""
    for name, part in found.items():
        if BEGIN.format(name) in text:
            before, rest = text.split(BEGIN.format(name))
            _, after = rest.split(END.format(name))
            text = f"{before}{BEGIN.format(name)}\n{part}\n{END.format(name)}{after}"
    return text


def main() -> None:
    """Writes the tables and charts, or checks the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    found = parts()
    for page in PAGES:
        rendered = render(page.read_text(), found)
        if not arguments.check:
            page.write_text(rendered)
        elif rendered != page.read_text():
            sys.exit(f"{page} differs from the results. Run benchmarks/tables.py to update it.")
    if not arguments.check:
        draw_comparison(list(read_runs(RESULTS / "side_by_side.jsonl")))
        draw_race(read_race(RESULTS / "race.jsonl"), "letters")
        print(found["goals"])


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def _with_spread(values: Sequence[float], decimals: int = 1) -> str:
    median, low, high = statistics.median(values), min(values), max(values)
    spread = f" ({low:.{decimals}f} to {high:.{decimals}f})" if len(values) > 1 else ""
    return f"{median:.{decimals}f}{spread}"


if __name__ == "__main__":
    main()
