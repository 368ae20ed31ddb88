"""Marks pictures that vaetune writes, and never overwrites those of other programs."""

from pathlib import Path

from PIL import Image

from vaetune.errors import ResultsError
from vaetune.files import check_writable

MARK = "vaetune"
"""Software in the metadata of a picture, which may be overwritten."""


def check_png(path: Path, what: str, flag: str) -> None:
    """Checks that a picture can be written to a file, before anything is computed.

    Args:
        path: File of the picture.
        what: Name of the picture, such as "map".
        flag: Option of the command line that names the file.

    Raises:
        ResultsError: The ending is unknown, there is no such folder, it cannot be written, or a
            file of another program has this name.
    """
    if path.suffix.lower() != ".png":
        raise ResultsError(f"{path} is not a name of a {what}: expected one that ends in .png.")
    check_writable(path, flag)
    check_picture(path, what, flag)


def check_picture(path: Path, what: str, flag: str) -> None:
    """Checks that a picture is missing, or was written by vaetune.

    Args:
        path: File of the picture.
        what: Name of the picture, such as "contact sheet".
        flag: Option of the command line that names the file.

    Raises:
        ResultsError: It is a file of another program.
    """
    try:
        with Image.open(path) as earlier:
            is_ours = earlier.info.get("Software") == MARK
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        is_ours = False
    if not is_ours:
        raise ResultsError(
            f"{path} is not a {what} of vaetune and will not be overwritten. Choose another file "
            f"with {flag}."
        )
