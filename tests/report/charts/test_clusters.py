"""Charts of latent means and learning curves: points, colours, text and file formats."""

import math
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from blas_threads import blas_threads_in
from hypothesis import given, settings, strategies as st
from long_forms import long
from stories import REFERENCE_LOSSES, SearchBuilder, make_finished_search, make_keras_example

from vaetune.report.charts.clusters import CLASS_COLOURS, compute_clusters, draw_clusters, to_png
from vaetune.report.charts.curves import (
    compute_curves,
    compute_progress,
    draw_curves,
    draw_progress,
)
from vaetune.report.charts.style import INK, THEME
from vaetune.report.charts.svg import to_svg
from vaetune.report.text.units import printable

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def random_points(count, latent_dim, classes=3):
    rng = np.random.default_rng(1)
    labels = np.arange(count) % classes
    z = rng.normal(size=(count, latent_dim)) + 4.0 * labels[:, None]
    return z.astype(np.float32), labels.astype(np.int64)


def svg_texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_two_latent_dimensions_are_not_projected():
    z, labels = random_points(30, 2)
    info = compute_clusters(z, labels, ["a", "b", "c"])
    np.testing.assert_allclose(info.points, z)
    assert info.axis_names == ("z_mean[0]", "z_mean[1]")
    assert info.classes == ("a", "b", "c")
    np.testing.assert_array_equal(info.members, labels)


def test_more_dimensions_are_projected_onto_the_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 2)) * [6.0, 3.0]
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    z = hidden @ basis[:2] + 0.01 * rng.normal(size=(400, 5)) + 100.0
    info = compute_clusters(z, None, None)
    assert info.points.shape == (400, 2)
    assert info.points.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    for axis in (0, 1):
        assert abs(np.corrcoef(info.points[:, axis], hidden[:, axis])[0, 1]) > 0.99
    share = np.var(z @ basis[0]) / np.trace(np.cov(z.T, bias=True))
    assert f"({share:.0%} of variance)" in info.axis_names[0]


def test_the_sign_of_the_projection_does_not_depend_on_the_library():
    z, labels = random_points(50, 4)
    mirrored = compute_clusters(-z, labels, None)
    original = compute_clusters(z, labels, None)
    np.testing.assert_allclose(mirrored.points, -original.points, atol=1e-5)


def test_the_projection_is_computed_by_one_thread(monkeypatch):
    def run():
        compute_clusters(*random_points(50, 4), None)

    assert blas_threads_in(monkeypatch, np.linalg, "svd", run) == {1}


def test_points_that_are_not_finite_are_left_out_with_their_labels():
    z, labels = random_points(9, 3)
    z[4] = np.inf
    z[5, 1] = np.nan
    info = compute_clusters(z, labels, None)
    assert len(info.points) == 7
    np.testing.assert_array_equal(info.members, np.delete(labels, [4, 5]))


@pytest.mark.parametrize("latent_dim", [1, 2, 3, *long(32)])
@pytest.mark.parametrize("count", [0, 1, 40, *long(2)])
@pytest.mark.parametrize("labelled", [True, *long(False)])
def test_any_number_of_points_is_drawn(latent_dim, count, labelled):
    z, labels = random_points(count, latent_dim)
    info = compute_clusters(z, labels if labelled else None, None)
    assert info.points.shape == (count, min(latent_dim, 2))
    to_svg(draw_clusters(info))


def test_a_collapsed_latent_space_is_drawn():
    info = compute_clusters(np.zeros((10, 8), np.float32), None, None)
    assert info.axis_names[0].endswith("(0% of variance)")
    to_svg(draw_clusters(info))


def test_classes_without_a_name_are_named_by_their_index():
    z, labels = random_points(10, 2, classes=5)
    assert compute_clusters(z, labels, ["zero", "one"]).classes == ("zero", "one", "2", "3", "4")


def test_every_class_has_its_own_colour_or_marker_and_a_legend_entry():
    z, labels = random_points(200, 2, classes=20)
    names = [f"class {number}" for number in range(20)]
    figure = draw_clusters(compute_clusters(z, labels, names))
    lines = figure.axes[0].get_lines()
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(looks) == 20
    assert {line.get_color() for line in lines} == set(CLASS_COLOURS)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == sorted(names)


def test_without_labels_there_is_one_colour_and_no_legend():
    figure = draw_clusters(compute_clusters(random_points(30, 2)[0], None, None))
    assert len(figure.axes[0].get_lines()) == 1
    assert not figure.legends


