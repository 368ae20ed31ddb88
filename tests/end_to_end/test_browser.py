"""The interactive report in a real browser: pointer and keys select trials in charts and tables."""

import csv
import io
import itertools
import re
import struct
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from journals import SPEC, JournalBuilder, make_evaluated, make_rescored
from playwright.sync_api import expect
from stories import VALUES, SearchBuilder, make_keras_example

from vaetune.config.names import BASELINES
from vaetune.config.space import REFERENCE
from vaetune.config.spec import single_configuration
from vaetune.report.charts.curves import compute_progress
from vaetune.report.output import write_report
from vaetune.study.builder import load_study
from vaetune.study.checkpoint import CHECKPOINT_NAME

pytestmark = pytest.mark.browser

TRACEBACK = "Traceback (most recent call last):\n  File <script>hacked=1</script>\nMemoryError"
VIEWS = {"rungs", "curves", "progress", "timeline", "parallel", "slices", "contour"} | {
    "parameters",
    "seconds",
    "distortion",
    "latent",
}


def varied(folder):
    """A search with twelve trials of ten configurations.

    Two trials are promotions, one collapses, one fails and one is still running. Five finalists are
    rescored, and the winner is evaluated.
    """
    story = SearchBuilder(folder)
    for number in range(8):
        story.trial(
            f"{number:04}",
            [200.0 - 5 * number],
            hyperparameters={
                "filters_1": 16 * 2 ** (number % 3),
                "filters_2": 64,
                "dense_units": 16 * (1 + number % 4),
                "latent_dim": 2 * 2 ** (number % 4),
                "learning_rate": 0.0005 * (number + 1),
            },
            active_units=0 if number == 5 else 2,
            val_kl_loss=0.125 if number == 5 else 6.0,
            collapsed=number == 5,
        )
    story.trial("0008", [], error="MemoryError: no room", traceback=TRACEBACK)
    for number, parent in ((9, 7), (10, 6)):
        values = next(
            event.hyperparameters
            for event in story.events
            if getattr(event, "trial_id", None) == f"{parent:04}" and hasattr(event, "epoch_from")
        )
        story.trial(
            f"{number:04}",
            [150.0 - number, 120.0 + number],
            configuration=parent,
            parent=f"{parent:04}",
            epoch_from=1,
            hyperparameters=values,
        )
    story.trial("0011", [190.0], unfinished=True)
    finalists = (("0009", 3), ("0010", 3), ("0005", 1), ("0004", 1), ("0003", 1))
    rescored = make_rescored({key: 129.5 + 9 * rank for rank, key in enumerate(finalists)})
    story.events += [rescored, make_evaluated("0009", 3)]
    return story


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    varied(results / "varied").write()
    make_keras_example(results).write()
    return write_report(results)


@pytest.fixture(scope="module")
def shared_report(tmp_path_factory):
    """The report of a search on three workers.

    Worker 1 trained the Keras example. Worker 3 has another device, and is lost.
    """
    results = tmp_path_factory.mktemp("results")
    spec = single_configuration(REFERENCE, SPEC.budget.max_epochs, like=SPEC)
    folder = results / BASELINES / "reference"
    example = JournalBuilder(3, name="reference", kind="baseline", search=spec, folder=folder)
    example.begin(5, "0000", 1, hyperparameters=REFERENCE).epoch(100, "0000", 3, 180.0)
    example.finish(100, "0000").end(100).write()
    builder = JournalBuilder(3, joined=None, name="builder", folder=results / "builder")
    builder.join(2, 1).join(2, 2).join(2, 3, "node8", device="GPU (a card)", threads=1)
    builder.begin(10, "0000", 3, epoch_to=3).begin(10, "0001", 2).epoch(60, "0000", 1, 190.0)
    builder.lose(100, 3, "0000", "killed <b>").epoch(110, "0001", 1, 195.0).finish(110, "0001")
    builder.resume(120, "0000", 2, 1).begin(120, "0002", 1).epoch(200, "0000", 2, 170.0)
    builder.epoch(280, "0000", 3, 160.0).finish(280, "0000").epoch(300, "0002", 1, 210.0).write()
    return write_report(results)


