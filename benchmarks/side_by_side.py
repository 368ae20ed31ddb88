"""Compares vaetune with other tools on the same space and images.

    python benchmarks/side_by_side.py [--workload NAME] [--seeds 3] [--contender NAME]

Each search runs in its own process and folder. For each seed, the contenders run in turn. Results
are appended to `results/side_by_side.jsonl`, so the same command continues after an interruption.
Results of another machine or of other versions are measured again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from contenders import CONTENDERS, time_steps
from workloads import RESULTS, STEPS_ALONE, WORKLOADS, Run, describe, read_runs, write_run


def run_here(workload: str, contender: str, seed: int, results: Path) -> None:
    """Runs one search in this process and appends it to the results."""
    run = Run(workload, contender, seed, environment=describe())
    if contender == STEPS_ALONE:
        of_vaetune = {one.key: one for one in read_runs(results)}[(workload, "vaetune", seed)]
        run.trained, run.epochs = of_vaetune.trained, of_vaetune.epochs
        run.wall_s = run.training_s = time_steps(run.trained, WORKLOADS[workload])
    else:
        with tempfile.TemporaryDirectory() as folder:
            CONTENDERS[contender](run, WORKLOADS[workload], Path(folder))
            files = [file for file in Path(folder).rglob("*") if file.is_file()]
            run.megabytes = sum(file.stat().st_size for file in files) / 1e6
    write_run(results, run)


def main() -> None:
    """Runs the missing searches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=WORKLOADS, default="one-step")
    parser.add_argument("--contender", choices=[*CONTENDERS, STEPS_ALONE], action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS / "side_by_side.jsonl")
    parser.add_argument("--here", type=int, metavar="SEED", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    wanted = arguments.contender or WORKLOADS[arguments.workload].contenders
    if arguments.here is not None:
        run_here(arguments.workload, wanted[0], arguments.here, arguments.results)
        return
    here = describe()
    for seed in range(1, arguments.seeds + 1):
        for name in wanted:
            runs = read_runs(arguments.results)
            done = {run.key: run for run in runs if run.environment == here}
            key = (arguments.workload, name, seed)
            if key not in done:
                command = [sys.executable, __file__, "--here", str(seed), "--contender", name]
                options = ["--workload", arguments.workload, "--results", str(arguments.results)]
                ended = subprocess.run([*command, *options], capture_output=True, text=True)
                if ended.returncode:
                    raise SystemExit(f"{name} failed:\n{ended.stderr[-3000:]}")
                done = {run.key: run for run in read_runs(arguments.results)}
            run = done[key]
            best = f", best {run.best:.2f} nats" if run.curve else ""
            print(
                f"seed {seed}, {name}: {run.wall_s:.1f} s, {run.trials} trials, "
                f"{run.epochs} epochs{best}",
                flush=True,
            )


if __name__ == "__main__":
    main()
