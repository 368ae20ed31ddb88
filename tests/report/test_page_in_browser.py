"""The page in a browser: sorting, keyboard, narrow windows, dark colours, no JavaScript."""

from datetime import timedelta

import pytest
from stories import START, make_finished_search, make_keras_example, make_search_with_markup

from vaetune.report.output import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    make_finished_search(results / "tiny", start=START + timedelta(days=1)).trial(
        "0004", [], error="ValueError: " + "long" * 100, traceback="deep " * 100
    ).write()
    make_search_with_markup(
        results / "hostile", "<img src=x onerror=hacked=1></script>" + "W" * 200
    ).write()
    make_keras_example(results).write()
    return write_report(results)


@pytest.fixture
def visit(chromium, report):
    """Opens the report. Checks at teardown that there was no error and no foreign request."""
    contexts, troubles = [], []

    def open_page(**settings):
        context = chromium.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(request.url))
        page.on(
            "request", lambda request: troubles.append(request.url) if is_foreign(request) else 0
        )
        page.goto(report.as_uri())
        return page

    def is_foreign(request):
        return request.url != report.as_uri() and not request.url.startswith("data:")

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def trials_in(page):
    return page.locator("#search-1 table.sortable tbody th").all_inner_texts()


@pytest.mark.browser
def test_style_script_and_images_work_under_the_security_policy(visit):
    page = visit()
    assert page.locator("#search-1 table.sortable th button").count() == 24
    assert page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") != "none"
    sizes = page.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(sizes) >= 5
    assert min(sizes) > 0
    assert page.evaluate("typeof hacked") == "undefined"
    chart = page.locator("#search-1 [data-view=parallel]")
    legend = chart.locator(".legend").inner_text()
    assert legend.split("\n") == ["best trial", "worst trial", "failed"]
    assert "Trials have different numbers of epochs" in chart.locator("figcaption").inner_text()
    for name in ("curves", "seconds"):
        assert "continues" in page.locator(f"#search-1 [data-view={name}] figcaption").inner_text()


@pytest.mark.browser
def test_the_table_is_sorted_by_a_click(visit):
    page = visit()
    assert trials_in(page) == ["0003", "0001", "0000", "0002", "0004"]
    table = page.locator("#search-1 table.sortable")
    header = table.locator("th", has_text="Parameters")
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert trials_in(page) == ["0000", "0003", "0001", "0002", "0004"]
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert trials_in(page) == ["0004", "0002", "0003", "0001", "0000"]
    assert table.locator("[aria-sort]").count() == 1


@pytest.mark.browser
def test_trials_without_a_value_stay_last_in_either_direction(visit):
    page = visit()
    button = page.locator("#search-1 table.sortable th", has_text="Loss").get_by_role("button")
    for _ in range(2):
        button.click()
        assert trials_in(page)[-1] == "0004"


@pytest.mark.browser
def test_the_table_is_sorted_by_keyboard(visit):
    page = visit()
    page.locator("#search-1 .scroll:has(table.sortable)").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Trial"
    page.keyboard.press("Enter")
    assert trials_in(page) == ["0000", "0001", "0002", "0003", "0004"]
    page.keyboard.press("Space")
    assert trials_in(page) == ["0004", "0003", "0002", "0001", "0000"]


@pytest.mark.browser
def test_the_first_tab_stop_is_a_link_to_the_result(visit):
    page = visit()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the result")
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.url.endswith("#search-1")


@pytest.mark.browser
def test_a_traceback_opens_by_keyboard(visit):
    page = visit()
    page.locator("#search-1 summary", has_text="Trial 0004").focus()
    page.keyboard.press("Enter")
    assert page.locator("#search-1 pre.traceback").is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_no_page_is_wider_than_its_window(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    page.locator("details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Wide elements can be scrolled by keyboard, and shadows mark their hidden part.
    wider = page.locator("main *").evaluate_all(
        """all => all.filter(one => getComputedStyle(one).overflowX === "auto")
            .filter(one => one.scrollWidth > one.clientWidth)
            .map(one => ({
                table: one.matches(":has(> table.sortable)"),
                shadows: getComputedStyle(one).backgroundAttachment,
                focused: [one, ...one.querySelectorAll("svg")].some(at => at.tabIndex === 0),
            }))"""
    )
    assert any(one["table"] for one in wider)
    assert {one["shadows"] for one in wider} == {"local, local, scroll, scroll"}
    assert all(one["focused"] for one in wider)
    # The names of trials and the head of their column remain visible.
    table = page.locator("table.sortable").first
    table.evaluate("table => { table.parentElement.scrollLeft = 1000 }")
    head, names = table.locator("thead th").nth(1), table.locator("tbody th").first
    edge = table.locator("..").bounding_box()["x"]
    assert [one.bounding_box()["x"] for one in (head, names)] == pytest.approx([edge, edge], abs=1)


@pytest.mark.browser
def test_colours_follow_the_colour_scheme_of_the_browser(visit):
    def colours_of(page):
        return page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )

    light, dark = (colours_of(visit(color_scheme=scheme)) for scheme in ("light", "dark"))
    assert light[0] != dark[0]
    assert light[1] != dark[1]


@pytest.mark.browser
def test_without_javascript_tables_headline_and_charts_are_shown(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("table.sortable button").count() == 0
    assert trials_in(page)[0] == "0003"
    assert "46.0 below the Keras example" in page.locator("h2").first.inner_text()
    assert page.locator("#search-1 .chart svg").count() == 8
