"""The split line under the mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from napari.components import ViewerModel

from napari_niiv.plugin.live.split import fraction_at, line_position

REACH = 6  # screen pixels from the line at which it can be taken


class SplitHandle:
    """Lets the mouse drag the split line; the camera stays where it is meanwhile.

    Parameters
    ----------
    viewer : ViewerModel
    where : callable
        The part of the window left of the line.
    move : callable
        Gets the new one.
    """

    def __init__(
        self, viewer: ViewerModel, where: Callable[[], float], move: Callable[[float], None]
    ) -> None:
        self._viewer, self._where, self._move = viewer, where, move
        self._style: Any = None  # of the cursor, while it points at the line
        viewer.mouse_drag_callbacks.append(self._drag)
        viewer.mouse_move_callbacks.append(self._hover)

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        self._viewer.mouse_move_callbacks.remove(self._hover)
        self._point(False)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or event.modifiers or not self._near(event):
            return
        event.handled = True  # or the camera would pan
        axis = self._viewer.dims.displayed[-1]
        taken = event.position[axis] - line_position(self._viewer, self._where())
        yield
        while event.type == "mouse_move":
            event.handled = True
            self._move(fraction_at(self._viewer, event.position[axis] - taken))
            yield
        # napari hands out few of the moves in quick succession; where the mouse let go counts
        self._move(fraction_at(self._viewer, event.position[axis] - taken))

    def _hover(self, viewer: Any, event: Any) -> None:
        self._point(self._near(event))

    def _near(self, event: Any) -> bool:
        viewer = self._viewer
        active = viewer.layers.selection.active
        painting = active is not None and getattr(active, "mode", "pan_zoom") != "pan_zoom"
        if viewer.dims.ndisplay != 2 or painting:
            return False
        distance = event.position[viewer.dims.displayed[-1]] - line_position(viewer, self._where())
        return bool(abs(distance) * viewer.scene.camera.zoom <= REACH)

    def _point(self, at_line: bool) -> None:
        cursor = self._viewer.cursor
        if at_line and self._style is None and cursor.style != "pointing":
            self._style, cursor.style = cursor.style, "pointing"
        elif not at_line and self._style is not None:
            cursor.style, self._style = self._style, None
