"""Quiet start of TensorFlow on the CPU or on a GPU."""

import gc
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vaetune.errors import DeviceError


@dataclass(frozen=True)
class ChosenDevice:
    """The device that this process trains on.

    Attributes:
        name: Name of the device, such as "CPU" or "GPU (NVIDIA H100)".
        threads: CPU threads per operation.
    """

    name: str
    threads: int

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.name != "CPU"


Device = Literal["auto", "cpu", "gpu"]

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
"""CPU instructions that multiply bfloat16, as /proc/cpuinfo names them."""

_CPU_INFO = Path("/proc/cpuinfo")

_PROGRAM_FOLDER_FLAG = "--tf_xla_persistent_cache_directory"


def check_precision(device: ChosenDevice, precision: str) -> None:
    """Checks that a device multiplies in a precision.

    Raises:
        DeviceError: The device is a CPU without bfloat16 instructions.
    """
    if precision == "mixed_bfloat16" and device.name == "CPU" and not has_bfloat16():
        raise DeviceError(
            'This CPU has no bfloat16 instructions, so the precision "mixed_bfloat16" would be '
            f"slower than float32. It needs {' or '.join(sorted(BFLOAT16_FLAGS))}. Use float32."
        )


def has_bfloat16() -> bool:
    """Returns whether the CPU has bfloat16 instructions."""
    try:
        words = set(_CPU_INFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False  # Not Linux.
    return not BFLOAT16_FLAGS.isdisjoint(words)


def choose_device(wanted: Device, exact: bool = False, threads: int | None = None) -> ChosenDevice:
    """Starts TensorFlow on a device. Call this once, before anything else uses TensorFlow.

    On the CPU, operations are deterministic. On a GPU, memory is allocated as needed.

    Args:
        wanted: Device to use. "auto" is the GPU if there is one, else the CPU.
        exact: Whether to make operations deterministic on a GPU too, without rounding float32 to
            TensorFloat-32. This is slower.
        threads: CPU threads per operation, and number of operations that run at the same time.
            Default: one for each core.

    Raises:
        DeviceError: `wanted` is "gpu" but TensorFlow finds none.
    """
    tf = import_tensorflow()
    if threads is not None:
        _set_threads(tf, threads)
    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise DeviceError(
            'No GPU found, but the device "gpu" was requested. Use "cpu" or "auto". For an NVIDIA '
            "GPU, install vaetune[cuda] and check that nvidia-smi lists the GPU."
        )
    gpu = None if wanted == "cpu" or not gpus else _show_gpu(tf, gpus[0], wanted)
    if gpu is None:
        _hide_gpus(tf)
        tf.config.experimental.enable_op_determinism()
        if not exact:
            _seed_unless_seeded(tf)
        return ChosenDevice("CPU", _threads(tf))
    if exact:
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    details = tf.config.experimental.get_device_details(gpu)
    return ChosenDevice(f"GPU ({details.get('device_name', gpu.name)})", _threads(tf))


def _seed_unless_seeded(tf: Any) -> None:
    """Seeds TensorFlow, which refuses random operations that are deterministic without a seed.

    vaetune needs no seed of TensorFlow, but a user's own code in this process may, such as a `fit`
    that shuffles.
    """
    from tensorflow.python.eager import context  # No public function tells the seed.

    if context.global_seed() is None:
        tf.random.set_seed(0)


_NEW_PROCESS = "Start a new process for it; in a notebook, restart the kernel."


def _set_threads(tf: Any, threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        if (present := _threads(tf)) != threads:
            raise DeviceError(
                f"TensorFlow already runs in this process (threads per operation: {present}) and "
                f"cannot change to {threads}. {_NEW_PROCESS}"
            ) from error


def _show_gpu(tf: Any, gpu: Any, wanted: Device) -> Any | None:
    """Makes a GPU the only one of this process.

    Returns:
        The GPU that operations run on; None if TensorFlow runs already without any.
    """
    try:
        tf.config.set_visible_devices([gpu], "GPU")
    except RuntimeError as error:
        visible = tf.config.get_visible_devices("GPU")
        if not visible and wanted == "gpu":
            raise DeviceError(
                "TensorFlow already runs on the CPU in this process, but a GPU was requested. "
                f"{_NEW_PROCESS}"
            ) from error
        return visible[0] if visible else None
    with suppress(RuntimeError):  # TensorFlow runs already, with its present memory.
        tf.config.experimental.set_memory_growth(gpu, True)
    return gpu


def _hide_gpus(tf: Any) -> None:
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise DeviceError(
            "TensorFlow already runs on a GPU in this process, but the CPU was requested. "
            f"{_NEW_PROCESS}"
        ) from error


@contextmanager
def exact_device() -> Iterator[ChosenDevice]:
    """Starts TensorFlow for exact numbers; see `choose_device`.

    Afterwards, float32 is rounded and operations are deterministic as they were before.
    """
    experimental = import_tensorflow().config.experimental
    # The public functions can only make operations deterministic.
    from tensorflow.python.framework import config

    is_rounded = experimental.tensor_float_32_execution_enabled()
    is_deterministic = config.is_op_determinism_enabled()
    try:
        yield choose_device("auto", exact=True)
    finally:
        experimental.enable_tensor_float_32_execution(is_rounded)
        if not is_deterministic:
            config.disable_op_determinism()


def import_tensorflow() -> Any:
    """Imports TensorFlow and Keras without the messages that TensorFlow prints when it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "tensorflow" not in sys.modules:
        _keep_compiled_programs()
    with _without_collections(), hold_back_native_stderr():
        import keras  # noqa: F401
        import tensorflow as tf

    return tf


def _keep_compiled_programs() -> None:
    """Gives XLA a folder of this process for compiled programs; see `training.padded.cache`.

    TensorFlow reads the flags once, when the first function runs. A worker inherits those of the
    process that started it.
    """
    flags = os.environ.get("TF_XLA_FLAGS", "").split()
    others = [flag for flag in flags if "vaetune-programs-" not in flag]
    if any(flag.startswith(_PROGRAM_FOLDER_FLAG) for flag in others):
        return  # The user chose a folder.
    name = f"vaetune-programs-{os.getpid()}-{secrets.token_hex(4)}"
    folder = str(Path(tempfile.gettempdir(), name))
    # TensorFlow separates its flags at spaces, so it cannot read a path with one.
    own = [] if " " in folder else [f"{_PROGRAM_FOLDER_FLAG}={folder}"]
    os.environ["TF_XLA_FLAGS"] = " ".join([*others, *own])


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keeps the garbage collector from the objects of imports, the first time.

    TensorFlow and Keras make half a million objects that stay until the process ends. To go through
    them takes a quarter of the time of the imports, and later a third of a second each time, 40 %
    of the time in which the graph of a training step is traced.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.freeze()


def _threads(tf: Any) -> int:
    # 0 means that TensorFlow uses one thread for each core available to the process.
    threads: int = tf.config.threading.get_intra_op_parallelism_threads()
    return threads or available_cores()


def available_cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def hold_back_native_stderr(show_on_error: bool = True) -> Iterator[None]:
    """Hides what C++ code writes to stderr, which does not go through `sys.stderr`.

    TensorFlow logs messages before it reads its own log level.

    Args:
        show_on_error: Whether to print the hidden text if an exception is raised.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except Exception:
            if show_on_error:
                held_back.seek(0)
                os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
