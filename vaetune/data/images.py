"""Image sets: splits, binarization and fingerprint."""

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import Binarize, Reading
from vaetune.data.compressed import compressed_sizes
from vaetune.data.disk.cache import remember
from vaetune.data.disk.images import DiskImages, Images
from vaetune.data.zero_copy import as_writeable
from vaetune.errors import DataError

HELD_OUT_ONE_IN = 6
"""One image in 6 is held out for validation, and another one for test if there is no test set."""

SPLIT_SEED = 20231017

_BINARIZE_SEED = 20080508

_CHUNK_VALUES = 2**18
"""Pixel values that are converted to floats at a time, to limit memory."""

_CHUNK_BYTES = 2**26
"""Bytes of images on the disk that are read at a time, to limit memory."""


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split: training, validation or test.

    Attributes:
        images: Pixels, (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1], in
            memory or on the disk.
        labels: Class indices, (n,) int64, or None.
        positions: Position of each image among all images of the set as they were found, (n,)
            int64. None: the images are in this order.
    """

    images: Images
    labels: NDArray[np.int64] | None
    positions: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: NDArray[np.int64] | slice) -> "Split":
        """Returns the images at these indices, in this order. A slice does not copy them."""
        images = self.images
        taken = images.take(indices) if isinstance(images, DiskImages) else images[indices]
        return Split(taken, *(None if each is None else each[indices] for each in self.facts))

    @property
    def facts(self) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Labels and positions."""
        return self.labels, self.positions

    @cached_property
    def compressed_sizes(self) -> NDArray[np.float64]:
        """Size of each image after lossless compression, (n,) in nats."""
        parts = [compressed_sizes(to_pixels(self.images[chunk])) for chunk in _chunks(self.images)]
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of a search, with their splits.

    Attributes:
        name: Name of the set, such as "mnist", or of its file or folder.
        source: Name of the set, or path.
        train: Images to train on.
        validation: Images that rank the trials.
        test: Images to evaluate the final model on.
        class_names: Class names by class index, or None if there are no labels.
        fingerprint: SHA-256 of all arrays, in hexadecimal digits.
        binarize: Binarization of the pixels. With "stochastic", the training images stay grey,
            because each training step draws their pixels.
        reading: Record of the reading; None if they were made by a program.
        names: Names of all images by position: paths of files within the folder, or indices in
            the array, (n,) str or int64. None: the images have no names.
        left_out: Images of the classes that were left out of the training, validation and test
            images, in this order; empty if none were.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] | None
    fingerprint: str
    binarize: Binarize = "none"
    reading: Reading | None = None
    names: NDArray[Any] | None = None
    left_out: tuple[Split, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    def check_on_disk(self) -> None:
        """Checks that images on the disk are on this machine and have not changed.

        Raises:
            DataError: They are not, or they have.
        """
        for split in (self.train, self.validation, self.test):
            if isinstance(split.images, DiskImages):
                split.images.file.check()

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Number of images of each class, in all splits together; None without labels."""
        labels = [
            s.labels for s in (self.train, self.validation, self.test) if s.labels is not None
        ]
        if not labels or self.class_names is None:
            return None
        counts = np.bincount(np.concatenate(labels), minlength=len(self.class_names))
        return tuple(counts.tolist())


def map_images(images: ImageSet) -> ImageSet:
    """Returns the same images in arrays that TensorFlow can use without copying them.

    Images on the disk stay there.
    """
    train, validation = (
        replace(split, images=as_writeable(split.images))
        if isinstance(split.images, np.ndarray)
        else split
        for split in (images.train, images.validation)
    )
    return replace(images, train=train, validation=validation)


def binarized(split: Split, how: Binarize, stream: int = 0) -> Split:
    """Returns a split with pixels of 0 or 255, the same at each call.

    Args:
        split: Images, uint8 or floats in [0, 1].
        how: Binarization, see `DataSpec`. "none" returns `split` itself.
        stream: Number of the random stream. Splits with different numbers are independent.
    """
    if how == "none":
        return split
    if isinstance(split.images, DiskImages):
        return replace(split, images=_binarized_on_disk(split.images, how))
    generator = np.random.default_rng([_BINARIZE_SEED, stream])
    pixels = np.empty(split.images.shape, np.uint8)
    for chunk in _chunks(pixels):
        x = to_unit_interval(split.images[chunk])
        limit = 0.5 if how == "threshold" else 1.0 - generator.random(x.shape, np.float32)
        pixels[chunk] = np.uint8(255) * (x >= limit)
    return replace(split, images=pixels)


def _binarized_on_disk(images: DiskImages, how: Binarize) -> DiskImages:
    """Returns images that are binarized each time they are read.

    Raises:
        DataError: Their pixels are to be drawn, which depends on the order of the images.
    """
    if how == "stochastic":
        raise DataError(
            f'{images.file.path} is read from the disk, which binarize = "stochastic" does not '
            'allow. Use binarize = "threshold", or from_disk = false if the images fit into memory.'
        )
    return images.changed(Threshold())


@dataclass(frozen=True)
class Threshold:
    """Sets pixels of at least one half to 255, and others to 0."""

    def __call__(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Returns the binarized images."""
        pixels: NDArray[np.uint8] = np.uint8(255) * (to_unit_interval(images) >= 0.5)
        return pixels


def to_unit_interval(images: NDArray[Any]) -> NDArray[np.float32]:
    """Returns images as float32 in [0, 1]. Bytes are divided by 255; floats are not scaled."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32, copy=False)


def to_pixels(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns images as bytes. Floats in [0, 1] are multiplied by 255 and rounded."""
    if images.dtype != np.uint8:
        images = np.rint(np.clip(images, 0.0, 1.0) * 255.0)
    return images.astype(np.uint8, copy=False)


def entropy_floor(images: Images) -> float:
    """Returns the lower bound of binary cross-entropy: the entropy of the pixels of an image.

    A grey pixel is not a Bernoulli variable, so even a perfect reconstruction p = x costs
    -x log x - (1 - x) log(1 - x).

    Args:
        images: Pixels, (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1].

    Returns:
        Mean over the images, in nats per image.
    """
    floor: float = remember("entropy floor", [images], lambda: _compute_entropy_floor(images))
    return floor


def _compute_entropy_floor(images: Images) -> float:
    total = 0.0
    for chunk in _chunks(images):
        x = to_unit_interval(images[chunk]).astype(np.float64)
        grey = x[(x > 0.0) & (x < 1.0)]
        total -= float(np.sum(grey * np.log(grey) + (1.0 - grey) * np.log1p(-grey)))
    return total / len(images)


def _chunks(images: Images) -> Iterator[slice]:
    """Yields slices of images that are small enough to be converted to floats."""
    step = max(1, _CHUNK_VALUES // math.prod(images.shape[1:]))
    return (slice(start, start + step) for start in range(0, len(images), step))


def hold_out(train: Split, validation: Split | None, test: Split | None) -> tuple[Split, ...]:
    """Returns the training, validation and test split. No seed of a search changes them.

    A split that the set does not have is held out from the training images. These are not copied.
    In memory, they are reordered in place, one split after the other.

    Args:
        train: Images to split.
        validation: Validation images, if the set has its own.
        test: Test images, if the set has its own.
    """
    if validation and test:
        return train, validation, test
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    held_out = max(1, round(len(train) / HELD_OUT_ONE_IN))
    first, rest = order[:held_out], order[held_out:]
    if validation or test:
        training, other = _take_parts(train, [rest, first])
        return (training, validation, other) if validation else (training, other, test or other)
    return tuple(_take_parts(train, [rest[held_out:], first, rest[:held_out]]))


def _take_parts(split: Split, parts: Sequence[NDArray[np.int64]]) -> list[Split]:
    """Returns parts of a split, given by indices. Images in memory are reordered in place."""
    if isinstance(split.images, DiskImages):
        return [split.take(part) for part in parts]
    order = np.concatenate(parts)
    # Keras's Fashion-MNIST is a read-only view of bytes.
    images = split.images if split.images.flags.writeable else split.images.copy()
    _put_in_order(images, order)
    ordered = Split(images, *(None if each is None else each[order] for each in split.facts))
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    return [ordered.take(slice(*pair)) for pair in itertools.pairwise(ends)]


def _put_in_order(images: NDArray[Any], order: NDArray[np.int64]) -> None:
    """Computes `images[:] = images[order]` with the memory of only one more image."""
    is_done = np.zeros(len(order), dtype=bool)
    for first in range(len(order)):
        if is_done[first]:
            continue
        displaced, place = images[first].copy(), first
        while order[place] != first:  # until the cycle of the permutation closes
            images[place] = images[order[place]]
            is_done[place] = True
            place = order[place]
        images[place] = displaced
        is_done[place] = True


def fingerprint_of(splits: Sequence[Split], prefix: str = "") -> str:
    """Returns the SHA-256 of a prefix, and of all images and labels with their types and shapes."""
    labels = hashlib.sha256()
    for split in splits:
        labels.update(b"none;" if split.labels is None else split.labels.tobytes())
    fingerprint: str = remember(
        "fingerprint",
        [split.images for split in splits],
        lambda: _compute_fingerprint(splits, prefix),
        prefix + labels.hexdigest(),
    )
    return fingerprint


def _compute_fingerprint(splits: Sequence[Split], prefix: str) -> str:
    digest = hashlib.sha256(prefix.encode())
    for split in splits:
        for array in (split.images, split.labels):
            if array is None:
                digest.update(b"none;")
                continue
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            parts = array.chunks(_CHUNK_BYTES) if isinstance(array, DiskImages) else [array]
            for part in parts:
                digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