def test_hundreds_of_classes_have_no_legend():
    z, labels = random_points(300, 2, classes=300)
    assert not draw_clusters(compute_clusters(z, labels, None)).legends


def test_one_latent_dimension_has_a_strip_for_each_class():
    z, labels = random_points(60, 1)
    figure = draw_clusters(compute_clusters(z, labels, ["a", "b", "c"]))
    for row, line in enumerate(figure.axes[0].get_lines()):
        assert np.abs(line.get_ydata() - row).max() < 0.5
    assert {"a", "b", "c", "z_mean[0]"} <= set(svg_texts(to_svg(figure)))


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_names_are_never_read_as_mathematics_or_markup(latent_dim):
    names = ["$\\frac{", "_$x^2$ 日本語", "<script>1</script>"]
    figure = draw_clusters(compute_clusters(*random_points(30, latent_dim), names))
    svg = to_svg(figure)
    assert set(names) <= set(svg_texts(svg))
    assert "<script" not in svg
    assert to_png(figure).startswith(PNG_SIGNATURE)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=3, max_size=3), st.sampled_from([1, 2]))
def test_no_class_name_breaks_a_figure(names, latent_dim):
    svg = to_svg(draw_clusters(compute_clusters(*random_points(6, latent_dim), names)))
    longest = 20 if latent_dim == 1 else 40
    assert {printable(name, longest) for name in names} - {""} <= set(svg_texts(svg))


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_a_chart_with_names_wider_than_itself_is_drawn(latent_dim):
    names = ["\N{ARABIC LIGATURE BISMILLAH AR-RAHMAN AR-RAHEEM}" * 60, "W" * 60, "i"]
    figure = draw_clusters(compute_clusters(*random_points(6, latent_dim), names))
    assert "i" in svg_texts(to_svg(figure))
    assert to_png(figure).startswith(PNG_SIGNATURE)


def test_names_are_shown_as_one_short_line():
    assert printable("two\nlines\x00 and \u202eback") == "two lines\ufffd and \ufffdback"
    assert len(printable("long " * 100)) == 40
    assert printable("日本語") == "日本語"


def test_svg_and_png_are_reproducible_and_the_svg_has_no_metadata():
    z, labels = random_points(30, 3)
    first, second = (to_svg(draw_clusters(compute_clusters(z, labels, None))) for _ in range(2))
    assert first == second
    assert "metadata" not in first
    png = to_png(draw_clusters(compute_clusters(z, labels, None)))
    assert png == to_png(draw_clusters(compute_clusters(z, labels, None)))


def test_an_svg_uses_the_colours_of_the_page_and_has_no_styles():
    svg = to_svg(draw_clusters(compute_clusters(*random_points(30, 2), None)), "left", "A scatter")
    elements = list(ElementTree.fromstring(svg).iter())
    assert not any("style" in element.attrib or "style" in element.tag for element in elements)
    colours = {e.attrib.get(kind) for e in elements for kind in ("fill", "stroke")}
    assert not colours & set(THEME)
    assert {"currentColor", THEME["#5f6873"]} <= colours
    assert INK in THEME
    assert elements[0].attrib["aria-label"] == "A scatter"


def test_two_figures_of_a_page_share_no_id():
    figure = draw_clusters(compute_clusters(*random_points(30, 2), None))
    left, right = (
        {
            e.attrib["id"]
            for e in ElementTree.fromstring(to_svg(figure, name)).iter()
            if "id" in e.attrib
        }
        for name in ("left", "right")
    )
    assert left
    assert not left & right


def test_every_reference_in_an_svg_has_its_target():
    svg = to_svg(draw_clusters(compute_clusters(*random_points(30, 2), None)), "left")
    elements = list(ElementTree.fromstring(svg).iter())
    ids = {element.attrib["id"] for element in elements if "id" in element.attrib}
    links = {e.attrib["href"].removeprefix("#") for e in elements if "href" in e.attrib}
    clips = {e.attrib["clip-path"][5:-1] for e in elements if "clip-path" in e.attrib}
    assert links | clips == ids


