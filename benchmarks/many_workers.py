"""Measures a search on 32 workers of one machine: their utilisation and the driver's time.

    python benchmarks/many_workers.py [--again] [--profile]

Only the training is simulated: workers sleep for as long as an epoch might take, which differs
between configurations (`sleeper.py`), and finalists are rescored with random numbers. Ray and its
32 processes, oracle, journal, checkpoints and pictures (of small arrays) are real. The clock starts
when all workers are ready.

The result is written to `results/many_workers.json`. If that file already holds a result of the
same machine, versions and settings, this result is printed and nothing is measured, unless
`--again` is given.
"""

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from sleeper import Speed, sleeper_class
from workloads import RESULTS, describe

EVENTS = ("trial_started", "epoch_ended", "trial_ended")


class Settings(NamedTuple):
    """Settings of a simulated search.

    Attributes:
        workers: Number of workers.
        max_epochs: Epochs of the longest trials of Hyperband with factor 3.
        iterations: Number of runs of Hyperband's whole schedule.
        epoch_s: Mean seconds per epoch, over configurations.
        spread: Standard deviation of the logarithm of a configuration's seconds per epoch.
    """

    workers: int = 32
    max_epochs: int = 27
    iterations: int = 20
    epoch_s: float = 0.75
    spread: float = 0.6


class Stopwatch:
    """Times a search, from the start of its first trial to the end of its last one.

    Attributes:
        events: Number of starts, epochs and ends of trials.
        messages: Number of progress messages from workers.
    """

    def __init__(self) -> None:
        self.events = self.messages = 0
        self._marks: list[NDArray[np.float64]] = []
        self._waited = np.zeros(3)

    def on_event(self, run: str, event: Any) -> None:
        """Reads the clocks; see `search.Watcher`."""
        if event.event in EVENTS:
            self.events += 1
            self._marks[1:] = [_clocks()]

    def on_progress(self, run: str, trial_id: str | None, share: float) -> None:
        """Counts progress messages."""
        self.messages += 1

    def on_wait(self) -> None:
        """Does nothing."""

    @contextmanager
    def excluding_waits(self) -> Iterator[None]:
        """Subtracts the time in `ray.wait`, because the driver works at all other times."""
        import ray

        wait = ray.wait

        @wraps(wait)
        def timed(*arguments: Any, **options: Any) -> Any:
            began = _clocks()
            try:
                return wait(*arguments, **options)
            finally:
                if self._marks:
                    self._waited += _clocks() - began

        with patch.object(ray, "wait", timed):
            yield

    def seconds(self) -> dict[str, float]:
        """Returns the seconds of the driver from the first to the last event.

        `wall_s` is all of the time, and `driver_s` the part outside `ray.wait`. `driver_cpu_s` is
        the CPU time of the driver's thread in this part, and `process_cpu_s` that of all threads.
        """
        passed = self._marks[1] - self._marks[0]
        wall_s, thread_s, _ = passed - self._waited
        return {
            "wall_s": passed[0],
            "driver_s": wall_s,
            "driver_cpu_s": thread_s,
            "process_cpu_s": passed[2],
        }


def _clocks() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.thread_time(), time.process_time()])


class RandomRescoringExecutor:
    """Rescores with random numbers, because the workers have no models; see `search.Executor`."""

    def __init__(self, executor: Any, images: int) -> None:
        self.workers = executor.workers
        self.environment = executor.environment
        self.run = executor.run
        self._images = images

    def wait_until_ready(self, on_wait: Any) -> None:
        """Returns at once, because the workers are ready."""

    def measure(
        self, models: Sequence[Any], samples: int, seed: int, on_progress: Any = None
    ) -> list[Any]:
        """Returns random losses."""
        from vaetune.evaluation import ImageLosses

        rng = np.random.default_rng(seed)
        return [ImageLosses(*rng.uniform(50, 100, (2, self._images))) for _ in models]


def simulate(settings: Settings, profile: cProfile.Profile | None = None) -> dict[str, Any]:
    """Runs the search in a temporary folder and returns the measurements."""
    from vaetune import SearchSpec, run_search
    from vaetune.config import Budget
    from vaetune.data import ImageSet, Split

    blank = Split(np.zeros((16, 8, 8, 1), np.uint8), None)
    images = ImageSet("blank", "blank", blank, blank, blank, class_names=None, fingerprint="0" * 64)
    budget = Budget(max_epochs=settings.max_epochs, hyperband_iterations=settings.iterations)
    watch = Stopwatch()
    with ExitStack() as stack:
        results, ready = (
            Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)
        )
        workers = _Sleepers(settings, ready)

        @contextmanager
        def watched(session: Any, executor: Any) -> Iterator[Stopwatch]:
            with watch.excluding_waits(), profile or nullcontext():
                yield watch

        study = run_search(
            SearchSpec(baseline=False, budget=budget, device="cpu"),
            images,
            results,
            name="bench",
            executor=workers.open,
            watch=watched,
        )
    if study.failures:
        raise SystemExit(f"A trial failed: {study.failures[0].error}")
    return {
        "start_s": workers.start_s,
        **watch.seconds(),
        **summarise(study, watch, settings.workers),
    }


