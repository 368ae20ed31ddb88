"""Times the decisions of a freeze-thaw search, without training.

    python benchmarks/decisions.py [--configurations 60 1000]

Configurations are drawn from the default space and have invented losses. A fifth of them train to
the last epoch; twelve of the others stay paused. The script prints the median and the largest time
of 20 decisions.
"""

import argparse
import os
import statistics
import time

import numpy as np

DECISIONS = 20


def time_decisions(configurations: int) -> tuple[list[float], list[float]]:
    """Returns wall and CPU seconds of decisions of a search with this number of configurations."""
    from vaetune.config import DEFAULT_SPACE, SearchSpec
    from vaetune.search.oracles.control import end_trial, make_oracle
    from vaetune.study import Assignment

    spec = SearchSpec.model_validate({"algorithm": "freeze_thaw", "space": DEFAULT_SPACE})
    budget = spec.budget.model_copy(update={"total_epochs": 10**6})
    oracle = make_oracle(spec.model_copy(update={"budget": budget}))
    rng = np.random.default_rng(0)
    encoder = oracle._chooser.encoder  # type: ignore[attr-defined]
    number = 0
    for configuration in range(configurations):
        values = encoder.draw(rng.random(encoder.dimensions).tolist())
        parent = None
        quality = 100 + 20 * rng.random()
        for rung, (epoch, last) in enumerate(((0, 1), (1, 3), (3, 6), (6, 9))):
            oracle.recorded = Assignment(
                trial_id=f"{number:04d}",
                configuration=configuration,
                parent=parent,
                bracket=0,
                rung=rung,
                epoch_from=epoch,
                epoch_to=last,
                hyperparameters=values,
            )
            parent = oracle.create_trial(f"tuner{number}").trial_id
            end_trial(oracle, parent, quality * (1 + 0.4 / last))
            number += 1
            if configuration % 5:
                break
    oracle.recorded = None
    wall, cpu = [], []
    for again in range(DECISIONS):
        began, used = time.perf_counter(), time.process_time()
        trial = oracle.create_trial(f"again{again}")
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        end_trial(oracle, trial.trial_id, None)
    return wall, cpu


def main() -> None:
    """Times decisions and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, nargs="+", default=[60, 1000])
    arguments = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from vaetune.device import import_tensorflow

    import_tensorflow()
    for configurations in arguments.configurations:
        wall, cpu = time_decisions(configurations)
        print(
            f"{configurations} configurations: {1000 * statistics.median(wall):.1f} ms, "
            f"at most {1000 * max(wall):.1f} ms (CPU: {1000 * statistics.median(cpu):.1f} and "
            f"{1000 * max(cpu):.1f} ms)"
        )


if __name__ == "__main__":
    main()
