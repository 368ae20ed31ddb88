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
    """A process that starts TensorFlow, and what it prints."""
    return run_python(
        "from vaetune.device import choose_device\n"
        "from vaetune.errors import DeviceError\n"
        "choose_device('cpu', threads=2)\n"
        "import tensorflow as tf, gc, sys\n"
        "tf.random.uniform(())\n"  # Without a seed, deterministic operations refuse.
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
def test_threads_serve_again_and_others_need_another_process(started):
    assert started.stdout == (
        "2 2\n"
        "TensorFlow already runs in this process (threads per operation: 2) and cannot change to "
        "3. Start a new process for it; in a notebook, restart the kernel.\n"
    )


def test_a_process_that_has_tensorflow_already_keeps_its_garbage_collections(monkeypatch):
    frozen = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(1))
    device.import_tensorflow()
    assert gc.isenabled()
    assert frozen == []


@pytest.mark.slow
def test_a_failed_import_prints_the_hidden_text():
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


def test_a_seed_of_tensorflow_stays(no_gpu):
    assert_keeps_seed(lambda: choose_device("cpu"))


def test_the_threads_are_counted():
    assert choose_device("cpu").threads >= 1


def test_a_missing_gpu_is_an_error_that_says_what_to_do(no_gpu):
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


def test_the_cpu_hides_the_gpus(two_gpus):
    _, received = two_gpus
    assert choose_device("cpu").name == "CPU"
    assert received == {"visible": []}


def test_exact_operations_are_switched_on_for_a_gpu_too(two_gpus, monkeypatch):
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


def test_the_numbers_of_a_search_are_rounded_again_after_exact_ones(two_gpus):
    experimental = device.import_tensorflow().config.experimental
    is_rounded = experimental.tensor_float_32_execution_enabled
    assert is_rounded()
    with exact_device() as exact:
        assert exact.name == "GPU (Test GPU)"
        assert not is_rounded()
    assert is_rounded()


@pytest.fixture
def determinism():
    """The determinism of operations, which is restored after the test."""
    tf = device.import_tensorflow()
    from tensorflow.python.framework import config

    before = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield tf.config.experimental
    config.disable_op_determinism()
    if before:
        tf.config.experimental.enable_op_determinism()


def is_deterministic():
    """Deterministic operations allow no generator with a random seed."""
    tf = device.import_tensorflow()
    try:
        tf.random.Generator.from_non_deterministic_state()
    except RuntimeError:
        return True
    return False


def test_operations_are_deterministic_only_while_numbers_are_exact(two_gpus, determinism):
    assert not is_deterministic()
    with exact_device():
        assert is_deterministic()
    assert not is_deterministic()


def test_an_evaluation_that_fails_restores_the_determinism_too(two_gpus, determinism):
    with pytest.raises(KeyError), exact_device():
        raise KeyError
    assert not is_deterministic()


def test_operations_that_were_deterministic_stay_so(two_gpus, determinism):
    determinism.enable_op_determinism()
    with exact_device():
        assert is_deterministic()
    assert is_deterministic()


@pytest.fixture
def running_on(two_gpus, monkeypatch):
    """Makes TensorFlow run already, on the CPU or on GPUs, where nothing can be changed."""
    config = device.import_tensorflow().config

    def run_on(visible):
        def refuse_changes(devices, kind):
            if devices != visible:
                raise RuntimeError("Visible devices cannot be modified after being initialized")

        def refuse(*values):
            raise RuntimeError("Physical devices cannot be modified after being initialized")

        monkeypatch.setattr(config, "set_visible_devices", refuse_changes)
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: visible)
        monkeypatch.setattr(config.experimental, "set_memory_growth", refuse)

    return two_gpus[0], run_on


@pytest.mark.parametrize("wanted", ["auto", "gpu"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_gpu_that_is_in_use_serves_again(running_on, wanted, count):
    gpus, run_on = running_on
    run_on(gpus[:count])
    assert choose_device(wanted).name == "GPU (Test GPU)"


@pytest.mark.parametrize("wanted", ["auto", "cpu"])
def test_the_cpu_that_is_in_use_serves_again(running_on, wanted):
    _, run_on = running_on
    run_on([])
    assert choose_device(wanted).name == "CPU"


def test_the_other_device_needs_another_process(running_on):
    gpus, run_on = running_on
    run_on([])
    with pytest.raises(DeviceError, match=r"on the CPU.*a GPU was requested.*restart the kernel"):
        choose_device("gpu")
    run_on(gpus)
    with pytest.raises(DeviceError, match=r"on a GPU.*the CPU was requested.*restart the kernel"):
        choose_device("cpu")
