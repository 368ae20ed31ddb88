"""Imports point down only, packages are entered through their doors, TensorFlow comes late."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vaetune

PACKAGE = Path(vaetune.__file__).parent

FLOORS = (
    ("cli",),
    ("search", "export"),
    ("evaluation",),
    ("report", "training"),
    ("study", "data", "models"),
    ("config",),
    ("device", "files"),
    ("errors", "version"),
)
"""Top to bottom. A package or ground module imports from the floors below its own only."""

PACKAGES = FLOORS[0] + FLOORS[1] + FLOORS[2] + FLOORS[3] + FLOORS[4] + FLOORS[5]
MAX_AT_THE_TOP = 16
MAX_MODULE_LINES = 350
MAX_BODY_LINES = 40
MAX_PARAMETERS = 10

FORBIDDEN = {
    ("report", "models"): "a report needs no TensorFlow",
    ("report", "data"): "a report is made from what is recorded",
    ("search.executors", "search.tuner"): "executors know the interface `TrialSource` only",
    ("search.executors", "search.session"): "executors know the interface `TrialSource` only",
}

KERAS_TUNER = ("models.hypermodel", "search.limits", "search.oracles", "search.tuner")
KERAS_TUNER_PRIVATE = KERAS_TUNER
TENSORFLOW = (
    "data.sources",
    "device",
    "evaluation",
    "export.bundle",
    "export.formats",
    "export.parts",
    "export.standalone",
    "export.verify",
    "models",
    "search.limits",
    "search.oracles",
    "search.preflight.probe",
    "search.tuner",
    "training",
)
"""Modules that may import TensorFlow, Keras or Keras Tuner; `device` and `data` do it late."""

WITHOUT_TENSORFLOW = (
    "vaetune",
    "vaetune.cli.app",
    *(f"vaetune.{package}" for package in PACKAGES),
    "vaetune.cli.live.progress",
    "vaetune.config.search_file",
    "vaetune.config.template",
    "vaetune.data.sources",
    "vaetune.device",
    "vaetune.export.bridges.write",
    "vaetune.export.folder",
    "vaetune.export.manifest",
    "vaetune.export.model_card",
    "vaetune.export.reader",
    "vaetune.export.standalone.read_back",
    "vaetune.report.live",
    "vaetune.report.output",
    "vaetune.search.executors.ray_executor",
    "vaetune.search.executors.ray_worker",
    "vaetune.search.preflight.estimate",
    "vaetune.search.run",
    "vaetune.study.builder",
    "vaetune.study.catalog",
    "vaetune.study.checkpoint",
)


def continues_trial(module, places):
    """Whether a module is one of some places, or in a package that is."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def find_modules():
    """The files of the modules, by name without `vaetune.`."""
    return {module_name(file): file for file in PACKAGE.rglob("*.py") if module_name(file)}


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
    """The modules of vaetune that a file imports: a door, where a name comes through one."""
    for name in imported_names(file):
        inside = name.removeprefix("vaetune.")
        if inside == name:
            continue
        while inside and inside not in modules:
            inside = inside.rpartition(".")[0]
        if inside:
            yield inside


def top_of(module):
    return module.partition(".")[0]


def floor_of(module, floors=FLOORS):
    return next(number for number, floor in enumerate(floors) if top_of(module) in floor)


def upward_edges(edges, floors=FLOORS):
    """Imports between packages that do not point down."""
    return sorted(
        (a, b)
        for a, b in edges
        if top_of(a) != top_of(b) and floor_of(a, floors) >= floor_of(b, floors)
    )


def find_circle(edges):
    """Modules that import one another in a circle; empty if there are none."""
    below = {}
    for a, b in edges:
        if a != b:
            below.setdefault(a, set()).add(b)
    done = set()

    def walk(module, path):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for other in sorted(below.get(module, ())):
            if circle := walk(other, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(below) if (circle := walk(module, []))), [])


@pytest.fixture(scope="module")
def edges():
    modules = find_modules()
    return {
        (name, imported)
        for name, file in modules.items()
        if name != "__main__"
        for imported in imported_modules(file, modules)
    }


def test_the_top_holds_the_packages_and_a_few_ground_modules():
    top = {path.name for path in PACKAGE.iterdir()} - {"__pycache__", "searches"}
    modules = {name for name in top if name.endswith(".py")}
    assert {name for name in top if (PACKAGE / name).is_dir()} == set(PACKAGES)
    assert len(modules) <= 6
    assert len(PACKAGES) + len(modules) <= MAX_AT_THE_TOP


