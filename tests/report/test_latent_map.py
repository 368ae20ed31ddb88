"""Maps of the latent space, with thumbnails at the points of their images."""

import io

import numpy as np
import pytest
from long_forms import long
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vaetune.errors import ResultsError
from vaetune.report.charts.clusters import compute_clusters
from vaetune.report.charts.latent_map import (
    SIDES,
    choose_apart,
    compute_map,
    draw_clusters_with_thumbnails,
    draw_map,
    to_thumbnails,
)
from vaetune.report.charts.svg import to_svg
from vaetune.report.latent_map import check_map, write_map
from vaetune.report.picture_files import MARK

POINTS = np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32)
LABELS = np.arange(400) % 3
NAMES = ("cat", "dog", "bird")


def images_of(rows, shape=(9, 10, 1)):
    return np.stack([np.full(shape, row % 200 + 20, np.uint8) for row in rows])


def in_pixels(axes, x, y):
    return axes.transData.transform((x, y))


def test_thumbnails_do_not_overlap_and_fill_the_map():
    places = np.random.default_rng(1).uniform(size=(2000, 2))
    width, height = 0.05, 0.08
    chosen = choose_apart(places, width, height)

    def touches(a, b):
        return np.all(np.abs(places[a] - places[b]) < (width, height))

    for number, index in enumerate(chosen):
        assert not any(touches(index, other) for other in chosen[:number])
    wider = 1.1 * np.array([width, height])
    gaps = np.abs(places[:, np.newaxis] - places[chosen]) < wider
    assert gaps.all(axis=2).any(axis=1).all(), "another thumbnail would fit"
    assert len(chosen) > 100


def test_equal_points_have_one_thumbnail():
    info = compute_map(np.zeros((30, 4), np.float32), None, None)
    assert len(info.rows) == 1
    assert len(compute_map(POINTS[:1], None, None).rows) == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_thumbnail_is_at_the_place_of_its_image(count):
    info = compute_map(POINTS, LABELS, NAMES)
    figure = draw_map(info, to_thumbnails(images_of(info.rows, (9, 10, count))))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    pixels = np.asarray(canvas.buffer_rgba())
    assert len(axes.images) == len(info.rows) > 50
    for index, row in zip(info.shown, info.rows, strict=True):
        x, y = in_pixels(axes, *info.places[index])
        assert abs(int(pixels[pixels.shape[0] - 1 - int(y), int(x), 0]) - (row % 200 + 20)) <= 1
    left, right = (in_pixels(axes, *place) for place in ((0, 0), (1, 1)))
    np.testing.assert_allclose(*(right - left), rtol=1e-6)


def test_rows_that_are_not_finite_are_left_out():
    z = POINTS.copy()
    z[7] = np.nan
    info = compute_map(z, LABELS, NAMES)
    assert 7 not in info.rows
    assert len(info.places) == 399
    np.testing.assert_allclose(
        info.places[info.shown], compute_map(np.delete(z, 7, 0), None, None).places[info.shown]
    )
    assert set(info.rows[info.shown >= 7] - info.shown[info.shown >= 7]) == {1}


@pytest.mark.parametrize("latent_dim", [2, *long(1, 5)])
@pytest.mark.parametrize("shape", [(9, 10, 1), (300, 90, 3), (8, 200, 4), (16, 16, 7)])
def test_all_kinds_of_images_can_be_shown(latent_dim, shape):
    z = np.random.default_rng(0).standard_normal((60, latent_dim))
    info = compute_map(z, None, None, shape[0] / shape[1])
    figure = draw_map(info, to_thumbnails(images_of(info.rows, shape)))
    (axes,) = figure.axes
    assert len(axes.images) == len(info.rows) > 1
    assert max(max(each.get_array().shape[:2]) for each in axes.images) <= 96
    assert SIDES[0] < max(info.thumbnail) < SIDES[1]


def test_frames_have_the_class_colours_of_the_legend():
    info = compute_map(POINTS, LABELS, NAMES)
    figure = draw_map(info, to_thumbnails(images_of(info.rows)))
    (legend,) = figure.legends
    colours = {
        text.get_text(): handle.get_color()
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert set(colours) == set(NAMES)
    frames = figure.axes[0].patches
    for frame, row in zip(frames, info.rows, strict=True):
        assert Image.new("RGB", (1, 1), colours[NAMES[LABELS[row]]]).getpixel((0, 0)) == tuple(
            round(255 * part) for part in frame.get_edgecolor()[:3]
        )


def test_a_map_replaces_only_an_earlier_map(tmp_path):
    path = tmp_path / "map.png"
    labels, counts = np.where(np.arange(400) < 9, -1, LABELS), []

    def read(rows):
        counts.append(len(rows))
        return images_of(rows)

    for _ in range(2):
        check_map(path)
        count = write_map(path, POINTS, read, labels, NAMES)
    assert (max(counts), sum(counts)) == (16, 2 * (1 + count)), (
        "too many images are in memory at once"
    )
    with Image.open(path) as picture:
        assert (picture.info["Software"], picture.format, count > 50) == (MARK, "PNG", True)
        assert min(picture.size) > 1200
    assert len(path.read_bytes()) < 2e6
    assert write_map(path, POINTS, images_of) == count
    Image.new("L", (9, 9)).save(path)
    with pytest.raises(ResultsError, match="not a map of vaetune and will not be overwritten"):
        check_map(path)


@pytest.mark.parametrize(
    ("name", "message"), [("map.jpg", "ends in .png"), ("no/map.png", "There is no folder")]
)
def test_a_name_that_cannot_be_written_is_refused(tmp_path, name, message):
    with pytest.raises(ResultsError, match=message):
        check_map(tmp_path / name)


def test_the_same_map_has_the_same_bytes():
    pictures = []
    for _ in range(2):
        info = compute_map(POINTS, LABELS, NAMES)
        file = io.BytesIO()
        draw_map(info, to_thumbnails(images_of(info.rows))).savefig(file)
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_a_chart_of_clusters_has_thumbnails_of_the_first_images_at_their_points(dimensions):
    z_mean = np.random.default_rng(0).standard_normal((400, dimensions)).astype(np.float32)
    info = compute_clusters(z_mean, LABELS, NAMES)
    pictures = to_thumbnails(images_of(range(150), (20, 10, 1)))
    figure = draw_clusters_with_thumbnails(info, pictures)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert 20 < len(axes.images) < 150
    left, bottom, right, top = np.array([corners(image) for image in axes.images]).T
    for number in range(len(left)):
        overlaps = (np.abs(left - left[number]) < right - left - 1e-9) & (
            np.abs(bottom - bottom[number]) < top - bottom - 1e-9
        )
        assert overlaps.sum() == 1, "thumbnails overlap"
    for image in axes.images:
        x0, y0, x1, y1 = corners(image)
        height, width = in_pixels(axes, x1, y1)[1] - in_pixels(axes, x0, y0)[1], x1 - x0
        assert height / (in_pixels(axes, x1, 0) - in_pixels(axes, x0, 0))[0] == pytest.approx(2)
        index = int(image.get_array()[0, 0]) - 20
        np.testing.assert_allclose(
            info.positions[index], ((x0 + x1) / 2, (y0 + y1) / 2), atol=1e-9 + 1e-6 * width
        )
    assert to_svg(figure).count("<image ") == len(axes.images), "the SVG lacks an image"


def corners(image):
    left, right, bottom, top = image.get_extent()
    return left, bottom, right, top
