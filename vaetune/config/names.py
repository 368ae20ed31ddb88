"""Which names a search may have."""

from vaetune.errors import ResultsError, SpecError

_LONGEST_NAME = 200
"""Bytes. File systems take 255, and an ending is added."""


def check_name(name: str) -> None:
    check_not_reserved(name)
    wrong = (
        not name.strip()
        or name != name.strip()
        or name[0] in ".-"
        or any(character in name for character in '/\\:"')
        or not name.isprintable()
        or len(name.encode(errors="replace")) > _LONGEST_NAME
    )
    if wrong:
        raise SpecError(
            f"A search cannot be named {name[:60]!r}: its results are kept in a folder of that "
            'name. Take letters, digits, "-" and "_", such as "faces-64".'
        )
    if name.endswith(".toml"):
        raise SpecError(f'Name the search without its ending: "{name.removesuffix(".toml")}".')


BASELINES = "baselines"

BEST = "best"

RESERVED_NAMES = (BASELINES, BEST)
"""Folders of `results/` that no search may be named after."""


def check_not_reserved(name: str) -> None:
    """Lets no search have the name of a folder with another use.

    Raises:
        ResultsError: It has.
    """
    if name in RESERVED_NAMES:
        raise ResultsError(f'A search cannot be named "{name}": results/{name}/ has another use.')
