"""The formats a VAE is handed over in, each written by the library that others read it with.

Sampling stays outside encoder and decoder: ONNX Runtime and LiteRT have no random numbers of a
seed. Only `vae.keras` and the SavedModel's `sample` draw any.
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

from vaetune.errors import ResultsError, short_repr
from vaetune.models import VAE

ALWAYS = "keras"
"""The format of every export."""


class Posterior(NamedTuple):
    """The outputs of an encoder, in this order and with these names in every format.

    Attributes:
        z_mean: Means of the posterior, (n, latent_dim).
        z_log_var: Logarithms of its variances, (n, latent_dim).
    """

    z_mean: Any
    z_log_var: Any


POSTERIOR = Posterior._fields


@dataclass(frozen=True)
class Format:
    """One way to hand a model over.

    Attributes:
        files: Names of the files that it writes, or of one folder.
        write: Writes them into a folder.
        needs: Modules that it is written and read back with and that vaetune does not install.
    """

    files: tuple[str, ...]
    write: Callable[[Path, VAE], None]
    needs: tuple[str, ...] = ()


def chosen_formats(names: Iterable[str]) -> tuple[str, ...]:
    """The formats that an export of these names has, in the order of `FORMATS`.

    Args:
        names: Names in `FORMATS`, or "all".

    Raises:
        ResultsError: There is no format of a name.
    """
    wanted = {ALWAYS, *names}
    if unknown := sorted(wanted - {*FORMATS, "all"}):
        raise ResultsError(
            f"Unknown format {short_repr(unknown[0])}. There are: {', '.join(FORMATS)} and all."
        )
    return tuple(name for name in FORMATS if name in wanted or "all" in wanted)


def write_format(name: str, folder: Path, vae: VAE) -> None:
    """Writes one format into a folder.

    Raises:
        ResultsError: What it is written with is not installed.
        OSError: The disk is full, or will not be written to.
        Exception: Whatever the library raises that writes it.
    """
    chosen = FORMATS[name]
    missing = [module for module in chosen.needs if find_spec(module) is None]
    if missing:
        raise ResultsError(
            f"needs {' and '.join(missing)}, not installed: pip install 'vaetune[{name}]'"
        )
    with warnings.catch_warnings():
        # What libraries announce of their own future is not the user's to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        chosen.write(folder, vae)


def remove_format(name: str, folder: Path) -> None:
    """Removes what there is of a format."""
    for file in FORMATS[name].files:
        path = folder / file
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sample_latents(count: Any, seed: Any, latent_dim: int) -> tf.Tensor:
    """Draws latent vectors of the prior N(0, 1), the same for the same seed on every device.

    Args:
        count: Number of latent vectors, as a number or a scalar tensor, like `seed`.

    Returns:
        z, (count, latent_dim) float32.
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
        # A dictionary has no order once it is loaded: it differs from process to process.
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
    """Puts the encoder's outputs in the order of `POSTERIOR`: Keras sorts them by name."""
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
    """Names inputs and outputs as the signature does, and puts the outputs in this order.

    TensorFlow's converter gives them names such as "StatefulPartitionedCall_1:0", in the order of
    the signature's names.
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
    """Lets Keras write encoder and decoder, which must have been called once before."""
    for part in _named_parts(vae):
        part(np.zeros((1, *part.input_shape[1:]), dtype=np.float32), training=False)
        part.export(folder / f"{part.name}{suffix}", format=keras_name, verbose=False)


def _named_parts(vae: VAE) -> tuple[keras.Model, keras.Model]:
    """Encoder and decoder without sampling, with the names that files keep of their outputs."""
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
"""Every format by its name on the command line; an optional extra is called the same."""
