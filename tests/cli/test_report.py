"""`vaetune report`: what the page shows after commands, and what it never overwrites."""

import pytest
from user_folder import SEARCH_FILE, assert_reference_is_drawn


@pytest.mark.slow
def test_the_report_shows_what_the_keras_example_draws(vaetune, folder):
    """The tests of several workers check the page of a search on two."""
    code, _, error = vaetune("search", "squares.toml", "--max-epochs", 1)
    assert (code, error) == (0, "")
    for kept in (True, False):  # an earlier version kept no images of the Keras example
        assert_reference_is_drawn((folder / "results" / "report.html").read_text())
        if kept:
            (probe_images,) = (folder / "results" / "baselines").glob("*/pictures.npz")
            probe_images.unlink()
            assert vaetune("report")[0] == 0


def test_a_report_of_another_program_is_left_alone(vaetune, folder):
    vaetune("search", "squares.toml", "--max-epochs", 1, "--no-baseline", "--quiet")
    (folder / "results" / "report.html").write_text("<h1>The annual report</h1>")
    code, _, error = vaetune("report")
    assert code == 1
    assert "report.html" in error
    assert (folder / "results" / "report.html").read_text() == "<h1>The annual report</h1>"


def test_a_damaged_search_hides_no_other(vaetune, folder):
    quick = ("--max-epochs", 1, "--no-baseline", "--quiet")
    vaetune("search", "squares.toml", *quick)
    (folder / "circles.toml").write_text(SEARCH_FILE)
    damaged = folder / "results" / "squares" / "journal.jsonl"
    damaged.write_bytes(damaged.read_bytes().replace(b"epoch_ended", b"epoch_endet", 1))
    code, out, error = vaetune("search", "circles.toml", *quick)
    assert (code, error) == (0, "")
    assert "Winner of circles" in out
    page = (folder / "results" / "report.html").read_text()
    assert "<b>squares</b> is not on this page." in page
    assert "journal.jsonl, line" in page
    code, _, error = vaetune("trials", "squares")
    assert code == 1
    assert "is damaged" in error
