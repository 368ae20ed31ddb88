"""Draws letters.npz: capital letters A to Z of the free fonts in Debian's packages.

    apt-get install fonts-... ; python draw_letters.py OUTPUT.npz

Letters are white on black, at most 20 pixels high, and centred by mass like MNIST's digits. Fonts
of symbols, fonts without all letters, and glyphs that were drawn before are left out.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

SIDE = 28

Glyph = NDArray[np.uint8]


def draw(font: ImageFont.FreeTypeFont, letter: str) -> Glyph | None:
    """Draws a letter as (28, 28) pixels, or returns None if the font leaves it empty."""
    canvas = Image.new("L", (200, 200))
    ImageDraw.Draw(canvas).text((100, 100), letter, 255, font, anchor="mm")
    box = canvas.getbbox()
    if box is None:
        return None
    cut = canvas.crop(box)
    scale = 20 / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    small = np.asarray(cut.resize(size, Image.Resampling.LANCZOS), float)
    return centre(small) if small.sum() else None


def centre(small: NDArray[np.float64]) -> Glyph:
    """Places pixels so that their centre of mass is in the middle of an image."""
    middle = (SIDE - 1) / 2
    corner = []
    for axis, indices in enumerate(np.indices(small.shape)):
        start = round(middle - (indices * small).sum() / small.sum())
        corner.append(min(max(start, 0), SIDE - small.shape[axis]))
    full = np.zeros((SIDE, SIDE), np.uint8)
    top, left = corner
    full[top : top + small.shape[0], left : left + small.shape[1]] = small.round()
    return full


def draw_font(path: Path) -> tuple[str, Sequence[Glyph]] | None:
    """Returns the family of a font and its letters, or None if they cannot be used."""
    try:
        font = ImageFont.truetype(str(path), 96)
        family = font.getname()[0] or ""
        glyphs = [draw(font, letter) for letter in LETTERS]
    except OSError:
        return None
    missing = draw(font, "\uffff")
    present = [g for g in glyphs if g is not None and not np.array_equal(g, missing)]
    is_symbolic = any(word in family.lower() for word in ("ornament", "symbol", "emoji"))
    is_complete = len(present) == len(LETTERS) and len({g.tobytes() for g in present}) >= 24
    return (family, present) if is_complete and not is_symbolic else None


def main(output: str) -> None:
    seen: set[bytes] = set()
    images: dict[str, list[Glyph]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for path in sorted(Path("/usr/share/fonts").rglob("*.[to]tf")):
        drawn = draw_font(path)
        if drawn is None:
            continue
        family, glyphs = drawn
        digest = hashlib.sha256(family.split()[0].encode()).digest()
        part = "test" if digest[0] < 40 else "train"
        for label, glyph in enumerate(glyphs):
            if glyph.tobytes() not in seen:
                seen.add(glyph.tobytes())
                images[part].append(glyph)
                labels[part].append(label)
    generator = np.random.default_rng(0)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for part in ("train", "test"):
        order = generator.permutation(len(images[part]))
        arrays[f"x_{part}"] = np.array(images[part])[order]
        arrays[f"y_{part}"] = np.array(labels[part], np.uint8)[order]
    np.savez_compressed(output, **arrays)
    print({name: array.shape for name, array in arrays.items()})


if __name__ == "__main__":
    main(sys.argv[1])