def test_imports_between_packages_point_down(edges):
    assert ("cli.search", "search") in edges, "imports within functions count"
    assert ("study.builder", "study.journal") in edges
    assert upward_edges(edges) == []


def test_an_upward_edge_is_found():
    floors = (("top",), ("left", "right"), ("bottom",))
    assert upward_edges([("top.a", "left"), ("left.b", "bottom")], floors) == []
    assert upward_edges([("bottom", "top")], floors) == [("bottom", "top")]
    assert upward_edges([("left.b", "right")], floors) == [("left.b", "right")]


def test_no_modules_import_one_another_in_a_circle(edges):
    assert find_circle([("a", "b"), ("b", "c"), ("c", "b")]) == ["b", "c"]
    assert find_circle(edges) == []


def test_packages_are_entered_through_their_doors(edges):
    behind = {(a, b) for a, b in edges if top_of(a) != top_of(b) and b != top_of(b)}
    assert not behind


def test_some_imports_are_forbidden_for_a_reason(edges):
    for (place, other), reason in FORBIDDEN.items():
        found = [
            (a, b) for a, b in edges if continues_trial(a, [place]) and continues_trial(b, [other])
        ]
        assert not found, reason


def test_an_import_is_found_wherever_it_stands(tmp_path):
    file = tmp_path / "module.py"
    file.write_text(
        "import vaetune.study\n"
        "from typing import TYPE_CHECKING\n"
        "from vaetune import report, version\n"
        "if TYPE_CHECKING:\n"
        "    from vaetune.search import run_search\n"
        "def late():\n"
        "    from vaetune.report import page\n"
        "    from vaetune.report.output import write_report\n"
    )
    found = set(imported_modules(file, find_modules()))
    assert found == {"study", "report", "version", "search", "report.page", "report.output"}


@pytest.mark.parametrize("package", ["", *PACKAGES])
def test_a_door_hands_out_what_its_stub_names(package):
    """The stub is what type checkers and readers see, and lazy_loader obeys."""
    door = __import__(f"vaetune.{package}".rstrip("."), fromlist=["__all__"])
    assert sorted(door.__all__) == sorted(stubbed_names(PACKAGE / package / "__init__.pyi"))
    for name in door.__all__:
        assert getattr(door, name) is not None


def stubbed_names(stub):
    """The names of `__all__` in a stub, each of which it also imports."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (listed,) = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert set(ast.literal_eval(listed.value)) == imported
    return ast.literal_eval(listed.value)


def test_what_runs_without_vaetune_imports_nothing_of_it():
    files = [*PACKAGE.glob("export/standalone/*.py"), PACKAGE / "data" / "prepare.py"]
    assert {"philox", "predict", "read_back"} <= {file.stem for file in files}
    assert not [file for file in files if "vaetune" in map(top_of, imported_names(file))]


def test_what_prepares_images_needs_numpy_and_pillow_alone():
    """A copy is in every export, and `predict.py` imports it where little is installed."""
    imported = set(map(top_of, imported_names(PACKAGE / "data" / "prepare.py")))
    assert imported - set(sys.stdlib_module_names) == {"numpy", "PIL"}


def users_of(packages):
    return {
        name
        for name, file in find_modules().items()
        if any(continues_trial(imported, packages) for imported in imported_names(file))
    }


def test_keras_tuner_has_one_seam():
    users = users_of(["keras_tuner"])
    assert "search.tuner" in users
    assert not [name for name in users if not continues_trial(name, KERAS_TUNER)]


def test_the_private_names_of_keras_tuner_have_a_narrower_one():
    """`keras_tuner.engine` is private; the errors and names of the top level are not."""
    users = users_of(["keras_tuner.engine"])
    assert not [name for name in users if not continues_trial(name, KERAS_TUNER_PRIVATE)]


def test_only_what_trains_or_exports_imports_tensorflow():
    users = users_of(["tensorflow", "keras", "keras_tuner"])
    assert "training.steps" in users
    assert not [name for name in users if not continues_trial(name, TENSORFLOW)]


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
    assert not heavy & set(loaded["vaetune.cli.app"])
    assert heavy & set(loaded["vaetune.report.output"]), "the probe sees what is loaded"


def test_a_report_is_imported_without_what_only_some_reports_need():
    """Tables are for users of `Study`, importances for searches of enough configurations."""
    script = (
        "import json, sys, vaetune.report.output\n"
        "print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "matplotlib" in loaded, "the probe sees what is loaded"
    assert not {"pandas", "optuna", "sklearn", "scipy", "tensorflow"} & loaded
