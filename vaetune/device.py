"""The device that trains: TensorFlow brought up quietly, on the CPU or a GPU."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from vaetune.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """The device of this process.

    Attributes:
        name: Such as "CPU" or "GPU (NVIDIA H100)".
        threads: Threads that one operation may use.
    """

    name: str
    threads: int


Device = Literal["auto", "cpu", "gpu"]

_chosen: "ChosenDevice | None" = None
"""The device of this process; None before TensorFlow was brought up."""


def choose_device(wanted: Device, exact: bool = False, threads: int | None = None) -> ChosenDevice:
    """Brings TensorFlow up on the device; to be called once, before anything else uses it.

    A GPU's memory is taken as it is needed. On the CPU operations are deterministic.

    Args:
        wanted: "auto" takes the GPU where there is one.
        exact: On a GPU as well operations are deterministic, and float32 is not rounded to
            TensorFloat-32; that takes longer.
        threads: CPU threads per operation, and number of operations that run at the same time.
            Default: one per core.

    Raises:
        DeviceError: A GPU is wanted and TensorFlow finds none.
    """
    try:
        return _bring_up(wanted, exact, threads)
    except RuntimeError as error:  # TensorFlow takes settings only before its first operation
        raise DeviceError(
            "TensorFlow already runs in this process with other settings, and device and threads "
            f"cannot change ({error}) Start a new process, or leave the setting out."
        ) from error


def running_device() -> ChosenDevice:
    """Returns the device that this process uses, brought up by the first call.

    For scripts and notebooks, in which one function comes after another.

    Raises:
        DeviceError: TensorFlow was brought up with other settings by somebody else.
    """
    return _chosen or choose_device("auto", exact=True)


def _bring_up(wanted: Device, exact: bool, threads: int | None) -> ChosenDevice:
    global _chosen
    _chosen = _configure(wanted, exact, threads)
    return _chosen


def _configure(wanted: Device, exact: bool, threads: int | None) -> ChosenDevice:
    tf = import_tensorflow()
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise DeviceError(
            "No GPU found, and --device gpu asks for one. Use --device cpu or auto; for an "
            "NVIDIA GPU install vaetune[cuda] and check that nvidia-smi lists it."
        )
    if wanted == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        tf.config.experimental.enable_op_determinism()
        return ChosenDevice("CPU", _threads(tf))
    tf.config.set_visible_devices(gpus[:1], "GPU")
    tf.config.experimental.set_memory_growth(gpus[0], True)
    if exact:
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    details = tf.config.experimental.get_device_details(gpus[0])
    return ChosenDevice(f"GPU ({details.get('device_name', gpus[0].name)})", _threads(tf))


def import_tensorflow() -> Any:
    """Imports TensorFlow without the lines it prints about itself."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with native_stderr_held_back():
        import tensorflow as tf

    return tf


def _threads(tf: Any) -> int:
    # 0 means that TensorFlow takes a thread for each core that the process may use.
    chosen: int = tf.config.threading.get_intra_op_parallelism_threads()
    return chosen or available_cores()


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def native_stderr_held_back(let_out: bool = True) -> Iterator[None]:
    """Holds back what C++ code writes to stderr, past `sys.stderr`.

    TensorFlow logs before its own log level is in force.

    Args:
        let_out: Whether to let it out if an exception passes by.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            if let_out:
                held_back.seek(0)
                os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
