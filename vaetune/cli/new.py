"""`vaetune new`: write a search file to edit."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vaetune.cli.console import note, say
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
    from vaetune.config import NAMED_SETS, write_template

    path = write_template(name, algorithm.value, dataset or "digits")
    say(f"Written: {path}")
    if dataset and dataset not in NAMED_SETS and not Path(dataset).expanduser().exists():
        note(f"There is nothing at {dataset} yet. Put the images there, or edit data.dataset.")
    quoted = shlex.quote(name)
    say(f"Next: edit it, then `vaetune check {quoted}`, then `vaetune search {quoted}`")
