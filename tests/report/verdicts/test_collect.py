"""Verdicts are ordered; a terminal shows three of them as hints."""

from pathlib import Path

import pytest
from journals import make_rescored, make_session_end, make_study, make_trial_events, write_search
from pasted_lines import HYPERBAND
from stories import NOW, ParsedPage, words_of

from vaetune.config.reading import Copies, Reading
from vaetune.config.spec import SearchSpec, single_configuration
from vaetune.report.page import render_report
from vaetune.report.verdicts.collect import compute_verdicts, describe_hints, describe_verdicts
from vaetune.study.collapse import LatentUse

pytestmark = pytest.mark.usefixtures("without_charts")

FALLING = [160.0, 130.0, 120.0, 114.0, 110.0, 107.5, 106.0, 105.0, 104.25]
LEVEL = [160.0, 130.0, 120.0, 110.0, 110.0, 110.0, 110.0, 110.0, 110.0]
WITH_COPIES = Reading(
    **{"kind": "arrays", "dtype": "uint8", "low": 0, "high": 255, "range": (0, 255)},
    copies=Copies(distinct=6000, across=900),
)


def make_search_with_many_verdicts(*, end=True, **data):
    """A search with failures, copies, falling losses, inactive dimensions and a close lead."""
    failed = make_trial_events("0002", status="failed", error="ValueError: no", configuration=2)
    events = [
        *make_trial_events("0000", FALLING, configuration=0, latent_use=LatentUse(4, 9.0)),
        *make_trial_events("0001", [x + 1 for x in FALLING], configuration=1),
        *failed,
        *([make_rescored({("0000", 9): 104.0, ("0001", 9): 104.5})] if end else []),
        *([make_session_end()] if end else []),
    ]
    return make_study(*events, search=HYPERBAND, **{"reading": WITH_COPIES} | data)


def make_search_without_verdicts(**started):
    """A complete search of one trial with a level loss."""
    return make_study(*make_trial_events("0000", LEVEL), make_session_end(), **started)


def page_of(study):
    return render_report([study], {study.name: None}, NOW)


def test_the_most_important_verdict_comes_first():
    kinds = [verdict.kind for verdict in compute_verdicts(make_search_with_many_verdicts())]
    assert kinds == ["failures", "copies", "epochs", "inactive", "lead"]


def test_an_incomplete_search_has_verdicts_on_failures_and_copies_only():
    study = make_search_with_many_verdicts(end=False)
    verdicts = compute_verdicts(study)
    assert [verdict.kind for verdict in verdicts] == ["failures", "copies"]
    assert describe_verdicts(study, verdicts).endswith("are checked once the search is complete.")
    sound = make_study(*make_trial_events("0000", FALLING), search=HYPERBAND)
    note = describe_verdicts(sound, compute_verdicts(sound))
    assert note.startswith("Nothing stands out so far. Epochs,")
    assert compute_verdicts(make_study()) == ()


def test_a_search_without_verdicts_has_one_line():
    study = make_search_without_verdicts(search=HYPERBAND)
    assert compute_verdicts(study) == ()
    assert describe_hints(study) == ""
    words = words_of(page_of(study))
    assert "What could be better? Nothing stands out. Failures, copies in the data," in words


def test_a_single_training_and_a_search_without_a_winner_have_verdicts():
    single = single_configuration({"latent_dim": 2}, 9, like=SearchSpec())
    study = make_study(*make_trial_events("0000", FALLING), make_session_end(), search=single)
    (verdict,) = compute_verdicts(study)
    assert (verdict.kind, verdict.lines) == ("epochs", "")
    assert describe_verdicts(study, (verdict,)) == ""
    failed = make_trial_events("0000", status="failed", error="ValueError: no")
    (verdict,) = compute_verdicts(make_study(*failed, make_session_end()))
    assert verdict.kind == "failures"


def test_verdicts_are_the_first_section_below_the_headline():
    page = page_of(make_search_with_many_verdicts())
    outline = ParsedPage(page)
    headings = [tag for tag, _ in outline.elements if tag in ("h2", "h3", "h4")]
    assert headings[:7] == ["h2", "h3", "h4", "h4", "h4", "h4", "h4"]
    words = outline.words
    assert words.index("What could be better?") < words.index("Export the winner")
    assert '<pre class="command"><code>[budget]\nmax_epochs = 18</code></pre>' in page
    assert "<code>vaetune train --best tiny --epochs 18</code>" in page
    assert "needs another name. vaetune new NAME writes a file to begin with." in words


def test_the_winner_is_suggested_as_the_start_of_the_next_search():
    study = make_study(*make_trial_events("0000", FALLING), make_session_end(), search=HYPERBAND)
    note = describe_verdicts(study, compute_verdicts(study))
    assert note.endswith("and `--start-with best:tiny` tries this winner first.")


def test_a_terminal_shows_three_hints_in_ascii():
    hints = describe_hints(make_search_with_many_verdicts())
    first, second, third = hints.splitlines()
    assert first.startswith("Hint: 1 of 3 trials failed (33 %), with this error: ValueError: no.")
    assert second.startswith("Hint: 900 of the 2,000 validation and test images")
    assert third.endswith(
        "by 0.75 nats in the last of 9 epochs; all 2 trials with 9 epochs ended "
        "so. Try max_epochs = 18."
    )
    assert hints.isascii()


def test_markup_in_an_error_is_escaped(tmp_path):
    error = "<b>`bold`</b>"
    failed = make_trial_events("0000", status="failed", error=error)
    write_search(tmp_path, "tiny", *failed)
    page = page_of(make_study(*failed, make_session_end(), folder=Path(tmp_path / "tiny")))
    assert "<b>`bold`" not in page
