"""Measures what vaetune costs besides training: commands, oracle, journal, report and memory.

    python benchmarks/goals.py [--results FOLDER]

FOLDER holds a finished default search. The result is written to `results/goals.json`.
"""

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workloads import RESULTS, describe

ROOT = Path(__file__).parent.parent
REPEATS = 5

TRIALS, EPOCHS = 1000, 30
"""Size of the large report."""

ORACLE_TRIALS = 3000
MEMORY_TRIALS = 100


def measure_command(*arguments: str) -> float:
    """Returns the median CPU seconds of a vaetune command, user and system time together."""
    seconds = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "vaetune", *arguments], check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds)


def measure_oracle() -> Iterator[tuple[str, float]]:
    """Yields each algorithm with its milliseconds per trial, without training, after 3,000 trials.

    Only the training is simulated: it returns a random score at once. Therefore the journal has no
    epochs, and there are no checkpoints.
    """
    from vaetune.config.spec import Budget, SearchSpec

    iterations = -(-ORACLE_TRIALS // 23)
    searches = {
        "hyperband": Budget(max_epochs=9, hyperband_iterations=iterations),
        "random": Budget(max_epochs=1, max_trials=ORACLE_TRIALS),
    }
    for algorithm, budget in searches.items():
        with tempfile.TemporaryDirectory() as folder:
            spec = SearchSpec(algorithm=algorithm, baseline=False, budget=budget)
            times_s = _run_without_training(spec, Path(folder))
        last = times_s[ORACLE_TRIALS - 101 : ORACLE_TRIALS]
        yield algorithm, statistics.mean(b - a for a, b in itertools.pairwise(last)) * 1e3


def _run_without_training(spec: Any, folder: Path) -> list[float]:
    """Returns the seconds at which each trial ended."""
    import numpy as np

    from vaetune import run_search
    from vaetune.data import ImageSet, Split
    from vaetune.search import NoWatcher
    from vaetune.study import TrialEnded

    blank = Split(np.zeros((16, 8, 8, 1), np.uint8), None)
    images = ImageSet("blank", "blank", blank, blank, blank, class_names=None, fingerprint="0" * 64)
    ended_s: list[float] = []

    class Watcher(NoWatcher):
        def on_event(self, run: str, event: Any) -> None:
            if isinstance(event, TrialEnded):
                ended_s.append(time.perf_counter())
            if len(ended_s) == ORACLE_TRIALS:
                raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        run_search(
            spec.model_copy(update={"device": "cpu"}),
            images,
            folder,
            name="bench",
            executor=lambda images, device: nullcontext(_RandomScores(device)),
            watch=lambda session, executor: nullcontext(Watcher()),
        )
    return ended_s


class _RandomScores:
    """Gives trials random scores instead of training them; see `vaetune.search.Executor`."""

    workers = 1

    def __init__(self, device: Any) -> None:
        from vaetune.study import describe_environment

        self.environment = describe_environment(device.name, device.threads)
        self._scores = random.Random(0)

    def wait_until_ready(self, on_wait: Any) -> None:
        """Returns at once, since nothing is trained."""

    def run(self, searches: Any, on_wait: Any) -> None:
        """Ends every trial with a random score."""
        from vaetune.training import Completed

        for search in searches:
            with search as source:
                source.on_search_begin()
                while trial := source.next_trial():
                    source.on_trial_begin(trial)
                    source.record(trial, Completed(self._scores.random(), _NoPictures()))
                    source.on_trial_end(trial)
                source.on_search_end()


class _NoPictures:
    def save(self, folder: Path) -> None:
        pass


def measure_report() -> dict[str, float]:
    """Returns seconds and megabytes of a large report, and the seconds to open and filter it."""
    from vaetune.study.journal import JOURNAL_NAME, Journal

    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder)
        search = results / "large"
        search.mkdir()
        with Journal(search / JOURNAL_NAME) as journal:
            for event in _large_search():
                journal.append(event)
        _write_pictures(search)
        command = [sys.executable, "-m", "vaetune", "report", "--results", str(results)]
        began_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        written_s = time.perf_counter() - began_s
        page = results / "report.html"
        megabytes = page.stat().st_size / 1e6
        return {"write_s": written_s, "megabytes": megabytes, **_use_in_browser(page)}


