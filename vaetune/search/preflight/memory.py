"""Main memory of this process, and of the images of a search."""

import resource
import sys

from vaetune.data import DiskImages, ImageSet
from vaetune.training import CALL_BYTES


def peak_memory() -> int:
    """Returns the largest main memory of this process so far, in bytes."""
    # macOS counts in bytes, Linux in kibibytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def image_memory(images: ImageSet) -> int:
    """Returns the bytes of the images that are in memory at the same time."""
    parts = [split.images for split in (images.train, images.validation, images.test)]
    in_memory = sum(part.nbytes for part in parts if not isinstance(part, DiskImages))
    on_disk = sum(part.nbytes for part in parts if isinstance(part, DiskImages))
    # From the disk, one part is used while the next one is read.
    return in_memory + min(on_disk, 2 * CALL_BYTES)
