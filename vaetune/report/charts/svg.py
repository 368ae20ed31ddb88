"""Converts figures to SVG that follows the page's fonts and its light and dark colours."""

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from vaetune.report.charts.style import THEME, chart_style

_NUMBER = re.compile(r"-?\d+\.\d{3,}")

_REFERENCE = re.compile(r"#([^)]+)")

_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


@chart_style()
def to_svg(figure: Figure, name: str = "figure", description: str = "") -> str:
    """Converts a figure to an SVG element, reproducibly.

    The SVG has no style attributes and no style elements: matplotlib's would apply to the whole
    page, and the Content-Security-Policy forbids them. Text stays text, in the page's font.

    Args:
        figure: Figure drawn with the colours of `charts.style`.
        name: Prefix of all ids, unique within the page.
        description: Text for screen readers; without it they skip the figure.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="none", metadata=_NO_METADATA)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in list(root.iter()):
        _simplify(element)
    _rename(root, name)
    head = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": root.attrib["viewBox"]}
    label = {"role": "img", "aria-label": description} if description else {"aria-hidden": "true"}
    style = {"stroke-linejoin": "round", "font-family": "system-ui, sans-serif"}
    root.attrib = head | label | style
    return ElementTree.tostring(root, encoding="unicode")


def _simplify(element: ElementTree.Element) -> None:
    """Removes namespaces, styles and invisible decimals."""
    element.tag = element.tag.rpartition("}")[2]
    for child in list(element):
        if child.tag.endswith("}style"):
            element.remove(child)
    attributes = dict(element.attrib)
    properties = (p.split(":", 1) for p in attributes.pop("style", "").split(";") if p)
    attributes |= {name.strip(): value.strip() for name, value in properties}
    attributes.pop("font-family", None)
    element.attrib = {
        name.rpartition("}")[2]: _shorter(THEME.get(value, value))
        for name, value in attributes.items()
    }
    if element.tag != "text":
        element.text = None
    element.tail = None


def _shorter(value: str) -> str:
    return _NUMBER.sub(lambda number: f"{float(number[0]):.2f}", value).replace("\n", " ").strip()


def _rename(root: ElementTree.Element, name: str) -> None:
    """Prefixes the ids that are referred to with the name, and removes all others."""
    referred = set()
    for element in root.iter():
        for attribute in ("href", "clip-path"):
            if match := _REFERENCE.search(element.attrib.get(attribute, "")):
                referred.add(match[1])
                element.attrib[attribute] = _REFERENCE.sub(
                    f"#{name}-{match[1]}", element.attrib[attribute]
                )
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in referred:
            element.attrib["id"] = f"{name}-{identity}"
