"""`vaetune cache`: list or remove the decoded images of large folders and compiled programs."""

from typing import Annotated

import typer

from vaetune.cli.console import say

_FOLDERS = {"images": "file", "programs": "compiled program"}
"""Folders of the cache, each with the name of one of its files."""


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all files of the cache.")] = False,
) -> None:
    """List or remove decoded images and compiled programs.

    A folder larger than memory is decoded once. Searches of the same files share the result, and
    facts about the images. Training steps that XLA compiled are kept for later searches. All of
    them are made again when they are needed.
    """
    from vaetune.data import cache_folder, clear_cache, list_cache
    from vaetune.report import counted

    for name, file in _FOLDERS.items():
        folder = cache_folder(name)
        if clear:
            number, size = clear_cache(folder)
            say(f"{counted(number, file)} removed from {folder}, {size / 1e6:,.1f} MB.")
            continue
        files = list_cache(folder)
        for one in files if name == "images" else ():
            source = f"  {one.source}" if one.source else ""
            say(f"{one.size / 1e6:12,.1f} MB  {one.path.name}{source}")
        size = sum(one.size for one in files)
        say(f"{counted(len(files), file)} in {folder}, {size / 1e6:,.1f} MB.")
