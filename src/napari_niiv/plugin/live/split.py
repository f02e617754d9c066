"""The split of the window: where its line is, what of a picture lies right of it, and the mouse that drags it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_niiv.plugin.common.layers import layer_units
from napari_niiv.plugin.live.view import View

REACH = 6  # screen pixels from the line at which it can be taken


def line_position(viewer: ViewerModel, fraction: float) -> float:
    """Where the line is along the horizontal axis of the viewer's world; `fraction` of the window is left of it."""
    camera = viewer.scene.camera
    return float(camera.center[-1] + (fraction - 0.5) * _width(viewer))


def fraction_at(viewer: ViewerModel, position: float) -> float:
    """The inverse of `line_position`, within 0 … 1."""
    return float(np.clip(0.5 + (position - viewer.scene.camera.center[-1]) / _width(viewer), 0, 1))


def right_of_line(
    viewer: ViewerModel, layer: Image, view: View, picture: NDArray[Any], fraction: float
) -> tuple[View, NDArray[Any]] | None:
    """The columns of a picture whose centres lie right of the line, and their place; None if there are none.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
        The source.
    view : View
        Place of the picture.
    picture : array
    fraction : float
        Part of the window left of the line.

    Returns
    -------
    view : View
    picture : array
        A copy. Its outermost column is the line, as bright as the layer shows anything.
    """
    offset, across = viewer.dims.ndim - layer.ndim, viewer.dims.displayed[-1]
    point = np.array(viewer.dims.point, dtype=float)
    point[viewer.dims.displayed[0]] = viewer.scene.camera.center[-2]
    point[across] = line_position(viewer, fraction)
    world = point[offset:] * layer_units(viewer, layer)
    pixel = np.linalg.solve(view.affine, np.append(world, 1.0))
    steps = view.affine[across - offset, list(view.axes)]  # rightwards, along the picture's rows and columns
    along = int(np.argmax(np.abs(steps)))
    axis, size, rightwards = view.axes[along], picture.shape[along], steps[along] * _direction(viewer) > 0
    cut = float(np.clip(pixel[axis], -1, size))
    first, last = (math.ceil(cut), size) if rightwards else (0, math.floor(cut) + 1)
    first, last = max(first, 0), min(last, size)
    if first >= last:
        return None
    shift = np.eye(len(view.affine))
    shift[axis, -1] = first
    part = np.moveaxis(picture, along, 0)[first:last].copy()
    if last - first < size:
        part[0 if rightwards else -1] = _line_value(layer, picture.dtype)
    return replace(view, affine=view.affine @ shift), np.moveaxis(part, 0, along)


class SplitHandle:
    """Lets the mouse drag the split line; the camera stays where it is meanwhile.

    Parameters
    ----------
    viewer : ViewerModel
    fraction : callable
        Says which part of the window is left of the line.
    move : callable
        Gets the part that the mouse asks for.
    """

    def __init__(self, viewer: ViewerModel, fraction: Callable[[], float], move: Callable[[float], None]) -> None:
        self._viewer, self._fraction, self._move = viewer, fraction, move
        self._style: Any = None  # the cursor's own, while it points at the line
        viewer.mouse_drag_callbacks.append(self._drag)
        viewer.mouse_move_callbacks.append(self._hover)

    def close(self) -> None:
        """Disconnect from the viewer, and give the cursor its own style back."""
        self._viewer.mouse_drag_callbacks.remove(self._drag)
        self._viewer.mouse_move_callbacks.remove(self._hover)
        self._point(False)

    def _drag(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1 or event.modifiers or not self._at_line(event):
            return
        event.handled = True  # or the camera would pan
        axis = self._viewer.dims.displayed[-1]
        grip = event.position[axis] - line_position(self._viewer, self._fraction())
        yield
        while event.type == "mouse_move":
            event.handled = True
            self._move(fraction_at(self._viewer, event.position[axis] - grip))
            yield
        # napari hands out few of the moves in quick succession; where the mouse let go counts
        self._move(fraction_at(self._viewer, event.position[axis] - grip))

    def _hover(self, viewer: Any, event: Any) -> None:
        self._point(self._at_line(event))

    def _at_line(self, event: Any) -> bool:
        viewer = self._viewer
        active = viewer.layers.selection.active
        painting = active is not None and getattr(active, "mode", "pan_zoom") != "pan_zoom"
        if viewer.dims.ndisplay != 2 or painting:
            return False
        distance = event.position[viewer.dims.displayed[-1]] - line_position(viewer, self._fraction())
        return bool(abs(distance) * viewer.scene.camera.zoom <= REACH)

    def _point(self, at_line: bool) -> None:
        cursor = self._viewer.cursor
        if at_line and self._style is None and cursor.style != "pointing":
            self._style, cursor.style = cursor.style, "pointing"
        elif not at_line and self._style is not None:
            cursor.style, self._style = self._style, None


def _direction(viewer: ViewerModel) -> int:
    """Whether the world's horizontal axis runs to the right of the screen (1) or to the left (-1)."""
    return -1 if str(viewer.scene.camera.orientation2d[-1]) == "left" else 1


def _width(viewer: ViewerModel) -> float:
    """Width of the window in the viewer's world, negative where the axis runs to the left."""
    size = viewer.canvas.viewbox_size(viewer.layers)
    return float(_direction(viewer) * max(size[1], 1) / viewer.scene.camera.zoom)


def _line_value(layer: Image, dtype: np.dtype[Any]) -> Any:
    """What is as bright as a layer shows anything, in the type of its picture."""
    top = layer.contrast_limits[1]
    if dtype.kind in "iu":
        top = np.clip(round(top), np.iinfo(dtype).min, np.iinfo(dtype).max)
    return dtype.type(top)
