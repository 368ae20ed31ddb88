"""`vaetune trials`: tables of trials and of failures."""

import json
import re

import pytest
from user_folder import SEARCH_FILE

from vaetune.study.builder import load_study

pytestmark = pytest.mark.usefixtures("without_charts", "without_reading_back")


@pytest.mark.slow
def test_failures_are_shown_everywhere(vaetune, folder):
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
