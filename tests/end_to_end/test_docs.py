"""The documents are correct: they build, their commands parse, their search files are valid."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

import vaetune
from vaetune.cli.app import app
from vaetune.config.search_file import resolve

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
README = TOP / "README.md"
PAGES = (README, TOP / "CONTRIBUTING.md", TOP / "benchmarks" / "README.md", *DOCS.glob("*.md"))
GROUP = typer.main.get_command(app)

LANGUAGES = {"sh", "text", "toml", "python", "json"}
"""Commands, their output, search files, scripts."""

# The build must not open connections, or import packages that take seconds to import.
BUILD = """
import socket, sys

def refuse(*arguments):
    raise OSError("the documentation asked for a connection")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "keras_tuner", "ray", "tensorflow", "vaetune"):
            raise ImportError(f"the documentation imported {name}")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.meta_path.insert(0, Refuse())
from sphinx.cmd.build import main
# Sphinx computes the table of contents of each page from all pages. The names of the reference in
# it would take a quarter of the time of the build.
without_names = ["-D", "toc_object_entries=0"]
strict = ["--quiet", "--fail-on-warning", "--keep-going"]
sys.exit(main([*strict, *without_names, *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the documentation, built without warnings and connections."""
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(DOCS), str(folder / "site"), "-d", str(folder / "cache")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder / "site"


class _Page(HTMLParser):
    """The loaded files, links, anchors and styles of a built page."""

    LOADS = frozenset({"src", "srcset", "poster", "data", "action", "style"})

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.ids, self.styles = [], [], set(), []
        self._is_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self._is_style = tag == "style"
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        self.loads += [found[name] for name in self.LOADS if found.get(name)]
        if tag == "link" and found.get("href"):
            self.loads.append(found["href"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])

    def handle_data(self, data):
        if self._is_style:
            self.loads.append(data)


def code_blocks(page):
    """The code blocks of a page, as language and text, without Sphinx directives."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^(`{3,})([^\n`]*)\n(.*?)^\1$", text, re.MULTILINE | re.DOTALL)
    return [(language, body) for _, language, body in found if not language.startswith("{")]


def commands():
    """Yields each vaetune command in a code block, with the page in the test id."""
    for page in PAGES:
        for language, body in code_blocks(page):
            for line in body.splitlines() if language != "text" else ():
                if line.startswith("vaetune "):
                    yield pytest.param(line, id=f"{page.stem}: {line.split('#')[0].strip()}")


def mentions():
    """Yields each vaetune command in a sentence or a table, with the page in the test id."""
    for page in PAGES:
        text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for words in re.findall(r"`(vaetune [^`]+)`", text):
            yield pytest.param(
                " ".join(words.split()), id=f"{page.stem}: {' '.join(words.split())}"
            )


def parse(words):
    """Parses a command without running it.

    Raises:
        typer's UsageError: The command or an option does not exist, or a value is wrong.
    """
    name, *arguments = words
    GROUP.commands[name].make_context(name, arguments)


def slug(heading):
    """The anchor that a heading gets on a page."""
    words = re.sub(r"[`*]|\]\([^)]*\)", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def anchors(page):
    """The anchors of a Markdown page."""
    return {slug(h) for h in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)}


def test_the_documentation_builds_without_warnings_network_or_tensorflow(site):
    pages = {path.stem for path in site.glob("*.html")}
    assert {path.stem for path in DOCS.glob("*.md")} <= pages


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("socket.create_connection(('localhost', 1))", "asked for a connection"),
        ("import tensorflow", "imported tensorflow"),
        ("import vaetune", "imported vaetune"),
    ],
)
def test_the_build_refuses_connections_and_imports(code, complaint):
    refused = BUILD.replace("from sphinx.cmd.build", f"{code}\nfrom sphinx.cmd.build")
    done = subprocess.run(
        [sys.executable, "-c", refused], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert f"the documentation {complaint}" in done.stderr


def test_built_pages_load_nothing_from_other_sites(site):
    other_site = re.compile(r"(?:https?:)?//", re.IGNORECASE)
    for path in site.rglob("*.html"):
        loaded = [url for url in _Page(path).loads if not url.startswith("data:")]
        assert [url for url in loaded if other_site.search(url)] == [], path.name
    for path in site.rglob("*.css"):
        style = path.read_text()
        loaded = re.findall(r"url\(\s*[\"']?([^\"')]+)", style)
        loaded += re.findall(r"@import\s+[\"']([^\"']+)", style)
        assert [url for url in loaded if other_site.match(url)] == [], path.name
    for path in site.rglob("*.js"):
        urls = set(re.findall(r"[\"'`]((?:https?:)?//[\w.-]+)", path.read_text()))
        assert urls <= {"http://www.w3.org"}, path.name  # The namespace of SVG.


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_request_only_files_and_fit_the_window(site, chromium, width):
    page = chromium.new_page(viewport={"width": width, "height": 844})
    requested, errors = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    for path in sorted(site.glob("*.html")):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
    page.goto((site / "search.html").as_uri() + "?q=interrupted")
    page.wait_for_selector("#search-results li")
    page.close()
    assert errors == []
    assert requested
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []


def test_links_of_built_pages_have_targets(site):
    pages = {path.name: _Page(path) for path in site.glob("*.html")}
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = unquote(parts.path) or name
            assert (site / target).exists(), f"{name}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_of_markdown_pages_have_targets(page):
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        target = (page.parent / parts.path) if parts.path else page
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_code_block_has_a_known_language(page):
    assert {language for language, _ in code_blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("line", list(commands()))
def test_every_command_in_a_code_block_parses(line):
    _, *words = shlex.split(line, comments=True)
    parse(words)


@pytest.mark.parametrize("words", list(mentions()))
def test_every_command_in_a_sentence_exists(words):
    if words.split()[1] in ("--help", "COMMAND"):
        return
    _, name, *arguments = shlex.split(words)
    parameters = GROUP.commands[name].params
    known = {flag for one in parameters for flag in (*one.opts, *one.secondary_opts)}
    assert {word for word in arguments if word.startswith("-")} <= known | {"--help"}


@pytest.mark.parametrize("wrong", ["search --nothing", "check --sheets", "search x --workers 0"])
def test_a_wrong_command_does_not_parse(wrong):
    usage_error = typer.BadParameter.__base__
    with pytest.raises(usage_error):
        parse(wrong.split())


@pytest.mark.parametrize("name", sorted(GROUP.commands))
def test_every_command_is_in_the_readme_and_the_commands_page(name):
    assert f"`vaetune {name}`" in README.read_text()
    assert re.search(rf"^vaetune {name}\b", (DOCS / "commands.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, (language, body) in enumerate(code_blocks(page))
        if language == "toml"
    ],
)
def test_every_documented_search_file_is_valid(body, tmp_path):
    (tmp_path / "shown.toml").write_text(body)
    assert resolve(tmp_path / "shown.toml").name == "shown"


def test_the_documented_search_file_is_the_built_in_one():
    first = next(body for kind, body in code_blocks(DOCS / "search-file.md") if kind == "toml")
    assert first == (TOP / "searches" / "hyperband.toml").read_text()


def test_the_search_file_page_names_every_key_and_hyperparameter(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    spec = resolve(tmp_path / "empty.toml").spec
    keys = {*type(spec).model_fields}
    for part in (spec.data, spec.training, spec.limits, spec.space):
        keys |= {*type(part).model_fields}
    keys -= {"train_on"}  # Only `vaetune train` uses this key.
    page = (DOCS / "search-file.md").read_text()
    assert {key for key in keys if f"`{key}`" not in page and f"`[{key}]`" not in page} == set()
    budget = {*type(spec.budget).model_fields} - {"patience"}  # Only `vaetune train` uses it.
    page = (DOCS / "algorithms.md").read_text()
    assert {key for key in budget if f"`{key}`" not in page} == set()


def test_every_documented_make_target_exists():
    targets = set(re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets
        assert set(re.findall(r"`make ([a-z]+)`", page.read_text())) <= targets


def test_every_documented_script_exists():
    for page in PAGES:
        for _, body in code_blocks(page):
            for script in re.findall(r"^python ((?:tests|benchmarks)/\S+)", body, re.MULTILINE):
                assert (TOP / script).is_file(), f"{page.name}: {script}"


def test_the_readme_is_short_and_begins_with_a_picture_and_commands():
    lines = README.read_text().splitlines()
    assert len(lines) < 200
    assert any("cannot be lost" in line for line in lines[:60])
    picture = next(number for number, line in enumerate(lines) if "results/example.png" in line)
    first_command = next(number for number, line in enumerate(lines) if line.startswith("make "))
    assert picture < first_command < 12


def test_the_reference_describes_every_public_name(site):
    ids = _Page(site / "reference.html").ids
    names = {name for name in vaetune.__all__ if not name.startswith("_")}
    assert {name for name in names if f"vaetune.{name}" not in ids} == set()


def test_documented_scripts_compile():
    for page in PAGES:
        for language, body in code_blocks(page):
            if language == "python":
                compile(body, str(page), "exec")


def used_public_names():
    """The names of vaetune that the scripts of the documents use."""
    used = set()
    for page in PAGES:
        for language, body in code_blocks(page):
            if language == "python":
                used |= set(re.findall(r"\bvaetune\.(\w+)", body))
                for names in re.findall(r"from vaetune import (.+)", body):
                    used |= set(re.split(r", *", names))
    return used


def test_documented_scripts_use_public_names():
    table = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "python.md").read_text(), re.MULTILINE))
    public = {name for name in vaetune.__all__ if not name.startswith("_")}
    assert used_public_names() <= public
    assert table == public


def test_the_architecture_describes_every_package():
    text = (DOCS / "architecture.md").read_text()
    described = set(re.findall(r"^### `(\w+)/`$", text, re.MULTILINE))
    inits = Path(vaetune.__file__).parent.glob("*/__init__.py")
    assert described == {init.parent.name for init in inits}


def test_the_architecture_names_modules_that_exist():
    text = (DOCS / "architecture.md").read_text()
    package = Path(vaetune.__file__).parent
    named = re.findall(r"`((?:\w+/)+\w+\.py)(?::\s+([\w.]+))?`", text)
    assert len(named) > 20
    for module, name in named:
        assert (package / module).is_file(), module
        source = (package / module).read_text()
        for part in name.split(".") if name else ():
            assert re.search(rf"(?:def|class) {part}\b", source), f"{module}: {name}"
    for folder, section in re.findall(
        r"^### `(\w+)/`$(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL
    ):
        for module in re.findall(r"`(\w+\.py)", section):
            assert list((package / folder).rglob(module)), f"{folder}/{module}"


def test_a_notebook_becomes_a_page_with_its_outputs(tmp_path):
    image = "iVBORw0KGgo="  # The beginning of every PNG file is enough, because nothing decodes it.
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mred\x1b[0m\n"]},
        {"output_type": "display_data", "data": {"image/png": image, "text/plain": "Figure"}},
        {
            "output_type": "execute_result",
            "data": {"text/html": ["<b>bold</b>"], "text/plain": "x"},
        },
        {"output_type": "execute_result", "data": {"text/plain": ["before\n", "```\n", "after"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# A title\n", "\n", "Words."]},
        {"cell_type": "code", "source": "print(1)", "outputs": outputs},
    ]
    (tmp_path / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(DOCS / '_ext')!r})\n"
        "from notebooks import NotebookParser\n"
        "extensions = ['myst_parser']\n"
        "def setup(app):\n"
        "    app.add_source_suffix('.ipynb', 'ipynb')\n"
        "    app.add_source_parser(NotebookParser)\n"
    )
    (tmp_path / "index.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-qW", str(tmp_path), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    page = (tmp_path / "site" / "index.html").read_text()
    assert "<h1>A title" in page
    assert "red\n" in page
    assert "\x1b" not in page
    assert f'src="data:image/png;base64,{image}"' in page
    assert "<b>bold</b>" in page
    assert "before\n```\nafter" in page


def test_the_documents_are_spelt_correctly():
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *map(str, PAGES)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