@pytest.fixture
def visit(chromium, report):
    """A function that opens the report. Its pages must log nothing and request nothing else."""
    yield from open_pages(chromium, report)


@pytest.fixture
def visit_shared(chromium, shared_report):
    """Like `visit`, for the report of a search on three workers."""
    yield from open_pages(chromium, shared_report)


def open_pages(chromium, report):
    """Yields a function that opens a report, and checks its messages and requests in the end."""
    contexts, problems = [], []

    def note_request(request):
        if request.url.split("#")[0] != report.as_uri() and request.url[:5] not in (
            "data:",
            "blob:",
        ):
            problems.append(request.url)

    def open_report(hash_="", **settings):
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", note_request)
        page.goto(report.as_uri() + hash_)
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert problems == []


def wait_for_all_charts(page):
    """Waits until every chart is drawn."""
    missing = page.locator("[data-view]:not([hidden]):not(:has(svg.plot .tick))")
    expect(missing).to_have_count(0, timeout=20_000)


def wait_for_frames(page):
    """Waits until the browser has drawn, and has reported which elements are in view."""
    two_frames = "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
    page.evaluate(f"new Promise(done => {two_frames})")


def view_of(page, name):
    """Scrolls to a chart, waits until it is drawn, and returns its view."""
    view = page.locator(f"[data-view={name}]")
    view.evaluate("view => view.scrollIntoView({block: 'center', behavior: 'instant'})")
    view.locator("svg.plot").first.wait_for()
    wait_for_frames(page)
    return view


def trials_in(page):
    """The ids of the trials in the table, in order."""
    # The table follows the selection only when it is in view.
    page.locator("table.sortable").evaluate("t => t.scrollIntoView({behavior: 'instant'})")
    wait_for_frames(page)
    return page.locator("table.sortable tbody th").all_inner_texts()


def selected_count(page):
    """The number of selected trials, as the report shows it."""
    return page.locator(".chooser output").inner_text()


def set_limit(page, label, value):
    """Enters a limit in the field with a label."""
    page.locator(".filters").evaluate("details => details.open = true")
    field = page.get_by_label(label, exact=True)
    field.fill(str(value))
    field.dispatch_event("change")


def address_of(page):
    """The part of the page's address after #."""
    page.evaluate("new Promise(done => setTimeout(done, 150))")  # As long as the page waits.
    return unquote(page.url.partition("#")[2])


def drag(page, box, start, end):
    """Drags between two points, given as fractions of a box."""
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=5)
    page.mouse.up()


def test_every_chart_is_drawn_in_place_of_its_static_image(visit):
    page = visit()
    wait_for_all_charts(page)
    drawn = page.locator("[data-view]:has(svg.plot)").evaluate_all(
        "views => views.map(view => view.dataset.view)"
    )
    assert set(drawn) == VIEWS
    assert page.locator("[data-view] .chart svg").count() == 0
    assert page.evaluate("typeof hacked") == "undefined"


def test_a_limit_changes_the_count_the_table_the_charts_and_the_address(visit):
    page = visit()
    wait_for_all_charts(page)
    assert selected_count(page) == "12 trials"
    view_of(page, "curves")
    faded = page.locator("[data-view=curves] .marks .dot.faded")
    assert faded.count() == 0
    set_limit(page, "Loss at most", 140)
    assert selected_count(page) == "2 of 12 trials"
    assert faded.count() == 1
    assert trials_in(page) == ["0009", "0010"]
    assert address_of(page) == "?varied!loss=~140"
    page.get_by_role("button", name="Select all").click()
    assert selected_count(page) == "12 trials"
    assert address_of(page) == ""


