"""Builds the documentation: `make docs` writes it to build/docs/."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
TOP = HERE.parent
sys.path.insert(0, str(HERE / "_ext"))

from doors import render_reference  # noqa: E402
from notebooks import NotebookParser  # noqa: E402

project = "vaetune"
author = "the authors of vaetune"
copyright = author

extensions = ["myst_parser"]
exclude_patterns = ["_ext", "_static"]

# Markdown. Headings get anchors down to the third level, so that pages can link to them.
myst_enable_extensions = ["fieldlist"]
myst_heading_anchors = 3

# Long signatures stand on several lines.
maximum_signature_line_length = 80

# The page. Furo brings its own styles and scripts and uses the fonts of the reader's system.
html_theme = "furo"
html_title = "vaetune"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
# Excerpts of search results are fetched, which browsers refuse for pages opened as files.
html_show_search_summary = False

DOORS = "<!-- doors -->"
"""Where `reference.md` wants the public names of the packages."""


def write_doors(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the public names of the packages into the reference."""
    if DOORS in source[0]:
        source[0] = source[0].replace(DOORS, render_reference(TOP))


def setup(app: Sphinx) -> None:
    """Connects what this project adds to Sphinx."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.connect("source-read", write_doors)
