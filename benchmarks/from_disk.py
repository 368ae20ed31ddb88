"""Compares training from the disk with training from memory: `python benchmarks/from_disk.py`.

For images of 28 x 28 and of 64 x 64 pixels, it prints the median duration of a training step and
the peak memory of both. A large file of noise is written to a temporary folder. Its pages are
dropped from the memory of the system before each epoch, and an epoch trains a small random part
of the file, so almost all images come from the disk. Epochs from both sources alternate. Processor
time shows the cost of the disk on a machine that also does other work. Peak memory is measured in a
separate process for each source; it does not include the file pages of the system.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vaetune.training.runner import EpochRunner

SIZES = {"28 x 28 x 1": (28, 28, 1), "64 x 64 x 3": (64, 64, 3)}
BATCH_SIZE = 128


def write_noise(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """Writes an array of random pixels, in parts that fit into memory."""
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, *shape))
    generator = np.random.default_rng(0)
    for start in range(0, count, 4096):
        part = array[start : start + 4096]
        part[...] = generator.integers(0, 256, part.shape, np.uint8)
    array.flush()


def drop_pages(path: Path) -> None:
    """Drops the pages of a file from the memory of the system."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak_memory() -> float:
    """Returns the peak resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def make_runner(path: Path, from_disk: bool) -> "tuple[EpochRunner, int]":
    """Returns a runner of the Keras example's model on the images of a file."""
    from vaetune.config.space import REFERENCE
    from vaetune.data.disk.images import DiskImages, ImageFile
    from vaetune.models.build import build_vae
    from vaetune.training.feed import DeviceData, to_feed
    from vaetune.training.restore import read_variables
    from vaetune.training.runner import EpochRunner

    header = np.load(path, mmap_mode="r")
    if from_disk:
        images = DiskImages(ImageFile(path, header.offset, header.dtype, header.shape))
        validation = images.take(slice(250))
    else:
        images = np.load(path)
        validation = images[:250]
    vae = build_vae(header.shape[1:], REFERENCE)
    runner = EpochRunner(vae, DeviceData(to_feed(images), to_feed(validation)))
    runner.begin(read_variables(vae.variables), 1e-3)
    return runner, len(images)


def train_an_epoch(
    runner: "EpochRunner", count: int, steps: int, number: int, path: Path
) -> tuple[float, float]:
    """Trains on random images, and returns the wall and processor seconds of a step."""
    from vaetune.training.schedule import Epoch

    order = np.random.default_rng(number).choice(count, steps * BATCH_SIZE, replace=False)
    drop_pages(path)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    runner.train(Epoch(order.astype(np.int32), BATCH_SIZE))
    used_s = time.perf_counter() - began_s
    return used_s / steps, (time.process_time() - began_cpu_s) / steps


def measure(path: Path, modes: list[str], rounds: int, steps: int) -> None:
    """Trains epochs of each mode in turn, and prints the seconds per step and the peak memory.

    Args:
        path: File of images.
        modes: "memory", "disk" or both.
        rounds: Number of epochs of each mode.
        steps: Number of steps of an epoch.
    """
    from vaetune.device import choose_device

    choose_device("cpu")
    runners = {mode: make_runner(path, mode == "disk") for mode in modes}
    for mode in modes:
        train_an_epoch(*runners[mode], 2, 0, path)
    seconds: dict[str, list[tuple[float, float]]] = {mode: [] for mode in modes}
    for number in range(1, rounds + 1):
        for mode in modes if number % 2 else modes[::-1]:
            seconds[mode].append(train_an_epoch(*runners[mode], steps, number, path))
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


def in_child(path: Path, modes: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """Runs `measure` in a new process and returns what it prints."""
    command = [sys.executable, __file__, "--child", str(path), ",".join(modes)]
    command += ["--rounds", str(rounds), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, shape: tuple[int, ...], options: argparse.Namespace, folder: str) -> None:
    """Prints the step times and the peak memory of both modes, for images of one size."""
    path = Path(folder) / "noise.npy"
    count = int(options.gigabytes * 1e9) // int(np.prod(shape))
    write_noise(path, count, shape)
    timed = in_child(path, ["memory", "disk"], options.rounds, options.steps)["seconds"]
    peak = {mode: in_child(path, [mode], 1, options.steps)["peak"] for mode in timed}
    print(f"{count:,} images of {name}, {path.stat().st_size / 2**20:,.0f} MiB")
    for mode, pairs in timed.items():
        wall, cpu = (1000 * statistics.median(each) for each in zip(*pairs, strict=True))
        print(
            f"  from {mode:6} {wall:7.1f} ms per step, {cpu:7.1f} ms of processor time, "
            f"peak memory {peak[mode]:6,.0f} MiB"
        )
    for index, what in enumerate(("time", "processor time")):
        pairs = zip(timed["memory"], timed["disk"], strict=True)
        ratio = statistics.median(disk[index] / memory[index] for memory, disk in pairs)
        print(f"  disk / memory: {ratio:.3f} of the {what} (median of pairs)")
    path.unlink()


def main() -> None:
    """Compares training from the disk and from memory, for each size of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="Size of each file.")
    parser.add_argument("--rounds", type=int, default=9, help="Number of pairs of epochs.")
    parser.add_argument("--steps", type=int, default=30, help="Number of steps of an epoch.")
    parser.add_argument("--folder", help="Folder for the files. Default: a temporary one.")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        path, modes = options.child
        measure(Path(path), modes.split(","), options.rounds, options.steps)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name, shape in SIZES.items():
            compare(name, shape, options, folder)


if __name__ == "__main__":
    main()
