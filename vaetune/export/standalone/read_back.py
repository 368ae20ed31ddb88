"""Reads an export without vaetune and compares its outputs with those of the original.

`vaetune.export.reader` starts this program in a separate process. It reads one line of JSON from
stdin, with the folder of the export, the file of reference values and the formats. It writes one
line of JSON to stdout for each format.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Endpoint = Callable[..., Sequence[Any]]
Endpoints = Mapping[str, Endpoint]

OUTPUTS = {
    "encode": ("z_mean", "z_log_var"),
    "decode": ("decoded",),
    "reconstruct": ("reconstructed",),
    "sample": ("sampled",),
}
"""Names of the reference values that the outputs of each endpoint are compared with."""

MAX_CHARACTERS = 300
"""Characters of an error message that are passed on."""


class RefuseVaetune:
    """An import hook that raises an error if vaetune is imported, even if it is installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuses to import vaetune and leaves all other modules to the next hook.

        Raises:
            ModuleNotFoundError: vaetune or one of its modules is imported.
        """
        if name.partition(".")[0] == "vaetune":
            raise ModuleNotFoundError("an export must load without vaetune", name=name)


def open_keras(folder: Path) -> Endpoints:
    import keras

    encoder, decoder = (
        keras.saving.load_model(folder / f"{name}.keras", safe_mode=True)
        for name in ("encoder", "decoder")
    )
    check_names("encoder.keras", encoder.output_names, OUTPUTS["encode"])
    return {"encode": encoder, "decode": lambda z: [decoder(z)]}


def open_saved_model(folder: Path) -> Endpoints:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "saved_model"))

    def encode(images: NDArray[Any]) -> Sequence[Any]:
        posterior = loaded.encode(images)
        check_names("saved_model", getattr(posterior, "_fields", ()), OUTPUTS["encode"])
        named = loaded.signatures["encode"](image=tf.constant(images))
        difference = max(float(np.max(np.abs(named[n] - getattr(posterior, n)))) for n in named)
        if difference:
            raise ValueError("saved_model: outputs by position differ from outputs by name")
        return list(posterior)

    return {
        "encode": encode,
        "decode": lambda z: [loaded.decode(z)["image"]],
        "reconstruct": lambda images: [loaded.reconstruct(images)["image"]],
        "sample": lambda count, seed: [loaded.sample(count, seed)["image"]],
    }


def open_onnx(folder: Path) -> Endpoints:
    import onnxruntime

    encoder, decoder = (
        onnxruntime.InferenceSession(
            str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"]
        )
        for name in ("encoder", "decoder")
    )
    for name, session, expected in (
        ("encoder.onnx", encoder, OUTPUTS["encode"]),
        ("decoder.onnx", decoder, ("image",)),
    ):
        check_names(name, [output.name for output in session.get_outputs()], expected)
    return {  # None asks for all outputs by position; their names were checked above.
        "encode": lambda images: encoder.run(None, {"image": images}),
        "decode": lambda z: decoder.run(None, {"latent": z}),
    }


def open_litert(folder: Path) -> Endpoints:
    import tensorflow as tf

    with warnings.catch_warnings():
        # The warning recommends the separate LiteRT package, which reads the same files.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        interpreters = [
            tf.lite.Interpreter(str(folder / f"{name}.tflite")) for name in ("encoder", "decoder")
        ]
    encoder, decoder = (interpreter.get_signature_runner() for interpreter in interpreters)
    check_litert_outputs("encoder.tflite", interpreters[0], encoder, OUTPUTS["encode"])
    check_litert_outputs("decoder.tflite", interpreters[1], decoder, ("image",))

    def encode(images: NDArray[Any]) -> Sequence[Any]:
        posterior = encoder(image=images)
        return [posterior["z_mean"], posterior["z_log_var"]]

    return {"encode": encode, "decode": lambda z: [decoder(latent=z)["image"]]}


def check_names(file: str, names: Sequence[str], expected: Sequence[str]) -> None:
    """Checks the names and the order of outputs, because many programs take them by position.

    Raises:
        ValueError: The names or their order are different.
    """
    if list(names) != list(expected):
        raise ValueError(
            f"{file}: expected the outputs {', '.join(expected)} in this order, "
            f"received {', '.join(names)}"
        )


def check_litert_outputs(
    file: str, interpreter: Any, signature: Any, expected: Sequence[str]
) -> None:
    """Checks the names of outputs, and that positions and signature refer to the same tensors.

    Raises:
        ValueError: The names, their order or the tensors are different.
    """
    by_position = interpreter.get_output_details()
    check_names(file, [output["name"] for output in by_position], expected)
    by_name = signature.get_output_details()
    if [by_name[name]["index"] for name in expected] != [one["index"] for one in by_position]:
        raise ValueError(f"{file}: outputs by position differ from outputs by name")


OPEN: Mapping[str, Callable[[Path], Endpoints]] = {
    "keras": open_keras,
    "saved-model": open_saved_model,
    "onnx": open_onnx,
    "litert": open_litert,
}


def compare(endpoints: Endpoints, reference: Arrays) -> dict[str, float]:
    """The maximum difference of each endpoint from the original, for a batch and a single row.

    Args:
        endpoints: Functions of the exported model, by name.
        reference: Inputs and outputs of the original.
    """
    images, z = reference["images"], reference["z"]
    count = len(reference["sampled"])
    calls: dict[str, list[tuple[int, tuple[Any, ...]]]] = {
        "encode": [(len(images), (images,)), (1, (images[:1],))],
        "decode": [(len(z), (z,)), (1, (z[:1],))],
        "reconstruct": [(len(images), (images,)), (1, (images[:1],))],
        "sample": [(count, (np.int32(count), np.int32(reference["seed"])))],
    }
    return {
        name: largest(
            [
                max_difference(np.asarray(received), reference[output][:rows])
                for rows, arguments in calls[name]
                for output, received in zip(OUTPUTS[name], call(*arguments), strict=True)
            ]
        )
        for name, call in endpoints.items()
    }


def largest(differences: Sequence[float]) -> float:
    """The largest difference, or NaN if any is NaN; the builtin `max` may ignore NaN."""
    return float(np.max(differences))


def max_difference(received: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest absolute difference, divided by the largest expected value if that is above 1.

    For pixels this is the absolute difference. Elements of z are sums of thousands of float32
    numbers, and their rounding error grows with the largest of them. Even the original rounds a
    batch and a single image differently.

    Raises:
        ValueError: The shapes differ.
    """
    if received.shape != expected.shape:
        raise ValueError(f"expected shape {expected.shape}, received {received.shape}")
    difference = np.max(np.abs(received.astype(np.float64) - expected))
    return float(difference / max(1.0, np.max(np.abs(expected))))


def verify_format(folder: Path, name: str, reference: Arrays) -> dict[str, Any]:
    """The answer for one format: its maximum differences, or the error that occurred."""
    try:
        return {"format": name, "max_difference": compare(OPEN[name](folder), reference)}
    except Exception as error:  # noqa: BLE001  whatever a library raises, verify the others
        return {"format": name, "error": describe_error(error)}


def describe_error(error: Exception) -> str:
    """The type and message of an error in one line, cut off after `MAX_CHARACTERS`."""
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}..."


def reserve_stdout() -> TextIO:
    """Reserves stdout for the answers and redirects everything that libraries print to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def main() -> None:
    sys.meta_path.insert(0, RefuseVaetune())
    answers = reserve_stdout()
    import tensorflow  # noqa: F401  takes seconds, so import it while the export is being written

    task = json.loads(sys.stdin.readline())
    with np.load(task["reference"]) as archive:
        reference = dict(archive)
    for name in task["formats"]:
        answer = verify_format(Path(task["folder"]), name, reference)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
