"""Writes heat maps of images to a PNG file."""

from pathlib import Path

from vaetune.files import write_atomically
from vaetune.report.charts.clusters import to_png
from vaetune.report.charts.heat_maps import HeatMaps, draw_heat_maps
from vaetune.report.picture_files import MARK, check_png


def check_heat_maps(path: Path) -> None:
    """Checks that heat maps can be written to a file, before anything is computed.

    Raises:
        ResultsError: The ending is unknown, there is no such folder, or a file of another program
            has this name.
    """
    check_png(path, "picture of heat maps", "--heat-maps")


def write_heat_maps(path: Path, maps: HeatMaps) -> None:
    """Writes images, their reconstructions and the losses of their pixels.

    Args:
        path: File to write.
        maps: Images and losses to draw.

    Raises:
        ResultsError: The file cannot be written.
    """
    png = to_png(draw_heat_maps(maps), software=MARK)
    write_atomically(path, lambda file: file.write(png))
