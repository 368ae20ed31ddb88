"""Prints in MiB the size of the pixels of an image folder, and the peaks of reading and training.

python tests/stress/memory_of_images.py 20000 64 64 3
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from vaetune.device import choose_device

choose_device("cpu")

from vaetune.config.spec import SearchSpec
from vaetune.data.images import entropy_floor
from vaetune.data.sources import load_images
from vaetune.models.build import build_vae
from vaetune.training.feed import put_on_device
from vaetune.training.restore import read_variables
from vaetune.training.runner import EpochRunner
from vaetune.training.schedule import plan_epoch

DISTINCT = 20
"""Number of distinct images. All other files are hard links, which are faster to write."""

TINY = {"filters_1": 2, "filters_2": 2, "dense_units": 2, "latent_dim": 2, "learning_rate": 1e-3}


def write_pictures(folder, count, shape):
    """Writes a few distinct PNG files of noise under many names."""
    generator = np.random.default_rng(0)
    for number in range(DISTINCT):
        pixels = generator.integers(0, 256, shape).astype(np.uint8)
        image = Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels)
        image.save(folder / f"{number:06d}.png")
    for number in range(DISTINCT, count):
        (folder / f"{number:06d}.png").hardlink_to(folder / f"{number % DISTINCT:06d}.png")


def train_an_epoch(images):
    """Puts the images on the device, and trains and validates a tiny model for one epoch."""
    vae = build_vae(images.image_shape, TINY)
    runner = EpochRunner(vae, put_on_device(images))
    runner.begin(read_variables(vae.variables), TINY["learning_rate"])
    runner.train(plan_epoch(SearchSpec(), TINY, len(images.train), 0, 1))
    runner.validate()
    entropy_floor(images.validation.images)


def memory(kind):
    """Memory of the process in MiB: now ("VmRSS"), or at the peak since `reset_peak` ("VmHWM")."""
    (line,) = (o for o in Path("/proc/self/status").read_text().splitlines() if o.startswith(kind))
    return int(line.split()[1]) / 2**10


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def main(count, *shape):
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        write_pictures(Path(few), count // 10, shape)
        write_pictures(Path(many), count, shape)
        # These epochs allocate the memory that training takes for any number of images.
        for _ in range(2):
            train_an_epoch(load_images(few))
        before = memory("VmRSS")
        reset_peak()
        images = load_images(many)
        read = memory("VmHWM") - before
        train_an_epoch(images)
        trained = memory("VmHWM") - before
    print(f"bytes {count * np.prod(shape) / 2**20:.1f}")
    print(f"read {read:.1f}")
    print(f"trained {trained:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
