"""What can go wrong in a way the user can mend: one line on stderr, exit code 1.

A message says what is wrong, what was expected, what came, and what to do next.
"""

from typing import Any, Literal


class VaetuneError(Exception):
    """Any error that is the user's to mend. The command line prints it without a traceback."""


class DataError(VaetuneError):
    """An image set cannot be read, or holds what no VAE can be trained on."""


class SpecError(VaetuneError):
    """A search file, or a flag that overrides it, asks for what cannot be done."""


class JournalError(VaetuneError):
    """A journal is missing, damaged or of an unknown format."""


class InUseError(JournalError):
    """Another process writes to the folder."""


class DeviceError(VaetuneError):
    """The device that was asked for is not there."""


class ExecutorError(VaetuneError):
    """Workers cannot be had, or not as many as were asked for."""


class ResultsError(VaetuneError):
    """Results cannot be written, or do not hold what was asked for."""


class StoppedEarly(VaetuneError):  # noqa: N818  it is no error: the search was told to
    """A limit of the search is reached; the next session can continue.

    Attributes:
        reason: The limit that stopped the search.
    """

    def __init__(self, reason: Literal["time_budget", "failures"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


def shown(value: Any) -> str:
    """A value as a message shows what came."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
