"""Opens images for a trained model: those of its search, or any others in the same way."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.config import Binarize, DataSpec, Reading, Resize
from vaetune.data.arrays.given import name_arrays
from vaetune.data.arrays.names import find_images
from vaetune.data.assemble import list_names
from vaetune.data.disk.images import Images, Step
from vaetune.data.folders.stream import check_sizes, open_folder
from vaetune.data.for_training import prepare_images
from vaetune.data.images import Split, Threshold
from vaetune.data.labels import convert_labels
from vaetune.data.pixels import Values, decide_range, measure_values
from vaetune.data.prepare import to_channels, to_unit
from vaetune.data.raw import RawImages
from vaetune.data.rows import SPLITS, ImageRows, join_labels, rows_of
from vaetune.data.sources import Dataset, load_images, read_raw
from vaetune.errors import DataError


@dataclass(frozen=True)
class Trained:
    """The images that a model was trained on.

    Attributes:
        data: The `data` section of the search.
        reading: Record of the reading; None if the search did not record it.
        image_shape: Height, width and channels that the model takes.
        fingerprint: Hash of the images.
        count: Number of images in all splits together, with those left out; None if it is unknown.
            Images of another number are not those of the search, and need not be read to know it.
    """

    data: DataSpec
    reading: Reading | None
    image_shape: tuple[int, int, int]
    fingerprint: str
    count: int | None = None


def open_rows(dataset: Dataset, trained: Trained, resize: Resize | None = None) -> ImageRows:
    """Opens images for a model: those of its search with their splits, or any others.

    Other images are prepared as the images of the search were: with the same values of black and
    white, background, resizing and binarization.

    Args:
        dataset: Image set, see `load_images`.
        trained: Images that the model was trained on.
        resize: Method of resizing images of another size. None: that of the search; without one
            they are refused.

    Raises:
        DataError: The images cannot be read, or the model cannot take them.
    """
    if isinstance(dataset, str) and dataset == trained.data.dataset:
        return _open_own(dataset, trained) or _open_others(dataset, trained, resize)
    others = _open_others(dataset, trained, resize)
    may_be_own = trained.count == len(others)
    return (_open_own(dataset, trained) if may_be_own else None) or others


def _open_own(dataset: Dataset, trained: Trained) -> ImageRows | None:
    """Returns the images of the search, or None if these are others."""
    with suppress(DataError):  # The same images could be read before.
        images = prepare_images(load_images(dataset, trained.data), trained.data)
        if images.fingerprint == trained.fingerprint:
            return rows_of(images)
    return None


def _open_others(dataset: Dataset, trained: Trained, resize: Resize | None) -> ImageRows:
    """Opens images that need not be those of the search. They are neither split nor shuffled."""
    source, raw = _read_others(dataset, trained, resize)
    found = {name: getattr(raw, name) for name in SPLITS if getattr(raw, name)}
    splits = list(found.values())
    images = [split.images for split in splits]
    _check_shape(images, trained, source)
    scale, notes = _scale_as(images, trained.reading, source)
    indices = convert_labels([s.labels for s in splits], [len(i) for i in images], list(found))
    joined = [Split(*pair) for pair in zip(images, indices.indices, strict=True)]
    numbers = [SPLITS.index(name) for name in found]
    counts = [len(each) for each in images]
    whole = np.arange(sum(counts))
    by_split = dict(zip(numbers, images, strict=True))
    return ImageRows(
        source=source,
        parts=tuple(by_split.get(number, images[0]) for number in range(len(SPLITS))),
        part=np.repeat(numbers, counts),
        place=np.concatenate([np.arange(count) for count in counts]),
        names=list_names(splits),
        labels=join_labels(joined, whole),
        class_names=raw.class_names or indices.class_names,
        has_splits=len(found) > 1,
        steps=(
            ToChannels(trained.image_shape[2], source),
            *([scale] if scale else []),
            *_binarization(trained.data.binarize, trained.image_shape),
        ),
        notes=(*raw.notes, *notes),
    )


def _read_others(
    dataset: Dataset, trained: Trained, resize: Resize | None
) -> tuple[str, RawImages]:
    """Reads images in the way of the search, as far as possible without their pixels."""
    data, size = trained.data, trained.image_shape[:2]
    how = resize or ((data.resize or "crop") if data.image_size else None)
    options = {"image_size": size if how else None, "resize": how, "range": None}
    spec = data.model_copy(update=options)
    source = name_arrays(dataset)
    if not isinstance(source, str):
        return "arrays", find_images(source, spec, "The mapping")
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return source, _read_file(source, spec)
    reading = trained.reading
    background = data.background or (reading.background if reading else None)
    pages = reading.pages if reading else None
    return source, open_folder(folder, size, how, background, pages, bool(data.skip_unreadable))


def _read_file(source: str, spec: DataSpec) -> RawImages:
    """Reads arrays, if possible from the disk in parts."""
    is_npy = source.lower().endswith(".npy")
    if is_npy and spec.from_disk is not False:
        with suppress(DataError):  # Its images may lie one next to the other.
            return read_raw(source, spec.model_copy(update={"from_disk": True}))[1]
    return read_raw(source, spec.model_copy(update={"from_disk": False if is_npy else None}))[1]


def _check_shape(images: Sequence[Images], trained: Trained, source: str) -> None:
    height, width, channels = images[0].shape[1:]
    *size, expected = trained.image_shape
    if channels != expected and {channels, expected} != {1, 3}:
        raise DataError(
            f"{source} has images of {channels} channels, but the model takes {expected}. Choose "
            "other images with --dataset."
        )
    check_sizes(source, [(height, width)], (size[0], size[1]))
    if len({each.dtype for each in images}) > 1:
        types = " and ".join(sorted({str(each.dtype) for each in images}))
        raise DataError(f"{source} has values of the types {types}. Save all splits with one type.")


def _scale_as(
    images: Sequence[Images], reading: Reading | None, source: str
) -> tuple[Step | None, list[str]]:
    """Returns the step that scales pixels as in training, and notes about it.

    The values of black and white are those of training. They are decided from the images if the
    type is another one, or if images are clearly of another range.
    """
    dtype = images[0].dtype
    is_usual = reading is None or (reading.dtype, reading.range) == ("uint8", (0.0, 255.0))
    if dtype == np.uint8 and is_usual:
        return None, []
    values = measure_values(images, source)
    if reading is None:
        chosen = decide_range(values, None, source)
        return Scale(chosen.low, chosen.high), []
    low, high = reading.range
    if not _is_same_type(values, reading) or not low <= values.low <= values.high <= high:
        return _scale_differently(values, reading, source)
    return Scale(low, high), []


def _is_same_type(values: Values, reading: Reading) -> bool:
    expected = np.dtype(reading.dtype)
    return values.dtype == expected or values.dtype.kind == expected.kind == "f"


def _scale_differently(
    values: Values, reading: Reading, source: str
) -> tuple[Step | None, list[str]]:
    """Returns the step and a note for values that training did not have."""
    low, high = reading.range
    trained = f"the model was trained on {reading.dtype} values {low:g}..{high:g}"
    with suppress(DataError):
        chosen = decide_range(values, None, source)
        if chosen.rule == "certain" or not _is_same_type(values, reading):
            note = f"{values} were taken as {chosen.low:g}..{chosen.high:g}: {trained}."
            is_other = (chosen.low, chosen.high) != (low, high)
            return Scale(chosen.low, chosen.high), [note] * is_other
    if not _is_same_type(values, reading):
        raise DataError(f"{source} contains {values}, but {trained}. Convert the images.")
    return Scale(low, high), [f"{values} were clipped to {low:g}..{high:g}: {trained}."]


@dataclass(frozen=True)
class Scale:
    """Turns pixels into float32 in [0, 1].

    Attributes:
        low: Value that becomes 0.
        high: Value that becomes 1.
    """

    low: float
    high: float

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Returns the scaled images."""
        return to_unit(images, self.low, self.high)[0]


