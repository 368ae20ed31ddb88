"""Encodes, reconstructs and samples images with the ONNX files in the folder of this file.

It needs numpy, Pillow, onnxruntime and the other .py files of the same folder:

    pip install numpy pillow onnxruntime
    python predict.py encode photo.png                       # prints z_mean, z_log_var as JSON
    python predict.py encode photos embeddings.npz           # a folder of images; also .csv
    python predict.py reconstruct photo.png rebuilt.png
    python predict.py sample samples.png --count 16 --seed 1

preprocessing.json describes how an image is prepared before it is encoded: in the same way as the
images that the model was trained on. An image is a file that Pillow reads, or an .npy file.
"""

import argparse
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # An export holds only files that were written with it.

try:
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray
    from PIL import Image, ImageSequence
except ImportError as missing:
    sys.exit(f"predict: {missing.name} is not installed. Run: pip install numpy pillow onnxruntime")

try:
    from philox import draw
    from pictures import fail, find_images, flatten, write_images
    from prepare import decode as decode_file, resize, to_channels, to_unit
    from tables import write_csv, write_npz
except ImportError as missing:
    sys.exit(f"predict: {HERE / f'{missing.name}.py'} cannot be imported. Export again.")

Array = NDArray[Any]
UNRECORDED: Mapping[str, Any] = {
    **{"kind": "files", "dtype": "uint8", "range": (0, 255)},
    **{"layout": "channels_last", "pages": None, "background": None},
}
"""The input of a model whose search did not record how it read its images."""

RESIZED = {"stretch": " and its proportions changed", "crop": " and cropped", "pad": " and padded"}
"""How an image of another size is resized, with the words of the note."""

DEEP_TYPES = {"uint16", "int32"}  # of grey images of 16 bits, by Pillow's version and the format
BATCH = 64  # images that are encoded or decoded at once
MAX_SAMPLES = 10_000  # in one image file


def read_preprocessing() -> Mapping[str, Any]:
    """Reads and checks preprocessing.json."""
    path = HERE / "preprocessing.json"
    try:
        steps: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("height", "width", "channels"):
            int(steps["image"][key])
        [*RESIZED, "resize", "refuse"].index(steps["resize"]["policy"])
        ["bilinear"].index(steps["resize"]["filter"])
        steps["binarize"]["method"], steps["binarize"]["threshold"]
        given = steps.get("input", UNRECORDED)
        np.dtype(given["dtype"]), sum(given["range"]), [given[key] for key in UNRECORDED]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fail(f"{path} cannot be used ({error!r}). Export the model again.")
    return steps


def open_model(name: str) -> Any:
    """Opens a file such as encoder.onnx."""
    path = HERE / f"{name}.onnx"
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  onnxruntime raises many types of errors
        fail(f"{path} cannot be used ({error}). Export the model again.")


def load_image(path: Path, steps: Mapping[str, Any], seed: int) -> Array:
    """Reads an image and prepares it for the encoder.

    Args:
        path: Image file in any format that Pillow reads, or an .npy file.
        steps: Contents of preprocessing.json.
        seed: Random seed of stochastic binarisation.

    Returns:
        Image of shape (1, height, width, channels), float32 in [0, 1].
    """
    path = Path(path)
    is_array = path.suffix.lower() == ".npy"
    try:
        pixels = read_array(path, steps) if is_array else read_file(path, steps)
    except Exception as error:  # noqa: BLE001  Pillow raises many types of errors for damaged files
        fail(f"{path} cannot be read as an image ({error}).")
    limits = find_limits(pixels, path, is_array, steps)
    try:
        pixels = to_channels(pixels, steps["image"]["channels"])
    except ValueError as error:
        fail(f"{path} does not fit the model: {error}.")
    unit = scale(fit(pixels, path, steps), limits, path)
    return binarize(unit[np.newaxis], steps["binarize"], seed)


def read_array(path: Path, steps: Mapping[str, Any]) -> Array:
    """Reads the image of an .npy file, (height, width, channels)."""
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    is_first = steps.get("input", UNRECORDED)["layout"] == "channels_first"
    if array.ndim not in (2, 3) or not array.size:
        axes = "(channels, height, width)" if is_first else "(height, width, channels)"
        fail(f"{path} has shape {array.shape}, expected one image: (height, width) or {axes}.")
    if array.ndim == 2:
        return array[..., np.newaxis]
    return np.moveaxis(array, 0, -1) if is_first else array


