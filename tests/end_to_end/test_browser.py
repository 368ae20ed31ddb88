"""What the report's script does in a real browser: one selection everywhere, by pointer or keys."""

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
from stories import VALUES, Story, reference

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
    """Nine configurations, two of them promoted, one failed and one under way; all evaluated."""
    story = Story(folder)
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
    ranked = (("0009", 3), ("0010", 3), ("0005", 1), ("0004", 1), ("0003", 1))
    rescored = make_rescored({key: 129.5 + 9 * place for place, key in enumerate(ranked)})
    story.events += [rescored, make_evaluated("0009", 3)]
    return story


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    varied(results / "varied").write()
    reference(results).write()
    return write_report(results)


@pytest.fixture(scope="module")
def shared_report(tmp_path_factory):
    """Three workers, one of them unlike the others and lost; the first had the Keras example."""
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
    """Opens the report; afterwards there must be no error and no request."""
    yield from open_pages(chromium, report)


@pytest.fixture
def visit_shared(chromium, shared_report):
    """Likewise of a search that workers share."""
    yield from open_pages(chromium, shared_report)


def open_pages(chromium, report):
    contexts, troubles = [], []

    def note_request(request):
        if request.url.split("#")[0] != report.as_uri() and request.url[:5] not in (
            "data:",
            "blob:",
        ):
            troubles.append(request.url)

    def opened(hash_="", **settings):
        context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", note_request)
        page.goto(report.as_uri() + hash_)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []


def build_all(page):
    """Waits until each chart is there."""
    missing = page.locator("[data-view]:not([hidden]):not(:has(svg.plot .tick))")
    expect(missing).to_have_count(0, timeout=20_000)


def view_of(page, name):
    view = page.locator(f"[data-view={name}]")
    view.evaluate("view => view.scrollIntoView({block: 'center', behavior: 'instant'})")
    view.locator("svg.plot").first.wait_for()
    page.wait_for_timeout(60)
    return view


def trials_in(page):
    # The table follows when it is in view.
    page.locator("table.sortable").evaluate("t => t.scrollIntoView({behavior: 'instant'})")
    page.wait_for_timeout(100)
    return page.locator("table.sortable tbody th").all_inner_texts()


def said(page):
    return page.locator(".chooser output").inner_text()


def limit(page, label, value):
    page.locator(".filters").evaluate("details => details.open = true")
    field = page.get_by_label(label, exact=True)
    field.fill(str(value))
    field.dispatch_event("change")


def address_of(page):
    page.wait_for_timeout(250)
    return unquote(page.url.partition("#")[2])


def drag(page, box, start, end):
    """Drags between two places, given as shares of a box."""
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()


def test_every_chart_is_drawn_live_in_place_of_its_picture(visit):
    page = visit()
    build_all(page)
    drawn = page.locator("[data-view]:has(svg.plot)").evaluate_all(
        "views => views.map(view => view.dataset.view)"
    )
    assert set(drawn) == VIEWS
    assert page.locator("[data-view] .chart svg").count() == 0
    assert page.evaluate("typeof hacked") == "undefined"


def test_a_limit_shows_in_the_count_the_table_the_charts_and_the_address(visit):
    page = visit()
    build_all(page)
    assert said(page) == "12 trials"
    view_of(page, "curves")
    faded = page.locator("[data-view=curves] .marks .dot.faded")
    assert faded.count() == 0
    limit(page, "Loss at most", 140)
    assert said(page) == "2 of 12 trials"
    assert faded.count() == 1
    assert trials_in(page) == ["0009", "0010"]
    assert address_of(page) == "?varied!loss=~140"
    page.get_by_role("button", name="Select all").click()
    assert said(page) == "12 trials"
    assert address_of(page) == ""


def test_dragging_along_an_axis_selects_and_pressing_beside_lets_go(visit):
    page = visit()
    plot = view_of(page, "parallel").locator("svg.plot")
    # The last axis but one has the epochs: 3 above, 1 below.
    label = plot.locator("text.axis", has_text="Epochs").bounding_box()
    box = plot.bounding_box()
    x = (label["x"] + label["width"] / 2 - box["x"]) / box["width"]
    drag(page, box, (x, 0.15), (x, 0.45))
    assert said(page) == "2 of 12 trials"
    assert address_of(page) == "?varied!epochs=3~3"
    assert trials_in(page) == ["0009", "0010"]
    view_of(page, "parallel")
    box = plot.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + 0.85 * box["height"])
    assert said(page) == "12 trials"


def test_a_rectangle_in_a_chart_selects_by_both_axes(visit):
    page = visit()
    plot = view_of(page, "distortion").locator("svg.plot")
    drag(page, plot.bounding_box(), (0.3, 0.6), (0.9, 0.86))
    keys = re.findall(r"varied!(\w+)=", address_of(page))
    assert sorted(keys) == ["kl", "reconstruction"]
    chosen = int(said(page).split()[0])
    assert 0 < chosen < 11
    assert len(trials_in(page)) == chosen


