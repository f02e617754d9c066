"""A cross-hair over a viewer's canvas, and the mouse that moves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.components.overlays import ZoomOverlay

from napari_niiv.plugin.common.connections import Connections

GRAB = 6  # screen pixels: how near the pointer must be to take hold of a line
STILL = 3  # screen pixels: a press that moves no further is a click


class CrossHair:
    """Two lines that cross at a viewer's point; a click puts them there, and each can be dragged.

    They are overlays, so that no layer is added to the user's list.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        # napari's box, flat: the one overlay with a free place on the canvas
        self.lines = tuple(ZoomOverlay(box=False) for _ in range(2))
        for line, name in zip(self.lines, _NAMES, strict=True):
            viewer.canvas.overlays[name] = line
        camera, dims = viewer.scene.camera.events, viewer.dims.events
        self._connections = Connections()
        self._connections.connect(self.draw, camera.zoom, camera.center, camera.orientation)
        self._connections.connect(self.draw, dims.point, dims.order, dims.ndisplay)
        self._connections.connect(self.draw, viewer.canvas.events.size, viewer.canvas.grid.events.enabled)
        viewer.mouse_drag_callbacks.append(self.drag)
        self.draw()

    def close(self, erase: bool = True) -> None:
        """Disconnect from the viewer and take the lines away, unless the canvas is gone already."""
        self._connections.disconnect()
        self.viewer.mouse_drag_callbacks.remove(self.drag)
        if not erase:
            return
        for line, name in zip(self.lines, _NAMES, strict=True):
            line.visible = False
            del self.viewer.canvas.overlays[name]

    def draw(self, event: Any = None) -> None:
        """Put the lines where the point is on the canvas."""
        viewer = self.viewer
        in_plane = viewer.dims.ndisplay == 2 and not viewer.canvas.grid.enabled
        if in_plane:
            (row, column), (height, width) = on_canvas(viewer), viewer.canvas.size
            across, down = self.lines
            across.position = (row, 0.0), (row, float(width))
            down.position = (0.0, column), (float(height), column)
        for line in self.lines:
            line.visible = in_plane

    def drag(self, viewer: Any, event: Any) -> Iterator[None]:
        """Napari's mouse callback: one press, its moves and its release."""
        viewer = self.viewer
        if event.button != 1 or event.modifiers or viewer.dims.ndisplay != 2 or not _pans(viewer):
            return
        shown, camera = viewer.dims.displayed, viewer.scene.camera
        begin, point = np.array(event.pos), viewer.dims.point
        grabbed = [d for d in shown if abs(event.position[d] - point[d]) * camera.zoom <= GRAB]
        moved = False
        camera.mouse_pan = not grabbed
        try:
            yield
            while event.type == "mouse_move":
                moved = moved or np.abs(np.array(event.pos) - begin).max() > STILL
                if grabbed and moved:
                    self._move(grabbed, event.position)
                yield
        finally:
            camera.mouse_pan = True
        if not moved:
            self._move(shown, event.position)

    def _move(self, axes: Any, position: Any) -> None:
        point = list(self.viewer.dims.point)
        for axis in axes:
            point[axis] = position[axis]
        self.viewer.dims.point = point


_NAMES = ("napari-niiv cross-hair: row", "napari-niiv cross-hair: column")


def on_canvas(viewer: ViewerModel) -> tuple[float, float]:
    """Row and column of a 2-D viewer's point on its canvas, in screen pixels."""
    camera = viewer.scene.camera
    point = np.array([viewer.dims.point[d] for d in viewer.dims.displayed])
    _, vertical, horizontal = camera.orientation
    signs = 1 if vertical == "down" else -1, 1 if horizontal == "right" else -1
    row, column = signs * (point - camera.center[-2:]) * camera.zoom + np.array(viewer.canvas.size) / 2
    return float(row), float(column)


def _pans(viewer: ViewerModel) -> bool:
    """Whether the mouse moves the view, and does not paint or select."""
    active = viewer.layers.selection.active
    return active is None or active.mode == "pan_zoom"
