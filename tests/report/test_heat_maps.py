"""Heat maps: each image next to its reconstruction and its map, all maps on one scale."""

from dataclasses import replace
from itertools import product

import matplotlib
import numpy as np
import pytest
from long_forms import long
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vaetune.errors import ResultsError
from vaetune.report.charts.heat_maps import COLOURS, HeatMaps, draw_heat_maps
from vaetune.report.heat_maps import check_heat_maps, write_heat_maps
from vaetune.report.picture_files import MARK


def make_maps(count=5, shape=(9, 10, 1), anomalous=3, losses=None):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, count, *shape)).astype(np.uint8)
    if losses is None:
        losses = (
            generator.exponential(size=(count, *shape[:2])) * np.arange(count, 0, -1)[:, None, None]
        )
    titles = [f"image {number}" for number in range(count)]
    return HeatMaps(*images, losses, titles, min(anomalous, count))


def pictures_of(figure):
    """The pictures in the figure, in the order in which they were drawn."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_each_row_has_an_image_its_reconstruction_and_its_heat_map():
    maps = make_maps()
    figure = draw_heat_maps(maps)
    pictures = pictures_of(figure)
    assert len(pictures) == 15
    for number in range(5):
        original, reconstruction, losses = pictures[3 * number : 3 * number + 3]
        np.testing.assert_array_equal(original.get_array(), maps.originals[number, ..., 0])
        np.testing.assert_array_equal(
            reconstruction.get_array(), maps.reconstructions[number, ..., 0]
        )
        np.testing.assert_array_equal(losses.get_array(), maps.losses[number])
        boxes = [each.axes.get_position() for each in (original, reconstruction, losses)]
        assert len({box.y0 for box in boxes}) == 1
        assert boxes[0].x1 < boxes[1].x0 < boxes[1].x1 < boxes[2].x0
    texts = [text.get_text() for text in figure.texts]
    shown = "each with its reconstruction and the loss of each pixel above the lowest possible one."
    assert texts[0].replace("\n", " ").startswith(f"Images, {shown} Scores are losses above")
    assert texts.index("Most anomalous") < texts.index("image 0") < texts.index("image 2")
    assert texts.index("image 2") < texts.index("For comparison: scores in the middle")


def test_all_maps_and_the_colour_bar_have_one_scale():
    losses = np.zeros((4, 9, 10))
    losses[0] = 6.0
    losses[1:, 0, 0] = 3.0
    figure = draw_heat_maps(make_maps(4, losses=losses))
    maps = pictures_of(figure)[2::3]
    assert {(each.norm.vmin, each.norm.vmax) for each in maps} == {(0.0, 6.0)}
    (bar,) = [axes for axes in figure.axes if axes.get_ylabel()]
    assert bar.get_ylim() == (0.0, 6.0)
    assert bar.get_ylabel() == "loss of a pixel above the\nlowest possible one, nats"
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    for place, value in ((maps[0], 6.0), (maps[1], 0.0)):
        x, y = place.axes.transAxes.transform((0.5, 0.5))
        shown = pixels[pixels.shape[0] - 1 - int(y), int(x), :3]
        expected = np.array(matplotlib.colormaps[COLOURS](value / 6.0))[:3] * 255
        np.testing.assert_allclose(shown, expected, atol=2)


def test_the_legend_names_the_splits_and_the_correction_of_scores():
    maps = replace(make_maps(), splits=["train", "test", "left out"], is_corrected=True)
    images, scores = maps.legend
    assert images.startswith("Train, test and left out images, each with its reconstruction")
    assert scores.endswith("above the one that is expected of an image of this complexity.")
    assert replace(maps, splits=["test"]).legend[0].startswith("Test images, each")


def test_one_bright_pixel_does_not_darken_all_others():
    losses = np.ones((6, 20, 20))
    losses[0, 0, 0] = 1000.0
    assert make_maps(6, (20, 20, 1), losses=losses).most == pytest.approx(1.0)
    losses[1, 0, 0] = np.inf
    maps = make_maps(6, (20, 20, 1), losses=losses)
    assert maps.most == pytest.approx(1.0)
    assert pictures_of(draw_heat_maps(maps))[5].get_array()[0, 0] == maps.most
    assert make_maps(losses=np.zeros((5, 9, 10))).most == 1.0
    assert make_maps(losses=np.full((5, 9, 10), np.inf)).most == 1.0


SHAPES = [(9, 10, 3), (300, 90, 3), (8, 200, 4), (16, 16, 7), (600, 600, 1)]


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        *((shape, 2) for shape in SHAPES),
        (SHAPES[0], 1),
        (SHAPES[0], 12),
        *long(*product(SHAPES[1:], (1, 12))),
    ],
)
def test_all_kinds_of_images_can_be_shown_within_the_picture(shape, count):
    figure = draw_heat_maps(make_maps(count, shape, 8))
    assert len(pictures_of(figure)) == 3 * count
    for axes in figure.axes:
        box = axes.get_position()
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        box = axes.get_tightbbox(renderer)
        assert box.x1 <= figure.bbox.width
        assert box.y0 >= 0
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    assert all(box.y1 <= figure.bbox.height for box in boxes)


def test_names_of_any_length_and_script_fit():
    maps = make_maps(4, anomalous=4)
    maps.titles[:2] = ["a/" + "very long name " * 20, "$x^2$ \n ünï"]
    figure = draw_heat_maps(maps)
    renderer = FigureCanvasAgg(figure).get_renderer()
    first, second = (text.get_window_extent(renderer) for text in figure.texts[2:4])
    assert first.x1 < second.x0


def test_heat_maps_replace_only_earlier_heat_maps(tmp_path):
    path = tmp_path / "maps.png"
    for _ in range(2):
        check_heat_maps(path)
        write_heat_maps(path, make_maps())
    with Image.open(path) as picture:
        assert (picture.info["Software"], picture.format) == (MARK, "PNG")
        assert min(picture.size) > 400
    Image.new("L", (9, 9)).save(path)
    with pytest.raises(ResultsError, match="not a picture of heat maps of vaetune and will not be"):
        check_heat_maps(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maps.jpg", "ends in .png"),
        ("no/maps.png", "There is no folder"),
        (
            f"{'m' * 250}.png",
            "cannot be written: File name too long. .* with --heat-maps",
        ),
    ],
)
def test_a_name_that_cannot_be_written_is_refused(tmp_path, name, message):
    with pytest.raises(ResultsError, match=message):
        check_heat_maps(tmp_path / name)
