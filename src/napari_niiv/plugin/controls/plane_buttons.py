"""Buttons that turn a viewer to one of the planes, and tell which it shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, PushButton
from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.connections import Connections, when_destroyed
from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.layers import COVER, LIVE, VIEWS, finest_data, layer_units

_FILLED = 0.95  # of the window, as napari does


class PlaneButtons:
    """One button for each of the xy, xz and yz planes; that of the plane in view is down.

    Parameters
    ----------
    viewer : ViewerModel
    layer : ComboBox
        Where the layer is chosen: of several volumes, its own comes into view.
    beside : PushButton
        Comes last in their row.

    Attributes
    ----------
    buttons : dict of str to PushButton
        By the names of the planes.
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, viewer: ViewerModel, layer: ComboBox, beside: PushButton) -> None:
        self._viewer, self._layer = viewer, layer
        self.buttons = {name: PushButton(text=name, tooltip=f"look at the {name} plane") for name in VIEWS}
        self.rows: list[Any] = [Row("View", *self.buttons.values(), beside)]
        for name, button in self.buttons.items():
            button.native.setCheckable(True)
            button.changed.connect(lambda _=None, name=name: self.show(name))
        connections = Connections()
        connections.connect(self._mark, viewer.dims.events.order, viewer.dims.events.ndisplay)
        # a function, as Qt would not keep what a method belongs to
        when_destroyed(self.rows[0].native, connections.disconnect)
        self._mark()

    def show(self, plane: str) -> None:
        """Look at the xy, xz or yz plane."""
        dims = self._viewer.dims
        if dims.ndim < 3:
            self._mark()
            return
        dims.ndisplay = 2
        last = tuple(axis % dims.ndim for axis in VIEWS[plane])
        dims.order = (*range(dims.ndim - 3), *last)
        self._viewer.reset_view()
        layer = self._layer.value
        others = [each for each in self._viewer.layers if {LIVE, COVER}.isdisjoint(each.metadata)]  # frozen ones too
        if layer is not None and len(others) > len(channels_of(self._viewer, layer)):
            go_to(self._viewer, layer)
        self._mark()  # a click on the plane in view has raised its button

    def _mark(self, event: Any = None) -> None:
        dims = self._viewer.dims
        for name, button in self.buttons.items():
            across = VIEWS[name][0] % dims.ndim if dims.ndim >= 3 else None
            shown = dims.ndisplay == 2 and across is not None and dims.order[-3] == across
            button.native.setChecked(shown)


def go_to(viewer: ViewerModel, layer: Image) -> None:
    """Fit the camera of a viewer in 2-D to the volume of a layer, and move the slider into it if it is outside."""
    offset = viewer.dims.ndim - layer.ndim
    edges = (np.full(layer.ndim, -0.5), np.array(finest_data(layer).shape) - 0.5)
    corners = np.array([layer.data_to_world(edge) for edge in edges]) / layer_units(viewer, layer)
    low, high = corners.min(0), corners.max(0)
    middle = (low + high) / 2
    point = np.array(viewer.dims.point)
    inside = (low <= point[offset:]) & (point[offset:] <= high)
    point[offset:] = np.where(inside, point[offset:], middle)
    viewer.dims.point = tuple(point)
    across = [axis - offset for axis in viewer.dims.displayed]
    viewer.scene.camera.center = (viewer.scene.camera.center[0], *middle[across])
    size = np.maximum((high - low)[across], 1e-12)
    viewer.scene.camera.zoom = _FILLED * float(np.min(np.array(viewer.canvas.viewbox_size(viewer.layers)) / size))
