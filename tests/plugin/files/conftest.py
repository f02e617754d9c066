from __future__ import annotations

import pytest


@pytest.fixture
def viewer(dock_viewer):
    """A window, shown: questions appear in it."""
    dock_viewer.window.resize(1000, 800)
    return dock_viewer