@dataclass(frozen=True)
class ToChannels:
    """Gives images the number of channels of a model; see `prepare.to_channels`.

    Attributes:
        channels: Number of channels of the model.
        source: Name of the image set in messages.
    """

    channels: int
    source: str

    def __call__(self, images: NDArray[Any]) -> NDArray[Any]:
        """Returns the images.

        Raises:
            DataError: Images are in colour, but the model takes grey ones.
        """
        try:
            return to_channels(images, self.channels)
        except ValueError as error:
            raise DataError(
                f"{self.source} contains images in colour, but the model takes grey ones. Convert "
                'them, such as with Pillow\'s image.convert("L").'
            ) from error


@dataclass(frozen=True)
class Draw:
    """Sets a pixel to 1 with a probability equal to its value, as an export's `predict.py` does.

    Attributes:
        image_shape: Height, width and channels.
    """

    image_shape: tuple[int, int, int]

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Returns images of zeros and ones, the same each time."""
        unit = images if images.dtype != np.uint8 else to_unit(images, 0, 255)[0]
        drawn = np.random.default_rng(0).random((1, *self.image_shape))
        return (drawn < unit).astype(np.float32)


def _binarization(how: Binarize, image_shape: tuple[int, int, int]) -> list[Step]:
    if how == "none":
        return []
    return [Threshold() if how == "threshold" else Draw(image_shape)]
