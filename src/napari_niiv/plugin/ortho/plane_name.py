"""The name of the plane that a viewer shows, in a corner of its canvas."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import VIEWS

_NAME = "napari-niiv plane"


class PlaneName:
    """Says xy, xz or yz; nothing of other axes, and in 3-D.

    It is an overlay of its own: the viewer's text is the user's.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.overlay = viewer.canvas.overlays[_NAME] = TextOverlay(position="top_left")
        self._connections = Connections()
        self._connections.connect(self._show, viewer.dims.events.order, viewer.dims.events.ndisplay)
        self._show()

    def close(self, erase: bool = True) -> None:
        """Disconnect from the viewer and take the name away, unless the canvas is gone already."""
        self._connections.disconnect()
        if erase:
            self.overlay.visible = False
            del self._viewer.canvas.overlays[_NAME]

    def _show(self, event: Any = None) -> None:
        self.overlay.text = shown_plane(self._viewer)
        self.overlay.visible = bool(self.overlay.text) and self._viewer.dims.ndisplay == 2


def shown_plane(viewer: ViewerModel) -> str:
    """The plane that a viewer shows in 2-D: xy, xz or yz; empty for other axes."""
    dims = viewer.dims
    shown = {axis - dims.ndim for axis in dims.order[-2:]}
    return next((plane for plane, order in VIEWS.items() if set(order[1:]) == shown), "")
