"""Pages without charts, for tests of their text."""

import pytest

from vaetune.report import page
from vaetune.report.sections import section, side_by_side


@pytest.fixture
def without_charts(monkeypatch):
    """Leaves the charts of a page empty: drawing them takes most of the time of a page."""
    for module in (page, section, side_by_side):
        monkeypatch.setattr(module, "to_svg", lambda figure, name="", description="": "<svg/>")
