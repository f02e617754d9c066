"""The name of the plane on display."""

import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from napari.layers import Image
from numpy import zeros

from napari_niiv.plugin.ortho.plane_name import PlaneName


@pytest.mark.parametrize("leading", [(), (2,)])
def test_it_follows_the_viewer_and_goes(leading):
    viewer = ViewerModel()
    viewer.layers.append(Image(zeros((*leading, 3, 4, 5))))
    n, before = len(leading), len(viewer.canvas.overlays)
    name = PlaneName(viewer)
    for order, expected in (((0, 1, 2), "xy"), ((1, 0, 2), "xz"), ((2, 0, 1), "yz"), ((2, 1, 0), "yz")):
        viewer.dims.order = (*range(n), *(n + axis for axis in order))
        assert name.overlay.visible
        assert name.overlay.text == expected
    viewer.dims.ndisplay = 3
    assert not name.overlay.visible
    viewer.dims.ndisplay = 2
    assert name.overlay.visible
    if leading:
        viewer.dims.order = (1, 2, 0, 3)  # time is on display
        assert not name.overlay.visible
    assert not viewer.canvas.overlays.text.visible  # the user's own
    name.close()
    assert len(viewer.canvas.overlays) == before
