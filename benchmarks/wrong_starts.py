"""Simulates what three wrong starting points cost a search.

    python benchmarks/wrong_starts.py [--seeds 100]

In each world of the half for judging (see `worlds.py`), Hyperband and freeze-thaw search twice:
without starting points, and beginning with three of the worst configurations of the space.
"""

import argparse
import statistics
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from simulate import TABLE, fixed_costs
from simulated_searches import GIVE_UP_S, WITHIN, Clock, vaetune_search
from worlds import World, half_of

ALGORITHMS = ("hyperband", "freeze_thaw")

SMALLEST = {"filters_1": 16, "dense_units": 128, "latent_dim": 8, "levels": 1}
WRONG: list[dict[str, Any]] = [
    {**SMALLEST, "filters_2": filters, "batch_size": batch, "learning_rate": 0.002}
    for filters, batch in ((32, 64), (64, 64), (32, 32))
]
"""Small networks of the default space with one level, and its lowest learning rate."""


def simulate(seed: int, per_trial_s: float) -> dict[tuple[str, bool], Mapping[str, float]]:
    """Returns the results in one world, by algorithm and use of the wrong starting points."""
    found = {}
    for algorithm in ALGORITHMS:
        for is_wrong in (False, True):
            clock = Clock(World(half_of(TABLE, "judging"), seed), per_trial_s)
            vaetune_search(clock, seed, algorithm, start_with=WRONG if is_wrong else ())
            reached = {f"within {n:g} nats": clock.reached_s.get(n, GIVE_UP_S) for n in WITHIN}
            found[algorithm, is_wrong] = reached | {"above": clock.above}
    return found


def main() -> None:
    """Simulates all searches, and prints medians and the cost of the starting points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, help="number of worlds")
    arguments = parser.parse_args()
    job = partial(simulate, per_trial_s=fixed_costs()["vaetune"])
    with ProcessPoolExecutor() as pool:
        worlds = list(pool.map(job, range(1, arguments.seeds + 1)))
    for algorithm in ALGORITHMS:
        plain, wrong = ([one[algorithm, is_wrong] for one in worlds] for is_wrong in (False, True))
        for measure in plain[0]:
            before, after = (
                statistics.median(one[measure] for one in each) for each in (plain, wrong)
            )
            unit = "nats" if measure == "above" else "s"
            pairs = zip(plain, wrong, strict=True)
            cost = statistics.median(w[measure] - p[measure] for p, w in pairs)
            print(
                f"{algorithm}, {measure}: {before:.1f} {unit}, with wrong starting points "
                f"{after:.1f} {unit}; median difference {cost:+.1f} {unit}"
            )


if __name__ == "__main__":
    main()
