"""The images of a search and how they were read, for the page."""

from dataclasses import dataclass

from vaetune.report.charts.data_urls import grid_to_data_url
from vaetune.report.contact_sheet import arrange_images
from vaetune.report.text.images import describe_reading, list_image_facts
from vaetune.study import ProbeImages, Study

_WIDTH = 480
"""Smallest width of the pictures in pixels, which is about their width on the page."""


@dataclass(frozen=True)
class ImagesRead:
    """The images of a search and how they were read.

    Attributes:
        line: The images and their values in one line.
        facts: Names and texts of further facts.
        warnings: Facts that may be mistakes.
        source: Data URL of a PNG with some of the images; empty if none were kept.
        count: Number of images in the PNG.
        is_reduced: Whether the images of the PNG are smaller than those of the search.
    """

    line: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    source: str
    count: int
    is_reduced: bool


def describe_images_read(study: Study) -> ImagesRead:
    """Collects what is known about the images of a search.

    Args:
        study: Search to show.
    """
    data = study.started.data
    facts = list_image_facts(data)
    source, count, is_reduced = "", 0, False
    probe_images = ProbeImages.load(study.folder)
    examples = None if probe_images is None else probe_images.examples
    if examples is not None and examples.ndim == 4 and examples.size:
        grid = arrange_images(examples, data.show, _WIDTH)
        source = grid_to_data_url(grid, least_width=_WIDTH)
        count = grid.tiles.shape[0] * grid.tiles.shape[1]
        is_reduced = examples.shape[1:3] != data.image_shape[:2]
    return ImagesRead(
        line=describe_reading(data),
        facts=tuple((name, text) for name, text in facts if name != "warning"),
        warnings=data.reading.warnings if data.reading else (),
        source=source,
        count=count,
        is_reduced=is_reduced,
    )
