"""Encodes, reconstructs and samples images with the ONNX files in the folder of this file.

It needs only numpy, Pillow and onnxruntime:

    pip install numpy pillow onnxruntime
    python predict.py encode photo.png                       # prints z_mean, z_log_var as JSON
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
    sys.exit(f"predict: {missing.name} is not installed. Run: pip install numpy pillow onnxruntime")

Array = NDArray[Any]

DEEP_GREY = ("I", "F")
"""First letters of the names of Pillow's modes with 16 and 32 bits."""

BATCH = 64
"""Latent vectors that are decoded at once."""

MAX_SAMPLES = 10_000
"""Largest number of samples in one image file."""


def fail(message: str) -> NoReturn:
    """Ends the program with one line on stderr and exit code 1."""
    sys.exit(f"predict: {' '.join(message.split())}")


def read_preprocessing() -> Mapping[str, Any]:
    """Reads and checks preprocessing.json."""
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
    """Opens encoder.onnx or decoder.onnx."""
    path = HERE / f"{name}.onnx"
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  onnxruntime raises many types of errors
        fail(f"{path} cannot be used ({error}). Export the model again.")


def load_image(path: Path, steps: Mapping[str, Any], seed: int) -> Array:
    """Reads an image file and prepares it for the encoder.

    Args:
        path: Image file in any format that Pillow reads.
        steps: Contents of preprocessing.json.
        seed: Random seed of stochastic binarisation.

    Returns:
        Image of shape (1, height, width, channels), float32 in [0, 1].
    """
    size = steps["image"]
    mode = "L" if size["channels"] == 1 else "RGB"
    try:
        with Image.open(path) as file:
            image = resize(flatten(file, mode), path, steps)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        fail(f"{path} cannot be read as an image ({error}).")
    unit = np.asarray(image, dtype=np.float32) / np.float32(255.0)
    shape = (1, size["height"], size["width"], size["channels"])
    return binarize(unit.reshape(shape), steps["binarize"], seed)


def flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to 8 bits in grey or RGB; transparent parts become black.

    Raises:
        ValueError: Pixel values are outside 0..65535.
    """
    if image.mode.startswith(DEEP_GREY):
        values = np.asarray(image, dtype=np.float64)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 65535):
            raise ValueError("pixel values are outside 0..65535")
        image = Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
    if image.mode in ("P", "PA", "LA", "RGBA"):
        colour = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colour)
    return image.convert(mode)


def resize(image: Image.Image, path: Path, steps: Mapping[str, Any]) -> Image.Image:
    """Resizes an image to the size of the model, or fails if preprocessing.json says "refuse"."""
    width, height = steps["image"]["width"], steps["image"]["height"]
    if image.size == (width, height):
        return image
    sizes = (
        f"{path} has {image.height} x {image.width} pixels, the model expects {height} x {width}"
    )
    if steps["resize"]["policy"] != "resize":
        fail(f"{sizes}. Resize it first.")
    is_stretched = image.width * height != image.height * width
    note = " and its proportions changed" if is_stretched else ""
    print(f"predict: {sizes}: the image was resized{note}.", file=sys.stderr)
    return image.resize((width, height), Image.Resampling[steps["resize"]["filter"].upper()])


def binarize(unit: Array, settings: Mapping[str, Any], seed: int) -> Array:
    """Turns pixels in [0, 1] into 0 and 1 if the model was trained on binarised images."""
    if settings["method"] == "threshold":
        return np.asarray(unit >= settings["threshold"], dtype=np.float32)
    if settings["method"] == "stochastic":
        drawn = np.random.default_rng(seed).random(unit.shape)
        return np.asarray(drawn < unit, dtype=np.float32)
    return unit


def encode(images: Array) -> tuple[Array, Array]:
    """Encodes images (n, height, width, channels) as z_mean and z_log_var, each (n, latent_dim)."""
    z_mean, z_log_var = open_model("encoder").run(["z_mean", "z_log_var"], {"image": images})
    return z_mean, z_log_var


def decode(z: Array) -> Array:
    """Decodes latent vectors (n, latent_dim) to images (n, height, width, channels) in [0, 1]."""
    decoder = open_model("decoder")
    parts = [z[start : start + BATCH] for start in range(0, len(z), BATCH)]
    decoded = [decoder.run(["image"], {"latent": part.astype(np.float32)})[0] for part in parts]
    return np.concatenate(decoded)


def sample(count: int, seed: int) -> Array:
    """Decodes latent vectors drawn from the prior N(0, 1), reproducibly for the same seed."""
    latent_dim = open_model("decoder").get_inputs()[0].shape[1]
    return decode(np.random.default_rng(seed).standard_normal((count, latent_dim)))


def write_images(path: Path, images: Array) -> None:
    """Writes images as one image file, in a grid that is about square."""
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
        fail(f"{path} cannot be written ({error}). Choose a file name that ends in .png.")


def count(text: str) -> int:
    """Parses --count."""
    number = int(text)
    if not 1 <= number <= MAX_SAMPLES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_SAMPLES}, received {text}")
    return number


def seed(text: str) -> int:
    """Parses --seed."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, received {text}")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, action in (
        ("encode", "print z_mean and z_log_var of an image file as JSON"),
        ("reconstruct", "encode an image file and write the decoded image"),
    ):
        command = commands.add_parser(name, help=action)
        command.add_argument("image", type=Path, help="image file in a format that Pillow reads")
        command.add_argument(
            "--seed", type=seed, default=0, help="random seed of stochastic binarisation"
        )
        if name == "reconstruct":
            command.add_argument("output", type=Path, help="file to write, such as rebuilt.png")
    command = commands.add_parser("sample", help="write images decoded from the prior")
    command.add_argument("output", type=Path, help="file to write, such as samples.png")
    command.add_argument("--count", type=count, default=16, help="number of images (default: 16)")
    command.add_argument("--seed", type=seed, default=0, help="random seed (default: 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parsed = parse(arguments)
    steps = read_preprocessing()
    if parsed.command == "sample":
        write_images(parsed.output, sample(parsed.count, parsed.seed))
        return
    z_mean, z_log_var = encode(load_image(parsed.image, steps, parsed.seed))
    if parsed.command == "encode":
        print(json.dumps({"z_mean": z_mean[0].tolist(), "z_log_var": z_log_var[0].tolist()}))
    else:
        write_images(parsed.output, decode(z_mean))


if __name__ == "__main__":
    main()
