"""Export formats of a VAE. The library that defines a format writes it.

Encoder and decoder do not sample, because ONNX Runtime and LiteRT have no seeded random numbers.
Only `vae.keras` and the SavedModel's `sample` endpoint draw random numbers.
"""

import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from vaetune.config import closest_match
from vaetune.errors import ResultsError, short_repr
from vaetune.models import VAE

ALWAYS = "keras"
"""The format that every export includes."""


class Posterior(NamedTuple):
    """The outputs of the encoder: every format has these names in this order.

    Attributes:
        z_mean: Posterior means (n, latent_dim).
        z_log_var: Posterior log-variances (n, latent_dim).
    """

    z_mean: Any
    z_log_var: Any


POSTERIOR = Posterior._fields
"""Names of the outputs of the encoder, in order."""


@dataclass(frozen=True)
class Format:
    """An export format.

    Attributes:
        files: Names of the files or of the folder that the format consists of.
        write: Function that writes a model into a folder.
        needs: Modules that write or read the format and that vaetune does not install by default.
    """

    files: tuple[str, ...]
    write: Callable[[Path, VAE], None]
    needs: tuple[str, ...] = ()


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
    for file in FORMATS[name].files:
        path = folder / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sample_latents(count: Any, seed: Any, latent_dim: int) -> tf.Tensor:
    """Samples latent vectors from the prior N(0, 1), reproducibly on every device.

    Args:
        count: Number of samples, an integer or a scalar tensor.
        seed: Random seed, an integer or a scalar tensor.
        latent_dim: Number of latent dimensions.

    Returns:
        z of shape (count, latent_dim), float32.
    """
    shape = tf.stack([count, latent_dim])
    return tf.random.stateless_normal(shape, seed=tf.stack([seed, 0]), alg="philox")


def _write_keras(folder: Path, vae: VAE) -> None:
    vae.save(folder / "vae.keras")
    posterior = keras.Model(vae.encoder.input, vae.encoder.outputs[:2], name="encoder")
    posterior.save(folder / "encoder.keras")
    vae.decoder.save(folder / "decoder.keras")


def _write_saved_model(folder: Path, vae: VAE) -> None:
    images = tf.TensorSpec((None, *vae.image_shape), tf.float32, name="image")
    latents = tf.TensorSpec((None, vae.latent_dim), tf.float32, name="latent")
    count, seed = (tf.TensorSpec((), tf.int32, name=name) for name in ("count", "seed"))
    encoder, decoder = _named_parts(vae)

    def encode(image: tf.Tensor) -> Posterior:
        # A loaded SavedModel does not keep the order of a dictionary.
        return Posterior(**encoder(image))

    def reconstruct(image: tf.Tensor) -> Any:
        return decoder(encoder(image)["z_mean"])

    def sample(count: tf.Tensor, seed: tf.Tensor) -> Any:
        return decoder(sample_latents(count, seed, vae.latent_dim))

    archive = keras.export.ExportArchive()
    archive.track(vae.encoder)
    archive.track(vae.decoder)
    archive.add_endpoint("encode", encode, [images])
    archive.add_endpoint("decode", decoder, [latents])
    archive.add_endpoint("reconstruct", reconstruct, [images])
    archive.add_endpoint("sample", sample, [count, seed])
    archive.write_out(folder / "saved_model", verbose=False)


def _write_onnx(folder: Path, vae: VAE) -> None:
    _export_parts(vae, "onnx", folder, ".onnx")
    _order_onnx_outputs(folder / "encoder.onnx")


def _order_onnx_outputs(path: Path) -> None:
    """Reorders the encoder's outputs as in `POSTERIOR`, because Keras sorts them by name."""
    import onnx

    model = onnx.load(path)
    outputs = sorted(model.graph.output, key=lambda output: POSTERIOR.index(output.name))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    onnx.save(model, path)


def _write_litert(folder: Path, vae: VAE) -> None:
    _export_parts(vae, "litert", folder, ".tflite")
    _name_litert_tensors(folder / "encoder.tflite", POSTERIOR)
    _name_litert_tensors(folder / "decoder.tflite", ("image",))


def _name_litert_tensors(path: Path, outputs: Sequence[str]) -> None:
    """Gives the tensors the names of the signature, and sorts the outputs.

    TensorFlow's converter names tensors like "StatefulPartitionedCall_1:0" and sorts the outputs
    by their names in the signature.

    Args:
        path: File with the model.
        outputs: Names of the outputs, in the order wanted.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    signature.outputs.sort(key=lambda one: outputs.index(one.name.decode()))
    for one in (*signature.inputs, *signature.outputs):
        graph.tensors[one.tensorIndex].name = one.name
    graph.outputs = [one.tensorIndex for one in signature.outputs]
    flatbuffer_utils.write_model(model, str(path))


def _export_parts(vae: VAE, keras_name: str, folder: Path, suffix: str) -> None:
    """Exports encoder and decoder with Keras."""
    for part in _named_parts(vae):
        # Keras exports only models that have been called.
        part(np.zeros((1, *part.input_shape[1:]), dtype=np.float32), training=False)
        part.export(folder / f"{part.name}{suffix}", format=keras_name, verbose=False)


def _named_parts(vae: VAE) -> tuple[keras.Model, keras.Model]:
    """The encoder without sampling and the decoder, with named outputs for the files."""
    posterior = dict(zip(POSTERIOR, vae.encoder.outputs[:2], strict=True))
    return (
        keras.Model(vae.encoder.input, posterior, name="encoder"),
        keras.Model(vae.decoder.input, {"image": vae.decoder.output}, name="decoder"),
    )


FORMATS: Mapping[str, Format] = {
    "keras": Format(("vae.keras", "encoder.keras", "decoder.keras"), _write_keras),
    "saved-model": Format(("saved_model",), _write_saved_model),
    "onnx": Format(("encoder.onnx", "decoder.onnx"), _write_onnx, needs=("tf2onnx", "onnxruntime")),
    "litert": Format(("encoder.tflite", "decoder.tflite"), _write_litert),
}
"""All formats by their names on the command line. Optional extras of the package match them."""