class _Sleepers:
    """Opens an executor whose workers sleep; see `vaetune.search.run_search`.

    Attributes:
        start_s: Seconds until all workers were ready.
    """

    def __init__(self, settings: Settings, ready: Path) -> None:
        self.start_s = 0.0
        self._workers = settings.workers
        self._speed = Speed(settings.epoch_s, settings.spread, settings.workers, ready)

    @contextmanager
    def open(self, images: Any, device: Any) -> Iterator[RandomRescoringExecutor]:
        """Starts the workers and waits for them."""
        from vaetune.search import ExecutorOptions, open_ray_executor

        began_s = time.perf_counter()
        options, sleeper = ExecutorOptions(self._workers), sleeper_class(self._speed)
        with open_ray_executor(options, images, "cpu", sleeper) as executor:
            executor.wait_until_ready(lambda: None)
            self.start_s = time.perf_counter() - began_s
            print(f"{self._workers} workers are ready after {self.start_s:.0f} s", flush=True)
            yield RandomRescoringExecutor(executor, len(images.validation))


def summarise(study: Any, watch: Stopwatch, workers: int) -> dict[str, Any]:
    """Returns the size of a search and the utilisation of its workers.

    Utilisation is computed as in the report: a worker is busy until the driver records the end of
    its trial. For comparison, the result contains the share of the time in which workers slept.
    """
    from vaetune.report.analysis.utilisation import compute_utilisation

    found = compute_utilisation(study)
    epochs = [epoch for trial in study.trials for epoch in trial.epochs]
    return {
        "trials": len(study.trials),
        "epochs": len(epochs),
        "events": watch.events,
        "words": watch.messages,
        "utilisation": found.share,
        "utilisation_until_last_rung": found.until_last_rung,
        "slept_until_last_rung": _slept(study, workers, _last_rung_began(study)),
        "one_worker_s": sum(epoch.train_s for epoch in epochs),
    }


def _last_rung_began(study: Any) -> datetime:
    last = study.plan[-1]
    place = (last.iteration, last.bracket, last.rung)
    trials = (t for t in study.trials if (t.iteration, t.bracket, t.rung) == place)
    return min(trial.started for trial in trials)


def _slept(study: Any, workers: int, until: datetime) -> float:
    """Returns the share of the workers' time in which they slept, up to `until`."""
    slept_s = 0.0
    for epoch in (epoch for trial in study.trials for epoch in trial.epochs):
        after_s = max(0.0, (epoch.time - until).total_seconds())
        slept_s += max(0.0, epoch.train_s - after_s)
    begin = min(trial.started for trial in study.trials)
    return slept_s / (workers * (until - begin).total_seconds())


def describe_outcome(found: dict[str, Any]) -> str:
    """Returns a description of the measurements in a few lines."""

    def per_event(name: str) -> str:
        return f"{1e3 * found[name] / found['events']:.2f} ms"

    early, whole = found["utilisation_until_last_rung"], found["utilisation"]
    return "\n".join(
        (
            f"{found['trials']} trials, {found['epochs']} epochs, {found['events']} events, "
            f"{found['words']} progress messages",
            f"utilisation: {early:.1%} until the last rung began, {whole:.1%} of the whole search",
            f"workers slept for {found['slept_until_last_rung']:.1%} until the last rung began",
            f"wall time {found['wall_s']:.0f} s; one worker, without a driver: "
            f"{found['one_worker_s']:.0f} s",
            f"driver, per event: {per_event('driver_s')} outside ray.wait, including "
            f"{per_event('driver_cpu_s')} CPU; {per_event('process_cpu_s')} CPU of all its threads",
        )
    )


def main() -> None:
    """Runs the search, unless there is a result already, and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in Settings()._asdict().items():
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default)
    parser.add_argument("--again", action="store_true", help="measure even if there is a result")
    parser.add_argument("--profile", action="store_true", help="print a profile of the driver")
    parser.add_argument("--results", type=Path, default=RESULTS / "many_workers.json")
    arguments = parser.parse_args()
    settings = Settings(*(getattr(arguments, name) for name in Settings._fields))
    if arguments.profile:
        profile = cProfile.Profile()
        print(describe_outcome(simulate(settings, profile)))
        pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
        return
    conditions = {"environment": describe(), "settings": settings._asdict()}
    path = arguments.results
    measured = json.loads(path.read_text()) if path.exists() else {}
    if arguments.again or any(measured.get(key) != value for key, value in conditions.items()):
        measured = conditions | simulate(settings)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(measured, indent=2) + "\n")
    print(describe_outcome(measured))


if __name__ == "__main__":
    main()