def test_a_drag_along_an_axis_selects_a_range_and_a_click_outside_clears_it(visit):
    page = visit()
    plot = view_of(page, "parallel").locator("svg.plot")
    # The second to last axis shows the epochs: 3 at the top, 1 at the bottom.
    label = plot.locator("text.axis", has_text="Epochs").bounding_box()
    box = plot.bounding_box()
    x = (label["x"] + label["width"] / 2 - box["x"]) / box["width"]
    drag(page, box, (x, 0.15), (x, 0.45))
    assert selected_count(page) == "2 of 12 trials"
    assert address_of(page) == "?varied!epochs=3~3"
    assert trials_in(page) == ["0009", "0010"]
    view_of(page, "parallel")
    box = plot.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + 0.85 * box["height"])
    assert selected_count(page) == "12 trials"


def test_a_rectangle_in_a_chart_limits_both_axes(visit):
    page = visit()
    plot = view_of(page, "distortion").locator("svg.plot")
    drag(page, plot.bounding_box(), (0.3, 0.6), (0.9, 0.86))
    keys = re.findall(r"varied!(\w+)=", address_of(page))
    assert sorted(keys) == ["kl", "reconstruction"]
    selected = int(selected_count(page).split()[0])
    assert 0 < selected < 11
    assert len(trials_in(page)) == selected


def position_of_mark(plot, selector):
    box = plot.locator(f".marks {selector}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_mark_opens_its_trial_within_a_rectangle_and_after_it(visit):
    page = visit()
    plot = view_of(page, "parameters").locator("svg.plot")
    drag(page, plot.bounding_box(), (0.3, 0.1), (0.99, 0.97))
    assert selected_count(page) != "12 trials"
    page.mouse.click(*position_of_mark(plot, ".dot.winner"))  # The mark is in the rectangle.
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0009"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select all").click()
    page.mouse.click(*position_of_mark(plot, ".dot.winner"))
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0009"


def test_clicks_on_a_range_and_moves_along_one_axis_do_not_limit_the_other(visit):
    page = visit(hash_="#?varied!parameters=134166~134170")
    plot = view_of(page, "parameters").locator("svg.plot")
    before = address_of(page)
    rectangle = plot.locator(".brush > .selection").bounding_box()
    middle = (rectangle["x"] + rectangle["width"] / 2, rectangle["y"] + 12)
    for _ in range(3):
        page.mouse.click(*middle)
    assert address_of(page) == before
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 8, middle[1], steps=4)
    page.mouse.up()
    assert re.fullmatch(r"\?varied!parameters=[\d.]+~[\d.]+", address_of(page))


def test_a_rectangle_around_one_value_of_a_choice_selects_only_this_value(visit):
    page = visit()
    plot = view_of(page, "latent").locator("svg.plot")
    choice = plot.locator("text.tick", has_text=re.compile("^8$")).last.bounding_box()
    box = plot.bounding_box()
    x = (choice["x"] + choice["width"] / 2 - box["x"]) / box["width"]
    margin = 16 / box["width"]
    drag(page, box, (x - margin, 0.12), (x + margin, 0.85))
    assert "varied!latent_dim=8~8" in address_of(page)


def test_the_best_loss_so_far_agrees_with_the_journal(visit, report):
    page = visit()
    columns = page.evaluate(
        """() => {
          const data = JSON.parse(document.querySelector("script[data-search]").textContent);
          return [data.curves.val, data.curves.seconds, data.curves.after, data.statuses];
        }"""
    )
    epochs = sorted(
        (second, after, loss)
        for losses, seconds, counts, status in zip(*columns, strict=True)
        for loss, second, after in zip(losses, seconds, counts, strict=True)
        if status == "completed"
    )
    bests = [e for i, e in enumerate(epochs) if e[2] < min([x[2] for x in epochs[:i]], default=1e9)]
    study = load_study(report.parent / "varied")
    progress = compute_progress(study, None)
    assert tuple(loss for _, _, loss in bests) == progress.costs
    assert tuple(second for second, _, _ in bests) == progress.seconds
    path = view_of(page, "progress").locator(".marks path.line.winner").get_attribute("d")
    assert path.count("V") == len(bests) - 1


def test_an_export_is_suggested_only_for_a_trial_with_weights(visit, report):
    page = visit(hash_="#?varied!trial=0009")
    dialog = page.locator("dialog.trial")
    assert "its weights were not kept" in dialog.inner_text()
    checkpoint = report.parent / "varied" / "trials" / "0009" / CHECKPOINT_NAME
    checkpoint.write_bytes(b"")
    try:
        write_report(report.parent)
        page.reload()
        assert "--export" in dialog.inner_text()
    finally:
        checkpoint.unlink()
        write_report(report.parent)


