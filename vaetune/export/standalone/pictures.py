"""Finds, converts and writes image files for `predict.py`, which needs it in its folder."""

import math
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]


def fail(message: str) -> NoReturn:
    """Ends the program with one line on stderr and exit code 1."""
    sys.exit(f"predict: {' '.join(message.split())}")


def find_images(folder: Path) -> list[Path]:
    """Returns the image files and .npy files of a folder and its sub-folders, sorted."""
    Image.init()
    endings = {
        ".npy",
        *(e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN),
    }
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in endings and path.is_file()
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        fail(f"{folder} contains no images: expected files that Pillow reads, or .npy files.")
    return sorted(found)


def flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to 8 bits in grey or RGB; transparent parts become black.

    Searches that did not record how they read images prepared all of them in this way.

    Raises:
        ValueError: Pixel values are outside 0..65535.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 65535):
            raise ValueError("pixel values are outside 0..65535")
        image = Image.fromarray(np.rint(values / 257.0).astype(np.uint8))
    if image.mode in ("P", "PA", "LA", "RGBA"):
        colour = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colour)
    return image.convert(mode)


def write_images(path: Path, images: Array) -> None:
    """Writes one image, (height, width, channels), or several, (n, height, width, channels).

    An .npy file holds the array, float32 in [0, 1]. In an image file, several images are in a grid
    that is about square. With other than 1 or 3 channels this must be a TIFF file, which has a page
    of float32 for each channel.
    """
    ending, channels = path.suffix.lower(), images.shape[-1]
    unit = np.clip(images, 0.0, 1.0).astype(np.float32)
    is_picture = channels in (1, 3)
    if not is_picture and ending not in (".npy", ".tif", ".tiff"):
        fail(
            f"{path} cannot hold {channels} channels. Choose a file name that ends in .npy or .tif."
        )
    try:
        if ending == ".npy":
            with path.open("wb") as file:
                np.save(file, unit)
        elif is_picture:
            pixels = np.rint(tile(unit) * 255.0).astype(np.uint8)
            Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
        else:
            pages = np.ascontiguousarray(np.moveaxis(tile(unit), -1, 0))
            first, *others = map(Image.fromarray, pages)
            first.save(path, save_all=True, append_images=others)
    except (OSError, ValueError) as error:
        ending = ".png" if is_picture else ".npy"
        fail(f"{path} cannot be written ({error}). Choose a file name that ends in {ending}.")


def tile(images: Array) -> Array:
    """Puts images into a grid that is about square, (height, width, channels)."""
    height, width, channels = images.shape[-3:]
    images = images.reshape(-1, height, width, channels)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    sheet = np.zeros((rows * columns, height, width, channels), dtype=images.dtype)
    sheet[: len(images)] = images
    grid = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)
