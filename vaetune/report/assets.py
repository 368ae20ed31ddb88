"""Assembles the style, the script and the Content-Security-Policy of the page.

The charts use modules of d3 (see `d3/README.md`), which are embedded unchanged. The page's own
script is in `js/`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

_FOLDER = Path(__file__).parent

_STYLES = ("report", "interactive")

_D3 = (
    *("array", "color", "interpolate", "format", "time", "time-format", "scale", "dispatch"),
    *("selection", "drag", "timer", "ease", "transition", "brush", "contour"),
)
"""Modules of d3, each after the modules that it needs."""

_SCRIPTS = (
    *("dom", "records", "selection", "axes", "download", "chart", "scatter", "course"),
    *("parallel", "space", "latent", "filters", "trials", "trial", "main"),
)
"""Files of the script. They share one scope, and each may use the files before it."""


def read_style() -> str:
    """Reads the style sheets."""
    return "".join(_read(f"{name}.css") for name in _STYLES)


def read_script(live: bool) -> str:
    """Reads the modules of d3 and the page's own script.

    Args:
        live: True to add the code that reloads the page.
    """
    modules = "".join(_read(f"d3/d3-{name}.min.js") for name in _D3)
    own = "\n".join(_read(f"js/{name}.js") for name in _SCRIPTS)
    return f'{modules}\n(() => {{\n"use strict";\n{own}}})();\n{_read("live.js") if live else ""}'


def to_json(value: Any) -> Markup:
    """Converts a value to JSON for a script element; no text in it can end the element."""
    return htmlsafe_json_dumps(value, dumps=_dump)


def build_policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style, this script and embedded images only."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""Characters that HTML forbids, and characters that change the direction of text."""


def replace_unprintable(value: Any) -> Any:
    """Replaces unprintable characters in all texts of nested mappings and sequences."""
    if isinstance(value, Mapping):
        return {key: replace_unprintable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [replace_unprintable(part) for part in value]
    return printable_value(value)


def printable_value(value: Any) -> Any:
    """Replaces unprintable characters if a value is a text and not markup."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
