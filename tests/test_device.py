"""TensorFlow starts quietly, on the requested device."""

import subprocess
import sys

import pytest

from vaetune import device
from vaetune.device import choose_device
from vaetune.errors import DeviceError


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_nothing_is_printed_while_tensorflow_starts():
    done = run_python(
        "from vaetune.device import choose_device\n"
        "choose_device('cpu')\n"
        "import tensorflow as tf, sys\n"
        "tf.constant(1) + 1\n"
        "print('heard', file=sys.stderr)"
    )
    assert (done.stdout, done.stderr) == ("", "heard\n")


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


def test_the_threads_are_counted():
    assert choose_device("cpu").threads >= 1


def test_a_missing_gpu_is_an_error_that_says_what_to_do(no_gpu):
    with pytest.raises(DeviceError, match=r"No GPU found.*--device cpu or auto"):
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
