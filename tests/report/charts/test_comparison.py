"""One chart compares searches on the same data in distinguishable lines."""

from datetime import timedelta
from itertools import combinations

import pytest
from stories import NOW, START, ParsedPage, SearchBuilder, make_finished_search

from vaetune.report.charts.comparison import MAX_SEARCHES, compute_comparison, draw_comparison
from vaetune.report.charts.style import LINES, THEME
from vaetune.report.charts.svg import to_svg
from vaetune.report.page import render_report


def search(name, losses, tmp_path, **options):
    """A search of one trial with one minute per epoch."""
    return SearchBuilder(tmp_path / name, **options).trial("0000", losses).end().study()


def test_each_curve_has_the_working_time_of_its_search(tmp_path):
    late = SearchBuilder(tmp_path / "late", start=START + timedelta(days=9))
    late.trial("0000", [300.0]).end("interrupted").session(after_s=7200).trial("0001", [150.0, 160])
    info = compute_comparison([make_finished_search(tmp_path / "tiny").study(), late.study()])
    assert [curve.name for curve in info.curves] == ["tiny", "late"]
    first, second = (curve.progress for curve in info.curves)
    assert first.costs == (212.5, 201.0, 150.0, 131.25)
    assert first.seconds == (60.0, 120.0, 240.0, 300.0)
    assert (second.seconds, second.costs) == ((60.0, 120.0), (300.0, 150.0))
    assert second.until_s == 180.0, "the break of two hours does not count"
    assert (info.left_out, info.is_log) == (0, False)


@pytest.mark.usefixtures("without_charts")
def test_the_best_searches_are_drawn_and_the_others_counted(tmp_path):
    studies = [search(f"n{n}", [100.0 + n], tmp_path) for n in range(MAX_SEARCHES + 3)]
    info = compute_comparison(studies)
    assert [curve.name for curve in info.curves] == [f"n{n}" for n in range(6)]
    assert info.left_out == 3
    page = render_report(studies, {}, NOW)
    assert "3 more with worse winners are not drawn." in ParsedPage(page).words


@pytest.mark.parametrize(("epochs", "is_log"), [(9, False), (10, True)])
def test_time_is_logarithmic_if_one_search_took_much_longer(tmp_path, epochs, is_log):
    short = search("short", [200.0], tmp_path)
    long = search("long", [250.0 - epoch for epoch in range(epochs)], tmp_path)
    info = compute_comparison([short, long])
    assert info.is_log == is_log
    (axes,) = draw_comparison(info).axes
    assert axes.get_xscale() == ("log" if is_log else "linear")
    assert axes.get_xlabel() == "minutes of working time"


def test_every_search_has_its_own_colour_pattern_and_name(tmp_path):
    names = ["a_b", "$x$", *(f"n{n}" for n in range(MAX_SEARCHES - 2))]
    figure = draw_comparison(
        compute_comparison([search(n, [200.0, 150.0], tmp_path) for n in names])
    )
    (axes,) = figure.axes
    drawn = [(line.get_color(), str(line._unscaled_dash_pattern)) for line in axes.get_lines()]
    assert len({colour for colour, _ in drawn}) == len({dash for _, dash in drawn}) == MAX_SEARCHES
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(names)
    assert all(line.get_ydata()[-1] == 150.0 - 45.5 for line in axes.get_lines()), (
        "the floor is 45.5"
    )


@pytest.mark.usefixtures("without_charts")
def test_the_page_defines_the_colours_of_lines_for_light_and_dark_mode(tmp_path):
    studies = [search(f"n{n}", [100.0 + n], tmp_path) for n in range(MAX_SEARCHES)]
    drawing = to_svg(draw_comparison(compute_comparison(studies)))
    page = render_report(studies[:1], {}, NOW)
    for colour, _ in LINES:
        assert THEME[colour] in drawing
        variable = THEME[colour].removeprefix("var(").partition(",")[0]
        assert variable == "currentColor" or page.count(f"{variable}: #") == 2, (
            "not defined for both modes"
        )


def luminance(colour):
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_lines_have_enough_contrast_on_white():
    """WCAG 2.2, criterion 1.4.11: graphics have a contrast of at least 3."""
    assert all(1.05 / (luminance(colour) + 0.05) >= 3 for colour, _ in LINES)
    assert all(a != b for (_, a), (_, b) in combinations(LINES, 2))


def test_the_page_has_a_chart_of_searches_only_if_there_are_several(tmp_path, monkeypatch):
    for module in ("section", "side_by_side"):
        monkeypatch.setattr(f"vaetune.report.sections.{module}.to_svg", lambda *given: "<svg/>")
    studies = [make_finished_search(tmp_path / name).study() for name in ("first", "second")]
    page = render_report(studies, {}, NOW)
    label = "Lowest validation loss so far of each search against its working time"
    assert page.count(f'aria-label="{label}"') == 1
    assert "Lowest loss so far among the completed trials of each search" in ParsedPage(page).words
    assert label not in render_report(studies[:1], {}, NOW)
