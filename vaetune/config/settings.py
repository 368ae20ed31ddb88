"""Hyperparameters as a command line gives them: NAME=VALUE."""

from collections.abc import Iterable

from vaetune.config.closest import closest_match
from vaetune.config.dimensions import Value
from vaetune.config.family import FAMILY
from vaetune.errors import SpecError, short_repr


def parse_settings(settings: Iterable[str], flag: str) -> dict[str, Value]:
    """Returns hyperparameters by name from texts such as "stages=3" or "activation=gelu".

    Args:
        settings: The texts.
        flag: Flag that gives them, for errors.

    Raises:
        SpecError: A text is not NAME=VALUE, or its name is unknown or repeated.
    """
    found: dict[str, Value] = {}
    for setting in settings:
        name, sign, text = (part.strip() for part in setting.partition("="))
        if not (name and sign and text):
            raise SpecError(
                f"{flag} expects NAME=VALUE, received {short_repr(setting)}. Write, for example, "
                f"{flag} latent_dim=4."
            )
        if name not in FAMILY:
            raise SpecError(
                f"{flag} expects a hyperparameter, received {short_repr(name)}."
                f"{closest_match(name, FAMILY)} Expected one of: {', '.join(FAMILY)}."
            )
        if name in found:
            raise SpecError(f"{flag} {name} is given twice. Remove one of them.")
        found[name] = _parse_value(text)
    return found


def _parse_value(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