def mark_of(plot, look):
    box = plot.locator(f".marks {look}").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_marks_still_open_after_a_rectangle_was_drawn(visit):
    page = visit()
    plot = view_of(page, "parameters").locator("svg.plot")
    drag(page, plot.bounding_box(), (0.3, 0.1), (0.99, 0.97))
    assert said(page) != "12 trials"
    page.mouse.click(*mark_of(plot, ".dot.winner"))  # within the rectangle
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0009"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select all").click()
    page.mouse.click(*mark_of(plot, ".dot.winner"))
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0009"


def test_a_press_on_a_range_or_a_move_along_one_axis_leaves_the_rest(visit):
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


def test_a_rectangle_around_the_points_of_a_choice_selects_them_alone(visit):
    page = visit()
    plot = view_of(page, "latent").locator("svg.plot")
    choice = plot.locator("text.tick", has_text=re.compile("^8$")).last.bounding_box()
    box = plot.bounding_box()
    x = (choice["x"] + choice["width"] / 2 - box["x"]) / box["width"]
    near = 16 / box["width"]
    drag(page, box, (x - near, 0.12), (x + near, 0.85))
    assert "varied!latent_dim=8~8" in address_of(page)


def test_best_so_far_falls_as_the_journal_says(visit, report):
    page = visit()
    reported = page.evaluate(
        """() => {
          const data = JSON.parse(document.querySelector("script[data-search]").textContent);
          return [data.curves.val, data.curves.seconds, data.curves.after, data.statuses];
        }"""
    )
    epochs = sorted(
        (second, after, loss)
        for losses, seconds, counts, status in zip(*reported, strict=True)
        for loss, second, after in zip(losses, seconds, counts, strict=True)
        if status == "completed"
    )
    falls = [e for i, e in enumerate(epochs) if e[2] < min([x[2] for x in epochs[:i]], default=1e9)]
    study = load_study(report.parent / "varied")
    progress = compute_progress(study, None)
    assert tuple(loss for _, _, loss in falls) == progress.costs
    assert tuple(second for second, _, _ in falls) == progress.seconds
    path = view_of(page, "progress").locator(".marks path.line.winner").get_attribute("d")
    assert path.count("V") == len(falls) - 1


def test_only_weights_that_are_there_are_offered(visit, report):
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


def test_finding_goes_over_ids_values_and_errors(visit):
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
    assert said(page) == "0 of 12 trials"


def test_a_collapsed_trial_is_said_to_be_where_it_is_pointed_at_and_opened(visit):
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


def test_the_best_few_and_a_status_can_be_asked_for(visit):
    page = visit()
    page.locator(".filters").evaluate("details => details.open = true")
    page.locator(".panel label:has-text('trials') input").fill("3")
    assert said(page) == "3 of 12 trials"
    assert trials_in(page) == ["0009", "0010", "0007"]
    page.get_by_role("button", name="Select all").click()
    page.locator(".filters").evaluate("details => details.open = true")
    page.locator(".panel").get_by_label("completed").uncheck()
    assert trials_in(page) == ["0011", "0008"]


def test_only_columns_that_differ(visit):
    page = visit()
    heads = page.locator("table.sortable thead th:visible")
    before = heads.count()
    page.get_by_label("Only columns that differ").check()
    shown = heads.all_inner_texts()
    assert len(shown) < before
    assert not any("filters_2" in head.replace("\n", "") for head in shown)
    assert any("latent_dim" in head.replace("\n", "") for head in shown)
    assert "view.columns=differing" in address_of(page)


def test_the_address_brings_everything_back(visit):
    first = visit()
    limit(first, "Loss at most", 185)
    first.get_by_label("Find trials").fill("00")
    view_of(first, "progress").get_by_label("Against").select_option("epochs")
    trials_in(first)
    first.locator("table.sortable th", has_text="Parameters").get_by_role("button").click()
    first.locator("table.sortable button.link").first.click()
    address = "#" + first.url.partition("#")[2] if address_of(first) else ""
    again = visit(hash_=address)
    assert said(again) == said(first)
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
def test_an_address_that_means_nothing_selects_everything(visit, hash_):
    page = visit(hash_=hash_)
    assert said(page) == "12 trials"
    assert page.locator("dialog[open]").count() == 0


def test_a_link_within_the_page_keeps_the_selection(visit):
    page = visit(hash_="#?varied!top=2")
    page.evaluate("location.hash = '#search-1'")
    assert address_of(page) == "search-1?varied!top=2"
    assert said(page) == "2 of 12 trials"


def test_a_mark_opens_its_trial_and_rings_its_configuration(visit):
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


def test_a_trials_page_has_its_whole_story(visit):
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
    # Pictures are found by their names, in whatever order they are.
    figures = block.locator("figure:has(img)")
    figures.first.evaluate("figure => figure.parentElement.append(figure)")
    dialog.get_by_role("button", name="Next trial by rank").click()
    assert dialog.locator("h3").inner_text() == "Trial 0010"
    assert dialog.locator("img").evaluate_all(sources) == of_finalist


def test_from_the_top_to_a_traceback_by_keys_alone(visit):
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
    shown = page.locator("dialog.trial pre.traceback")
    assert shown.inner_text() == TRACEBACK
    assert page.evaluate("document.activeElement.closest('dialog') !== null")


