from __future__ import annotations

import pytest


@pytest.fixture
def viewer(make_napari_viewer):
    """A window, shown: questions appear in it."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1000, 800)
    return viewer
