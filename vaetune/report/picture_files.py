"""Marks pictures that vaetune writes, and never overwrites those of other programs."""

from pathlib import Path

from PIL import Image

from vaetune.errors import ResultsError

MARK = "vaetune"
"""Software in the metadata of a picture, which may be overwritten."""


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