def test_trials_are_found_by_id_value_and_error(visit):
    page = visit()
    find = page.get_by_label("Find trials")
    for words, expected in (
        ("0010", ["0010"]),
        ("memoryerror", ["0008"]),
        ("latent_dim=16 filters_1=16", ["0003"]),
    ):
        find.fill(words)
        found = trials_in(page)
        assert set(expected) <= set(found)
        assert len(found) < 12
    find.fill("nothing like it")
    assert trials_in(page) == []
    assert selected_count(page) == "0 of 12 trials"


def test_table_tooltip_and_dialog_show_that_a_trial_collapsed(visit):
    page = visit()
    page.get_by_label("Find trials").fill("collapsed")
    assert trials_in(page) == ["0005"]
    assert "completed, collapsed" in page.locator("table.sortable tbody").inner_text()
    plot = view_of(page, "parameters").locator("svg.plot")
    plot.focus()
    page.keyboard.press("End")
    assert re.match(r"Trial 0005, rank \d+, collapsed\n", page.locator(".tip").inner_text())
    page.keyboard.press("Enter")
    text = page.locator("dialog.trial").inner_text()
    assert re.search(r"Status\s+completed, collapsed\n", text)
    assert re.search(r"Active units after the last epoch\s+0\n", text)


def test_filters_select_the_best_trials_and_a_status(visit):
    page = visit()
    page.locator(".filters").evaluate("details => details.open = true")
    page.locator(".panel label:has-text('trials') input").fill("3")
    assert selected_count(page) == "3 of 12 trials"
    assert trials_in(page) == ["0009", "0010", "0007"]
    page.get_by_role("button", name="Select all").click()
    page.locator(".filters").evaluate("details => details.open = true")
    page.locator(".panel").get_by_label("completed").uncheck()
    assert trials_in(page) == ["0011", "0008"]


def test_columns_of_equal_values_can_be_hidden(visit):
    page = visit()
    heads = page.locator("table.sortable thead th:visible")
    before = heads.count()
    page.get_by_label("Only columns that differ").check()
    visible = heads.all_inner_texts()
    assert len(visible) < before
    assert not any("filters_2" in head.replace("\n", "") for head in visible)
    assert any("latent_dim" in head.replace("\n", "") for head in visible)
    assert "view.columns=differing" in address_of(page)


def test_the_address_restores_filters_options_order_and_the_open_trial(visit):
    first = visit()
    set_limit(first, "Loss at most", 185)
    first.get_by_label("Find trials").fill("00")
    view_of(first, "progress").get_by_label("Against").select_option("epochs")
    trials_in(first)
    first.locator("table.sortable th", has_text="Parameters").get_by_role("button").click()
    first.locator("table.sortable button.link").first.click()
    address = "#" + first.url.partition("#")[2] if address_of(first) else ""
    again = visit(hash_=address)
    assert selected_count(again) == selected_count(first)
    assert again.get_by_label("Find trials").input_value() == "00"
    assert again.locator("dialog.trial h3").inner_text() == first.locator("dialog h3").inner_text()
    assert trials_in(again) == trials_in(first)
    assert view_of(again, "progress").get_by_label("Against").input_value() == "epochs"


@pytest.mark.parametrize(
    "hash_",
    [
        "#?",
        "#?varied!loss=x~y&varied!kl=~&varied!nothing=1~2&other!loss=1~2&junk&%ZZ!=%",
        "#?varied!trial=none",
    ],
)
def test_an_invalid_address_selects_all_trials(visit, hash_):
    page = visit(hash_=hash_)
    assert selected_count(page) == "12 trials"
    assert page.locator("dialog[open]").count() == 0


def test_a_link_within_the_page_keeps_the_selection(visit):
    page = visit(hash_="#?varied!top=2")
    page.evaluate("location.hash = '#search-1'")
    assert address_of(page) == "search-1?varied!top=2"
    assert selected_count(page) == "2 of 12 trials"


