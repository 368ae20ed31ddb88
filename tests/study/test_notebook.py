"""Studies in notebooks: the winner, the best trials and the report, without injected markup."""

from html.parser import HTMLParser

from journals import (
    make_rescored,
    make_retrained,
    make_session_end,
    make_started,
    make_study,
    make_trial_events,
    write_journal,
    write_search,
)

from vaetune.study.catalog import list_studies
from vaetune.study.notebook import BEST_SHOWN, table

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


class ParsedHtml(HTMLParser):
    """The tags, the attributes and the text of HTML, in which every tag must be closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.cells, self._open = [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.cells.append(data)

    @property
    def text(self):
        return "".join(self.cells)


def trials(*losses):
    events = []
    for number, loss in enumerate(losses):
        events += make_trial_events(f"{number:04}", [loss], configuration=number)
    return events


def test_a_study_shows_its_winner_its_best_trials_and_the_path_of_its_report(tmp_path):
    study = make_study(*trials(150.0, 140.0, 145.0), make_session_end(), folder=tmp_path / "tiny")
    shown = ParsedHtml(study._repr_html_())
    assert shown.text.startswith("tiny: complete, 3 trials")
    assert "Winner: trial 0001, 140.00 nats per image, 1 epoch, filters" in shown.text
    rows = [cell for cell in shown.cells if cell in ("0000", "0001", "0002")]
    assert rows == ["0001", "0002", "0000"]
    report = tmp_path / "report.html"
    assert shown.text.endswith(f"Report: {report}, not written yet")
    report.write_text("")
    assert ParsedHtml(study._repr_html_()).text.endswith(f"Report: {report}")


def test_the_losses_that_choose_the_winner_have_columns():
    rescored = make_rescored({("0000", 1): 144.5, ("0001", 1): 146.25})
    study = make_study(*trials(150.0, 140.0), rescored)
    shown = ParsedHtml(study._repr_html_())
    assert "rescored" in shown.cells
    assert shown.cells.index("144.50") < shown.cells.index("146.25")
    assert "other seeds" not in shown.cells
    retrained = make_retrained({"0001": [143.0, 144.0], "0000": [145.0, None]}, epochs=1)
    shown = ParsedHtml(make_study(*trials(150.0, 140.0), rescored, retrained)._repr_html_())
    assert "other seeds" in shown.cells
    assert "143.50" in shown.cells


def test_only_the_best_trials_are_in_the_table():
    study = make_study(*trials(*range(150, 150 + 2 * BEST_SHOWN)))
    assert ParsedHtml(study._repr_html_()).tags.count("tr") == 1 + BEST_SHOWN


def test_a_study_without_a_completed_trial_is_described():
    study = make_study()
    shown = ParsedHtml(study._repr_html_())
    assert "No trial has completed yet." in shown.text
    assert "table" not in shown.tags
    assert repr(study) == "<Study tiny in results/tiny: not complete, 0 of 4 trials>"


def test_names_with_markup_are_shown_as_text(tmp_path):
    study = make_study(*trials(150.0), name=MARKUP, folder=tmp_path / MARKUP / "x")
    shown = ParsedHtml(study._repr_html_())
    assert MARKUP in shown.text
    assert {"script", "img"} & set(shown.tags) == set()
    assert {name for name, _ in shown.attributes} == {"style"}
    shown = ParsedHtml(table([MARKUP], [[MARKUP]]))
    assert shown.cells == [MARKUP, MARKUP]


def test_a_list_of_studies_has_one_row_per_study(tmp_path):
    write_search(tmp_path, "first", *trials(150.0), make_session_end())
    write_search(tmp_path, "second", minutes=5)
    write_journal(tmp_path / "broken", [make_started(name="broken")])
    (tmp_path / "broken" / "journal.jsonl").write_text("no journal\n")
    studies = list_studies(tmp_path)
    assert [study.name for study in studies] == ["second", "first"]
    assert studies[:1] == (studies[0],)
    assert repr(studies) == f"<StudyCatalog of {tmp_path}: second, first, unreadable: broken>"
    shown = ParsedHtml(studies._repr_html_())
    assert shown.tags.count("tr") == 4
    order = [shown.cells.index(text) for text in ("second", "first", "broken", "cannot be read")]
    assert order == sorted(order)
