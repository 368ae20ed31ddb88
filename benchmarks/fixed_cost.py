"""What a trial costs beside its training: vaetune and plain Keras Tuner, in turn.

Both run the same 23-trial Hyperband schedule (max_epochs 9, factor 3) over the same space on
128 images, one step an epoch, each in a process of its own. The figure is the wall time of the
search, from before the first trial to after the last, divided by the trials.

    python benchmarks/fixed_cost.py [--repeats 3]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRIALS = 23
IMAGES = 128


def run_vaetune(folder: Path, seed: int) -> float:
    """Seconds of a search by vaetune."""
    from vaetune.data import ImageSet, Split, load_images
    from vaetune.device import choose_device

    digits = load_images("digits")
    few = {
        name: Split(getattr(digits, name).images[:IMAGES], None)
        for name in ("train", "validation", "test")
    }
    images = ImageSet("few digits", "digits", **few, class_names=None, fingerprint="0" * 64)
    device = choose_device("auto")
    from vaetune.search import open_search
    from vaetune.spec import ResolvedSearch, SearchSpec

    spec = SearchSpec(seed=seed, baseline=False)
    with open_search(ResolvedSearch("bench", spec, {}), images, device, folder) as opened:
        began_s = time.perf_counter()
        study = opened.run()
    check(len(study.trials))
    return time.perf_counter() - began_s


def run_keras_tuner(folder: Path, seed: int) -> float:
    """Seconds of a search by Keras Tuner as its guide writes it."""
    from vaetune.data import load_images, to_unit_interval
    from vaetune.device import import_tensorflow

    digits = load_images("digits")
    import_tensorflow()
    import keras_tuner

    from vaetune import VAEHyperModel

    began_s = time.perf_counter()
    tuner = keras_tuner.Hyperband(
        VAEHyperModel(),
        objective=keras_tuner.Objective("val_loss", "min"),
        max_epochs=9,
        factor=3,
        seed=seed,
        directory=folder,
        project_name="bench",
    )
    tuner.search(
        to_unit_interval(digits.train.images[:IMAGES]),
        validation_data=(to_unit_interval(digits.validation.images[:IMAGES]),),
        batch_size=IMAGES,
        verbose=0,
    )
    check(len(tuner.oracle.trials))
    return time.perf_counter() - began_s


CONTENDERS: dict[str, Callable[[Path, int], float]] = {
    "vaetune": run_vaetune,
    "keras-tuner": run_keras_tuner,
}


def check(trials: int) -> None:
    """Refuses to compare searches of different length."""
    if trials != TRIALS:
        raise SystemExit(f"{trials} trials were run, expected {TRIALS}")


@dataclass(frozen=True)
class Measured:
    """Wall time and results on disk of one search."""

    seconds: float
    megabytes: float


def measure(contender: str, seed: int) -> Measured:
    """Runs one search in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--run", contender, "--seed", str(seed)]
        done = subprocess.run(
            [*command, "--folder", folder], capture_output=True, text=True, check=False
        )
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr}")
    return Measured(float(json.loads(done.stdout.splitlines()[-1])["seconds"]), stored / 1e6)


def main() -> None:
    """Runs one contender, or all of them in turn and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", choices=CONTENDERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.run:
        seconds = CONTENDERS[arguments.run](arguments.folder, arguments.seed)
        print(json.dumps({"seconds": seconds}))
        return
    runs: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
    for seed in range(1, arguments.repeats + 1):
        for name, measured in runs.items():
            one = measure(name, seed)
            measured.append(one)
            print(f"  seed {seed}, {name}: {one.seconds:.1f} s, {one.megabytes:.0f} MB", flush=True)
    print(f"\n{TRIALS} trials, one step an epoch, median of {arguments.repeats}:")
    for name, measured in runs.items():
        per_trial = [one.seconds / TRIALS for one in measured]
        spread = f"{min(per_trial):.2f} to {max(per_trial):.2f}"
        stored = statistics.median(one.megabytes for one in measured)
        seconds = statistics.median(per_trial)
        print(f"  {name:<12} {seconds:.2f} s a trial ({spread}), {stored:.0f} MB on the disk")
    pairs = list(zip(runs["vaetune"], runs["keras-tuner"], strict=True))
    print(f"  ratio        {statistics.median(a.seconds / b.seconds for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
