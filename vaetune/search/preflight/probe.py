"""Tests the device with a few steps of a search, and estimates what the search needs.

Only a temporary folder is written to.
"""

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
    list_references,
    short_hyperparameters,
    used,
    value_of,
)
from vaetune.data import ImageSet, to_unit_interval
from vaetune.errors import DeviceError
from vaetune.models import VAE, build_vae, load_model
from vaetune.search.oracles.control import make_oracle
from vaetune.search.oracles.plan import draw_configurations, plan
from vaetune.search.preflight.cost_model import (
    CostModel,
    DurationRange,
    Hyperparameters,
    Structure,
    Timing,
    TrialGroup,
    fit_cost_model,
    structure_key,
)
from vaetune.search.preflight.estimate import (
    Sharing,
    disk_bytes,
    estimate_duration,
    extremes,
    group_trials,
    sample_by_size,
    sample_by_structure,
)
from vaetune.search.preflight.memory import image_memory, peak_memory
from vaetune.search.preflight.timing import ObjectiveTimer, time_steps
from vaetune.study import FINALISTS, Checkpoint, Rung
from vaetune.training import (
    VALIDATION_BATCH_SIZE,
    Epoch,
    EpochRunner,
    TrainingContext,
    choose_probe_images,
    plan_epoch,
    read_variables,
    take_snapshot,
    write_variables,
)

MIDDLE_CONFIGURATIONS = 3
"""Configurations that are timed in addition to the smallest, the largest and the Keras example."""

OTHER_STRUCTURES = 4
"""Configurations that are timed because their structure is not among those, at most."""

_COMPARED_IMAGES = 8
"""Images that a saved model must reconstruct as it did before."""


@dataclass(frozen=True)
class ProbeResult:
    """Result of a probe.

    Attributes:
        plan: Trials of the search.
        duration: Estimated duration of the whole search, including the Keras example.
        workers: Number of workers that share the trials.
        timed: Measured durations, from the smallest to the largest configuration.
        peak_memory: Largest main memory of this process so far, in bytes, including the images.
        image_memory: Size of the images, in bytes.
        disk: Largest disk space that the search needs at one time, in bytes.
    """

    plan: tuple[Rung, ...]
    duration: DurationRange
    workers: int
    timed: tuple[Timing, ...]
    peak_memory: int
    image_memory: int
    disk: int


class Probe:
    """Trains a few steps of configurations, with the images and the code of the search.

    Args:
        spec: The search.
        images: Image set of the search, from `prepare_images`.
    """

    def __init__(self, spec: SearchSpec, images: ImageSet) -> None:
        self._spec = spec
        self._likelihood = spec.data.likelihood
        self._images = images
        self._validation_images = min(VALIDATION_BATCH_SIZE, len(images.validation.images))
        self._context = TrainingContext(images, self._validation_images)
        self._objective = ObjectiveTimer(spec.ranked_by, images)
        self._prepared: set[Structure] = set()

    def check_device(self, hyperparameters: Hyperparameters, folder: Path) -> None:
        """Trains a model on a batch, and checks that it is the same after saving and loading.

        Args:
            hyperparameters: Configuration of the model.
            folder: Folder for the saved model.

        Raises:
            DeviceError: The model does not fit into memory, or the loaded model gives other
                outputs.
        """
        shape = self._images.image_shape
        images = to_unit_interval(self._images.validation.images[:_COMPARED_IMAGES])
        with _explain_memory_errors(hyperparameters):
            vae = build_vae(shape, hyperparameters, self._likelihood)
            runner = self._runner_of(hyperparameters)
            weights = read_variables(vae.ordered_variables)
            runner.begin(weights, float(value_of(hyperparameters, "learning_rate")))
            runner.train(self._one_step(hyperparameters))
            self._prepared.add(structure_key(hyperparameters))
            write_variables(vae.ordered_variables, runner.read()[0])
            path = folder / "probed.keras"
            vae.save(path)
            before, after = _reconstruct(vae, images), _reconstruct(load_model(path), images)
            if not np.allclose(before, after, atol=1e-5):
                raise DeviceError(
                    "On this device a model gives a different output after saving and loading. "
                    'Use the device "cpu", and check the installation of Keras and TensorFlow.'
                )

    def measure(self, hyperparameters: Hyperparameters, folder: Path) -> Timing:
        """Measures training steps, the validation, the objective, and the overhead of a trial.

        Args:
            hyperparameters: Configuration of the model.
            folder: Folder for the checkpoint and the artifacts.

        Raises:
            DeviceError: The model does not fit into memory.
        """
        with _explain_memory_errors(hyperparameters):
            began_s = time.perf_counter()
            weights = self._context.draw_weights(hyperparameters, self._likelihood)
            drawn_s = time.perf_counter() - began_s
            runner = self._runner_of(hyperparameters)
            runner.begin(weights, float(value_of(hyperparameters, "learning_rate")))
            epoch = self._one_step(hyperparameters)
            began_s = time.perf_counter()
            runner.train(epoch)
            runner.validate()
            prepared_s = time.perf_counter() - began_s
            step_s = time_steps(runner, epoch)
            began_s = time.perf_counter()
            runner.validate()
            validated_s = time.perf_counter() - began_s
            objective_s = self._objective.time(runner)
            saved_s = self._time_saving(runner, folder)
        return Timing(
            hyperparameters=hyperparameters,
            batch_size=len(epoch.order),
            step_s=step_s,
            validation_s=validated_s / self._validation_images,
            overhead_s=drawn_s + saved_s,
            tracing_s=self._tracing_s(hyperparameters, prepared_s - step_s - validated_s),
            objective_s=objective_s,
        )

    def _tracing_s(self, hyperparameters: Hyperparameters, prepared_s: float) -> float:
        """Returns a duration if a structure is seen for the first time, else 0."""
        structure = structure_key(hyperparameters)
        is_new = structure not in self._prepared
        self._prepared.add(structure)
        return max(0.0, prepared_s) if is_new else 0.0

    def _one_step(self, hyperparameters: Hyperparameters) -> Epoch:
        epoch = plan_epoch(self._spec, hyperparameters, len(self._images.train), 0, 1)
        return replace(epoch, order=epoch.order[: epoch.batch_size])

    def _runner_of(self, hyperparameters: Hyperparameters) -> EpochRunner:
        precision = self._spec.training.precision
        return self._context.runner(hyperparameters, precision, self._likelihood)

    def _time_saving(self, runner: EpochRunner, folder: Path) -> float:
        """Writes a checkpoint and artifacts, and returns the duration in seconds."""
        began_s = time.perf_counter()
        weights, optimizer = runner.read()
        Checkpoint(1, weights, optimizer, 1, 0.0, weights).save(folder)
        validation = self._images.validation
        probe_images = choose_probe_images(validation.images, validation.labels)
        take_snapshot(runner, probe_images, validation.images).save(folder)
        return time.perf_counter() - began_s


