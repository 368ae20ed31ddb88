"""Turns an image file or an array into the input of a model.

Training, `vaetune check` and the exported `predict.py` prepare images with this module, so all of
them give a model the same numbers. It needs only numpy and Pillow, and must not import vaetune: it
is copied into exports unchanged.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Array = NDArray[Any]

TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
"""Pillow's modes with an alpha channel. A palette may be transparent as well."""

COLOURS = ("CMYK", "YCbCr", "LAB", "HSV", "RGBX")
"""Pillow's modes that become RGB."""

HALF_RANGE = ("PNG", "PPM")
"""Pillow's formats of at most 16 bits. Pillow may return them as 32 bits."""

FULL_SCALE = {"uint8": 255.0, "bool": 1.0}
"""The value of white by type of the pixels, where the type alone decides it."""


def has_transparency(image: Image.Image) -> bool:
    """Whether an image has an alpha channel or a transparent colour, which `decode` applies."""
    return not _is_deep(image) and (image.mode in TRANSPARENT or "transparency" in image.info)


def decoded_type(image: Image.Image) -> str:
    """Returns the type of the pixels that `decode` returns. The image need not be loaded."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in HALF_RANGE):
        return "uint16"
    return {"I": "int32", "F": "float32"}.get(image.mode[:1], "uint8")


def decoded_channels(image: Image.Image, background: str | None = None) -> int:
    """Returns the number of channels that `decode` returns. The image need not be loaded."""
    if _is_deep(image):
        return 1
    if has_transparency(image):
        return 1 if _stays_grey(image, background or "black") else 3
    return 1 if image.mode in ("1", "L") else 3


def decode(image: Image.Image, background: str | None = None) -> Array:
    """Returns the pixels of an opened image file, upright and without changing their type.

    Grey images have one channel and all others three. Images of 16 and 32 bits keep their values.

    Args:
        image: Image at the page to decode.
        background: Colour behind transparent pixels, such as "white". Default: black.

    Returns:
        Pixels, (height, width, channels), uint8, uint16, int32 or float32.

    Raises:
        OSError, ValueError, SyntaxError: The file is damaged, as Pillow finds out.
    """
    image.load()
    dtype = decoded_type(image)
    image = ImageOps.exif_transpose(image)
    if _is_deep(image):
        return np.asarray(image).astype(dtype, copy=False)[..., np.newaxis]
    if has_transparency(image):
        image = _on_background(image, background or "black")
    elif image.mode == "P" or image.mode in COLOURS:
        image = image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of 16 or 32 bits."""
    return image.mode.startswith(("I", "F"))


def _on_background(image: Image.Image, colour: str) -> Image.Image:
    """Puts an image on a colour. Grey images stay grey if the colour is grey."""
    is_grey = _stays_grey(image, colour)
    layer = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", layer.size, colour), layer)
    return flat.convert("L" if is_grey else "RGB")


def _stays_grey(image: Image.Image, colour: str) -> bool:
    is_grey = colour in ("black", "white") or len({colour[1:3], colour[3:5], colour[5:7]}) == 1
    return is_grey and image.mode in ("1", "L", "LA", "La")


def to_channels(pixels: Array, channels: int) -> Array:
    """Returns pixels with the number of channels of a model.

    A grey image fills three channels. An image with three equal channels becomes grey.

    Args:
        pixels: Pixels, (height, width, channels).
        channels: Number of channels to return.

    Raises:
        ValueError: The image has another number of channels.
    """
    present = pixels.shape[-1]
    if present == channels:
        return pixels
    if present == 1 and channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    if present == 3 and channels == 1 and (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    raise ValueError(f"it has {_counted(present)}, expected {_counted(channels)}")


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


def resize(pixels: Array, size: tuple[int, int], how: str) -> Array:
    """Returns pixels with another height and width, of the same type.

    Args:
        pixels: Pixels, (height, width, channels).
        size: Height and width.
        how: "stretch" changes the proportions. "crop" keeps them and cuts what is too long, on
            both sides. "pad" keeps them and adds a border of zeros on both sides.
    """
    height, width = pixels.shape[:2]
    if (height, width) == size:
        return pixels
    if how == "stretch":
        return _scale_to(pixels, size)
    choose = max if how == "crop" else min
    ratio = choose(size[0] / height, size[1] / width)
    inner = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    scaled = _scale_to(pixels, inner)
    top, left = (abs(have - want) // 2 for have, want in zip(inner, size, strict=True))
    if how == "crop":
        return scaled[top : top + size[0], left : left + size[1]]
    padded = np.zeros((*size, pixels.shape[-1]), pixels.dtype)
    padded[top : top + inner[0], left : left + inner[1]] = scaled
    return padded


def _scale_to(pixels: Array, size: tuple[int, int]) -> Array:
    """Scales each channel with Pillow's bilinear filter, which averages when it makes smaller."""
    is_bytes = pixels.dtype == np.uint8
    layers = pixels if is_bytes else pixels.astype(np.float32)
    scaled = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(layers[..., channel])).resize(
                (size[1], size[0]), Image.Resampling.BILINEAR
            )
        )
        for channel in range(pixels.shape[-1])
    ]
    stacked = np.stack(scaled, axis=-1)
    if np.issubdtype(pixels.dtype, np.integer) and not is_bytes:
        stacked = np.rint(stacked)
    return stacked.astype(pixels.dtype, copy=False)


def to_unit(values: Array, low: float, high: float) -> tuple[NDArray[np.float32], int]:
    """Returns values as float32 in [0, 1], and the number of values that were clipped.

    Args:
        values: Pixel values of any type and shape.
        low: Value that becomes 0.
        high: Value that becomes 1.
    """
    unit = values.astype(np.float32)
    if low:
        unit -= np.float32(low)
    if high - low != 1:
        unit /= np.float32(high - low)
    outside = int(np.count_nonzero((unit < 0) | (unit > 1)))
    return (np.clip(unit, 0, 1, out=unit) if outside else unit), outside
