"""Compares search algorithms without training, in worlds made from recorded learning curves.

    python benchmarks/simulate.py [--seeds 100]
    python benchmarks/simulate.py --vary decision.COST_POWER=1.0 gaussian_process.NOISE=0.001

The worlds are drawn from Gaussian processes; see `worlds.py`. Those of the first half of the table
are for choosing an algorithm's constants, those of the second half for judging it, and those of the
letters for judging it on other images. Every trial, including a promoted one, also takes the fixed
cost of its tool (measured by `side_by_side.py --workload one-step`). Results are the time until the
best validation loss is within 5, 2 and 1 nats of the lowest loss of the world, and the distance
between both after 130 s. They are written to `results/simulated.json`.

`--vary` changes constants of freeze-thaw, by module and name, simulates it only in the worlds for
choosing, and prints its results. Nothing is written.
"""

import argparse
import ast
import importlib
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from curves import Table
from simulated_searches import ALGORITHMS, GIVE_UP_S, WITHIN, Clock
from workloads import RESULTS, read_runs
from worlds import HALVES, LETTERS, World, half_of, held_out_errors, of_letters

TABLE = Table("digits")

Outcome = dict[str, float]
"""Seconds by distance in nats, such as "2.0"; and as "above" the distance after 130 s, in nats."""


def fixed_costs() -> dict[str, float]:
    """Returns the median seconds that a trial costs each tool besides its training steps."""
    from tables import fixed_cost

    runs = list(read_runs(RESULTS / "side_by_side.jsonl"))
    tools = sorted({tool for _, tool in ALGORITHMS.values()})
    return {tool: statistics.median(fixed_cost(runs, tool).values()) for tool in tools}


def simulate(world: World, title: str, per_trial_s: float, seed: int) -> Outcome:
    """Simulates one search. A distance that it does not reach counts as `GIVE_UP_S` seconds."""
    clock = Clock(world, per_trial_s)
    ALGORITHMS[title][0](clock, seed)
    reached = {str(n): min(clock.reached_s.get(n, GIVE_UP_S), GIVE_UP_S) for n in WITHIN}
    return reached | {"above": clock.above}


def simulate_all(
    table: Table, costs: dict[str, float], titles: Sequence[str], half: str, seed: int
) -> dict[str, Outcome]:
    """Simulates algorithms in the same world and returns their results by title."""
    world = World(half_of(table, half), seed)
    return {title: simulate(world, title, costs[ALGORITHMS[title][1]], seed) for title in titles}


def change_constants(changes: Sequence[str]) -> None:
    """Changes constants of the freeze-thaw algorithm.

    Args:
        changes: Changes such as "decision.COST_POWER=1.0".
    """
    for change in changes:
        place, _, value = change.partition("=")
        module, _, name = place.partition(".")
        found = importlib.import_module(f"vaetune.search.oracles.{module}")
        getattr(found, name)  # Raises an error if the name does not exist.
        setattr(found, name, ast.literal_eval(value))


def run(
    table: Table,
    titles: Sequence[str],
    halves: Sequence[str],
    seeds: int,
    changes: Sequence[str] = (),
    processes: int | None = None,
) -> Iterator[tuple[str, dict[str, list[Outcome]]]]:
    """Yields the results of all seeds in the worlds of each half, by title.

    Args:
        table: Recorded curves.
        titles: Algorithms.
        halves: Halves of the table.
        seeds: Number of worlds of each half.
        changes: Changes of constants; see `change_constants`.
        processes: Number of processes. Default: one for each core.
    """
    costs = fixed_costs()
    with ExitStack() as stack:
        if processes == 1:
            change_constants(changes)
            run_each: Callable[..., Iterable[Any]] = map
        else:
            pool = ProcessPoolExecutor(processes, None, change_constants, (changes,))
            run_each = stack.enter_context(pool).map
        for half in halves:
            job = partial(simulate_all, table, costs, titles, half)
            found = list(run_each(job, range(1, seeds + 1)))
            yield half, {title: [one[title] for one in found] for title in titles}


def summarise(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Returns the lower quartile, the median and the upper quartile of each measure."""
    return {
        measure: np.percentile(
            [one[measure] for one in outcomes], (25, 50, 75), method="nearest"
        ).tolist()
        for measure in outcomes[0]
    }


def main() -> None:
    """Simulates all algorithms and writes their results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="number of worlds of each half")
    parser.add_argument("--vary", nargs="+", default=(), metavar="MODULE.NAME=VALUE")
    parser.add_argument("--processes", type=int, help="number of processes; default: all cores")
    arguments = parser.parse_args()
    if not TABLE.is_complete:
        print("No curves are recorded yet, so nothing is simulated. Run record_curves.py first.")
        return
    titles = list(ALGORITHMS)[:1] if arguments.vary else list(ALGORITHMS)
    halves = list(HALVES)[:1] if arguments.vary else [*HALVES]
    if not arguments.vary and of_letters(TABLE).curves_path.exists():
        halves.append(LETTERS)
    summary: dict[str, Any] = {}
    options = (arguments.seeds, arguments.vary, arguments.processes)
    for half, found in run(TABLE, titles, halves, *options):
        summary[half] = {title: summarise(outcomes) for title, outcomes in found.items()}
        for title, measures in summary[half].items():
            medians = {name: round(three[1], 1) for name, three in measures.items()}
            print(f"{half}: {title} {medians}", flush=True)
    if not arguments.vary:
        simulated = {
            "seeds": arguments.seeds,
            "configurations": len(TABLE.curves()),
            "letters": len(of_letters(TABLE).curves()),
            "give_up_s": GIVE_UP_S,
            "fixed_cost_s": fixed_costs(),
            "held_out": held_out_errors(TABLE),
            "quartiles": summary,
        }
        text = json.dumps(simulated, indent=2, allow_nan=False)
        (RESULTS / "simulated.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
