"""How much an image can be compressed, as a measure of its complexity."""

import math
import zlib

import numpy as np
from numpy.typing import NDArray

_NATS_PER_BYTE = 8 * math.log(2)


def compressed_sizes(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the size of each image after lossless compression, (n,) in nats.

    Rows of pixels are filtered as in PNG files, with the same filter for a whole image, and
    compressed by zlib. Of no filter, the difference from the pixel above and that from the pixel
    before, the one with the smallest size counts.

    Args:
        pixels: Images, (n, height, width, channels).
    """
    above = np.diff(pixels, axis=1, prepend=np.uint8(0))
    before = np.diff(pixels, axis=2, prepend=np.uint8(0))
    filtered = zip(pixels, above, before, strict=True)
    sizes = [min(len(zlib.compress(each.tobytes())) for each in image) for image in filtered]
    return np.array(sizes, np.float64) * _NATS_PER_BYTE
