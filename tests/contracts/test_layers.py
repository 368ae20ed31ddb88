"""Imports point down only and go through doors, and TensorFlow is imported late."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import vaetune

PACKAGE = Path(vaetune.__file__).parent

LAYERS = (
    ("cli",),
    ("search", "export"),
    ("evaluation",),
    ("report", "training"),
    ("study", "data", "models"),
    ("config",),
    ("device", "files"),
    ("errors", "version"),
)
"""Layers from top to bottom. Packages and single modules import only from layers below theirs."""

PACKAGES = LAYERS[0] + LAYERS[1] + LAYERS[2] + LAYERS[3] + LAYERS[4] + LAYERS[5]
MAX_AT_THE_TOP = 16

FORBIDDEN = {
    ("report", "models"): "a report needs no TensorFlow",
    ("report", "data"): "a report uses recorded results only",
    ("search.executors", "search.tuner"): "executors know the interface `TrialSource` only",
    ("search.executors", "search.session"): "executors know the interface `TrialSource` only",
}

KERAS_TUNER = ("models.hypermodel", "search.limits", "search.oracles", "search.tuner")
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
"""Modules that may import TensorFlow, Keras or Keras Tuner; `device` and `data` do so late."""

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


def is_within(module, names):
    """Whether a module is one of the named modules, or in one of the named packages."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def find_modules():
    """The files of the modules, by name of the module without `vaetune.`."""
    return {module_name(file): file for file in PACKAGE.rglob("*.py") if module_name(file)}


def module_name(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_names(file):
    """Yields the full names of all modules and objects that a file imports, also in functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import, which this test cannot resolve"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(file, modules):
    """Yields the modules of vaetune that a file imports. A name of a door counts as its package."""
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


def layer_of(module, layers=LAYERS):
    return next(number for number, layer in enumerate(layers) if top_of(module) in layer)


def upward_imports(imports, layers=LAYERS):
    """The imports between packages that do not point down."""
    return sorted(
        (a, b)
        for a, b in imports
        if top_of(a) != top_of(b) and layer_of(a, layers) >= layer_of(b, layers)
    )


def find_cycle(imports):
    """The modules of a circular import; empty if there is none."""
    below = {}
    for a, b in imports:
        if a != b:
            below.setdefault(a, set()).add(b)
    done = set()

    def walk(module, path):
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for other in sorted(below.get(module, ())):
            if cycle := walk(other, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in sorted(below) if (cycle := walk(module, []))), [])


@pytest.fixture(scope="module")
def imports():
    """All imports within vaetune, as pairs of the importing and the imported module."""
    modules = find_modules()
    return {
        (name, imported)
        for name, file in modules.items()
        if name != "__main__"
        for imported in imported_modules(file, modules)
    }


def test_the_top_level_has_only_the_packages_and_at_most_six_modules():
    top = {path.name for path in PACKAGE.iterdir()} - {"__pycache__", "searches"}
    modules = {name for name in top if name.endswith(".py")}
    assert {name for name in top if (PACKAGE / name).is_dir()} == set(PACKAGES)
    assert len(modules) <= 6
    assert len(PACKAGES) + len(modules) <= MAX_AT_THE_TOP


def test_imports_between_packages_point_down(imports):
    assert ("cli.search", "search") in imports, "imports within functions count"
    assert ("study.builder", "study.journal") in imports
    assert upward_imports(imports) == []


def test_an_upward_import_is_found():
    layers = (("top",), ("left", "right"), ("bottom",))
    assert upward_imports([("top.a", "left"), ("left.b", "bottom")], layers) == []
    assert upward_imports([("bottom", "top")], layers) == [("bottom", "top")]
    assert upward_imports([("left.b", "right")], layers) == [("left.b", "right")]


def test_modules_have_no_circular_imports(imports):
    assert find_cycle([("a", "b"), ("b", "c"), ("c", "b")]) == ["b", "c"]
    assert find_cycle(imports) == []


def test_packages_import_each_other_through_their_doors(imports):
    past_doors = {(a, b) for a, b in imports if top_of(a) != top_of(b) and b != top_of(b)}
    assert not past_doors


def test_forbidden_imports_do_not_occur(imports):
    for (importing, imported), reason in FORBIDDEN.items():
        found = [
            (a, b) for a, b in imports if is_within(a, [importing]) and is_within(b, [imported])
        ]
        assert not found, reason


def test_imports_in_functions_and_conditions_are_found(tmp_path):
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
def test_a_door_exports_the_names_of_its_stub(package):
    """Type checkers, readers and lazy_loader all use the stub."""
    door = __import__(f"vaetune.{package}".rstrip("."), fromlist=["__all__"])
    assert sorted(door.__all__) == sorted(stubbed_names(PACKAGE / package / "__init__.pyi"))
    for name in door.__all__:
        assert getattr(door, name) is not None


def stubbed_names(stub):
    """The names of `__all__` in a stub, which must be the names that the stub imports."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imported = {
        alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    (listed,) = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert set(ast.literal_eval(listed.value)) == imported
    return ast.literal_eval(listed.value)


def test_standalone_modules_do_not_import_vaetune():
    files = [*PACKAGE.glob("export/standalone/*.py"), PACKAGE / "data" / "prepare.py"]
    assert {"philox", "predict", "read_back"} <= {file.stem for file in files}
    assert not [file for file in files if "vaetune" in map(top_of, imported_names(file))]


def test_the_module_that_prepares_images_needs_only_numpy_and_pillow():
    """Every export contains a copy, which `predict.py` imports where little is installed."""
    imported = set(map(top_of, imported_names(PACKAGE / "data" / "prepare.py")))
    assert imported - set(sys.stdlib_module_names) == {"numpy", "PIL"}


def users_of(packages):
    """The modules of vaetune that import a module of some packages."""
    return {
        name
        for name, file in find_modules().items()
        if any(is_within(imported, packages) for imported in imported_names(file))
    }


def test_only_listed_modules_import_keras_tuner():
    users = users_of(["keras_tuner"])
    assert "search.tuner" in users
    assert not [name for name in users if not is_within(name, KERAS_TUNER)]


def test_only_listed_modules_import_tensorflow():
    users = users_of(["tensorflow", "keras", "keras_tuner"])
    assert "training.steps" in users
    assert not [name for name in users if not is_within(name, TENSORFLOW)]


@pytest.fixture(scope="module")
def loaded():
    """The modules that are loaded after the import of each of `WITHOUT_TENSORFLOW` in order."""
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
def test_a_module_is_imported_without_tensorflow(loaded, name):
    assert not {"tensorflow", "keras", "keras_tuner"} & set(loaded[name])


def test_the_command_line_starts_without_heavy_imports(loaded):
    heavy = {"numpy", "pandas", "pydantic", "matplotlib", "jinja2", "scipy"}
    assert not heavy & set(loaded["vaetune.cli.app"])
    assert heavy & set(loaded["vaetune.report.output"]), "the check finds loaded modules"


def test_the_import_of_a_report_skips_modules_that_only_some_reports_need():
    """Only tables of `Study` need pandas. Only larger searches need importances."""
    script = (
        "import json, sys, vaetune.report.output\n"
        "print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "matplotlib" in loaded, "the check finds loaded modules"
    assert not {"pandas", "optuna", "sklearn", "scipy", "tensorflow"} & loaded
