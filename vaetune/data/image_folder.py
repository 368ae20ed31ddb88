"""Reading of a folder of image files into a single array."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaetune.data.zero_copy import empty_aligned
from vaetune.errors import DataError, one_line

SUFFIXES = (".png", ".jpg", ".jpeg")

_GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64] | None, tuple[str, ...] | None]


def read_folder(folder: Path) -> Labelled:
    """Reads all PNG and JPEG files of a folder. The names of sub-folders are labels.

    If all files are grey, images have one channel; otherwise all images have three. Transparent
    pixels are put on a black background. At any time, only one image is in memory in addition to
    the array.

    Returns:
        Images (n, height, width, channels) uint8; class indices (n,) and class names in
        alphabetical order, or None and None if there are no sub-folders.

    Raises:
        DataError: There are no images, a file is damaged, sizes differ, or images are both in the
            folder itself and in sub-folders. The message names the file.
    """
    paths = _image_paths(folder)
    classes = sorted(
        {path.relative_to(folder).parts[0] for path in paths if _class_of(path, folder)}
    )
    if classes and any(not _class_of(path, folder) for path in paths):
        raise DataError(
            f"{folder} contains images both directly and in the sub-folder {classes[0]}. Put all "
            "images into sub-folders named after their labels, or none."
        )
    images = _read_all(paths, folder)
    if not classes:
        return images, None, None
    labels = np.array([classes.index(_class_of(path, folder)) for path in paths], dtype=np.int64)
    return images, labels, tuple(classes)


def _image_paths(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in _visible_files(folder) if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}.") from error
    if not paths:
        raise DataError(
            f"{folder} contains no images: expected PNG or JPEG files, in the folder itself or in "
            "a sub-folder for each label."
        )
    return paths


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _visible_files(path)
        else:
            yield path


def _class_of(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _read_all(paths: Sequence[Path], folder: Path) -> NDArray[np.uint8]:
    sizes_and_modes = [_read_header(path) for path in paths]
    width, height = sizes_and_modes[0][0]
    for path, (size, _) in zip(paths, sizes_and_modes, strict=True):
        if size != (width, height):
            raise DataError(
                f"{path} has {size[1]} x {size[0]} pixels, but {paths[0].relative_to(folder)} has "
                f"{height} x {width}: all images must have the same size. Resize or remove it."
            )
    is_grey = all(mode in _GREY_MODES for _, mode in sizes_and_modes)
    images = empty_aligned((len(paths), height, width, 1 if is_grey else 3))
    for index, path in enumerate(paths):
        pixels = _read_pixels(path, is_grey)
        # A grey image has no channel axis; assigning it fills all channels.
        images[index] = pixels if pixels.ndim == 3 else pixels[..., np.newaxis]
    return images


def _read_header(path: Path) -> tuple[tuple[int, int], str]:
    """Returns size (width, height) and Pillow mode of an image file."""
    with _open(path) as image:
        return image.size, image.mode


def _read_pixels(path: Path, is_grey: bool) -> NDArray[np.uint8]:
    with _open(path) as image:
        try:
            image.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise _damaged_image_error(path, error) from error
        if image.mode.startswith(("I", "F")):  # 16 or 32 bits, which Pillow would clip at 255
            return _from_deep_grey(np.asarray(image), path)
        if image.mode == "P":
            image = image.convert("RGBA")
        if image.mode in ("LA", "RGBA", "PA"):
            background = Image.new("RGBA", image.size, (0, 0, 0, 255))
            image = Image.alpha_composite(background, image.convert("RGBA"))
        return np.asarray(image.convert("L" if is_grey else "RGB"), dtype=np.uint8)


def _from_deep_grey(values: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    """Scales grey values in 0..65535 to uint8."""
    numbers = values.astype(np.float64)
    if not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= 65535):
        raise DataError(f"{path} contains pixel values outside 0..65535. Save it with 8 bits.")
    return np.rint(numbers / 257.0).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns of possible decompression bombs; the sizes are checked here first.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged_image_error(path, error) from error


def _damaged_image_error(path: Path, error: Exception) -> DataError:
    reason = one_line(error).replace(str(path), "").replace("''", "it")
    return DataError(f"{path} is not a readable PNG or JPEG image ({reason}). Repair or remove it.")