def probe_search(
    spec: SearchSpec, images: ImageSet, workers: int = 1, oversubscription: float = 1.0
) -> ProbeResult:
    """Tests the device, measures a few configurations, and estimates what a search needs.

    Args:
        spec: The search.
        images: Image set of the search, from `prepare_images`.
        workers: Number of workers that will share the trials, each with as many threads as this
            process has.
        oversubscription: Threads of all workers per core.

    Raises:
        DeviceError: The largest configuration does not fit into memory, or a model gives other
            outputs after saving and loading.
    """
    began_s = time.perf_counter()
    oracle = make_oracle(spec)
    planned, drawn = plan(oracle), draw_configurations(oracle)
    pool = [one for configurations in drawn.values() for one in configurations]
    probe = Probe(spec, images)
    start_s = time.perf_counter() - began_s
    smallest, largest = extremes(spec.space, images.image_shape)
    middle = sample_by_size(pool, images.image_shape, MIDDLE_CONFIGURATIONS)
    reference = _reference(spec)
    known = (smallest, *middle, *reference, largest)
    others = sample_by_structure(pool, known, images.image_shape, OTHER_STRUCTURES)
    with tempfile.TemporaryDirectory(prefix="vaetune-check-") as folder:
        probe.check_device(largest, Path(folder))
        configurations = (smallest, *middle, *others, *reference, largest)
        timed = [probe.measure(one, Path(folder)) for one in configurations]
    groups = group_trials(planned, drawn, spec.budget.initial_trials)
    longest = TrialGroup([*pool, *reference], 1, spec.budget.max_epochs)
    return ProbeResult(
        plan=planned,
        duration=estimate_duration(
            _cost_model(timed, spec, images),
            [*groups, *_baseline_groups(spec, reference, pool)],
            start_s + _tracing(timed, [*pool, *reference]),
            _suggestions(spec),
            Sharing(workers, max(1.0, oversubscription), longest) if workers > 1 else None,
        ),
        workers=workers,
        timed=tuple(timed),
        peak_memory=peak_memory(),
        image_memory=image_memory(images),
        disk=disk_bytes(
            groups,
            planned,
            images.image_shape,
            spec.limits.keep_best,
            spec.budget.promote_from == "best",
        ),
    )


def _tracing(timed: Sequence[Timing], configurations: Sequence[Hyperparameters]) -> float:
    """Returns the seconds that the structures of configurations take to be prepared."""
    measured = [one.tracing_s for one in timed if one.tracing_s]
    structures = {structure_key(one) for one in configurations}
    return median(measured) * len(structures) if measured else 0.0


def _reference(spec: SearchSpec) -> list[Hyperparameters]:
    """Returns the Keras example, if it is trained too, with a value for every hyperparameter."""
    added = {name: value for name, value in OPTIONAL.items() if getattr(spec.space, name)}
    return [used({**REFERENCE, **added})] if spec.baseline else []


def _references(spec: SearchSpec) -> int:
    """Returns the number of likelihoods with which the Keras example's network is trained."""
    return len(list_references(spec.data.likelihood))


def _baseline_groups(
    spec: SearchSpec, reference: Sequence[Hyperparameters], pool: Sequence[Hyperparameters]
) -> list[TrialGroup]:
    """Returns the Keras example, and the finalists that are trained from other seeds."""
    retrainings = spec.limits.final_seeds * min(FINALISTS, len(pool))
    groups = (
        TrialGroup(reference, len(reference) * _references(spec), spec.budget.max_epochs),
        TrialGroup(pool, retrainings, spec.budget.max_epochs),
    )
    return [group for group in groups if group.trials]


def _cost_model(timed: Sequence[Timing], spec: SearchSpec, images: ImageSet) -> CostModel:
    batch_size = spec.training.batch_size or REFERENCE_BATCH_SIZE
    return fit_cost_model(
        timed, images.image_shape, len(images.train), len(images.validation), batch_size
    )


def _suggestions(spec: SearchSpec) -> int:
    """Returns the number of suggestions of the Gaussian process of a Bayesian search."""
    trials, initial = spec.budget.max_trials, spec.budget.initial_trials
    return trials - initial if trials and initial else 0


def _reconstruct(vae: VAE, images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vae.reconstruct(images))


@contextmanager
def _explain_memory_errors(hyperparameters: Hyperparameters) -> Iterator[None]:
    """Raises a DeviceError that names the configuration, if it does not fit into memory."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise DeviceError(
            "There is not enough memory to train the configuration "
            f"{short_hyperparameters(hyperparameters)}. Lower the batch size, or the largest "
            "values of [space]."
        ) from error
