"""Rules for the name of a search."""

from vaetune.errors import ResultsError, SpecError

_MAX_NAME_BYTES = 200
"""File systems allow 255 bytes, and files have an ending in addition to the name."""


def check_name(name: str) -> None:
    """Checks that a search can have this name.

    Raises:
        ResultsError: The name is reserved.
        SpecError: A folder cannot have this name, or it ends in ".toml".
    """
    check_not_reserved(name)
    check_folder_name(name)


def check_folder_name(name: str) -> None:
    """Checks that a folder of results can have this name.

    Raises:
        SpecError: It cannot, or the name ends in ".toml".
    """
    is_wrong = (
        not name.strip()
        or name != name.strip()
        or name[0] in ".-"
        or any(character in name for character in '/\\:"')
        or not name.isprintable()
        or len(name.encode(errors="replace")) > _MAX_NAME_BYTES
    )
    if is_wrong:
        raise SpecError(
            f"Results cannot be named {name[:60]!r}, because they are kept in a folder of that "
            'name. Use letters, digits, "-" and "_", such as "faces-64".'
        )
    if name.endswith(".toml"):
        raise SpecError(f'Give the name without ".toml": "{name.removesuffix(".toml")}".')


BASELINES = "baselines"

BEST = "best"

REPORT_NAME = "report.html"

RESERVED_NAMES = (BASELINES, BEST)
"""Folders in `results/` that are not searches."""


def check_not_reserved(name: str) -> None:
    """Checks that no other kind of results uses this name.

    Raises:
        ResultsError: The name is reserved.
    """
    if name in RESERVED_NAMES:
        raise ResultsError(f'A search cannot be named "{name}": results/{name}/ is reserved.')
