"""Imports point down only, and what needs no TensorFlow does not import it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vaetune

PACKAGE = Path(vaetune.__file__).parent

LAYERS = (
    "__main__",
    "cli",
    "running",
    "exporting",
    "judging",
    "watching",
    "options",
    "terminal",
    "report",
    "report.watch",
    "report.page",
    "report.finalists",
    "report.tables",
    "report.records",
    "report.answer",
    "report.pairs",
    "report.rungs",
    "report.tradeoffs",
    "report.importance",
    "report.race",
    "report.thumbnails",
    "report.curves",
    "report.timeline",
    "report.wording",
    "report.svg",
    "report.assets",
    "rehearsal",
    "judge",
    "export",
    "card",
    "showcase",
    "readback",
    "formats",
    "progress",
    "roster",
    "signals",
    "search",
    "finals",
    "resumption",
    "crew",
    "workforce",
    "tuner",
    "worker",
    "routine",
    "tasks",
    "oracles",
    "rescorer",
    "evaluate",
    "training",
    "steps",
    "hypermodel",
    "model",
    "optimizer",
    "figures",
    "grids",
    "drawing",
    "walks",
    "forecast",
    "pictures",
    "retention",
    "checkpoint",
    "verdict",
    "summary",
    "handover",
    "preprocessing",
    "drafting",
    "shelf",
    "folding",
    "study",
    "environment",
    "journal",
    "data",
    "folder",
    "cluster",
    "shares",
    "device",
    "reader",
    "archive",
    "destination",
    "search_file",
    "spec",
    "space",
    "rescoring",
    "evaluation",
    "errors",
)
"""Top to bottom. A new module takes its place here; each imports from those below it only."""

KERAS_TUNER = {"oracles", "tuner", "hypermodel"}
KERAS_TUNER_PRIVATE = {"oracles", "tuner"}
TENSORFLOW = {
    "device",
    "data",
    "model",
    "optimizer",
    "hypermodel",
    "training",
    "steps",
    "oracles",
    "tuner",
    "rehearsal",
    "evaluate",
    "rescorer",
    "routine",
    "export",
    "formats",
    "readback",
}
"""Modules that may import TensorFlow, Keras or Keras Tuner themselves, `device` and `data` late."""

WITHOUT_TENSORFLOW = (
    "vaetune",
    "vaetune.cli",
    "vaetune.spec",
    "vaetune.search_file",
    "vaetune.evaluation",
    "vaetune.journal",
    "vaetune.study",
    "vaetune.folding",
    "vaetune.shelf",
    "vaetune.summary",
    "vaetune.verdict",
    "vaetune.figures",
    "vaetune.grids",
    "vaetune.card",
    "vaetune.pictures",
    "vaetune.checkpoint",
    "vaetune.progress",
    "vaetune.drafting",
    "vaetune.forecast",
    "vaetune.environment",
    "vaetune.device",
    "vaetune.data",
    "vaetune.reader",
    "vaetune.destination",
    "vaetune.preprocessing",
    "vaetune.handover",
    "vaetune.standalone.read_back",
    "vaetune.report",
    "vaetune.report.watch",
    "vaetune.shares",
    "vaetune.cluster",
    "vaetune.worker",
)


def find_modules():
    """The files of the modules, by name without the package."""
    files = [*PACKAGE.glob("*.py"), *PACKAGE.glob("report/*.py")]
    return {module_name(file): file for file in files if file != PACKAGE / "__init__.py"}


def module_name(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_names(file):
    """Every module and name that a file imports, wherever in it, in full."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import, which this test cannot follow"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(file, modules):
    """The modules of the package that a file imports.

    `from vaetune.report import wording` imports a module, `from vaetune.spec import Space` a name
    of one, `from vaetune import __version__` neither.
    """
    for name in imported_names(file):
        inside = name.removeprefix("vaetune.")
        if inside != name:
            found = inside if inside in modules else inside.rpartition(".")[0]
            if found in modules:
                yield found


def top_levels(file):
    return {name.partition(".")[0] for name in imported_names(file)}


