"""The notebook of the documentation runs, and gives the outputs that are stored in it."""

import base64
import json
import os
import re
from pathlib import Path

import pytest
from notebook_cells import outputs_of
from prepared_commands import PreparedCommand

import vaetune

TOP = Path(__file__).parents[2]
NOTEBOOK = TOP / "docs" / "notebook.ipynb"
EXECUTE = TOP / "tests" / "support" / "quick_notebook.py"
EPOCHS = '"budget.max_epochs": 8'
QUICK_EPOCHS = '"budget.max_epochs": 2'
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def stored():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook after its execution in another process.

    It trains for fewer epochs. Its outputs are compared without numbers.
    """
    copy = tmp_path_factory.mktemp("notebook") / "notebook.ipynb"
    text = NOTEBOOK.read_text(encoding="utf-8")
    epochs, fewer = (json.dumps(line)[1:-1] for line in (EPOCHS, QUICK_EPOCHS))
    assert text.count(epochs) == 1
    copy.write_text(text.replace(epochs, fewer), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(vaetune.__file__).parents[1])}
    with PreparedCommand([copy], copy.parent, environment, program=EXECUTE) as process:
        assert process.finish() == (0, "", "")
    return json.loads(copy.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def comparable(cell):
    """Yields the outputs of a cell without numbers, which depend on the machine."""
    for output in cell["outputs"]:
        kinds = sorted(output.get("data", ["text"]))
        text = output.get("text") or output["data"].get("text/html") or output["data"]["text/plain"]
        yield output["output_type"], kinds, without_numbers("".join(text))


def without_numbers(text):
    text = re.sub(r"CPU|GPU \(.*?\)", "DEVICE", text)
    # The number of epochs within the time budget depends on the machine.
    text = re.sub(r"^Keras example continues after .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\d[\d.,]*", "#", text)
    text = re.sub(r"beyond the noise|inside the noise", "NOISE", text)
    return re.sub(r"threads?\b|[ -]+", " ", text)


@pytest.mark.slow
def test_every_cell_gives_its_stored_outputs(stored, executed):
    """After a change, run `python tests/support/notebook_cells.py docs/notebook.ipynb`."""
    for before, now in zip(code_cells(stored), code_cells(executed), strict=True):
        assert now["source"] == [line.replace(EPOCHS, QUICK_EPOCHS) for line in before["source"]]
        assert list(comparable(now)) == list(comparable(before)), "".join(now["source"])


@pytest.mark.slow
def test_figures_are_png_images(executed):
    data = [output.get("data", {}) for cell in code_cells(executed) for output in cell["outputs"]]
    images = [base64.b64decode(one["image/png"]) for one in data if "image/png" in one]
    assert len(images) == 2
    assert all(image.startswith(PNG) and len(image) > 2000 for image in images)


def test_the_notebook_uses_the_main_functions_and_the_command_line(stored):
    source = "\n".join("".join(cell["source"]) for cell in code_cells(stored))
    used = set(re.findall(r"vaetune\.(\w+)", source))
    assert used <= set(vaetune.__all__)
    assert {"load_search", "run_search", "evaluate_trial", "export_trial", "load_model"} <= used
    assert source.count("vaetune.run_search(") == 2, "a second call continues"
    assert {"!vaetune best random", "!vaetune report"} <= set(source.splitlines())


def test_no_stored_output_has_an_absolute_path(stored):
    for cell in code_cells(stored):
        assert not re.search(r"(?<![\w.<:])/\w", json.dumps(without_images(cell["outputs"])))


def without_images(outputs):
    return [{**one, "data": {**one.get("data", {}), "image/png": ""}} for one in outputs]


def test_a_cell_outputs_its_text_and_its_last_value_without_semicolon():
    scope = {"_shell": None}
    text, value = outputs_of("x = 2\nprint('hello')\nx + 1", scope, 7)
    assert (text["output_type"], text["text"]) == ("stream", ["hello\n"])
    assert (value["data"], value["execution_count"]) == ({"text/plain": ["3"]}, 7)
    assert list(outputs_of("x + 1;", scope, 8)) == []
    assert list(outputs_of("y = x", scope, 9)) == []


def test_a_failed_command_stops_the_notebook():
    from notebook_cells import shell

    with pytest.raises(RuntimeError, match="ended with 3"):
        list(outputs_of("!exit 3", {"_shell": shell}, 1))
