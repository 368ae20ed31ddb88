"""Errors that the user can fix. The command line prints one line and exits with code 1.

A message says what is wrong, what was expected, what was received, and what to do next.
"""

from typing import Any, Literal


class VaetuneError(Exception):
    """Base class of all errors that the user can fix. The command line prints no traceback."""


class DataError(VaetuneError):
    """An image set cannot be read, or a VAE cannot be trained on it."""


class MissingImagesError(DataError):
    """There is nothing at the path of an image set."""


class SpecError(VaetuneError):
    """A search file, or a flag that overrides it, has a wrong key or value."""


class JournalError(VaetuneError):
    """A journal is missing or damaged, or its format is unknown."""


class InUseError(JournalError):
    """Another process is writing to the folder."""


class DeviceError(VaetuneError):
    """The requested device is not available, or its memory is too small."""


class ExecutorError(VaetuneError):
    """Workers could not be started, or fewer than requested."""


class ResultsError(VaetuneError):
    """Results cannot be written, or what was requested is not among them."""


class StoppedEarly(VaetuneError):  # noqa: N818  This is not an error: the user set the limit.
    """The search reached one of its limits. Another session can continue it.

    Attributes:
        reason: Limit that was reached.
    """

    def __init__(self, reason: Literal["time_budget", "failures"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


OVERWRITE = "--overwrite (in Python: overwrite=True)"
"""How a message names the option that discards earlier results."""


def short_repr(value: Any) -> str:
    """Returns the representation of a value, cut off after 60 characters, for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(error: Exception) -> str:
    """Returns the text of an exception in one line."""
    return " ".join(str(error).split())
