"""`vaetune new`: write a search file to edit."""

import shlex
from typing import Annotated

import typer

from vaetune.cli.console import note, say
from vaetune.cli.options import Dataset
from vaetune.cli.values import AlgorithmOption
from vaetune.errors import DataError, MissingImagesError


def new(
    name: Annotated[str, typer.Argument(help="Name of the search.")],
    algorithm: Annotated[
        AlgorithmOption,
        typer.Option(help="Algorithm of the built-in search file to start from."),
    ] = AlgorithmOption.hyperband,
    dataset: Dataset = None,
) -> None:
    """Write a search file of your own, searches/NAME.toml, to edit.

    Its space suits the size, channels and number of the images, if they are there.
    """
    from vaetune.config import write_template
    from vaetune.data import read_outline

    source, problem = dataset or "digits", ""
    try:
        images = read_outline(source)
    except DataError as error:
        is_missing = isinstance(error, MissingImagesError)
        problem = f"There is nothing at {source} yet." if is_missing else str(error)
        path = write_template(name, algorithm.value, source)
    else:
        path = write_template(
            name, algorithm.value, source, image_shape=images.image_shape, count=images.count
        )
    say(f"Written: {path}")
    if problem:
        note(
            f"{problem} So its space is for grey images of 28 x 28 pixels. Once the images can be "
            "read, delete the file and run the command again, or edit data.dataset and [space]."
        )
    quoted = shlex.quote(name)
    say(f"Next: edit it, then `vaetune check {quoted}`, then `vaetune search {quoted}`")
