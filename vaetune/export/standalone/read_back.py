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
    "generate": ("sampled",),
}
"""Names of the reference values that the outputs of each endpoint are compared with."""

PARTS = {
    "encode": ("encoder", OUTPUTS["encode"]),
    "decode": ("decoder", ("image",)),
    "reconstruct": ("reconstructor", ("reconstruction",)),
    "generate": ("generator", ("image",)),
}
"""File without its ending, and names of the outputs, of each endpoint that has a file."""

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


def find_parts(folder: Path, ending: str) -> dict[str, tuple[Path, Sequence[str]]]:
    """The file and the names of the outputs of each endpoint. Encoder and decoder must exist."""
    files = {name: (folder / f"{file}{ending}", outputs) for name, (file, outputs) in PARTS.items()}
    return {
        name: (path, outputs)
        for name, (path, outputs) in files.items()
        if path.exists() or name in ("encode", "decode")
    }


def open_keras(folder: Path) -> Endpoints:
    import keras

    def open_part(path: Path, outputs: Sequence[str]) -> Endpoint:
        model = keras.saving.load_model(path, safe_mode=True)
        if len(outputs) > 1:  # Keras names a single output after its layer.
            check_names(path.name, model.output_names, outputs)
        names = [one.name for one in model.inputs]
        check_names(path.name, names, name_inputs(names), "inputs")

        def call(*inputs: NDArray[Any]) -> Sequence[Any]:
            given = [keras.ops.convert_to_tensor(one) for one in inputs]
            results = model(given if len(given) > 1 else given[0])
            return list(results) if isinstance(results, (list, tuple)) else [results]

        return call

    return {name: open_part(*part) for name, part in find_parts(folder, ".keras").items()}


def name_inputs(names: Sequence[str]) -> Sequence[str]:
    """The names that this number of inputs must have, in order."""
    if list(names) == ["image"]:
        return names
    return ["latent", *(f"u_{level}" for level in range(2, 1 + len(names)))]


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

    endpoints: dict[str, Endpoint] = {
        "encode": encode,
        "decode": lambda z: [loaded.decode(z)["image"]],
        "reconstruct": lambda images: [loaded.reconstruct(images)["image"]],
        "sample": lambda count, seed: [loaded.sample(count, seed)["image"]],
    }
    if "encode_levels" in loaded.signatures:

        def encode_levels(images: NDArray[Any]) -> Sequence[Any]:
            levels = loaded.encode_levels(images)
            check_names("saved_model", levels._fields, name_parameters(len(levels) // 2))
            return list(levels)

        endpoints["encode_levels"] = encode_levels
    return endpoints


def name_parameters(levels: int) -> list[str]:
    """The names of the posterior's parameters of all levels, in order."""
    lower = range(2, 1 + levels)
    return [*OUTPUTS["encode"], *(f"u_{k}_{name}" for k in lower for name in ("mean", "log_var"))]


def open_onnx(folder: Path) -> Endpoints:
    import onnxruntime

    def open_part(path: Path, outputs: Sequence[str]) -> Endpoint:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        check_names(path.name, [output.name for output in session.get_outputs()], outputs)
        names = [one.name for one in session.get_inputs()]
        check_names(path.name, names, name_inputs(names), "inputs")

        def call(*inputs: NDArray[Any]) -> Sequence[Any]:
            # None asks for all outputs by position; their names were checked above.
            results: Sequence[Any] = session.run(None, dict(zip(names, inputs, strict=True)))
            return results

        return call

    return {name: open_part(*part) for name, part in find_parts(folder, ".onnx").items()}


def open_litert(folder: Path) -> Endpoints:
    import tensorflow as tf

    def open_part(path: Path, outputs: Sequence[str]) -> Endpoint:
        with warnings.catch_warnings():
            # The warning recommends the separate LiteRT package, which reads the same files.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(str(path))
        signature = interpreter.get_signature_runner()
        check_litert_outputs(path.name, interpreter, signature, outputs)
        names = [one["name"] for one in interpreter.get_input_details()]
        check_names(path.name, names, name_inputs(names), "inputs")

        def call(*inputs: NDArray[Any]) -> Sequence[Any]:
            results = signature(**dict(zip(names, inputs, strict=True)))
            return [results[name] for name in outputs]

        return call

    return {name: open_part(*part) for name, part in find_parts(folder, ".tflite").items()}


def check_names(
    file: str, names: Sequence[str], expected: Sequence[str], what: str = "outputs"
) -> None:
    """Checks the names and the order of outputs, because many programs take them by position.

    Args:
        file: Name of the file.
        names: Names that were found.
        expected: Names in the order expected.
        what: "outputs" or "inputs".

    Raises:
        ValueError: The names or their order are different.
    """
    if list(names) != list(expected):
        raise ValueError(
            f"{file}: expected the {what} {', '.join(expected)} in this order, "
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

    Raises:
        ValueError: An endpoint that a model with several levels has is missing.
    """
    images, z = reference["images"], reference["z"]
    count, levels = len(reference["sampled"]), count_levels(reference)
    expected = outputs_of(reference)
    if levels > 1 and not ("reconstruct" in endpoints and {"sample", "generate"} & set(endpoints)):
        raise ValueError(f"a file of a model with {levels} levels is missing")
    drawn = [reference[f"sampled_{level}"] for level in range(1, 1 + levels)]
    of_images: list[tuple[int, tuple[Any, ...]]]
    of_images = [(len(images), (images,)), (1, (images[:1],))]
    calls = {
        **dict.fromkeys(("encode", "encode_levels", "reconstruct"), of_images),
        "decode": [(len(z), (z,)), (1, (z[:1],))],
        "sample": [(count, (np.int32(count), np.int32(reference["seed"])))],
        "generate": [(count, (*drawn,)), (1, tuple(each[:1] for each in drawn))],
    }
    return {
        name: largest(
            [
                max_difference(np.asarray(received), reference[output][:rows])
                for rows, arguments in calls[name]
                for output, received in zip(expected[name], call(*arguments), strict=True)
            ]
        )
        for name, call in endpoints.items()
    }


def count_levels(reference: Arrays) -> int:
    """The number of levels of the original."""
    return sum(name.startswith("sampled_") for name in reference)


def outputs_of(reference: Arrays) -> dict[str, Sequence[str]]:
    """Names of the reference values that the outputs of each endpoint are compared with."""
    return {**OUTPUTS, "encode_levels": name_parameters(count_levels(reference))}


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
