"""Cases of a test that only its long form runs: `make torture`."""

import pytest


def long(*values):
    """Marks values of a parameter as cases of the long form."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]