def test_a_key_opens_the_trial_of_a_mark_and_highlights_its_configuration(visit):
    page = visit()
    plot = view_of(page, "rungs").locator("svg.plot")
    plot.focus()
    page.keyboard.press("End")
    tip = page.locator(".tip").inner_text()
    page.keyboard.press("Enter")
    opened = page.locator("dialog.trial h3").inner_text()
    assert opened in tip
    assert plot.locator("circle.open").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("document.activeElement.getAttribute('role')") == "slider"


def test_a_click_on_a_mark_opens_its_trial(visit):
    page = visit()
    plot = view_of(page, "parameters").locator("svg.plot")
    dot = plot.locator(".marks .dot.winner").bounding_box()
    page.mouse.click(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0009"


def test_the_dialog_of_a_trial_shows_its_promotions_losses_and_images(visit):
    page = visit(hash_="#?varied!trial=0009")
    dialog = page.locator("dialog.trial")
    text = dialog.inner_text()
    assert "0007 epochs 1\N{EN DASH}1, completed, loss 165.00" in text
    assert "0009 epochs 2\N{EN DASH}3, completed, loss 129.00" in text
    dialog.locator("details.twin summary").click()
    rows = dialog.locator("details.twin tbody tr").all_inner_texts()
    assert [row.split()[:2] for row in rows] == [["1", "165.00"], ["2", "141.00"], ["3", "129.00"]]
    sizes = dialog.locator("img").evaluate_all("images => images.map(i => i.naturalWidth)")
    assert len(sizes) == 2
    assert min(sizes) > 0
    sources = "images => images.map(i => i.src)"
    block = page.locator("[id$='-finalist-0010']")
    of_finalist = block.locator("img").evaluate_all(sources)
    assert len(set(of_finalist)) == 2
    # The dialog finds images by their names, so their order does not matter.
    figures = block.locator("figure:has(img)")
    figures.first.evaluate("figure => figure.parentElement.append(figure)")
    dialog.get_by_role("button", name="Next trial by rank").click()
    assert dialog.locator("h3").inner_text() == "Trial 0010"
    assert dialog.locator("img").evaluate_all(sources) == of_finalist


def test_a_traceback_can_be_opened_with_the_keyboard_alone(visit):
    page = visit()
    page.keyboard.press("Tab")
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Find trials":
            break
    page.keyboard.type("memoryerror")
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "0008":
            break
    page.keyboard.press("Enter")
    traceback = page.locator("dialog.trial pre.traceback")
    assert traceback.inner_text() == TRACEBACK
    assert page.evaluate("document.activeElement.closest('dialog') !== null")


def test_every_chart_has_a_table_of_its_values(visit):
    page = visit(hash_="#?varied!top=3")
    wait_for_all_charts(page)
    for view in page.locator("[data-view] .drawn").all():
        view.locator("summary").click()
        rows = view.locator(".twin tbody tr")
        rows.first.wait_for()
        assert rows.count() in (1, 2, 3)
        assert view.locator(".twin thead th").first.inner_text() == "Trial"


def test_the_selection_is_saved_as_csv(visit):
    page = visit(hash_="#?varied!loss=129~130")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save the selected trials as CSV").click()
    assert waiting.value.suggested_filename == "varied-trials.csv"
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text(), newline="")))
    assert [(row["trial"], row["parent"], float(row["loss"])) for row in rows] == [
        ("0009", "0007", 129.0),
        ("0010", "0006", 130.0),
    ]
    assert float(rows[0]["learning_rate"]) == 0.004


def test_charts_are_saved_as_svg_and_png(visit):
    page = visit()
    view = view_of(page, "curves")
    with page.expect_download() as waiting:
        view.get_by_role("button", name="SVG").click()
    drawing = waiting.value.path().read_text()
    assert drawing.startswith("<svg")
    assert "nats above the entropy floor" in drawing
    assert 'class="' not in drawing
    assert "var(" not in drawing
    with page.expect_download() as waiting:
        view.get_by_role("button", name="PNG").click()
    picture = waiting.value.path().read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 800
    assert height > 300


