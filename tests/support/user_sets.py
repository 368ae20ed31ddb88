"""Image sets of users: the packaged digits in other types, layouts, files and folders.

`python tests/support/user_sets.py FOLDER` writes all sets.
"""

import os
import sys
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER_IMAGES = 60

Maker = Callable[[Path], Path]


def digits():
    """Returns 200 packaged digits, (200, 28, 28) uint8, and made-up labels of four classes."""
    with as_file(files("vaetune.data.digits") / "digits.npz") as path, np.load(path) as arrays:
        x = arrays["x_train"][:200].copy()
    x[:, 0, 0] = 255  # All sets have white pixels.
    return x, np.arange(200) % 4


X, Y = digits()
UNIT = (X / 255).astype("float32")


def saved(name: str, **arrays) -> Maker:
    def make(folder):
        np.savez(folder / f"{name}.npz", **arrays)
        return folder / f"{name}.npz"

    return make


def in_files(name: str, save, where=lambda i: "", number=FOLDER_IMAGES) -> Maker:
    """Saves `number` images in subfolders `where(i)` with `save(i, path_without_ending)`."""

    def make(folder):
        for i in range(number):
            subfolder = folder / name / where(i)
            subfolder.mkdir(parents=True, exist_ok=True)
            save(i, str(subfolder / f"{i:03d}"))
        return folder / name

    return make


def grey(i):
    return Image.fromarray(X[i])


def save_png(i, path):
    grey(i).save(f"{path}.png")


def save_glyph(i, path):
    """Saves black ink on a transparent background."""
    rgba = np.zeros((28, 28, 4), np.uint8)
    rgba[..., 3] = X[i]
    Image.fromarray(rgba).save(f"{path}.png")


def save_photo(i, path):
    """Saves a photo. For every second one, the camera was turned."""
    image, exif = grey(i).convert("RGB"), Image.Exif()
    if i % 2:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x112] = 6
    image.save(f"{path}.jpg", exif=exif, quality=95)


def save_truncated(i, path):
    grey(i).save(f"{path}.jpg")
    if i % 20 == 3:
        os.truncate(f"{path}.jpg", 300)


def save_npy(folder):
    np.save(folder / "images.npy", X)
    return folder / "images.npy"


def make_loop(folder):
    path = in_files("loop", save_png, lambda i: f"c{Y[i] % 2}")(folder)
    (path / "all").symlink_to(".")
    return path


def part(i):
    return "train" if i < 40 else "val" if i < 50 else "test"


ENDINGS = (".png", ".webp", ".bmp", ".tif", ".gif")

OVER = np.where(UNIT >= 1, np.float32(1.0000001), UNIT)

SETS: dict[str, Maker] = {
    "overshoot": saved("overshoot", x=OVER),
    "minus1": saved("minus1", x=UNIT * 2 - 1),
    "uint16": saved("uint16", x=X.astype("uint16") * 257),
    "black": saved("black", x=np.zeros_like(X)),
    "with_val": saved("with_val", x_train=X[:100], x_val=X[100:150], x_test=X[150:]),
    "x_and_test": saved("x_and_test", x=X[:100], y=Y[:100], x_test=X[100:], y_test=Y[100:]),
    "medmnist": saved(
        "medmnist",
        train_images=X[:100],
        val_images=X[100:150],
        test_images=X[150:],
        train_labels=Y[:100, None],
        val_labels=Y[100:150, None],
        test_labels=Y[150:, None],
    ),
    "npy": save_npy,
    "arr0": saved("arr0", arr_0=X, arr_1=Y),
    "images": saved("images", images=X, labels=Y),
    "chw": saved("chw", x=X[:, None]),
    "rgba": saved("rgba", x=np.stack([X] * 4, -1)),
    "flat": saved("flat", x=X.reshape(200, -1)),
    "hwn": saved("hwn", x=np.moveaxis(X, 0, -1)),
    "strings": saved("strings", x=X, y=np.array(["cat", "dog"])[Y % 2]),
    "onehot": saved("onehot", x=X, y=np.eye(4)[Y]),
    "split": in_files("split", save_png, lambda i: f"{part(i)}/c{Y[i]}"),
    "png12bit": in_files(
        "png12bit", lambda i, p: Image.fromarray(X[i].astype("uint16") * 16).save(f"{p}.png")
    ),
    "png16bit8": in_files(
        "png16bit8", lambda i, p: Image.fromarray(X[i].astype("uint16")).save(f"{p}.png")
    ),
    "glyphs": in_files("glyphs", save_glyph),
    "exif": in_files("exif", save_photo),
    "formats": in_files("formats", lambda i, p: grey(i).save(p + ENDINGS[i % 5])),
    "sizes": in_files("sizes", lambda i, p: grey(i).resize((28 + i % 3, 28)).save(f"{p}.png")),
    "truncated": in_files("truncated", save_truncated),
    "loop": make_loop,
}
"""Functions that write a set into a folder and return its path, by name of the set."""


def sklearn_digits(folder):
    """Saves the digits of scikit-learn: floats 0..16, 8 x 8."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    np.savez(folder / "sklearn.npz", x=loaded.images, y=loaded.target)
    return folder / "sklearn.npz"


SETS["sklearn"] = sklearn_digits


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    for make in SETS.values():
        make(target)
