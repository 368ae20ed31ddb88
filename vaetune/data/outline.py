"""Number and shape of the images of a data set, from headers."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from vaetune.config import NAMED_SETS, ReadingSpec
from vaetune.data.arrays.headers import read_array_headers
from vaetune.data.arrays.names import find_shape
from vaetune.data.assemble import check_size
from vaetune.data.folders.files import find_files
from vaetune.data.folders.headers import read_headers
from vaetune.data.folders.layout import arrange
from vaetune.data.folders.notes import unreadable_error
from vaetune.data.folders.plan import make_plan
from vaetune.data.sources import check_file

MOST_HEADERS = 5_000
"""Number of files of a folder above which not every header is read."""

_PACKAGED = 6_000
_FULL = 60_000


@dataclass(frozen=True)
class Outline:
    """Number and shape of the images of a data set.

    Attributes:
        count: Number of training images, with those that will be held out of them.
        image_shape: Height, width and channels.
    """

    count: int
    image_shape: tuple[int, int, int]


def read_outline(source: str) -> Outline:
    """Returns the number and shape of images. Pixels are not read, and nothing is downloaded.

    Args:
        source: "digits", "mnist" or "fashion_mnist", or the path of a folder or an array file.

    Raises:
        DataError: The headers cannot be read, or a VAE cannot be trained on such images.
    """
    if source in NAMED_SETS:
        return Outline(_PACKAGED if source == "digits" else _FULL, (28, 28, 1))
    path, spec = Path(source).expanduser(), ReadingSpec()
    if path.is_dir():
        outline = _outline_folder(path, spec)
    else:
        check_file(path, source)
        count, *shape = find_shape(read_array_headers(path), spec, source)
        outline = Outline(count, (shape[0], shape[1], shape[2]))
    check_size(outline.image_shape, spec, source)
    return outline


def _outline_folder(folder: Path, spec: ReadingSpec) -> Outline:
    """Returns the outline of a folder of image files, after reading at most `MOST_HEADERS`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images and of damaged details.
        places = arrange(folder, find_files(folder).images).places
        step = -(-len(places) // MOST_HEADERS)
        files, unreadable = read_headers(places[::step], spec.background)
    if not files:
        raise unreadable_error(folder, unreadable)
    plan = make_plan(folder, files, spec)
    images_per_file = sum(plan.images_in(file) for file in files) / len(files)
    training = sum(place.split == "train" for place in places)
    return Outline(round(training * images_per_file), (*plan.size, plan.channels))