def test_a_user_s_matplotlib_settings_do_not_change_charts():
    info = compute_clusters(*random_points(30, 3), ["a", "b", "c"])
    expected = to_svg(draw_clusters(info)), to_png(draw_clusters(info))
    own = {"text.usetex": True, "axes.grid": False, "font.size": 30, "svg.fonttype": "path"}
    with matplotlib.rc_context(own):
        assert (to_svg(draw_clusters(info)), to_png(draw_clusters(info))) == expected
        assert matplotlib.rcParams["font.size"] == 30


# Learning curves


def test_a_configuration_is_one_line_through_its_promotions(tmp_path):
    info = compute_curves(
        make_finished_search(tmp_path / "tiny").study(), make_keras_example(tmp_path).study()
    )
    assert [curve.role for curve in info.curves] == ["other", "other", "reference", "winner"]
    winner = info.curves[-1]
    assert winner.trial_id == "0003"
    assert winner.epochs == (1, 2, 3)
    assert winner.costs == (201.0, 150.0, 131.25)
    assert winner.trial_ends == (1, 3)
    assert info.curves[-2].costs == REFERENCE_LOSSES
    assert info.max_epoch == 3


def test_failures_are_marked_where_they_happened(tmp_path):
    story = (
        make_finished_search(tmp_path / "tiny")
        .trial("0004", [240.0], error="died after an epoch")
        .trial("0005", [], error="died at once")
        .trial("0006", [], configuration=0, parent="0000", epoch_from=1, error="died later")
    )
    info = compute_curves(story.study(), None)
    failed = {c.trial_id: c.failed_at for c in info.curves if c.failed_at is not None}
    assert failed == {"0004": 1, "0005": 1, "0006": 1}
    assert "failed" in to_svg(draw_curves(info))


def test_the_winner_remains_the_winner_if_its_promotion_failed(tmp_path):
    story = SearchBuilder(tmp_path / "tiny").trial("0000", [180.0])
    story.trial("0001", [], configuration=0, parent="0000", epoch_from=1, error="died")
    (curve,) = compute_curves(story.study(), None).curves
    assert curve.role == "winner"
    assert curve.failed_at == 1


def test_high_first_epochs_and_divergence_do_not_flatten_the_curves(tmp_path):
    story = SearchBuilder(tmp_path / "tiny")
    for number in range(10):
        story.trial(f"{number:04d}", [500.0 - number, 180.0 - number, 150.0 - number])
    story.trial("0010", [1e9])
    info = compute_curves(story.study(), None)
    assert info.low < 141.0
    assert 180.0 < info.high < 500.0


def test_losses_that_are_not_finite_are_gaps(tmp_path):
    story = SearchBuilder(tmp_path / "tiny").trial("0000", [200.0, math.nan, math.inf])
    info = compute_curves(story.study(), None)
    assert info.curves[0].costs[0] == 200.0
    assert all(math.isnan(loss) for loss in info.curves[0].costs[1:])
    to_svg(draw_curves(info))


def test_the_lowest_loss_so_far_ends_at_the_winner(tmp_path):
    story = make_finished_search(tmp_path / "tiny")
    info = compute_progress(story.study(), make_keras_example(tmp_path).study())
    assert info.costs == (212.5, 201.0, 150.0, 131.25)
    assert info.seconds == (60.0, 120.0, 240.0, 300.0)
    assert info.until_s == 300.0
    assert info.reference == 177.25


def test_the_lowest_loss_so_far_counts_only_completed_trials(tmp_path):
    story = (
        SearchBuilder(tmp_path / "tiny")
        .trial("0000", [212.5])
        .trial("0001", [100.0], error="died")
        .trial("0002", [90.0], unfinished=True)
    )
    assert compute_progress(story.study(), None).costs == (212.5,)


def test_breaks_between_sessions_are_left_out(tmp_path):
    story = SearchBuilder(tmp_path / "tiny").trial("0000", [212.5]).end("interrupted")
    story.session(after_s=36000.0).trial("0001", [200.0])
    info = compute_progress(story.study(), None)
    assert info.seconds == (60.0, 120.0)
    assert info.until_s == 120.0


def test_time_is_shown_in_a_suitable_unit(tmp_path):
    short = compute_progress(SearchBuilder(tmp_path / "tiny").trial("0000", [9.0]).study(), None)
    long = compute_progress(
        SearchBuilder(tmp_path / "tiny").trial("0000", [9.0] * 200).study(), None
    )
    assert "seconds since the search started" in to_svg(draw_progress(short))
    assert "hours since the search started" in to_svg(draw_progress(long))