def read_file(path: Path, steps: Mapping[str, Any]) -> Array:
    """Reads the pixels of an image file, (height, width, channels)."""
    channels = steps["image"]["channels"]
    # By its name, Pillow 13 mixes up the rows of an uncompressed TIFF file with an orientation.
    with path.open("rb") as stream, Image.open(stream) as file:
        if "input" not in steps:
            pixels = np.asarray(flatten(file, "L" if channels == 1 else "RGB"))
            return pixels.reshape(*pixels.shape[:2], -1)
        background, pages = (steps["input"][key] for key in ("background", "pages"))
        count = getattr(file, "n_frames", 1) if file.format == "TIFF" else 1
        if count > 1 and (pages == "channels" or (pages is None and channels not in (1, 3))):
            decoded = [decode_file(page, background) for page in ImageSequence.Iterator(file)]
            return np.concatenate(decoded, axis=-1)
        if count > 1:
            fail(f"{path} has {count} pages, expected one image. Save each page as a file.")
        return np.asarray(decode_file(file, background))


def find_limits(
    pixels: Array, path: Path, is_array: bool, steps: Mapping[str, Any]
) -> tuple[float, float]:
    """Returns the values that become 0 and 1, or fails if the type is not that of training.

    An image file of 8 bits may also be given to a model of floats or masks, which such files
    cannot hold: black becomes 0 and white becomes 1.
    """
    given = steps.get("input", UNRECORDED)
    found, expected = pixels.dtype, np.dtype(given["dtype"])
    low, high = given["range"]
    if found.kind == "f" and not np.isfinite(pixels).all():
        fail(f"{path} contains values that are NaN or infinite.")
    is_deep = not is_array and {found.name, expected.name} <= DEEP_TYPES
    if found.name == expected.name or found.kind == expected.kind == "f" or is_deep:
        return low, high
    is_full_scale = expected.kind in "fb" or (low, high) in ((0, 1), (0, 255))
    if is_array or found != np.uint8 or given["kind"] != "arrays" or not is_full_scale:
        fail(
            f"{path} has pixels of type {found.name}, but the model was trained on {expected.name} "
            f"values {low}..{high}. Give it an image of this type."
        )
    return 0, 255


def fit(pixels: Array, path: Path, steps: Mapping[str, Any]) -> Array:
    """Resizes an image to the size of the model, or fails if preprocessing.json says "refuse"."""
    height, width = steps["image"]["height"], steps["image"]["width"]
    rows, columns = pixels.shape[:2]
    if (rows, columns) == (height, width):
        return pixels
    policy = steps["resize"]["policy"]
    how = "stretch" if policy == "resize" else policy
    sizes = f"{path} has {rows} x {columns} pixels, the model expects {height} x {width}"
    if policy == "refuse":
        fail(f"{sizes}. Resize it first.")
    done = "" if columns * height == rows * width else RESIZED[how]
    print(f"predict: {sizes}: the image was resized{done}.", file=sys.stderr)
    return np.asarray(resize(pixels, (height, width), how))


def scale(pixels: Array, limits: tuple[float, float], path: Path) -> Array:
    """Turns pixels into float32 in [0, 1], with a note if values had to be clipped."""
    low, high = limits
    unit, outside = to_unit(pixels, low, high)
    if outside:
        what = "1 value" if outside == 1 else f"{outside} values"
        print(f"predict: {path}: {what} outside {low}..{high} clipped.", file=sys.stderr)
    return np.asarray(unit)


def binarize(unit: Array, settings: Mapping[str, Any], seed: int) -> Array:
    """Turns pixels in [0, 1] into 0 and 1 if the model was trained on binarised images."""
    if settings["method"] == "threshold":
        return np.asarray(unit >= settings["threshold"], dtype=np.float32)
    if settings["method"] == "stochastic":
        drawn = np.random.default_rng(seed).random(unit.shape)
        return np.asarray(drawn < unit, dtype=np.float32)
    return unit


def encode(images: Array, model: Any = None) -> tuple[Array, Array]:
    """Encodes images (n, height, width, channels) as z_mean and z_log_var, each (n, latent_dim)."""
    model = model or open_model("encoder")
    z_mean, z_log_var = model.run(["z_mean", "z_log_var"], {"image": images})
    return z_mean, z_log_var


