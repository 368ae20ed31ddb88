"""`vaetune trials`: tables of trials and failures, and exports to other tools."""

import json
import re
import sqlite3

import pytest
from journals import make_session_end, make_trial_events, write_search
from user_folder import SEARCH_FILE

from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_charts", "without_reading_back")


@pytest.mark.slow
def test_failed_trials_are_shown_in_tables_and_the_report(vaetune, folder):
    text = SEARCH_FILE.replace("max_epochs = 3", "max_epochs = 1\nmax_trials = 13")
    text = text.replace('"hyperband"', '"random"').replace("max = 1e-1", "max = 1e30")
    (folder / "mine.toml").write_text(text)
    code, _, error = vaetune("search", "mine.toml", "--no-baseline", "--max-failure-rate", 0.3)
    assert code == 1
    assert re.search(
        r"^vaetune: \d of 1\d trials failed, more than the allowed share of 0\.3\. "
        r"The first failed with: The training loss became \w+ in epoch 1\. "
        r"See `vaetune trials mine --failed`\. "
        r"To continue anyway, run the same command with --max-failure-rate 1\.$",
        error.strip(),
    )
    failures = load_study(folder / "results" / "mine").failures
    code, out, _ = vaetune("trials", "--failed")
    assert out.count("failed in epoch 1") == len(failures)
    assert out.count("Traceback (most recent call last)") == len(failures)
    failed = json.loads(vaetune("trials", "--failed", "--format", "json")[1])
    assert [row["trial_id"] for row in failed] == [trial.trial_id for trial in failures]
    assert all("Traceback" in row["traceback"] for row in failed)
    rows = json.loads(vaetune("trials", "--format", "json")[1])
    assert [row["failed_in"] for row in rows if row["status"] == "failed"] == [1] * len(failures)
    page = (folder / "results" / "report.html").read_text()
    assert "Stopped because too many trials failed" in page
    assert page.count("failed in epoch 1") == len(failures)
    code, out, _ = vaetune("search", "mine.toml", "--no-baseline", "--max-failure-rate", 1)
    assert code == 0
    assert "complete, 13 trials" in out


# Exports to other tools


@pytest.fixture
def searched(folder):
    """A user's folder with a search of one trial."""
    write_search(folder / "results", "tiny", *make_trial_events("0000", [9.5]), make_session_end())
    return folder


def test_trials_are_exported_to_optuna_with_a_command_to_open_them(vaetune, searched):
    code, out, error = vaetune("trials", "--to", "optuna", "--output", "mine.db")
    assert (code, error) == (0, "")
    assert out == (
        "mine.db: tiny, 1 trial of 1 configuration. "
        "Open it with: optuna-dashboard sqlite:///mine.db\n"
    )
    with sqlite3.connect(searched / "mine.db") as database:
        assert database.execute("SELECT study_name FROM studies").fetchall() == [("tiny",)]
    database.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "optuna"], "--to needs --output, the file or folder to write"),
        (["--output", "x.db"], "--output goes with --to"),
        (["--to", "optuna", "--output", "x.db", "--failed"], "give --to, or --format and"),
        (["--to", "optuna", "--output", "x.db", "--format", "csv"], "give --to, or --format and"),
        (["--to", "wandb", "--output", "x.db"], "'wandb' is not one of 'optuna', 'tensorboard'"),
    ],
)
def test_invalid_combinations_of_options_are_refused(vaetune, searched, arguments, message):
    code, _, error = vaetune("trials", *arguments)
    assert code == 2
    assert message in error
    assert not (searched / "x.db").exists()


def test_an_impossible_export_of_trials_is_refused(refused, searched):
    (searched / "taken.db").touch()
    to = ("trials", "--to", "optuna", "--output")
    assert "taken.db exists and will not be overwritten" in refused(*to, "taken.db")
    assert "must be a file that ends in .db (SQLite) or .log" in refused(*to, "trials.sqlite")
    assert 'There is no search "large"' in refused("trials", "large", *to[1:], "x.db")
