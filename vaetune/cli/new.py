"""`vaetune new`: write a search file to edit."""

import shlex
from typing import Annotated

import typer

from vaetune.cli.console import say
from vaetune.cli.options import AlgorithmOption, Dataset


def new(
    name: Annotated[str, typer.Argument(help="Name of the search.")],
    algorithm: Annotated[
        AlgorithmOption,
        typer.Option(help="Algorithm of the built-in search file to start from."),
    ] = AlgorithmOption.hyperband,
    dataset: Dataset = None,
) -> None:
    """Write a search file of your own, searches/NAME.toml, to edit."""
    from vaetune.config import write_template

    path = write_template(name, algorithm.value, dataset or "digits")
    say(f"Written: {path}")
    quoted = shlex.quote(name)
    say(f"Next: edit it, then `vaetune check {quoted}`, then `vaetune search {quoted}`")
