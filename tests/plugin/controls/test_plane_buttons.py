"""The buttons of the planes turn the view, and tell which plane it shows."""

import numpy as np
import pytest

pytest.importorskip("napari")

from magicgui.widgets import PushButton
from napari.components import ViewerModel

from napari_niiv.plugin.controls.plane_buttons import PlaneButtons


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 4, 5, 6), np.float32))
    return viewer


@pytest.fixture
def planes(viewer, qtbot):
    planes = PlaneButtons(viewer, PushButton(text="beside"))
    qtbot.addWidget(planes.rows[0].native)
    return planes


def down(planes):
    return [name for name, button in planes.buttons.items() if button.native.isChecked()]


def test_the_plane_in_view_is_down(viewer, planes):
    assert down(planes) == ["xy"]
    for plane, order in (("xz", (0, 2, 1, 3)), ("yz", (0, 3, 1, 2)), ("xy", (0, 1, 2, 3))):
        planes.buttons[plane].native.click()
        assert viewer.dims.order == order
        assert down(planes) == [plane]
    planes.buttons["xy"].native.click()  # as it is
    assert down(planes) == ["xy"]


def test_what_napari_turns_is_followed(viewer, planes):
    viewer.dims.order = (0, 2, 1, 3)
    assert down(planes) == ["xz"]
    viewer.dims.ndisplay = 3
    assert down(planes) == []
    planes.buttons["yz"].native.click()
    assert (viewer.dims.ndisplay, down(planes)) == (2, ["yz"])


def test_a_flat_picture_has_no_planes(viewer, planes):
    viewer.layers.clear()
    viewer.add_image(np.zeros((4, 4), np.float32))
    planes.buttons["xz"].native.click()
    assert down(planes) == []
