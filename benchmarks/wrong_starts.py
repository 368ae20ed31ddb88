"""Measures what three wrong starting points cost the default search.

    python benchmarks/wrong_starts.py [--seeds 3] [--results build/wrong-starts]

Each seed runs `vaetune search hyperband` twice, in turns: as it is, and beginning with three of
the worst configurations of its space. A search that was stopped continues, and a complete one is
not run again. Seconds are those of training and validation, without the finalists.
"""

import argparse
import statistics
from typing import Any

import vaetune

WRONG: list[dict[str, Any]] = [
    {
        "filters_1": 16,
        "filters_2": filters,
        "dense_units": 128,
        "latent_dim": 8,
        "levels": 1,
        "learning_rate": 0.002,
        "batch_size": batch,
    }
    for filters, batch in ((32, 64), (64, 64), (32, 32))
]
"""The smallest networks of the default space, with its lowest learning rate."""


def seconds_to(study: vaetune.Study, loss: float) -> float:
    """Returns the seconds until a search has a validation loss; infinite if it never has.

    Args:
        study: A search with one worker.
        loss: Validation loss, in nats per image.
    """
    passed = 0.0
    for trial in study.trials:
        for epoch in trial.epochs:
            passed += epoch.train_s + epoch.validation_s
            if epoch.val_loss <= loss:
                return passed
    return float("inf")


def run(seed: int, start_with: list[dict[str, Any]] | None, results: str) -> vaetune.Study:
    """Runs the default search, or continues it.

    Args:
        seed: Random seed of the search.
        start_with: Its starting points; None for none.
        results: Folder of all results.
    """
    changes = {"seed": seed, "baseline": False, "start_with": start_with}
    name = f"{'wrong' if start_with else 'plain'}-{seed}"
    search = vaetune.load_search("hyperband", changes)
    return vaetune.run_search(search, results=results, name=name, verbose=False)


def main() -> None:
    """Runs all searches and prints a line for each seed, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", default="build/wrong-starts")
    arguments = parser.parse_args()
    differences, ratios = [], []
    for seed in range(1, arguments.seeds + 1):
        plain, wrong = (run(seed, points, arguments.results) for points in (None, WRONG))
        best, other = (study.ranking[0].score or 0.0 for study in (plain, wrong))
        level = max(best, other) + 1.0
        first, second = (seconds_to(study, level) for study in (plain, wrong))
        differences.append(other - best)
        ratios.append(second / first)
        print(
            f"seed {seed}: best loss {best:.2f} nats, with wrong starting points {other:.2f}; "
            f"{level:.1f} nats after {first:.0f} s and {second:.0f} s",
            flush=True,
        )
    print(
        f"Median cost: {statistics.median(differences):+.2f} nats, "
        f"{statistics.median(ratios):.2f} times the seconds"
    )


if __name__ == "__main__":
    main()
