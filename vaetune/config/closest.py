"""The known word that is closest to a wrong one."""

import difflib
from collections.abc import Iterable


def closest_match(word: str, known: Iterable[str]) -> str:
    """Returns a hint that names the known word closest to `word`, or an empty string."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f' Did you mean "{matches[0]}"?' if matches else ""