def _write_pictures(search: Path) -> None:
    """Writes pictures for a tenth of the trials, more than a page shows."""
    import numpy as np

    from vaetune.data.sources import load_images
    from vaetune.study.artifacts import Artifacts
    from vaetune.training.snapshot import choose_probe_images

    images = load_images("digits").train.images
    choose_probe_images(images, None).save(search)
    rng = np.random.default_rng(0)
    for number in range(TRIALS // 10):
        folder = search / "trials" / f"{number:04}"
        folder.mkdir(parents=True)
        chosen = images[rng.permutation(len(images))]
        z_mean = rng.normal(size=(500, 16)).astype(np.float32)
        Artifacts(chosen[:10], chosen[:50], z_mean, None).save(folder)


def _large_search() -> Iterator[Any]:
    import numpy as np

    from vaetune.config.spec import Budget, SearchSpec
    from vaetune.study.events import (
        EpochEnded,
        SearchStarted,
        SessionEnded,
        SessionStarted,
        TrialEnded,
        TrialStarted,
    )
    from vaetune.study.records import DataSummary, Environment, Rung

    rng = np.random.default_rng(0)
    now = datetime.now(UTC)
    budget = Budget(max_epochs=EPOCHS, max_trials=TRIALS)
    yield SearchStarted(
        kind="search",
        name="large",
        search=SearchSpec(algorithm="random", baseline=False, budget=budget),
        origins={},
        data=DataSummary(
            name="digits",
            source="digits",
            fingerprint="0" * 64,
            image_shape=(28, 28, 1),
            train_images=5000,
            validation_images=1000,
            test_images=1000,
            class_names=None,
            entropy_floor=45.5,
        ),
        plan=(Rung(bracket=0, rung=0, trials=TRIALS, epoch_from=0, epoch_to=EPOCHS),),
    )
    yield SessionStarted(
        environment=Environment(
            python="3",
            platform="Linux",
            cpu="a processor",
            cores=2,
            threads=2,
            device="CPU",
            versions={},
            revision=None,
            command=("vaetune", "search", "large"),
        )
    )
    for number in range(TRIALS):
        trial_id = f"{number:04d}"
        values: Mapping[str, Any] = {
            "filters_1": int(rng.choice([16, 32, 64])),
            "filters_2": int(rng.choice([32, 64, 128])),
            "dense_units": int(rng.choice([16, 32, 64, 128, 256])),
            "latent_dim": int(rng.choice([2, 4, 8, 16, 32])),
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
        }
        yield TrialStarted(
            trial_id=trial_id,
            configuration=number,
            parent=None,
            bracket=0,
            rung=0,
            epoch_from=0,
            epoch_to=EPOCHS,
            hyperparameters=values,
        )
        losses = 110 + 200 * np.exp(-np.arange(EPOCHS) / rng.uniform(2, 20)) + rng.random(EPOCHS)
        for epoch, loss in enumerate(losses.tolist(), start=1):
            yield EpochEnded(
                trial_id=trial_id,
                epoch=epoch,
                loss=loss,
                reconstruction_loss=loss - 15,
                kl_loss=15.0,
                val_loss=loss,
                val_reconstruction_loss=loss - 15,
                val_kl_loss=15.0,
                train_s=2.0,
                validation_s=0.1,
            )
        yield TrialEnded(
            trial_id=trial_id,
            status="completed",
            score=float(losses.min()),
            parameters=100_000,
            duration_s=63.0,
            time=now,
        )
    yield SessionEnded(reason="completed")


_FILTER = """async () => {
  const field = document.querySelector('.panel input[aria-label="Loss at most"]');
  const seconds = [];
  for (const limit of [150, 140, 160, 145, ""]) {
    const began = performance.now();
    field.value = limit;
    field.dispatchEvent(new Event("change"));
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    seconds.push((performance.now() - began) / 1000);
    await new Promise((rested) => setTimeout(rested, 200));
  }
  return seconds;
}"""
"""Sets several limits of the loss, and returns the seconds until the browser has drawn each."""


def _use_in_browser(page: Path) -> dict[str, float]:
    """Returns the median seconds to load a page in Chromium and to apply its slowest filter."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    options = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
    opened, filtered = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        for _ in range(REPEATS):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            began_s = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="load")
            opened.append(time.perf_counter() - began_s)
            filtered.append(max(_filter_everywhere(tab)))
            tab.close()
        browser.close()
    return {"open_s": statistics.median(opened), "filter_s": statistics.median(filtered)}


def _filter_everywhere(tab: Any) -> Iterator[float]:
    """Yields the median seconds of a filter, with each chart and the table in view in turn."""
    for place in tab.locator("[data-view]:not([hidden]), table.sortable").all():
        place.evaluate("place => place.scrollIntoView({block: 'start', behavior: 'instant'})")
        tab.wait_for_timeout(500)
        yield statistics.median(tab.evaluate(_FILTER))


def measure_time_shares(folder: Path) -> dict[str, float]:
    """Returns the shares of a search's time, from its first trial to its last, by activity."""
    from vaetune.study.builder import load_study

    trials = load_study(folder).trials
    ends = [trial.ended for trial in trials if trial.ended]
    # The search must have one session, because a break between sessions would count.
    whole_s = (max(ends) - min(trial.started for trial in trials)).total_seconds()
    epochs = [epoch for trial in trials for epoch in trial.epochs]
    training = sum(epoch.train_s for epoch in epochs) / whole_s
    validation = sum(epoch.validation_s for epoch in epochs) / whole_s
    return {
        "training": training,
        "validation": validation,
        "tracing, first weights, pictures, checkpoints and the rest": 1 - training - validation,
    }


def measure_memory() -> float:
    """Returns the megabytes that a trial adds to the process, from the tenth trial on."""
    script = ROOT / "tests" / "stress" / "memory_of_trials.py"
    done = subprocess.run(
        [sys.executable, script, str(MEMORY_TRIALS)], check=True, capture_output=True, text=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    (first, before), (last, after) = lines[0], lines[-1]
    return (float(after) - float(before)) / (int(last) - int(first))


def main() -> None:
    """Takes all measurements and writes them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    arguments = parser.parse_args()
    if not (arguments.results / "hyperband" / "journal.jsonl").exists():
        raise SystemExit(f"No default search in {arguments.results}: run `make search` first.")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    folder = ["--results", str(arguments.results)]
    measured: dict[str, Any] = {
        "environment": describe(),
        "cores": len(os.sched_getaffinity(0)),
        "time_shares": measure_time_shares(arguments.results / "hyperband"),
        "help_cpu_s": measure_command("--help"),
        "trials_cpu_s": measure_command("trials", *folder),
        "report_cpu_s": measure_command("report", *folder),
        "oracle_ms": dict(measure_oracle()),
        "large_report": measure_report(),
        "memory_mb_per_trial": measure_memory(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "goals.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
