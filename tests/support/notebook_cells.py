"""Executes the cells of a notebook and stores their outputs, as Jupyter would.

python tests/support/notebook_cells.py docs/notebook.ipynb

It supports only what the notebook uses: Python, shell commands after `!`, printed text, the value
of the last expression of a cell, and figures of matplotlib.
"""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from contextlib import chdir, redirect_stdout
from pathlib import Path


def execute(notebook):
    """Executes the code cells in order, in the working directory.

    Args:
        notebook: Content of a file in notebook format 4. The outputs are stored in it.
    """
    warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
    os.environ["MPLBACKEND"] = "agg"
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    scope = {"__name__": "__main__", "_shell": shell}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        cell["execution_count"] = number
        cell["outputs"] = list(outputs_of("".join(cell["source"]), scope, number))


def outputs_of(source, scope, number):
    """Executes a cell and yields its outputs: printed text, last value and figures."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        value = run(re.sub(r"^!(.+)$", r"_shell(r'''\1''')", source, flags=re.MULTILINE), scope)
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        yield {"output_type": "stream", "name": "stdout", "text": lines}
    if value is not None:
        data = {"text/plain": lines_of(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = lines_of(value._repr_html_())
        result = {"output_type": "execute_result", "execution_count": number}
        yield {**result, "data": data, "metadata": {}}
    yield from figures()


def run(source, scope):
    """Runs a cell; returns the value of its last expression unless a semicolon ends it."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or source.rstrip().endswith(";"):
        exec(compile(tree, "<cell>", "exec"), scope)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "<cell>", "exec"), scope)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), scope)


def shell(command):
    """Runs a command and prints its output. A command that fails stops the notebook."""
    inherited = {**os.environ, "MPLBACKEND": "of_the_notebook"}
    done = subprocess.run(
        command, shell=True, env=inherited, capture_output=True, text=True, check=False
    )
    sys.stdout.write(done.stdout + done.stderr)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr}")


def figures():
    """Yields the open figures as PNG images, and closes them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for number in pyplot.get_fignums() if pyplot else ():
        file = io.BytesIO()
        figure = pyplot.figure(number)
        figure.savefig(file, bbox_inches="tight", dpi=90, metadata={"Software": None})
        pyplot.close(figure)
        png = base64.b64encode(file.getvalue()).decode()
        data = {"image/png": png, "text/plain": ["<Figure>"]}
        yield {"output_type": "display_data", "data": data, "metadata": {}}


def lines_of(text):
    return text.splitlines(keepends=True)


def main(path):
    """Executes a notebook in an empty folder and stores the outputs in the notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        execute(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
