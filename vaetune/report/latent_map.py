"""Writes a map of images to a PNG file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaetune.files import write_atomically
from vaetune.report.charts.clusters import to_png
from vaetune.report.charts.latent_map import compute_map, draw_map, to_thumbnails
from vaetune.report.picture_files import MARK, check_png
from vaetune.study import Pixels

_AT_ONCE = 16
"""Images that are in memory in full size at a time."""


def check_map(path: Path) -> None:
    """Checks that a map can be written to a file, before anything is computed.

    Raises:
        ResultsError: The ending is unknown, there is no such folder, or a file of another program
            has this name.
    """
    check_png(path, "map", "--map")


def write_map(
    path: Path,
    z_mean: NDArray[np.floating[Any]],
    read: Callable[[NDArray[np.int64]], Pixels],
    labels: NDArray[np.int64] | None = None,
    class_names: Sequence[str] | None = None,
    show: Sequence[int] | None = None,
) -> int:
    """Writes a map of images: their latent means in a plane, with thumbnails.

    Args:
        path: File to write.
        z_mean: Latent means, (n, latent_dim).
        read: Function from numbers of images to these images, (n, height, width, channels), 0..255.
        labels: Class indices, (n,), negative for an image without a label; None without labels.
        class_names: Name of each class index.
        show: Channels to show, see `shown_channels`.

    Returns:
        Number of thumbnails.

    Raises:
        ResultsError: The file cannot be written.
    """
    if labels is not None and (labels < 0).any():
        class_names = (*(class_names or ()), "no label")
        labels = np.where(labels < 0, len(class_names) - 1, labels)
    height, width = read(np.zeros(1, np.int64)).shape[1:3]
    info = compute_map(z_mean, labels, class_names, height / width)
    thumbnails = [
        picture
        for start in range(0, len(info.rows), _AT_ONCE)
        for picture in to_thumbnails(read(info.rows[start : start + _AT_ONCE]), show)
    ]
    png = to_png(draw_map(info, thumbnails), software=MARK)
    write_atomically(path, lambda file: file.write(png))
    return len(info.rows)
