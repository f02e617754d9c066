"""The buttons of the planes turn the view, and tell which plane it shows."""

import numpy as np
import pytest

pytest.importorskip("napari")

from magicgui.widgets import ComboBox, PushButton
from napari.components import ViewerModel

from napari_niiv.plugin.common.layers import FROZEN, layer_units
from napari_niiv.plugin.controls.plane_buttons import PlaneButtons
from napari_niiv.plugin.live.view import VisibleRegion


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 4, 5, 6), np.float32))
    return viewer


@pytest.fixture
def planes(viewer, qtbot):
    layer = ComboBox(choices=lambda widget: [(each.name, each) for each in viewer.layers], nullable=True)
    planes = PlaneButtons(viewer, layer, PushButton(text="beside"))
    planes.layer = layer
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


@pytest.mark.parametrize("frozen", [False, True])
def test_of_several_volumes_the_chosen_one_comes_into_view(viewer, planes, frozen):
    """A small one in nanometres beside one in micrometres, which napari's home shows as a speck."""
    viewer.layers.clear()
    viewer.add_image(np.zeros((40, 50, 60), np.float32), scale=(4, 1, 1), units="um", name="large")
    small = viewer.add_image(
        np.zeros((10, 20, 30), np.float32), scale=(80, 10, 10), translate=(1e5, 0, 2e4), units="nm", name="small"
    )
    if frozen:  # what is left of a volume that went
        viewer.layers["large"].metadata[FROZEN] = {}
    planes.layer.reset_choices()
    viewer.dims.point = (0, 0, 0)
    for name in ("small",) if frozen else ("small", "large"):
        planes.layer.value = viewer.layers[name]
        for plane in ("xz", "yz", "xy"):
            planes.buttons[plane].native.click()
            region = VisibleRegion.of(viewer, viewer.layers[name])
            shape = np.array(viewer.layers[name].data.shape)
            across = viewer.dims.order[0]
            assert -0.5 <= region.position[across] <= shape[across] - 0.5
            seen = (region.hi - region.lo)[list(viewer.dims.displayed)]
            np.testing.assert_allclose(seen, shape[list(viewer.dims.displayed)])  # all of it
            size = seen * np.array(viewer.layers[name].scale)[list(viewer.dims.displayed)]
            screen = size / layer_units(viewer, viewer.layers[name])[0] * viewer.scene.camera.zoom
            assert (
                0.9 < np.max(screen / np.array(viewer.canvas.viewbox_size(viewer.layers))) < 1
            )  # and it fills the window
    assert small.visible
