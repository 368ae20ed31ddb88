"""Preprocessing of new images: preprocessing.json for programs, sentences and code for people."""

from collections.abc import Mapping
from typing import Any

from vaetune.config import Binarize, Reading
from vaetune.report import counted
from vaetune.study import Study

THRESHOLD = 0.5
"""Pixel value from which binarisation by threshold gives 1."""

_COLOURS = {1: "grey", 3: "RGB"}


def describe_preprocessing(study: Study) -> dict[str, Any]:
    """The contents of `preprocessing.json`, in the order in which `predict.py` applies them.

    The steps are those of the training images. Resizing is added for images of another size. For a
    search that did not record how it read its images, there is no table "input" and `predict.py`
    takes image files of 8 bits.
    """
    data = study.started.data
    reading = data.reading
    height, width, channels = data.image_shape
    background = reading.background if reading else None
    method = study.search.data.binarize
    return {
        "image": {
            "height": height,
            "width": width,
            "channels": channels,
            "colour": _COLOURS.get(channels, "other"),
            "transparent": f"on {background or 'black'}",
        },
        **({"input": _describe_input(reading)} if reading else {}),
        "resize": _describe_resize(reading),
        "scale": _describe_scale(reading),
        "binarize": {
            "method": method,
            "threshold": THRESHOLD if method == "threshold" else None,
        },
        "layout": ["image", "height", "width", "channel"],
    }


def _describe_input(reading: Reading) -> dict[str, Any]:
    """The training images as they were found."""
    return {
        "kind": reading.kind,
        "dtype": reading.dtype,
        "range": [_short(value) for value in reading.range],
        "layout": reading.layout,
        "pages": reading.pages,
        "background": reading.background,
    }


def _describe_resize(reading: Reading | None) -> dict[str, Any]:
    policy = reading.resize if reading and reading.resize else "resize"
    others = "crop | pad | stretch | " if reading else ""
    return {
        "policy": policy,
        "policies": f"{others}resize | refuse, where an image has another size",
        "filter": "bilinear",
        "keeps_proportions": policy in ("crop", "pad"),
    }


def _describe_scale(reading: Reading | None) -> dict[str, Any]:
    """The arithmetic: subtract, divide, clip to the range."""
    last = {"range": [0.0, 1.0], "dtype": "float32"}
    if reading is None:
        return {"divide_by": 255, **last}
    low, high = reading.range
    return {"subtract": _short(low), "divide_by": _short(high - low), "clip": True, **last}


def _short(value: float) -> float:
    """A number that JSON and people see without ".0" if it is whole."""
    return int(value) if float(value).is_integer() else value


def preparation_context(study: Study) -> dict[str, Any]:
    """The model card's variables about the preparation of images."""
    data = study.started.data
    reading = data.reading
    picture = "png" if data.image_shape[2] in _COLOURS else "npy"
    return {
        "scale": describe_scale(reading),
        "reading": " ".join(describe_reading(reading)) if reading else "",
        "code": write_code(study),
        "photo": "photo.tif" if reading and reading.pages == "channels" else f"photo.{picture}",
        "picture": picture,
    }


def describe_reading(reading: Reading) -> list[str]:
    """Sentences about the images that a model was trained on and how they were prepared."""
    low, high = map(_short, reading.range)
    what = "image files" if reading.kind == "files" else "arrays"
    as_unit = "" if (low, high) == (0, 1) else ", taken as 0..1"
    lines = [f"Trained on {reading.dtype} values {low}..{high} of {what}{as_unit}."]
    if reading.clipped:
        verb = "was" if reading.clipped == 1 else "were"
        lines.append(f"{counted(reading.clipped, 'value')} outside this range {verb} clipped.")
    if reading.kind == "arrays" and reading.layout != "channels_last":
        lines.append(f"The order of their axes was {reading.layout.replace('_', ' ')}.")
    if reading.background:
        lines.append(f"Transparent pixels were put on {reading.background}.")
    if reading.pages == "channels":
        lines.append("The pages of a TIFF file are the channels of one image.")
    elif reading.pages == "images":
        lines.append("Each page of a TIFF file was an image.")
    if reading.resize and reading.image_size:
        height, width = reading.image_size
        size = f"{height} x {width}"
        lines.append(f'Images of another size were resized to {size}: "{reading.resize}".')
    return lines


def describe_scale(reading: Reading | None) -> str:
    """The arithmetic from a pixel value to the input of the model, in words."""
    low, high = map(_short, reading.range) if reading else (0, 255)
    if (low, high) == (0, 255) and (reading is None or reading.dtype == "uint8"):
        return "bytes divided by 255"
    if (low, high) == (0, 1):
        return "the values themselves, clipped"
    shifted = f"(value {'+' if low < 0 else '-'} {abs(low)})" if low else "value"
    return f"{shifted} / {_short(high - low)}, clipped"


def write_code(study: Study) -> str | None:
    """Python code that prepares an image as the training images were prepared.

    Returns:
        Code that uses prepare.py, or None if the search did not record how it read its images.
    """
    data = study.started.data
    reading = data.reading
    if reading is None:
        return None
    height, width, channels = data.image_shape
    low, high = map(_short, reading.range)
    resize = [f'pixels = resize(pixels, ({height}, {width}), "{reading.resize}")']
    lines = [
        *(_decode_code(reading) if reading.kind == "files" else _load_code(reading)),
        *(resize if reading.resize else []),
        f"unit, clipped = to_unit(to_channels(pixels, {channels}), {low}, {high})",
        *_BINARIZE_CODE[study.search.data.binarize],
        "images = unit[np.newaxis]",
    ]
    names = [name for name in ("decode", "resize", "to_channels", "to_unit") if name in str(lines)]
    pillow = "from PIL import Image" + ", ImageSequence" * (reading.pages == "channels")
    imports = [
        "import numpy as np",
        *([pillow] if reading.kind == "files" else []),
        f"from prepare import {', '.join(names)}",
    ]
    return "\n".join([*imports, "", *lines])


_BINARIZE_CODE: Mapping[Binarize, list[str]] = {
    "none": [],
    "threshold": [f'unit = (unit >= {THRESHOLD}).astype("float32")'],
    "stochastic": ['unit = (np.random.random(unit.shape) < unit).astype("float32")'],
}


def _decode_code(reading: Reading) -> list[str]:
    background = f', "{reading.background}"' if reading.background else ""
    if reading.pages == "channels":
        return [
            'with open("image.tif", "rb") as stream, Image.open(stream) as file:',
            f"    pages = [decode(page{background}) for page in ImageSequence.Iterator(file)]",
            "pixels = np.concatenate(pages, axis=-1)",
        ]
    return ['with Image.open("image.png") as file:', f"    pixels = decode(file{background})"]


def _load_code(reading: Reading) -> list[str]:
    if reading.layout == "channels_first":
        return ['pixels = np.moveaxis(np.load("image.npy"), 0, -1)  # channels, height, width']
    return ['pixels = np.load("image.npy")  # height, width, channels']