def test_every_chart_has_its_table(visit):
    page = visit(hash_="#?varied!top=3")
    build_all(page)
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


def test_trials_of_a_process_alone_are_in_a_lane_without_workers(visit):
    timeline = view_of(visit(), "timeline")
    assert timeline.locator("text.axis").all_text_contents() == ["seconds of working time", "lane"]
    assert "Keras example" in timeline.locator("figcaption").inner_text()
    assert "worker" not in timeline.inner_text()


def test_workers_have_lanes_and_the_legend_says_what_they_are(visit_shared):
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
    # From 10 s to 300 s; 0000 for 90 and 160 s, 0001 for 100, 0002 for 180, the example for 90.
    reported = timeline.locator("figcaption").inner_text().replace("\N{NO-BREAK SPACE}", " ")
    assert reported.startswith(
        "3 workers trained for 71 % of the time and were idle for 4 min 10 s of worker time"
    )


def test_a_bar_is_pointed_at_anywhere_and_each_of_a_trial_leads_to_it(visit_shared):
    page = visit_shared()
    plot = view_of(page, "timeline").locator("svg.plot")
    # The winner's two bars, then those under way, and the Keras example's.
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


def test_a_key_goes_from_trial_to_trial_along_the_lanes(visit_shared):
    page = visit_shared()
    plot = view_of(page, "timeline").locator("svg.plot")
    assert plot.get_attribute("aria-valuemax") == "3"
    plot.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert page.locator("dialog.trial h3").inner_text() == "Trial 0002"


def test_a_lost_worker_is_marked_in_its_lane_when_it_was_lost(visit_shared):
    timeline = view_of(visit_shared(), "timeline")
    (mark,) = timeline.locator(".loss").all()
    assert mark.locator("title").text_content() == "worker 3 was lost: killed <b>"
    box, plot = mark.bounding_box(), timeline.locator("svg.plot").bounding_box()
    at = (box["x"] + box["width"] / 2 - plot["x"] - 58) / (plot["width"] - 58 - 14)
    assert at == pytest.approx(100 / 300, abs=0.01)
    assert box["y"] - plot["y"] > 26 + 2 * 34


def test_the_table_has_the_worker_and_its_device_of_each_stretch(visit_shared):
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
def test_a_timeline_of_workers_keeps_nobody_out(visit_shared, scheme):
    page = visit_shared(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    build_all(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize(
    ("workers", "labels"), [(32, 32), pytest.param(64, 32, marks=pytest.mark.long)]
)
def test_many_lanes_are_thin_and_their_labels_apart(chromium, tmp_path, workers, labels, width):
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
    """A search of a thousand trials of thirty epochs, every one with its pictures."""
    story = Story(tmp_path_factory.mktemp("results") / "large")
    for number in range(1000):
        values = VALUES | {
            "latent_dim": 2 ** (1 + number % 5),
            "learning_rate": 1e-5 * (1 + number),
        }
        losses = [200.0 + number / 10 - epoch for epoch in range(30)]
        story.trial(f"{number:04}", losses, hyperparameters=values)
    return write_report(story.end().write().folder.parent)


@pytest.mark.long
def test_a_page_of_a_thousand_trials_keeps_within_its_size_and_follows_a_filter(chromium, large):
    assert large.stat().st_size < 5_000_000
    page = chromium.new_page()
    page.goto(large.as_uri())
    build_all(page)
    assert len(trials_in(page)) == 100
    limit(page, "Loss at most", 172.95)
    assert said(page) == "20 of 1,000 trials"
    assert trials_in(page) == [f"{number:04}" for number in range(20)]
    page.get_by_role("button", name="Select all").click()
    page.get_by_role("button", name="Show all 1,000 selected trials").click()
    assert len(trials_in(page)) == 1000
    rows = "table.sortable tbody tr:visible"
    assert page.locator(rows).count() == 1000
    page.evaluate("document.documentElement.classList.remove('alive')")  # as before the script
    assert page.locator(rows).count() == 100
    page.close()
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(large.as_uri())
    assert page.locator(rows).count() == 1000, "no script will show the others"
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
def test_nothing_keeps_anyone_out_and_no_page_is_wider_than_its_window(visit, width, scheme):
    page = visit(viewport={"width": width, "height": 900}, color_scheme=scheme)
    build_all(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []
    page.locator(".filters").evaluate("details => details.open = false")
    page.locator("table.sortable button.link").first.click()
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]][:3]) for rule in found] == []


@pytest.mark.long  # The test above does it with the narrowest and the widest.
def test_no_live_page_is_wider_than_a_window_between(visit):
    page = visit(viewport={"width": 768, "height": 800})
    build_all(page)
    page.locator("article details").evaluate_all("all => all.forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 768


def test_on_paper_every_chart_is_drawn_and_nothing_to_press(visit):
    page = visit()
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(200)
    assert page.locator("[data-view]:not([hidden]) svg.plot").count() >= len(VIEWS)
    assert page.locator("[data-selection]").is_hidden()
    assert page.locator(".tools >> visible=true").count() == 0