def encode_files(
    paths: Sequence[Path], steps: Mapping[str, Any], seed: int
) -> Iterator[dict[str, Array]]:
    """Encodes image files batch by batch."""
    model = open_model("encoder")
    for at in range(0, len(paths), BATCH):
        images = [load_image(path, steps, seed) for path in paths[at : at + BATCH]]
        yield dict(zip(("z_mean", "z_log_var"), encode(np.concatenate(images), model), strict=True))


def write_table(path: Path, output: Path, steps: Mapping[str, Any], seed: int) -> None:
    """Encodes an image or the images of a folder, and writes a table with a row for each."""
    folder = path if path.is_dir() else path.parent
    paths = find_images(path) if path.is_dir() else [path]
    # A name in another encoding than UTF-8 has its bytes escaped.
    names = [
        each.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
        for each in paths
    ]
    parts = encode_files(paths, steps, seed)
    with redirect_stderr(io.StringIO()) as printed:
        try:
            if output.suffix.lower() == ".csv":
                write_csv(output, {"name": names}, parts)
            else:
                write_npz(output, {"names": np.array(names)}, parts)
        except OSError as error:
            fail(f"{output} cannot be written ({error}).")
    first, *others = printed.getvalue().splitlines() or [""]
    more = f" And {len(others)} more notes like this." if others else ""
    print(first + more, file=sys.stderr, end="\n" if first else "")


def reconstruct(images: Array) -> Array:
    """Encodes and decodes images (n, height, width, channels), through all levels of the model."""
    if not (HERE / "reconstructor.onnx").exists():  # The model has a single level.
        return decode([encode(images)[0]])
    (rebuilt,) = open_model("reconstructor").run(["reconstruction"], {"image": images})
    return np.asarray(rebuilt)


def decode(latents: Sequence[Array], name: str = "decoder") -> Array:
    """Decodes latent variables, one array for each level, to (n, height, width, channels)."""
    model = open_model(name)
    inputs = {one.name: each for one, each in zip(model.get_inputs(), latents, strict=True)}
    starts = range(0, len(latents[0]), BATCH)
    parts = [{name: each[at : at + BATCH] for name, each in inputs.items()} for at in starts]
    return np.concatenate([model.run(["image"], part)[0] for part in parts])


def sample(count: int, seed: int) -> Array:
    """Decodes latent variables of the prior N(0, 1), the same as `vae.sample(count, seed)`."""
    name = "generator" if (HERE / "generator.onnx").exists() else "decoder"
    shapes = [one.shape[1:] for one in open_model(name).get_inputs()]
    latents = [draw((count, *shape), (seed, level)) for level, shape in enumerate(shapes)]
    return decode(latents, name)


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


def table(text: str) -> Path:
    """Parses the name of a table."""
    if not text.lower().endswith((".npz", ".csv")):
        raise argparse.ArgumentTypeError(f"expected a name in .npz or .csv, received {text}")
    return Path(text)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="predict.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, action in (
        ("encode", "print z_mean and z_log_var of an image as JSON, or write those of a folder"),
        ("reconstruct", "encode an image and write the decoded image"),
    ):
        command = commands.add_parser(name, help=action)
        what = "image file, .npy file" + (", or folder of these" if name == "encode" else "")
        command.add_argument("image", type=Path, help=what)
        command.add_argument(
            "--seed", type=seed, default=0, help="random seed of stochastic binarisation"
        )
        if name == "reconstruct":
            command.add_argument("output", type=Path, help="file to write: .png, .npy, .tif")
        else:
            command.add_argument("output", type=table, nargs="?", help="table to write: .npz, .csv")
    command = commands.add_parser("sample", help="write images decoded from the prior")
    command.add_argument("output", type=Path, help="file to write: .png, .npy, .tif")
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
    if parsed.command == "encode" and parsed.output:
        write_table(parsed.image, parsed.output, steps, parsed.seed)
        return
    if parsed.image.is_dir():
        fail(f"{parsed.image} is a folder. Name a table to write: encode FOLDER embeddings.npz")
    images = load_image(parsed.image, steps, parsed.seed)
    if parsed.command == "reconstruct":
        write_images(parsed.output, reconstruct(images)[0])
        return
    z_mean, z_log_var = encode(images)
    print(json.dumps({"z_mean": z_mean[0].tolist(), "z_log_var": z_log_var[0].tolist()}))


if __name__ == "__main__":
    main()
