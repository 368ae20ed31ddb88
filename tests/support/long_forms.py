"""Marks for the cases of a test that only `make torture` runs."""

import pytest


def long(*values):
    """Marks values of a parameter, or tuples for several parameters, as long cases."""
    cases = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*case, marks=pytest.mark.long) for case in cases]