# The timeline


def test_the_timeline_of_one_process_names_no_workers(visit):
    timeline = view_of(visit(), "timeline")
    assert timeline.locator("text.axis").all_text_contents() == ["seconds of working time", "lane"]
    assert "Keras example" in timeline.locator("figcaption").inner_text()
    assert "worker" not in timeline.inner_text()


def test_each_worker_has_a_lane_and_the_legend_describes_the_workers(visit_shared):
    timeline = view_of(visit_shared(), "timeline")
    assert timeline.locator("text.axis").all_text_contents()[1] == "worker"
    names = timeline.locator("text.tick[text-anchor=end]")
    assert [name.evaluate("n => n.firstChild.data") for name in names.all()] == ["1", "2", "3"]
    assert "worker 3; GPU (a card) on node8, 1 thread" in names.last.locator("title").text_content()
    legend = timeline.locator(".legend").inner_text()
    for words in ("unfinished", "Keras example", "worker lost"):
        assert words in legend
    assert "workers 1\N{EN DASH}2: CPU on node7, 2 threads each" in legend
    assert "worker 3: GPU (a card) on node8, 1 thread" in legend
    # Three workers had 870 s from 10 s to 300 s. Training took 620 s: 90 and 160 s for trial 0000,
    # 100 s for 0001, 180 s for 0002 and 90 s for the Keras example.
    caption = timeline.locator("figcaption").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert caption.startswith(
        "3 workers trained for 71 % of the time and were idle for 4 min 10 s of worker time"
    )


def test_each_bar_of_a_trial_has_a_tooltip_and_opens_the_trial(visit_shared):
    page = visit_shared()
    plot = view_of(page, "timeline").locator("svg.plot")
    # The winner has two bars, the running trial and the Keras example have one each.
    path = plot.locator(".marks .bars.winner").get_attribute("d")
    bars = re.findall(r"M([\d.]+),([\d.]+)h([\d.]+)v([\d.]+)", path)
    assert len(bars) == 2
    assert plot.locator(".marks .bars.running").get_attribute("d").count("M") == 1
    assert plot.locator(".marks .bars.reference").get_attribute("d").count("M") == 1
    box = plot.bounding_box()
    for left, top, width, height in [map(float, bar) for bar in bars]:
        x, y = box["x"] + left + width - 3, box["y"] + top + height / 2
        page.mouse.move(x, y)
        assert "Trial 0000" in page.locator(".tip").inner_text()
        page.mouse.click(x, y)
        assert page.locator("dialog.trial h3").inner_text() == "Trial 0000"
        assert "worker 3, then worker 2" in page.locator("dialog.trial").inner_text()
        page.keyboard.press("Escape")


def test_the_end_key_reaches_the_last_bar_of_the_timeline(visit_shared):
    page = visit_shared()
    plot = view_of(page, "timeline").locator("svg.plot")
    assert plot.get_attribute("aria-valuemax") == "3"
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0002"


def test_a_lost_worker_is_marked_in_its_lane_at_the_time_of_the_loss(visit_shared):
    timeline = view_of(visit_shared(), "timeline")
    (mark,) = timeline.locator(".loss").all()
    assert mark.locator("title").text_content() == "worker 3 was lost: killed <b>"
    box, plot = mark.bounding_box(), timeline.locator("svg.plot").bounding_box()
    share = (box["x"] + box["width"] / 2 - plot["x"] - 58) / (plot["width"] - 58 - 14)
    assert share == pytest.approx(100 / 300, abs=0.01)
    assert box["y"] - plot["y"] > 26 + 2 * 34


