"""The page's own style and script, and what a browser may load: nothing else.

The charts are drawn with modules of d3 (`d3/README.md`), which stand in the page as they were
published; the script itself is in `js/`, a file for each thing that the page does.
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
"""Modules of d3, each after those that it needs."""

_SCRIPTS = (
    *("dom", "records", "selection", "axes", "download", "chart", "scatter", "course"),
    *("parallel", "space", "latent", "filters", "trials", "trial", "main"),
)
"""Files of the script, in one scope: each uses those before it when it is loaded."""


def read_style() -> str:
    """The style sheets."""
    return "".join(_read(f"{name}.css") for name in _STYLES)


def read_script(live: bool) -> str:
    """The modules of d3, then the page's own script.

    Args:
        live: Whether the page reloads itself.
    """
    modules = "".join(_read(f"d3/d3-{name}.min.js") for name in _D3)
    own = "\n".join(_read(f"js/{name}.js") for name in _SCRIPTS)
    return f'{modules}\n(() => {{\n"use strict";\n{own}}})();\n{_read("live.js") if live else ""}'


def to_data(told: Any) -> Markup:
    """JSON for a script element, which no text in it can end."""
    return htmlsafe_json_dumps(told, dumps=_dump)


def allow_only(style: str, script: str) -> str:
    """A Content-Security-Policy: this page's own style and script, images within it, no request."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _dump(told: Any) -> str:
    return json.dumps(told, separators=(",", ":"), allow_nan=False)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""What HTML forbids, and what turns the direction of the text that follows."""


def printable_within(told: Any) -> Any:
    """The same for all text in what JSON will hold."""
    if isinstance(told, Mapping):
        return {key: printable_within(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [printable_within(value) for value in told]
    return printable_value(told)


def printable_value(value: Any) -> Any:
    """Marks characters that no page may hold; what is markup is the page's own."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", value)
