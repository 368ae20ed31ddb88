"""Sentences about what was read from a folder, and what was not."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from vaetune.data.folders.files import counted, first_named, was
from vaetune.data.folders.headers import ImageFile
from vaetune.data.folders.plan import Plan
from vaetune.errors import DataError


def notes(files: Sequence[ImageFile], plan: Plan) -> Iterator[str]:
    """Yields sentences about pages, frames and sizes.

    Args:
        files: Files that were read.
        plan: Common size, type and channels of the images.
    """
    if plan.pages == "channels":
        yield f"The {plan.channels} pages of each TIFF file are the channels of an image."
    elif plan.pages == "images":
        several = [len(file.pages) for file in files if len(file.pages) > 1]
        holds = "TIFF file has" if len(several) == 1 else "TIFF files have"
        yield f"{len(several)} {holds} several pages: {sum(several)} pages are images."
    if animated := sum(file.is_animated for file in files):
        yield f"Of {counted(animated, 'file')} with several frames, only the first frame was used."
    resized = [page for file in files for page in file.pages if page.size != plan.size]
    if count := len(resized) // (plan.channels if plan.pages == "channels" else 1):
        height, width = plan.size
        how = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}[plan.resize]
        yield f"{counted(count, 'image')} {was(count)} resized to {height} x {width} ({how})."


def shortened(files: Sequence[ImageFile]) -> Iterator[str]:
    """Yields a warning if there are colour files of 16 bits."""
    if count := sum(file.pages[0].is_shortened for file in files):
        has = "has" if count == 1 else "have"
        yield (
            f"{counted(count, 'colour file')} {has} 16 bits per channel, of which the upper 8 are "
            "read. Images whose values are small become black."
        )


def unreadable_warning(folder: Path, unreadable: dict[Path, str]) -> Iterator[str]:
    """Yields a warning if files were left out."""
    if count := len(unreadable):
        named = first_named(sorted(unreadable), folder)
        yield f"{counted(count, 'unreadable file')} {was(count)} left out: {named}."


def unreadable_error(folder: Path, unreadable: dict[Path, str], may_skip: bool = True) -> DataError:
    """Returns the error that names files that cannot be read.

    Args:
        folder: Folder of the data set.
        unreadable: Reasons by path; not empty.
        may_skip: Whether the user can leave them out with an option.
    """
    named, reason = first_named(sorted(unreadable), folder), unreadable[min(unreadable)]
    first = "" if len(unreadable) == 1 else "the first: "
    return DataError(
        f"{folder} contains {counted(len(unreadable), 'unreadable image file')}: {named} "
        f"({first}{reason}). Repair or remove them"
        f"{', or leave them out with --skip-unreadable' * may_skip}."
    )
