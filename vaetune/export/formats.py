"""Export formats of a VAE. The library that defines a format writes it.

The parts of a model do not sample, because ONNX Runtime and LiteRT have no seeded random numbers.
Only `vae.keras` and the SavedModel's `sample` endpoint draw random numbers.
"""

import shutil
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vaetune.config import closest_match
from vaetune.errors import ResultsError, short_repr
from vaetune.export.onnx_ops import register_operations
from vaetune.export.parts import (
    GENERATOR,
    POSTERIOR,
    RECONSTRUCTOR,
    Part,
    Posterior,
    list_parts,
    name_levels,
)
from vaetune.models import VAE

ALWAYS = "keras"
"""The format that every export includes."""


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        files: Names of the files or of the folder that the format consists of.
        level_files: Names of the files that only models with several levels have.
        write: Function that writes a model into a folder.
        needs: Modules that write or read the format and that vaetune does not install by default.
    """

    files: tuple[str, ...]
    write: Callable[[Path, VAE], None]
    level_files: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def find_files(self, folder: Path) -> list[str]:
        """The files of the format that exist in a folder."""
        return [name for name in (*self.files, *self.level_files) if (folder / name).exists()]


def chosen_formats(names: Iterable[str]) -> tuple[str, ...]:
    """The formats to export, in the order of `FORMATS`. Keras is always one of them.

    Args:
        names: Requested names of `FORMATS`, or "all".

    Raises:
        ResultsError: A name is unknown.
    """
    wanted = {ALWAYS, *names}
    known = (*FORMATS, "all")
    if unknown := sorted(wanted - {*known}):
        raise ResultsError(
            f"Unknown format {short_repr(unknown[0])}.{closest_match(unknown[0], known)} "
            f"Expected one of: {', '.join(known)}."
        )
    return tuple(name for name in FORMATS if name in wanted or "all" in wanted)


def write_format(name: str, folder: Path, vae: VAE) -> None:
    """Writes one format into a folder.

    Raises:
        ResultsError: A module that the format needs is not installed.
        OSError: The disk is full or not writable.
        Exception: Any error of the library that writes the format.
    """
    chosen = FORMATS[name]
    missing = [module for module in chosen.needs if find_spec(module) is None]
    if missing:
        raise ResultsError(
            f"{' and '.join(missing)} not installed. Run: pip install 'vaetune[{name}]'"
        )
    with warnings.catch_warnings():
        # Users cannot act on deprecations inside TensorFlow and tf2onnx.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        chosen.write(folder, vae)


def remove_format(name: str, folder: Path) -> None:
    """Removes all files of a format that exist."""
    for file in FORMATS[name].find_files(folder):
        path = folder / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_keras(folder: Path, vae: VAE) -> None:
    vae.save(folder / "vae.keras")
    for part in list_parts(vae):
        part.model.save(folder / f"{part.name}.keras")


def _write_saved_model(folder: Path, vae: VAE) -> None:
    images = tf.TensorSpec((None, *vae.image_shape), tf.float32, name="image")
    latents = tf.TensorSpec((None, vae.latent_dim), tf.float32, name="latent")
    count, seed = (tf.TensorSpec((), tf.int32, name=name) for name in ("count", "seed"))
    encoder, decoder = (part.named for part in list_parts(vae)[:2])

    def encode(image: tf.Tensor) -> Posterior:
        # A loaded SavedModel does not keep the order of a dictionary.
        return Posterior(**encoder(image))

    def reconstruct(image: tf.Tensor) -> Any:
        return {"image": vae.reconstruct(image)}

    def sample(count: tf.Tensor, seed: tf.Tensor) -> Any:
        return {"image": vae.sample(count, seed)}

    archive = keras.export.ExportArchive()
    # `track` would add these collections too, but also trace each layer to find lookup tables.
    fixed = [each for each in vae.ordered_variables if not each.trainable]
    archive.add_variable_collection("variables", vae.ordered_variables)
    archive.add_variable_collection("trainable_variables", vae.ordered_trainable)
    archive.add_variable_collection("non_trainable_variables", fixed)
    archive.add_endpoint("encode", encode, [images])
    archive.add_endpoint("decode", decoder, [latents])
    archive.add_endpoint("reconstruct", reconstruct, [images])
    archive.add_endpoint("sample", sample, [count, seed])
    if vae.level_shapes:
        archive.add_endpoint("encode_levels", _encode_levels(vae), [images])
    archive.write_out(folder / "saved_model", verbose=False)


def _encode_levels(vae: VAE) -> Callable[[tf.Tensor], Any]:
    """Returns a function from images to the posteriors of all levels, in a named tuple."""
    levels = namedtuple("Levels", name_levels(1 + len(vae.level_shapes)))  # type: ignore[misc]

    def encode_levels(image: tf.Tensor) -> Any:
        return levels(*(each for pair in vae.encode_levels(image).values() for each in pair))

    return encode_levels


def _write_onnx(folder: Path, vae: VAE) -> None:
    register_operations()
    for part in list_parts(vae):
        path = folder / f"{part.name}.onnx"
        _export_part(part, "onnx", path)
        if part.outputs == POSTERIOR:
            _order_onnx_outputs(path)


def _order_onnx_outputs(path: Path) -> None:
    """Reorders the encoder's outputs as in `POSTERIOR`, because Keras sorts them by name."""
    import onnx

    model = onnx.load(path)
    outputs = sorted(model.graph.output, key=lambda output: POSTERIOR.index(output.name))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    onnx.save(model, path)