def upward_edges(edges, layers):
    """The imports that do not point down."""
    return sorted((a, b) for a, b in edges if a != b and layers.index(a) >= layers.index(b))


def test_every_module_has_its_place_in_the_order():
    assert set(find_modules()) == set(LAYERS)
    assert len(set(LAYERS)) == len(LAYERS)


def test_imports_point_down_only():
    modules = find_modules()
    edges = {(name, b) for name, file in modules.items() for b in imported_modules(file, modules)}
    assert ("study", "journal") in edges
    assert ("report.page", "report.wording") in edges
    assert ("running", "search") in edges, "imports within functions count"
    assert ("showcase", "figures") in edges, "imports of a module from the package count"
    assert upward_edges(edges, LAYERS) == []


def test_an_upward_edge_and_a_circle_are_found():
    layers = ("top", "middle", "bottom")
    assert upward_edges([("top", "bottom"), ("middle", "bottom")], layers) == []
    assert upward_edges([("bottom", "top")], layers) == [("bottom", "top")]
    circle = [("top", "middle"), ("middle", "bottom"), ("bottom", "top")]
    assert upward_edges(circle, layers) == [("bottom", "top")]


def test_an_import_is_found_wherever_it_stands(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import vaetune.study\n"
        "from typing import TYPE_CHECKING\n"
        "from vaetune import figures, __version__\n"
        "if TYPE_CHECKING:\n"
        "    from vaetune.search import run\n"
        "def late():\n"
        "    from vaetune.report import page\n"
        "    from vaetune.report.page import write_report\n"
    )
    found = set(imported_modules(file, find_modules()))
    assert found == {"study", "figures", "search", "report.page"}


def test_the_package_itself_imports_nothing_of_its_own_until_asked():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in at_once] == ["typing"]


def test_what_runs_without_vaetune_imports_nothing_of_it():
    files = list(PACKAGE.glob("standalone/*.py"))
    assert {"predict", "read_back"} <= {file.stem for file in files}
    assert not [file for file in files if "vaetune" in top_levels(file)]


def test_keras_tuner_has_one_seam():
    users = {name for name, file in find_modules().items() if "keras_tuner" in top_levels(file)}
    assert users == KERAS_TUNER


def test_the_private_names_of_keras_tuner_have_a_narrower_one():
    """`keras_tuner.engine` is private; the errors and names of the top level are not."""
    users = {
        name
        for name, file in find_modules().items()
        if any(imported.startswith("keras_tuner.engine") for imported in imported_names(file))
    }
    assert users <= KERAS_TUNER_PRIVATE


def test_only_what_trains_or_exports_imports_tensorflow():
    heavy = {"tensorflow", "keras", "keras_tuner"}
    users = {name for name, file in find_modules().items() if top_levels(file) & heavy}
    assert users <= TENSORFLOW


@pytest.fixture(scope="module")
def loaded():
    """The modules that are loaded after each of `WITHOUT_TENSORFLOW`, one after the other."""
    script = (
        "import importlib, json, sys\n"
        "loaded = {}\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    loaded[name] = sorted(m for m in sys.modules if '.' not in m)\n"
        "print(json.dumps(loaded))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *WITHOUT_TENSORFLOW],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_it_is_imported_without_tensorflow(loaded, name):
    assert not {"tensorflow", "keras", "keras_tuner"} & set(loaded[name])


def test_the_command_line_starts_without_anything_heavy(loaded):
    heavy = {"numpy", "pandas", "pydantic", "matplotlib", "jinja2", "scipy"}
    assert not heavy & set(loaded["vaetune.cli"])
    assert heavy & set(loaded["vaetune.report"]), "the probe sees what is loaded"


def test_a_report_is_imported_without_what_only_some_reports_need():
    """Tables are for users of `Study`, importances for searches of enough configurations."""
    script = (
        "import json, sys, vaetune.report\n"
        "print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "matplotlib" in loaded, "the probe sees what is loaded"
    assert not {"pandas", "optuna", "sklearn", "scipy", "tensorflow"} & loaded
