"""Writes the API reference: the public names of each package, from their docstrings.

The sources are read and never imported, so that the build needs no TensorFlow.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

PACKAGE = "vaetune"

Documented = griffe.Class | griffe.Function | griffe.Attribute | griffe.TypeAlias


def render_reference(sources: Path) -> str:
    """Describes every public name of vaetune and its packages.

    A name that `vaetune` itself offers is described there alone.

    Args:
        sources: Folder that holds the package.

    Returns:
        Markdown with a heading for each package.
    """
    package = griffe.load(PACKAGE, search_paths=[sources], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    known: set[str] = set()
    parts = []
    for module in (package, *_packages_within(package)):
        parts += [f"## {module.path}", _docstring(module, 2)]
        for name in public_names(module):
            found = _target(module, name)
            if found.path in known:
                parts.append(f"`{name}` is described under `{PACKAGE}`.")
            else:
                known.add(found.path)
                parts.append(_describe(found, f"{module.path}.{name}"))
    return "\n\n".join(part for part in parts if part)


def public_names(module: griffe.Module) -> list[str]:
    """The names in a module's `__all__`, without `__version__`."""
    return [str(name) for name in module.exports or () if not str(name).startswith("_")]


def _packages_within(package: griffe.Module) -> Iterator[griffe.Module]:
    for name in sorted(package.modules):
        module = package.modules[name]
        if module.is_init_module and public_names(module):
            yield module


def _target(module: griffe.Module, name: str) -> Documented:
    """Follows a re-exported name to its definition."""
    found = module[name]
    target = found.final_target if found.is_alias else found
    assert isinstance(target, Documented), f"{name} of {module.path} is a {target.kind.value}"
    return target


def _describe(found: Documented, name: str, depth: int = 6) -> str:
    """Writes a directive for a name, and for the public members of a class."""
    match found:
        case griffe.Class():
            body = [_docstring(found, depth), *_members(found, depth - 1)]
            return _directive("class", f"{name}{_signature_of_class(found)}", body, depth)
        case griffe.Function():
            signature = f"{name}{_signature(found, found.parameters)}"
            return _directive("function", signature, [_docstring(found, depth)], depth)
        case _:
            return _directive("data", name, [_docstring(found, depth)], depth)


def _members(found: griffe.Class, depth: int) -> Iterator[str]:
    """Writes a directive for each public method, property and attribute with a docstring."""
    for name, member in found.members.items():
        if name.startswith("_") or member.is_alias or not member.docstring:
            continue
        body = [_docstring(member, depth)]
        if isinstance(member, griffe.Function):
            bound = 0 if "staticmethod" in member.labels else 1
            signature = f"{name}{_signature(member, list(member.parameters)[bound:])}"
            yield _directive("method", signature, body, depth)
        else:
            assert isinstance(member, griffe.Attribute)
            options = [f":type: {member.annotation}"] if member.annotation else []
            yield _directive("attribute", name, [*options, *body], depth)


def _signature_of_class(found: griffe.Class) -> str:
    """The parameters of a class without `self`; empty if it has no constructor of its own."""
    own = found.members.get("__init__")
    if not isinstance(own, griffe.Function):
        return ""
    return f"({_parameters(list(own.parameters)[1:])})"


def _signature(found: griffe.Function, parameters: Iterable[griffe.Parameter]) -> str:
    returns = f" -> {found.returns}" if found.returns else ""
    return f"({_parameters(parameters)}){returns}"


def _parameters(parameters: Iterable[griffe.Parameter]) -> str:
    """Writes parameters as Python does, with `*` before those that need their name."""
    words: list[str] = []
    for parameter in parameters:
        is_keyword = parameter.kind is griffe.ParameterKind.keyword_only
        if is_keyword and not any(word.startswith("*") for word in words):
            words.append("*")
        stars = {"variadic positional": "*", "variadic keyword": "**"}
        kind = parameter.kind.value if parameter.kind else ""
        word = f"{stars.get(kind, '')}{parameter.name}"
        word += f": {parameter.annotation}" if parameter.annotation else ""
        has_default = parameter.default is not None and not stars.get(kind)
        words.append(f"{word} = {parameter.default}" if has_default else word)
    return ", ".join(words)


def _docstring(found: griffe.Object | griffe.Alias, depth: int) -> str:
    """Turns a Google docstring into Markdown with field lists.

    Args:
        found: What the docstring describes.
        depth: Length of the fence around it; code blocks get a shorter one.
    """
    sections = found.docstring.parsed if found.docstring else []
    return "\n\n".join(_section(section, depth - 1) for section in sections)


def _section(section: griffe.DocstringSection, depth: int) -> str:
    match section:
        case griffe.DocstringSectionText():
            return section.value
        case griffe.DocstringSectionParameters():
            return _fields(f":param {one.name}: {_flat(one.description)}" for one in section.value)
        case griffe.DocstringSectionAttributes():
            lines = (f"- `{one.name}`: {_flat(one.description)}" for one in section.value)
            return "**Attributes**\n\n" + _fields(lines)
        case griffe.DocstringSectionReturns() | griffe.DocstringSectionYields():
            return _fields(f":returns: {_flat(one.description)}" for one in section.value)
        case griffe.DocstringSectionRaises():
            return _fields(
                f":raises {one.annotation}: {_flat(one.description)}" for one in section.value
            )
        case griffe.DocstringSectionExamples():
            return "\n\n".join(_example(kind, text, depth) for kind, text in section.value)
        case _:
            title = section.title or section.kind.value.capitalize()
            return f"**{title}.** {_flat(str(_text(section)))}"


def _text(section: griffe.DocstringSection) -> object:
    value = section.value
    return getattr(value, "contents", getattr(value, "description", value))


def _example(kind: griffe.DocstringSectionKind, text: str, depth: int) -> str:
    if kind is griffe.DocstringSectionKind.text:
        return text
    return f"{'`' * depth}python\n{text}\n{'`' * depth}"


def _fields(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _directive(kind: str, signature: str, body: Iterable[str], depth: int) -> str:
    """Writes a directive; one that holds others needs a longer fence than they have."""
    fence = "`" * depth
    content = "\n\n".join(part for part in body if part)
    return f"{fence}{{py:{kind}}} {_flat(signature)}\n{content}\n{fence}"
