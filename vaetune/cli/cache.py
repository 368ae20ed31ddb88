"""`vaetune cache`: list or remove the decoded images of large folders."""

from typing import Annotated

import typer

from vaetune.cli.console import say


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all files of the cache.")] = False,
) -> None:
    """List or remove the decoded images of large folders.

    A folder larger than memory is decoded once. Searches of the same files share the result, and
    facts about the images. Both are made again when they are needed.
    """
    from vaetune.data import cache_folder, clear_cache, list_cache
    from vaetune.report import counted

    if clear:
        number, size = clear_cache()
        say(f"{counted(number, 'file')} removed from {cache_folder()}, {size / 1e6:,.1f} MB.")
        return
    files = list_cache()
    for file in files:
        source = f"  {file.source}" if file.source else ""
        say(f"{file.size / 1e6:12,.1f} MB  {file.path.name}{source}")
    total = sum(file.size for file in files)
    say(f"{counted(len(files), 'file')} in {cache_folder()}, {total / 1e6:,.1f} MB.")
