"""A search tried out before it is run: the device, a few steps, what it is going to take.

Nothing is written outside a temporary folder.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vaetune.config import (
    OPTIONAL,
    REFERENCE,
    REFERENCE_BATCH_SIZE,
    SearchSpec,
    short_hyperparameters,
)
from vaetune.data import ImageSet, to_unit_interval
from vaetune.errors import DeviceError
from vaetune.models import VAE, build_vae, draw_variables, load_model
from vaetune.search.oracles.control import make_oracle
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.search.preflight.estimate import (
    CostModel,
    DurationRange,
    Hyperparameters,
    Sharing,
    Timing,
    TrialGroup,
    corners,
    disk_bytes,
    estimate_duration,
    fit_cost_model,
    group_trials,
    spread,
)
from vaetune.study import FINALISTS, Checkpoint, Rung
from vaetune.training import (
    VALIDATION_BATCH_SIZE,
    DeviceData,
    Epoch,
    EpochRunner,
    choose_probe_images,
    plan_epoch,
    put_on_device,
    read_variables,
    take_snapshot,
    write_variables,
)

LONGEST_S = 0.8
"""Of the steps that are timed of a configuration, if there are three of them."""

MIN_STEPS, MAX_STEPS = 3, 20

BETWEEN = 3
"""Number of timed configurations besides the smallest, the largest and the Keras example."""

_SHOWN = 8
"""Images that the saved model has to reconstruct as it did before."""


@dataclass(frozen=True)
class ProbeResult:
    """Result of a dry run.

    Attributes:
        plan: The trials of the search.
        duration: Duration of the whole search, including its Keras example.
        workers: Number of workers.
        timed: Timings that the estimate is based on.
        peak_memory: Bytes of main memory that this process held at most, images included.
        image_memory: Bytes of the images alone.
        disk: Bytes that the search keeps at once, at most.
    """

    plan: tuple[Rung, ...]
    duration: DurationRange
    workers: int
    timed: tuple[Timing, ...]
    peak_memory: int
    image_memory: int
    disk: int


class Probe:
    """A runner of the search's own kind, on its images, that tries configurations.

    Args:
        spec: The search.
        images: Its images, as `data.prepare_images` made them.
    """

    def __init__(self, spec: SearchSpec, images: ImageSet) -> None:
        self._spec = spec
        self._images = images
        data = put_on_device(images)
        some = data.validation[:VALIDATION_BATCH_SIZE]
        self._validated = int(some.shape[0])
        self._runner = EpochRunner(
            build_vae(images.image_shape, REFERENCE),
            DeviceData(data.train, some, data.draws_pixels),
            spec.training.precision,
        )
        self._data = data  # all of the validation images count as memory

    def prove(self, hyperparameters: Hyperparameters, folder: Path) -> None:
        """Builds a model, trains it on a batch, saves it, reads it back: it must be the same.

        Raises:
            DeviceError: It does not fit into memory, or what was read back is another model.
        """
        shape = self._images.image_shape
        shown = to_unit_interval(self._images.validation.images[:_SHOWN])
        with _memory_told(hyperparameters):
            vae = build_vae(shape, hyperparameters)
            self._runner.begin(
                read_variables(vae.variables), float(hyperparameters["learning_rate"])
            )
            self._runner.train(self._one_step(hyperparameters))
            write_variables(vae.variables, self._runner.read()[0])
            path = folder / "probed.keras"
            vae.save(path)
            if not np.allclose(
                _reconstruct(vae, shown), _reconstruct(load_model(path), shown), atol=1e-5
            ):
                raise DeviceError(
                    "A model that was saved and read back gives another output on this device. "
                    "Use --device cpu, and check the installation of Keras and TensorFlow."
                )

    def time(self, hyperparameters: Hyperparameters, folder: Path) -> Timing:
        """Trains a few steps of a configuration, validates once, and keeps it as a trial is kept.

        Raises:
            DeviceError: It does not fit into memory.
        """
        with _memory_told(hyperparameters):
            began_s = time.perf_counter()
            variables = draw_variables(self._images.image_shape, hyperparameters)
            self._runner.begin(read_variables(variables), float(hyperparameters["learning_rate"]))
            drawn_s = time.perf_counter() - began_s
            epoch = self._one_step(hyperparameters)
            step_s = self._time_steps(epoch)
            self._runner.validate()
            began_s = time.perf_counter()
            self._runner.validate()
            validated_s = time.perf_counter() - began_s
            kept_s = self._keep(folder)
        return Timing(
            hyperparameters=hyperparameters,
            batch_size=len(epoch.order),
            step_s=step_s,
            validation_s=validated_s / self._validated,
            overhead_s=drawn_s + kept_s,
        )

    def _one_step(self, hyperparameters: Hyperparameters) -> Epoch:
        epoch = plan_epoch(self._spec, hyperparameters, len(self._images.train), 0, 1)
        return replace(epoch, order=epoch.order[: epoch.batch_size])

    def _time_steps(self, epoch: Epoch) -> float:
        """Seconds a step, the median; a first one is not counted."""
        self._runner.train(epoch)
        taken: list[float] = []
        while len(taken) < MIN_STEPS or (sum(taken) < LONGEST_S and len(taken) < MAX_STEPS):
            began_s = time.perf_counter()
            self._runner.train(epoch)
            taken.append(time.perf_counter() - began_s)
        return median(taken)

    def _keep(self, folder: Path) -> float:
        """Writes a checkpoint and pictures; returns the seconds that it took."""
        began_s = time.perf_counter()
        weights, optimizer = self._runner.read()
        Checkpoint(1, weights, optimizer, 1, 0.0, weights).save(folder)
        validation = self._images.validation
        probe_images = choose_probe_images(validation.images, validation.labels)
        take_snapshot(self._runner, probe_images, validation.images).save(folder)
        return time.perf_counter() - began_s


def probe_search(
    spec: SearchSpec, images: ImageSet, workers: int = 1, oversubscription: float = 1.0
) -> ProbeResult:
    """Tries a search: checks the device, times a few configurations, estimates the rest.

    Args:
        spec: The search.
        images: Its images, as `data.prepare_images` made them.
        workers: Number of workers, each with as many threads as this process.
        oversubscription: Number of their threads per core.

    Raises:
        DeviceError: The largest configuration does not fit into memory, or a model that was saved
            and read back is another one.
    """
    began_s = time.perf_counter()
    oracle = make_oracle(spec)
    to_come, drawn = plan(oracle), draw_configurations(oracle)
    pool = [one for configurations in drawn.values() for one in configurations]
    stage = Probe(spec, images)
    begin_s = time.perf_counter() - began_s
    smallest, largest = corners(spec.space)
    between, example = spread(pool, images.image_shape, BETWEEN), _example(spec)
    with tempfile.TemporaryDirectory(prefix="vaetune-check-") as folder:
        stage.prove(largest, Path(folder))
        probes = (smallest, *between, *example, largest)
        timed = [stage.time(one, Path(folder)) for one in probes]
    lots = group_trials(to_come, drawn, spec.budget.initial_trials)
    lots_beside = _lots_beside(spec, example, pool)
    longest = TrialGroup([*pool, *example], 1, spec.budget.max_epochs)
    return ProbeResult(
        plan=to_come,
        duration=estimate_duration(
            _pace(timed, spec, images),
            [*lots, *lots_beside],
            begin_s,
            _suggestions(spec),
            Sharing(workers, max(1.0, oversubscription), longest) if workers > 1 else None,
        ),
        workers=workers,
        timed=tuple(timed),
        peak_memory=_peak_memory(),
        image_memory=sum(
            split.images.nbytes for split in (images.train, images.validation, images.test)
        ),
        disk=disk_bytes(lots, to_come, images.image_shape, spec.limits.keep_best),
    )


def _example(spec: SearchSpec) -> list[Hyperparameters]:
    """The Keras example, if it is trained too; with values for what this search adds to it."""
    added = {name: value for name, value in OPTIONAL.items() if getattr(spec.space, name)}
    return [{**REFERENCE, **added}] if spec.baseline else []


def _lots_beside(
    spec: SearchSpec, example: Sequence[Hyperparameters], pool: Sequence[Hyperparameters]
) -> list[TrialGroup]:
    """What is trained in addition to the trials: the Keras example, finalists from other seeds."""
    finals = spec.limits.final_seeds * min(FINALISTS, len(pool))
    lots = (
        TrialGroup(example, len(example), spec.budget.max_epochs),
        TrialGroup(pool, finals, spec.budget.max_epochs),
    )
    return [lot for lot in lots if lot.trials]


def _pace(timed: Sequence[Timing], spec: SearchSpec, images: ImageSet) -> CostModel:
    batch_size = spec.training.batch_size or REFERENCE_BATCH_SIZE
    return fit_cost_model(
        timed, images.image_shape, len(images.train), len(images.validation), batch_size
    )


def _suggestions(spec: SearchSpec) -> int:
    """How often a Gaussian process is asked."""
    most, initial = spec.budget.max_trials, spec.budget.initial_trials
    return most - initial if most and initial else 0


def _reconstruct(vae: VAE, images: NDArray[np.float32]) -> NDArray[np.float32]:
    z_mean, _ = vae.posterior(images)
    return np.asarray(vae.decoder(z_mean, training=False))


@contextmanager
def _memory_told(hyperparameters: Hyperparameters) -> Iterator[None]:
    """Says which configuration memory does not suffice for."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise DeviceError(
            "There is not enough memory to train the configuration "
            f"{short_hyperparameters(hyperparameters)}. Lower the batch size, or the largest "
            "values of [space]."
        ) from error


def _peak_memory() -> int:
    """The most main memory that this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
