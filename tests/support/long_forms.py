"""Cases of a test that only its long form runs: `make torture`."""

import pytest


def long(*values):
    """Marks values of a parameter, or tuples of several, as cases of the long form."""
    cases = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*case, marks=pytest.mark.long) for case in cases]
