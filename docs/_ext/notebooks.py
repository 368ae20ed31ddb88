"""Shows notebooks as pages: their cells and stored outputs, as Markdown. Nothing is executed."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The codes with which text changes the colours of a terminal."""


class NotebookParser(MystParser):
    """Reads `.ipynb` files."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Turns a notebook into a document.

        Args:
            inputstring: The notebook as JSON.
            document: Receives the content.
        """
        super().parse(to_markdown(json.loads(inputstring)), document)


def to_markdown(notebook: Mapping[str, Any]) -> str:
    """Writes a notebook as Markdown.

    Args:
        notebook: The content of a file in notebook format 4.

    Returns:
        Text cells as they are; code cells as code blocks, followed by their outputs.
    """
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = _joined(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            # A line that begins with "!" is for the shell.
            language = "sh" if source.startswith("!") else "python"
            parts += [_fenced(language, source), *_outputs(cell)]
    return "\n\n".join(parts) + "\n"


def _outputs(cell: Mapping[str, Any]) -> Iterator[str]:
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield _fenced("text", _joined(output["text"]))
        elif output["output_type"] == "error":
            yield _fenced("text", f"{output['ename']}: {output['evalue']}")
        else:
            yield _richest(output["data"])


def _richest(data: Mapping[str, Any]) -> str:
    """The form of an output that shows most: an image, then HTML, then text."""
    if "image/png" in data:
        return f"![output](data:image/png;base64,{''.join(_joined(data['image/png']).split())})"
    for kind in ("image/svg+xml", "text/html"):
        if kind in data:
            return _fenced("{raw} html", _joined(data[kind]))
    return _fenced("text", _joined(data.get("text/plain", "")))


def _joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def _fenced(language: str, text: str) -> str:
    clean = COLOURS.sub("", text).rstrip("\n")
    longest = max((len(ticks) for ticks in re.findall(r"`+", clean)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{clean}\n{fence}"
