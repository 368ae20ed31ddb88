"""Encodes, reconstructs and samples images with the ONNX files in this folder.

Needs numpy, Pillow and onnxruntime, nothing else:

    pip install numpy pillow onnxruntime
    python predict.py encode photo.png                       # prints z as JSON
    python predict.py reconstruct photo.png rebuilt.png
    python predict.py sample samples.png --count 16 --seed 1

preprocessing.json describes how an image file is prepared before it is encoded.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent

try:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray
    from PIL import Image
except ImportError as missing:
    sys.exit(f"predict: {missing.name} is missing: pip install numpy pillow onnxruntime")

Array = NDArray[Any]

DEEP_GREY = ("I", "F")
BATCH = 64
MOST = 10_000  # images on one sheet
"""How the names of Pillow's modes of 16 and 32 bits begin."""


def fail(message: str) -> NoReturn:
    """Ends with one line on stderr and exit code 1."""
    sys.exit(f"predict: {' '.join(message.split())}")


def read_preprocessing() -> Mapping[str, Any]:
    path = HERE / "preprocessing.json"
    try:
        steps: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("height", "width", "channels"):
            int(steps["image"][key])
        Image.Resampling[steps["resize"]["filter"].upper()]
        steps["resize"]["policy"], steps["binarize"]["method"], steps["binarize"]["threshold"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fail(f"{path} cannot be used ({error!r}). Export the model again.")
    return steps


def open_model(name: str) -> Any:
    path = HERE / f"{name}.onnx"
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  the library has an own one for each kind of damage
        fail(f"{path} cannot be used ({error}). Export the model again.")


def load_image(path: Path, steps: Mapping[str, Any], seed: int) -> Array:
    """Reads an image file as the model expects it.

    Args:
        path: Path of an image file in any format that Pillow reads.
        steps: Content of preprocessing.json.
        seed: Random seed of stochastic binarization.

    Returns:
        (1, height, width, channels) float32 in [0, 1].
    """
    wanted = steps["image"]
    mode = "L" if wanted["channels"] == 1 else "RGB"
    try:
        with Image.open(path) as file:
            image = resized(flattened(file, mode), path, steps)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        fail(f"{path} is no readable image ({error}).")
    unit = np.asarray(image, dtype=np.float32) / np.float32(255.0)
    shape = (1, wanted["height"], wanted["width"], wanted["channels"])
    return binarized(unit.reshape(shape), steps["binarize"], seed)


def flattened(image: Image.Image, mode: str) -> Image.Image:
    """The image in grey or colour of 8 bits, its transparent parts on black."""
    if image.mode.startswith(DEEP_GREY):
        values = np.asarray(image, dtype=np.float64)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 65535):
            raise ValueError("it has pixel values outside 0..65535")
        image = Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
    if image.mode in ("P", "PA", "LA", "RGBA"):
        colour = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colour)
    return image.convert(mode)


def resized(image: Image.Image, path: Path, steps: Mapping[str, Any]) -> Image.Image:
    """The image in the model's size, resized or refused as the steps say."""
    width, height = steps["image"]["width"], steps["image"]["height"]
    if image.size == (width, height):
        return image
    sizes = f"{path} has {image.height} x {image.width} pixels, the model {height} x {width}"
    if steps["resize"]["policy"] != "resize":
        fail(f"{sizes}. Resize it first.")
    stretched = image.width * height != image.height * width
    note = ", its proportions changed" if stretched else ""
    print(f"predict: {sizes}: resized{note}.", file=sys.stderr)
    return image.resize((width, height), Image.Resampling[steps["resize"]["filter"].upper()])


def binarized(unit: Array, how: Mapping[str, Any], seed: int) -> Array:
    """Pixels of 0 and 1 where the model was trained on such."""
    if how["method"] == "threshold":
        return np.asarray(unit >= how["threshold"], dtype=np.float32)
    if how["method"] == "stochastic":
        drawn = np.random.default_rng(seed).random(unit.shape)
        return np.asarray(drawn < unit, dtype=np.float32)
    return unit


def encode(images: Array) -> tuple[Array, Array]:
    """z_mean and z_log_var (n, latent_dim) of images (n, height, width, channels)."""
    z_mean, z_log_var = open_model("encoder").run(["z_mean", "z_log_var"], {"image": images})
    return z_mean, z_log_var


def decode(z: Array) -> Array:
    """Images (n, height, width, channels) in [0, 1] of latent vectors (n, latent_dim)."""
    decoder = open_model("decoder")
    parts = [z[start : start + BATCH] for start in range(0, len(z), BATCH)]
    decoded = [decoder.run(["image"], {"latent": part.astype(np.float32)})[0] for part in parts]
    return np.concatenate(decoded)


def sample(count: int, seed: int) -> Array:
    """Images decoded from the prior N(0, 1), the same for the same seed."""
    latent_dim = open_model("decoder").get_inputs()[0].shape[1]
    return decode(np.random.default_rng(seed).standard_normal((count, latent_dim)))


def write_images(path: Path, images: Array) -> None:
    """Writes images as one picture, side by side in a grid that is about square."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width, channels = images.shape[1:]
    sheet = np.zeros((rows * columns, height, width, channels), dtype=np.uint8)
    sheet[: len(images)] = np.rint(np.clip(images, 0.0, 1.0) * 255.0)
    grid = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pixels = grid.reshape(rows * height, columns * width, channels)
    try:
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be written ({error}). Give a file name that ends in .png.")


def positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MOST:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST}, received {text}")
    return number


def seed(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 on, received {text}")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("encode", "print z"), ("reconstruct", "write the image decoded from z")):
        command = commands.add_parser(name, help=f"image file in: {words}")
        command.add_argument("image", type=Path, help="a file that Pillow reads")
        command.add_argument("--seed", type=seed, default=0, help="of stochastic binarisation")
        if name == "reconstruct":
            command.add_argument("output", type=Path, help="a file such as rebuilt.png")
    command = commands.add_parser("sample", help="write images decoded from the prior")
    command.add_argument("output", type=Path, help="a file such as samples.png")
    command.add_argument("--count", type=positive, default=16, help="how many (default: 16)")
    command.add_argument("--seed", type=seed, default=0, help="other images (default: 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = parse(arguments)
    steps = read_preprocessing()
    if chosen.command == "sample":
        write_images(chosen.output, sample(chosen.count, chosen.seed))
        return
    z_mean, z_log_var = encode(load_image(chosen.image, steps, chosen.seed))
    if chosen.command == "encode":
        print(json.dumps({"z_mean": z_mean[0].tolist(), "z_log_var": z_log_var[0].tolist()}))
    else:
        write_images(chosen.output, decode(z_mean))


if __name__ == "__main__":
    main()