def _write_litert(folder: Path, vae: VAE) -> None:
    for part in list_parts(vae):
        path = folder / f"{part.name}.tflite"
        _export_part(part, "litert", path)
        _name_litert_tensors(path, part)


def _name_litert_tensors(path: Path, part: Part) -> None:
    """Gives the tensors the names of the signature, and sorts inputs and outputs.

    TensorFlow's converter names tensors like "StatefulPartitionedCall_1:0" and sorts them by their
    names in the signature.

    Args:
        path: File with the model.
        part: The model, with its inputs and outputs in the order wanted.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    inputs = [tensor.name for tensor in part.model.inputs]
    signature.inputs.sort(key=lambda one: inputs.index(one.name.decode()))
    signature.outputs.sort(key=lambda one: part.outputs.index(one.name.decode()))
    for one in (*signature.inputs, *signature.outputs):
        graph.tensors[one.tensorIndex].name = one.name
    graph.inputs = [one.tensorIndex for one in signature.inputs]
    graph.outputs = [one.tensorIndex for one in signature.outputs]
    flatbuffer_utils.write_model(model, str(path))


def _export_part(part: Part, keras_name: str, path: Path) -> None:
    """Exports a part with Keras."""
    model = part.named
    # Keras exports only models that have been called.
    zeros = [np.zeros((1, *each.shape[1:]), dtype=np.float32) for each in model.inputs]
    model([tf.constant(each) for each in zeros] if len(zeros) > 1 else zeros[0], training=False)
    model.export(path, format=keras_name, verbose=False)


_LEVEL_PARTS = (RECONSTRUCTOR, GENERATOR)

FORMATS: Mapping[str, Format] = {
    "keras": Format(
        ("vae.keras", "encoder.keras", "decoder.keras"),
        _write_keras,
        tuple(f"{name}.keras" for name in _LEVEL_PARTS),
    ),
    "saved-model": Format(("saved_model",), _write_saved_model),
    "onnx": Format(
        ("encoder.onnx", "decoder.onnx"),
        _write_onnx,
        tuple(f"{name}.onnx" for name in _LEVEL_PARTS),
        needs=("tf2onnx", "onnxruntime"),
    ),
    "litert": Format(
        ("encoder.tflite", "decoder.tflite"),
        _write_litert,
        tuple(f"{name}.tflite" for name in _LEVEL_PARTS),
    ),
}
"""All formats by their names on the command line. Optional extras of the package match them."""
