"""The notebook of the documentation runs, and shows what it showed when it was written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vaetune

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]

PROGRAM = """
import json, sys
names = {}
for cell in json.loads(sys.stdin.read()):
    exec(compile(cell, "cell", "exec"), names)
study = names["study"]
told = {
    "complete": study.is_complete,
    "sessions": [session.workers for session in study.sessions],
    "html": study._repr_html_(),
    "rows": len(names["table"]),
    "formats": sorted(names["export"].apart),
    "loss": names["evaluation"].negative_elbo.mean,
}
print("TOLD " + json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the cells left behind, run one after the other in a process of their own."""
    cells = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    folder = tmp_path_factory.mktemp("notebook")
    source = str(Path(vaetune.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(cells),
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "notebook-results" / "report.html").exists()
    return json.loads(done.stdout.partition("TOLD ")[2])


@pytest.mark.slow
def test_the_search_is_stopped_and_continued(told):
    assert told["complete"]
    assert len(told["sessions"]) == 2
    assert told["rows"] == 6


@pytest.mark.slow
def test_the_winner_is_shown_exported_and_evaluated(told):
    assert "<strong>hyperband: complete, 6 of 6 trials</strong>" in told["html"]
    assert "notebook-results/report.html" in told["html"]
    assert told["formats"] == ["keras"]
    assert 0 < told["loss"] < 600


def test_the_stored_outputs_are_complete_and_name_no_machine():
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code)
    pictures = [o for cell in code for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    assert not re.search(r"/(?:home|root|tmp|work|usr|Users)/", NOTEBOOK.read_text())