def test_the_timeline_table_shows_the_worker_and_device_of_each_bar(visit_shared):
    timeline = view_of(visit_shared(), "timeline")
    timeline.locator("summary").click()
    rows = timeline.locator(".twin tr")
    rows.first.wait_for()
    assert [row.locator("th, td").all_inner_texts() for row in rows.all()] == [
        ["Trial", "Status", "Worker", "Device", "Started", "Ended", "Seconds"],
        ["0000", "completed", "3", "GPU (a card) on node8, 1 thread", "10", "100", "90"],
        ["0000", "completed", "2", "CPU on node7, 2 threads", "120", "280", "160"],
        ["0001", "completed", "2", "CPU on node7, 2 threads", "10", "110", "100"],
        ["0002", "running", "1", "CPU on node7, 2 threads", "120", "300", "180"],
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_workers_is_accessible_and_fits_the_window(visit_shared, scheme):
    page = visit_shared(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    wait_for_all_charts(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize(
    ("workers", "labels"), [(32, 32), pytest.param(64, 32, marks=pytest.mark.long)]
)
def test_many_lanes_are_thin_and_labels_do_not_overlap(chromium, tmp_path, workers, labels, width):
    builder = JournalBuilder(workers, name="builder", folder=tmp_path / "builder")
    for n in range(workers):
        builder.begin(10, f"{n:04}", 1 + n)
    builder.epoch(40, "0000").write()
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.goto(write_report(tmp_path).as_uri())
    plot = view_of(page, "timeline").locator("svg.plot")
    assert plot.bounding_box()["height"] < 700
    boxes = [one.bounding_box() for one in plot.locator("text.tick[text-anchor=end]").all()]
    assert len(boxes) == labels
    tops = [box["y"] for box in boxes]
    assert min(after - before for before, after in itertools.pairwise(tops)) >= 12
    bars = re.findall(r"M[\d.]+,([\d.]+)h[\d.]+v([\d.]+)", plot.inner_html())
    assert len(bars) == workers
    assert all(float(height) >= 7 for _, height in bars)
    page.close()


# Many trials


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The report of a search with a thousand trials of thirty epochs, all with artifacts."""
    story = SearchBuilder(tmp_path_factory.mktemp("results") / "large")
    for number in range(1000):
        values = VALUES | {
            "latent_dim": 2 ** (1 + number % 5),
            "learning_rate": 1e-5 * (1 + number),
        }
        losses = [200.0 + number / 10 - epoch for epoch in range(30)]
        story.trial(f"{number:04}", losses, hyperparameters=values)
    return write_report(story.end().write().folder.parent)


@pytest.mark.long
def test_a_report_of_a_thousand_trials_is_small_and_can_be_filtered(chromium, large):
    assert large.stat().st_size < 5_000_000
    page = chromium.new_page()
    page.goto(large.as_uri())
    wait_for_all_charts(page)
    assert len(trials_in(page)) == 100
    set_limit(page, "Loss at most", 172.95)
    assert selected_count(page) == "20 of 1,000 trials"
    assert trials_in(page) == [f"{number:04}" for number in range(20)]
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Show all 1,000 selected trials").click()
    assert len(trials_in(page)) == 1000
    rows = "table.sortable tbody tr:visible"
    assert page.locator(rows).count() == 1000
    # The page now looks as before the script ran.
    page.evaluate("document.documentElement.classList.remove('alive')")
    assert page.locator(rows).count() == 100
    page.close()
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(large.as_uri())
    assert page.locator(rows).count() == 1000, "without a script, all rows are visible"
    context.close()


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1440, "light"),
        (390, "dark"),
        pytest.param(390, "light", marks=pytest.mark.long),
        pytest.param(1440, "dark", marks=pytest.mark.long),
    ],
)
def test_the_report_is_accessible_and_fits_the_window(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wait_for_all_charts(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []
    page.locator(".filters").evaluate("details => details.open = false")
    page.locator("table.sortable button.link").first.click()
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []


@pytest.mark.long  # The test above uses a narrower and a wider window.
def test_the_report_fits_a_window_of_medium_width(visit):
    page = visit(viewport={"width": 768, "height": 800})
    wait_for_all_charts(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 768


def test_a_printed_report_has_every_chart_and_no_controls(visit):
    page = visit()
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    wait_for_frames(page)
    assert page.locator("[data-view]:not([hidden]) svg.plot").count() >= len(VIEWS)
    assert page.locator("[data-selection]").is_hidden()
    assert page.locator(".tools >> visible=true").count() == 0
