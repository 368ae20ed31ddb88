"""The wheel has all files that a user needs, and the project files are consistent."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vaetune

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(TOP)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_has_searches_digits_the_report_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "vaetune/searches/hyperband.toml",
        "vaetune/data/digits/digits.npz",
        "vaetune/data/digits/LICENSE.md",
        "vaetune/data/prepare.py",
        "vaetune/export/standalone/predict.py",
        "vaetune/export/standalone/read_back.py",
        "vaetune/export/model_card.md.j2",
        "vaetune/report/template.html.j2",
        "vaetune/report/report.css",
        "vaetune/report/interactive.css",
        "vaetune/report/js/main.js",
        "vaetune/report/live.js",
        "vaetune/report/d3/d3-scale.min.js",
        "vaetune/report/d3/LICENSE",
    } <= names
    stubs = {str(path.relative_to(TOP)) for path in (TOP / "vaetune").rglob("*.pyi")}
    assert len(stubs) > 10
    assert {"vaetune/py.typed", *stubs} <= names
    assert not [name for name in names if name.startswith(("tests/", "results/", "benchmarks/"))]


@pytest.mark.slow
def test_a_wheel_in_an_empty_folder_finds_its_searches_and_digits(wheel, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import vaetune.config, vaetune.data\n"
        f"assert vaetune.__file__.startswith({str(installed)!r}), vaetune.__file__\n"
        "path = vaetune.config.find_search('hyperband')\n"
        f"assert str(path).startswith({str(installed)!r}), path\n"
        "dataset = vaetune.config.resolve(path).spec.data.dataset\n"
        "print(len(vaetune.data.load_images(dataset).train))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=empty,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("5000\n", "")


def test_the_makefile_has_the_main_targets():
    targets = set(re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    assert {"install", "search", "test", "check", "docs", "bench", "clean", "help"} <= targets


def test_the_changelog_describes_this_version():
    assert f"## {vaetune.__version__}" in (TOP / "CHANGELOG.md").read_text()


def test_every_dependency_has_a_tested_version():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [
        *project["dependencies"],
        *extras["docs"],
        *extras["mlflow"],
        *extras["onnx"],
        *extras["dev"],
    ]
    names = {re.match(r"[a-z0-9_-]+", line)[0].replace("-", "") for line in needed} - {"vaetune"}
    lines = (TOP / "constraints.txt").read_text().lower().splitlines()
    tested = {line.split("==")[0].replace("-", "").replace("_", "") for line in lines}
    assert names <= tested
