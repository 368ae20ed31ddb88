"""Image sets: splits, binarization, fingerprint."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import Binarize, DataSpec

HELD_OUT_SHARE = 6
"""One image in this many is held out for validation, and for test if there is no test set."""

FINAL_HELD_OUT_SHARE = 20
"""If a model is trained on the validation images too, one image in this many is held out."""

_SPLIT_SEED = 20231017

_BINARIZE_SEED = 20080508

_CHUNK_VALUES = 2**18


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one purpose.

    Attributes:
        images: (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1].
        labels: Class indices (n,) int64, or None.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: NDArray[np.int64] | slice) -> "Split":
        """The images of these indices, in their order; those of a slice are not copied."""
        labels = None if self.labels is None else self.labels[indices]
        return Split(self.images[indices], labels)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of a search.

    Attributes:
        name: A named set, else the file's stem or the folder's name.
        source: The named set, or the path.
        class_names: One for each class index, or None without labels.
        fingerprint: SHA-256 of all arrays, hexadecimal.
        binarize: Binarization of the pixels. With "stochastic" the training images are
            unchanged: each step draws their pixels.
    """

    name: str
    source: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...] | None
    fingerprint: str
    binarize: Binarize = "none"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def prepare_images(images: ImageSet, data: DataSpec) -> ImageSet:
    """Makes of an image set, as it was loaded, what the data section of a search asks for.

    The split stays but for `train_on`, which moves the validation images to the training images
    all but one in twenty of both: these are then the validation images and choose the epoch of a
    model that is trained for good. Losses on them do not compare with a search's.

    Returns:
        The set itself where nothing is asked for, else one with another fingerprint.
    """
    if data.binarize == "none" and data.train_on is None:
        return images
    train, validation = images.train, images.validation
    if data.train_on:
        train, validation = _join(train, validation)
    splits = (
        train if data.binarize == "stochastic" else binarized(train, data.binarize),
        binarized(validation, data.binarize, stream=1),
        binarized(images.test, data.binarize, stream=2),
    )
    return ImageSet(
        images.name,
        images.source,
        *splits,
        images.class_names,
        fingerprint_of(splits, f"{data.binarize};" if data.binarize == "stochastic" else ""),
        data.binarize,
    )


def binarized(split: Split, how: Binarize, stream: int = 0) -> Split:
    """Images whose pixels are 0 or 255, the same each time.

    Args:
        split: Images, uint8 or floats in [0, 1].
        how: See `spec.DataSpec`.
        stream: Keeps the draws of several splits independent.
    """
    if how == "none":
        return split
    generator = np.random.default_rng([_BINARIZE_SEED, stream])
    pixels = np.empty(split.images.shape, np.uint8)
    for chunk in _chunks(pixels):
        x = to_unit_interval(split.images[chunk])
        limit = 0.5 if how == "threshold" else 1.0 - generator.random(x.shape, np.float32)
        pixels[chunk] = np.uint8(255) * (x >= limit)
    return Split(pixels, split.labels)


def to_unit_interval(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images as float32 in [0, 1]: bytes are divided by 255, floats stay as they are."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32, copy=False)


def entropy_floor(images: NDArray[Any]) -> float:
    """What binary cross-entropy cannot go below: the mean of the pixels' summed entropies.

    A grey pixel is no Bernoulli variable; even a perfect reconstruction p = x costs
    -x log x - (1 - x) log(1 - x).

    Args:
        images: (n, height, width, channels), uint8 in 0..255 or float32 in [0, 1].

    Returns:
        Nats per image.
    """
    total = 0.0
    for chunk in _chunks(images):
        x = to_unit_interval(images[chunk]).astype(np.float64)
        inside = x[(x > 0.0) & (x < 1.0)]
        total -= float(np.sum(inside * np.log(inside) + (1.0 - inside) * np.log1p(-inside)))
    return total / len(images)


def _chunks(images: NDArray[Any]) -> Iterator[slice]:
    """Yields slices of an array of images that are small enough to be copied as floats."""
    step = max(1, _CHUNK_VALUES // images[0].size)
    return (slice(start, start + step) for start in range(0, len(images), step))


def hold_out(train: Split, test: Split | None) -> tuple[Split, Split, Split]:
    """Splits by a permutation that no seed of a search changes.

    The images are not copied: they are put in order where they are, one split after the other.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(train))
    held_out = max(1, round(len(train) / HELD_OUT_SHARE))
    validation, rest = order[:held_out], order[held_out:]
    parts = [rest[held_out:], validation, rest[:held_out]] if test is None else [rest, validation]
    order = np.concatenate(parts)
    # Keras's Fashion-MNIST is a view of bytes that may not change.
    images = train.images if train.images.flags.writeable else train.images.copy()
    _put_in_order(images, order)
    ordered = Split(images, None if train.labels is None else train.labels[order])
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    first, second, *third = (ordered.take(slice(*pair)) for pair in itertools.pairwise(ends))
    return first, second, third[0] if test is None else test


def _put_in_order(images: NDArray[Any], order: NDArray[np.int64]) -> None:
    """Does what `images[:] = images[order]` does, with memory for one image more."""
    is_done = np.zeros(len(order), dtype=bool)
    for first in range(len(order)):
        if is_done[first]:
            continue
        displaced, place = images[first].copy(), first
        while order[place] != first:  # a cycle of the permutation
            images[place] = images[order[place]]
            is_done[place] = True
            place = order[place]
        images[place] = displaced
        is_done[place] = True


def _join(train: Split, validation: Split) -> tuple[Split, Split]:
    """Splits training and validation images again: most of both, and the few that are left."""
    images = np.concatenate([train.images, validation.images])
    given = [each for each in (train.labels, validation.labels) if each is not None]
    both = Split(images, np.concatenate(given) if given else None)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(both))
    held_out = max(1, round(len(both) / FINAL_HELD_OUT_SHARE))
    return both.take(order[held_out:]), both.take(order[:held_out])


def fingerprint_of(splits: Sequence[Split], prefix: str = "") -> str:
    digest = hashlib.sha256(prefix.encode())
    for split in splits:
        for array in (split.images, split.labels):
            if array is None:
                digest.update(b"none;")
                continue
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
