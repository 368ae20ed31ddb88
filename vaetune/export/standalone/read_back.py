"""Reads an export where vaetune cannot be imported, and compares it with the original.

A process of its own, started by `vaetune.readback`. It takes one line of JSON from stdin: the
folder of the export, the file of reference values and the formats; and answers with one line of
JSON on stdout for each format.
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
"""What each endpoint gives, by the names of the reference values."""

MAX_WORDS = 300
"""Maximum length of an error message, in characters."""


class RefuseVaetune:
    """An import hook that refuses vaetune, even if it is installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuses what an export must not need.

        Raises:
            ModuleNotFoundError: The name is vaetune or one of its modules.
        """
        if name.partition(".")[0] == "vaetune":
            raise ModuleNotFoundError("an export must not need vaetune", name=name)


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
            raise ValueError("saved_model: outputs by position are others than those by name")
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
    return {  # by position: the names that stand there were checked
        "encode": lambda images: encoder.run(None, {"image": images}),
        "decode": lambda z: decoder.run(None, {"latent": z}),
    }


def open_litert(folder: Path) -> Endpoints:
    import tensorflow as tf

    with warnings.catch_warnings():
        # It points to the package of LiteRT alone, which reads the same files.
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
    """Checks that outputs have these names, in this order: many take them by position.

    Raises:
        ValueError: They have others.
    """
    if list(names) != list(expected):
        raise ValueError(
            f"{file}: expected outputs {', '.join(expected)} in this order, read {', '.join(names)}"
        )


def check_litert_outputs(
    file: str, interpreter: Any, signature: Any, expected: Sequence[str]
) -> None:
    """Checks the names of outputs, and that position and signature lead to the same tensors.

    Raises:
        ValueError: They do not.
    """
    by_position = interpreter.get_output_details()
    check_names(file, [output["name"] for output in by_position], expected)
    by_name = signature.get_output_details()
    if [by_name[name]["index"] for name in expected] != [one["index"] for one in by_position]:
        raise ValueError(f"{file}: outputs by position are others than those by name")


OPEN: Mapping[str, Callable[[Path], Endpoints]] = {
    "keras": open_keras,
    "saved-model": open_saved_model,
    "onnx": open_onnx,
    "litert": open_litert,
}


def compare(endpoints: Endpoints, reference: Arrays) -> dict[str, float]:
    """How far each endpoint is apart from the original, for a batch and for its first row."""
    images, z = reference["images"], reference["z"]
    count = len(reference["sampled"])
    calls: dict[str, list[tuple[int, tuple[Any, ...]]]] = {
        "encode": [(len(images), (images,)), (1, (images[:1],))],
        "decode": [(len(z), (z,)), (1, (z[:1],))],
        "reconstruct": [(len(images), (images,)), (1, (images[:1],))],
        "sample": [(count, (np.int32(count), np.int32(reference["seed"])))],
    }
    return {
        name: worst(
            [
                apart(np.asarray(got), reference[output][:rows])
                for rows, arguments in calls[name]
                for output, got in zip(OUTPUTS[name], call(*arguments), strict=True)
            ]
        )
        for name, call in endpoints.items()
    }


def worst(differences: Sequence[float]) -> float:
    """The largest, NaN being the largest of all: `max` would lose it."""
    return float(np.max(differences))


def apart(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, relative to the largest value where that is above one.

    So it is absolute for pixels. Elements of z are sums of thousands of float32 numbers, rounded
    by the largest of them: one model in one process rounds a batch and a single image otherwise.

    Raises:
        ValueError: The shapes differ.
    """
    if got.shape != expected.shape:
        raise ValueError(f"expected shape {expected.shape}, read {got.shape}")
    difference = np.max(np.abs(got.astype(np.float64) - expected))
    return float(difference / max(1.0, np.max(np.abs(expected))))


def answer(folder: Path, name: str, reference: Arrays) -> dict[str, Any]:
    try:
        return {"format": name, "apart": compare(OPEN[name](folder), reference)}
    except Exception as error:  # noqa: BLE001  whatever a library raises, the others are read
        return {"format": name, "error": describe(error)}


def describe(error: Exception) -> str:
    """An error in one line, cut off where it becomes a report."""
    words = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."


def own_stdout() -> TextIO:
    """Stdout for the answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def main() -> None:
    sys.meta_path.insert(0, RefuseVaetune())
    answers = own_stdout()
    import tensorflow  # noqa: F401  takes seconds: before there is anything to read

    task = json.loads(sys.stdin.readline())
    with np.load(task["reference"]) as archive:
        reference = dict(archive)
    for name in task["formats"]:
        print(json.dumps(answer(Path(task["folder"]), name, reference)), file=answers, flush=True)


if __name__ == "__main__":
    main()
