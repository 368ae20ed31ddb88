"""TensorFlow starts quietly, on the requested device."""

import gc
import subprocess
import sys

import pytest
from seeds import assert_keeps_seed

from vaetune import device
from vaetune.device import choose_device, exact_device
from vaetune.errors import DeviceError


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def started():
    """A completed process that started TensorFlow and chose devices, with its output."""
    return run_python(
        "from vaetune.device import choose_device\n"
        "from vaetune.errors import DeviceError\n"
        "choose_device('cpu', threads=2)\n"
        "import tensorflow as tf, gc, sys\n"
        "tf.random.uniform(())\n"  # Deterministic operations need a seed.
        "print('heard', gc.isenabled(), gc.get_freeze_count() > 400_000, file=sys.stderr)\n"
        "print(choose_device('auto', threads=2).threads, choose_device('cpu').threads)\n"
        "try:\n"
        "    choose_device('cpu', threads=3)\n"
        "except DeviceError as error:\n"
        "    print(error)"
    )


@pytest.mark.slow
def test_nothing_is_printed_while_tensorflow_starts(started):
    assert started.stderr == "heard True True\n"
    assert started.stdout.count("\n") == 2


@pytest.mark.slow
def test_a_process_keeps_its_number_of_threads(started):
    assert started.stdout == (
        "2 2\n"
        "TensorFlow already runs in this process (threads per operation: 2) and cannot change to "
        "3. Start a new process for it; in a notebook, restart the kernel.\n"
    )


def test_an_imported_tensorflow_leaves_garbage_collection_unchanged(monkeypatch):
    freezes = []
    monkeypatch.setattr(gc, "freeze", lambda: freezes.append(1))
    device.import_tensorflow()
    assert gc.isenabled()
    assert freezes == []


@pytest.mark.slow
def test_a_failed_import_prints_the_suppressed_stderr():
    done = run_python(
        "import os, sys\n"
        "from vaetune.device import hold_back_native_stderr\n"
        "with hold_back_native_stderr():\n"
        "    os.write(2, b'a broken library\\n')\n"
        "    raise ImportError('no tensorflow')"
    )
    assert done.stderr.startswith("a broken library\n")
    assert done.stderr.endswith("ImportError: no tensorflow\n")


def test_the_cpu_is_used_if_there_is_no_gpu(no_gpu):
    assert choose_device("auto").name == "CPU"


def test_choosing_a_device_keeps_the_seed(no_gpu):
    assert_keeps_seed(lambda: choose_device("cpu"))


def test_a_device_has_at_least_one_thread():
    assert choose_device("cpu").threads >= 1


def test_a_missing_gpu_is_reported_with_alternatives(no_gpu):
    with pytest.raises(DeviceError, match=r'No GPU found.*Use "cpu" or "auto"'):
        choose_device("gpu")


@pytest.fixture
def no_gpu(monkeypatch):
    tf = device.import_tensorflow()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


class FakeGPU:
    name = "/physical_device:GPU:0"


@pytest.fixture
def two_gpus(monkeypatch):
    """Simulates two GPUs; returns them and the settings that TensorFlow receives."""
    tf = device.import_tensorflow()
    received = {}
    gpus = [FakeGPU(), FakeGPU()]
    experimental = tf.config.experimental
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda devices, kind: received.update(visible=devices)
    )
    monkeypatch.setattr(
        experimental, "set_memory_growth", lambda gpu, on: received.update(growth=(gpu, on))
    )
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: {"device_name": "Test GPU"})
    return gpus, received


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
def test_one_gpu_is_used_with_memory_growth(two_gpus, wanted):
    gpus, received = two_gpus
    assert choose_device(wanted).name == "GPU (Test GPU)"
    assert received == {"visible": gpus[:1], "growth": (gpus[0], True)}


def test_choosing_the_cpu_hides_the_gpus(two_gpus):
    _, received = two_gpus
    assert choose_device("cpu").name == "CPU"
    assert received == {"visible": []}


def test_exact_operations_are_enabled_on_a_gpu_on_request(two_gpus, monkeypatch):
    experimental, received = device.import_tensorflow().config.experimental, []
    for name in ("enable_op_determinism", "enable_tensor_float_32_execution"):
        monkeypatch.setattr(
            experimental, name, lambda *values, name=name: received.append((name, values))
        )
    choose_device("auto")
    assert received == []
    choose_device("auto", exact=True)
    assert received == [
        ("enable_op_determinism", ()),
        ("enable_tensor_float_32_execution", (False,)),
    ]


def test_tensor_float_32_is_enabled_again_after_exact_operations(two_gpus):
    experimental = device.import_tensorflow().config.experimental
    uses_tensor_float_32 = experimental.tensor_float_32_execution_enabled
    assert uses_tensor_float_32()
    with exact_device() as exact:
        assert exact.name == "GPU (Test GPU)"
        assert not uses_tensor_float_32()
    assert uses_tensor_float_32()


@pytest.fixture
def determinism():
    """Disables deterministic operations, and restores them after the test.

    Yields:
        TensorFlow's experimental settings.
    """
    tf = device.import_tensorflow()
    from tensorflow.python.framework import config

    before = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield tf.config.experimental
    config.disable_op_determinism()
    if before:
        tf.config.experimental.enable_op_determinism()


def is_deterministic():
    """Whether operations are deterministic: then no generator may have a random seed."""
    tf = device.import_tensorflow()
    try:
        tf.random.Generator.from_non_deterministic_state()
    except RuntimeError:
        return True
    return False


def test_operations_are_deterministic_only_on_an_exact_device(two_gpus, determinism):
    assert not is_deterministic()
    with exact_device():
        assert is_deterministic()
    assert not is_deterministic()


def test_an_error_on_an_exact_device_restores_the_determinism(two_gpus, determinism):
    with pytest.raises(KeyError), exact_device():
        raise KeyError
    assert not is_deterministic()


def test_deterministic_operations_stay_deterministic_afterwards(two_gpus, determinism):
    determinism.enable_op_determinism()
    with exact_device():
        assert is_deterministic()
    assert is_deterministic()


@pytest.fixture
def running_on(two_gpus, monkeypatch):
    """Simulates two GPUs in a process in which TensorFlow runs already.

    Returns:
        The GPUs, and a function that sets those that TensorFlow uses; none means the CPU.
    """
    config = device.import_tensorflow().config

    def run_on(visible):
        def refuse_changes(devices, kind):
            if devices != visible:
                raise RuntimeError("Visible devices cannot be modified after being initialized")

        def refuse_memory_growth(*values):
            raise RuntimeError("Physical devices cannot be modified after being initialized")

        monkeypatch.setattr(config, "set_visible_devices", refuse_changes)
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: visible)
        monkeypatch.setattr(config.experimental, "set_memory_growth", refuse_memory_growth)

    return two_gpus[0], run_on


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_gpu_in_use_can_be_chosen_again(running_on, wanted, count):
    gpus, run_on = running_on
    run_on(gpus[:count])
    assert choose_device(wanted).name == "GPU (Test GPU)"


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_the_cpu_in_use_can_be_chosen_again(running_on, wanted):
    _, run_on = running_on
    run_on([])
    assert choose_device(wanted).name == "CPU"


def test_a_process_cannot_change_its_device(running_on):
    gpus, run_on = running_on
    run_on([])
    with pytest.raises(DeviceError, match=r"on the CPU.*a GPU was requested.*restart the kernel"):
        choose_device("gpu")
    run_on(gpus)
    with pytest.raises(DeviceError, match=r"on a GPU.*the CPU was requested.*restart the kernel"):
        choose_device("cpu")
