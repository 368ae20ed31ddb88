"""The output, the journal, the tables and the report mark a trial that collapsed."""

import csv
import io
import json
import re

import pytest

SEARCH = """
algorithm = "grid"
seed = 3
[data]
dataset = "squares.npz"
[budget]
max_epochs = 20
[training]
batch_size = 8
[space]
filters_1 = { value = 4 }
filters_2 = { value = 4 }
dense_units = { value = 8 }
latent_dim = { value = 3 }
learning_rate = { value = 0.01 }
beta = { values = [0.1, 1000] }
"""


@pytest.mark.slow
@pytest.mark.usefixtures("without_charts")
def test_a_collapse_is_shown_in_output_journal_tables_and_report(vaetune, folder):
    (folder / "pressed.toml").write_text(SEARCH)
    code, out, _ = vaetune("search", "pressed.toml", "--no-baseline")
    assert code == 0
    healthy, collapsed = re.findall(r"^trial 000[01] .*$", out, re.MULTILINE)
    assert "collapsed" not in healthy
    assert collapsed.endswith(" s  collapsed (KL 0.00, 0 active units)")
    assert re.search(r"^  collapsed +0 active units, KL 0\.00 nats after epoch 20$", out, re.M)

    journal = (folder / "results" / "pressed" / "journal.jsonl").read_text()
    ends = [json.loads(line) for line in journal.splitlines() if '"trial_ended"' in line]
    assert [end["collapsed"] for end in ends] == [False, True]
    assert ends[0]["active_units"] in (1, 2, 3)
    assert ends[0]["val_kl_loss"] > 0.5
    assert ends[1]["active_units"] == 0
    assert 0 <= ends[1]["val_kl_loss"] < 0.01

    table = vaetune("trials")[1].splitlines()
    assert [row.split()[5] for row in table[1:]] == ["completed", "completed,"]
    assert "completed, collapsed" in table[2]
    rows = json.loads(vaetune("trials", "--format", "json")[1])
    assert [row["collapsed"] for row in rows] == [False, True]
    assert [row["active_units"] for row in rows] == [end["active_units"] for end in ends]
    assert [row["last_kl_loss"] for row in rows] == [end["val_kl_loss"] for end in ends]
    rows = list(csv.DictReader(io.StringIO(vaetune("trials", "--format", "csv")[1])))
    assert [row["collapsed"] for row in rows] == ["False", "True"]

    page = (folder / "results" / "report.html").read_text()
    assert "1 of 2 completed trials collapsed: at the last epoch no latent dimension" in page
    assert "The winner has collapsed: 0 active units, KL 0.00 nats after epoch 20." in page
    assert "completed, collapsed" in page
    assert '"collapsed":["0001"]' in page
