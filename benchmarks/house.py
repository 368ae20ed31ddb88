"""Measures the layout and the language of the code: `python benchmarks/house.py`.

tests/contracts/test_house.py checks the limits.
"""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "vaetune"

Function = ast.FunctionDef | ast.AsyncFunctionDef

OLD_WORDS = re.compile(
    r"\b(anew|beside|lent|lends?|lest|aught|told|tells? of|wherever it|of it|so many|so much|"
    r"so often|(go|goes|going|gone|went) on|(take|takes|taken|took) up|(let|lets) go|"
    r"what (became|becomes|came|comes) of|to be had|is had|at the least|at the most|nobody|"
    r"in vain|crew|workforce|roster|shelf|bench|foretells?|foretold|reckoned)\b"
)
"""Unclear or archaic words that names of functions, docstrings and comments must not use."""

GENITIVE = re.compile(r"^\s+\w+: (Of|That|How|Which|Whose|Where|When|What|Why)\b", re.MULTILINE)
"""Arguments and attributes that no noun phrase describes, such as "seed: Of the search."."""


class Length(NamedTuple):
    """The size of a function.

    Attributes:
        place: Path of the module in the package, and name of the function.
        lines: Number of lines of the body, without the docstring.
        parameters: Number of parameters, without `self`.
    """

    place: str
    lines: int
    parameters: int


def modules(folder: Path = PACKAGE) -> dict[str, str]:
    """Returns the source text of every module, by path in the folder."""
    found = sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in found}


def top_names() -> list[str]:
    """Returns the packages and modules at the top of vaetune."""
    names = (path.name for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py")
    return sorted(set(names) - {"__pycache__", "searches"})


def arrows() -> set[tuple[str, str]]:
    """Returns the imports between the packages and modules at the top."""
    found = set()
    for name, text in modules().items():
        here = name.partition("/")[0].removesuffix(".py")
        for imported in _imports(ast.parse(text)):
            there = imported.split(".")[1]
            if there not in (here, "__init__"):
                found.add((here, there))
    return {(a, b) for a, b in found if not a.startswith("__")}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vaetune"):
            if "." in node.module:
                yield node.module
            else:
                yield from (f"vaetune.{alias.name}" for alias in node.names)


def functions() -> list[Length]:
    """Returns all functions and methods."""
    return [
        Length(f"{name}:{node.name}", *_measure(node))
        for name, text in modules().items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function)
    ]


def _measure(node: Function) -> tuple[int, int]:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
    given = node.args
    parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return lines, len([one for one in parameters if one.arg not in ("self", "cls")])


def docstrings(folder: Path = PACKAGE) -> dict[str, str]:
    """Returns every docstring, including those of constants, by module and line."""
    return {
        f"{name}:{node.lineno}": node.value.value
        for name, text in modules(folder).items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def comments(folder: Path = PACKAGE) -> dict[str, str]:
    """Returns every comment, by module and line."""
    return {
        f"{name}:{number}": line.partition("# ")[2]
        for name, text in modules(folder).items()
        for number, line in enumerate(text.splitlines(), start=1)
        if "# " in line and "noqa" not in line and "type: ignore" not in line
    }


def old_words(folder: Path = PACKAGE) -> list[str]:
    """Returns the docstrings, comments and names of functions with `OLD_WORDS`."""
    texts = docstrings(folder) | comments(folder)
    for name, text in modules(folder).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                texts[f"{name}:{node.name}"] = node.name.replace("_", " ")
    return [f"{place}: {m[0]}" for place, text in texts.items() if (m := OLD_WORDS.search(text))]


def genitives() -> list[str]:
    """Returns the arguments and attributes that match `GENITIVE`."""
    return [
        f"{place}: {found[0].strip()}"
        for place, text in docstrings().items()
        for found in GENITIVE.finditer(text)
        if "Args:" in text or "Attributes:" in text
    ]


def long_modules(limit: int = 350) -> list[str]:
    """Returns the modules with more lines than a limit."""
    counted = {name: len(text.splitlines()) for name, text in modules().items()}
    return [f"{name}: {lines}" for name, lines in counted.items() if lines > limit]


def main() -> None:
    """Prints each measurement with its limit."""
    found = functions()
    lines = sorted(one.lines for one in found)
    longest = max(found, key=lambda one: one.lines)
    widest = max(found, key=lambda one: one.parameters)
    readme = len((TOP / "README.md").read_text(encoding="utf-8").splitlines())
    rows = (
        ("packages and modules at the top", len(top_names()), "at most 16"),
        ("imports between them", len(arrows()), "at most 60"),
        ("modules over 350 lines", len(long_modules()), "0"),
        ("longest function body", f"{longest.lines} ({longest.place})", "40"),
        ("median function body", statistics.median(lines), "5"),
        ("90th percentile of function bodies", lines[len(lines) * 9 // 10], "17"),
        ("most parameters of a function", f"{widest.parameters} ({widest.place})", "10"),
        ("README lines", readme, "under 200"),
        ("arguments without a noun phrase", len(genitives()), "0"),
        ("docstrings and comments with unclear words", len(old_words()), "0"),
    )
    for name, value, goal in rows:
        print(f"{name:<42} {value!s:<48} {goal}")


if __name__ == "__main__":
    main()
