"""Several views of one layer that share their point, zoom and centre."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import layer_units

Vector = NDArray[np.float64]


class LayerView:
    """A viewer's point and camera in the world of one of its layers, in that layer's axes and units.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
        Aligned with the viewer's last dimensions, as napari does.
    """

    def __init__(self, viewer: ViewerModel, layer: Image) -> None:
        self.viewer, self.layer = viewer, layer

    @property
    def axes(self) -> tuple[int, ...]:
        """The layer's axes on display, rows first; none if the view is 3-D or of other axes."""
        axes = tuple(d - self._offset for d in self.viewer.dims.displayed)
        return axes if len(axes) == 2 and min(axes) >= 0 else ()

    @property
    def sliced(self) -> tuple[int, ...]:
        """The layer's axes that have a slider."""
        return tuple(d - self._offset for d in self.viewer.dims.not_displayed if d >= self._offset)

    @property
    def point(self) -> Vector:
        """Position of the sliders along each of the layer's axes, in its world and units."""
        return np.array(self.viewer.dims.point[self._offset :]) * self._units

    @point.setter
    def point(self, point: Vector) -> None:
        dims = self.viewer.dims
        dims.point = (*dims.point[: self._offset], *(float(p) for p in point / self._units))

    @property
    def zoom(self) -> float:
        """Screen pixels per unit of the layer."""
        return float(self.viewer.scene.camera.zoom / self._units[-1])

    @zoom.setter
    def zoom(self, zoom: float) -> None:
        self.viewer.scene.camera.zoom = zoom * self._units[-1]

    @property
    def centre(self) -> Vector:
        """The middle of the canvas, along the axes on display."""
        return np.array(self.viewer.scene.camera.center[-2:]) * self._units[list(self.axes)]

    @centre.setter
    def centre(self, centre: Vector) -> None:
        row, column = centre / self._units[list(self.axes)]
        self.viewer.scene.camera.center = (0.0, float(row), float(column))

    @property
    def reach(self) -> Vector:
        """How far the canvas reaches from its centre, along rows and columns."""
        return np.array(self.viewer.canvas.viewbox_size(self.viewer.layers)) / self.zoom / 2

    @property
    def _offset(self) -> int:
        return int(self.viewer.dims.ndim - self.layer.ndim)

    @property
    def _units(self) -> Vector:
        """How many of the layer's units the viewer's are; napari's world has one unit per axis."""
        return layer_units(self.viewer, self.layer)


class LinkedViews:
    """Links views of one layer: when one is scrolled, panned or zoomed, the others are too.

    Parameters
    ----------
    views : sequence of LayerView
        The first leads: it says where to begin, and what is moved to show the point is an axis that it does not show.
    schedule : callable, optional
        Told that a point moved; it has `settle` called soon, once for many moves. Without it that is done at once.
    """

    def __init__(self, views: Sequence[LayerView], schedule: Callable[[], None] | None = None) -> None:
        self.views = tuple(views)
        self._schedule = schedule or self.settle
        self._mover: LayerView | None = None
        self._busy = False
        leader, other = self.views[0], self.views[1].viewer.dims
        self._centre = np.array([(r.start + r.stop) / 2 for r in other.range])
        self._point = leader.point
        self._connections = Connections()
        for view in self.views:
            self._connect(view)
        self._connections.connect(self._resized, *(v.viewer.canvas.events.size for v in self.views[1:]))
        self._begin()

    def close(self) -> None:
        """Disconnect from the viewers."""
        self._connections.disconnect()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """A context in which a view that is moved moves no other."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def follow(self) -> None:
        """Give all views the leader's point, zoom and centre."""
        self._mover = self._mover or self.views[0]
        self.settle()
        self._panned(self.views[0])

    def settle(self) -> None:
        """Move all views to the point of the one that moved last."""
        view, self._mover = self._mover, None
        if self._ignoring or view is None:
            return
        with self.quiet():
            point = self._where_sliders_stop(view.point)
            for other in self.views:
                other.point = point
            moved = np.flatnonzero(point != self._point)
            self._point = point
            self._reveal(moved)

    def _connect(self, view: LayerView) -> None:
        """Listen to a view, with callbacks that know it."""

        def move(event: Any = None) -> None:
            self._moved(view)

        def pan(event: Any = None) -> None:
            self._panned(view)

        camera = view.viewer.scene.camera.events
        self._connections.connect(move, view.viewer.dims.events.point)
        self._connections.connect(pan, camera.zoom, camera.center)

    @property
    def _ignoring(self) -> bool:
        """While the views are being moved; or their layer has other axes now or is gone, which is their end."""
        leader = self.views[0]
        return self._busy or leader.layer.ndim != len(self._point) or leader.layer not in leader.viewer.layers

    def _begin(self) -> None:
        """Where the user looks the cross-hair begins; along the leader's own axis it stays on its slice."""
        leader = self.views[0]
        axes = list(leader.axes)
        if axes:
            point = leader.point
            hidden = np.abs(point[axes] - leader.centre) > leader.reach
            point[axes] = np.where(hidden, leader.centre, point[axes])
            with self.quiet():
                leader.point = point
        self.follow()
        self._resized()

    def _moved(self, view: LayerView) -> None:
        if not self._ignoring:
            self._mover = view
            self._schedule()

    def _where_sliders_stop(self, point: Vector) -> Vector:
        """Sliders go from slice to slice: send all to a point and see; the leader has the last word."""
        stopped = point.copy()
        for view in reversed(self.views):
            view.point = point
            sliced = list(view.sliced)
            stopped[sliced] = view.point[sliced]
        return stopped

    def _panned(self, view: LayerView) -> None:
        if self._ignoring or not view.axes:
            return
        with self.quiet():
            self._centre[list(view.axes)] = view.centre
            for other in self.views:
                if other is not view and other.axes:
                    other.zoom = view.zoom
            self._place(except_for=view)

    def _resized(self, event: Any = None) -> None:
        """Panels get their size late; the point shall be seen in them, but the leader's view stays."""
        if not self._ignoring:
            with self.quiet():
                self._reveal(set(range(len(self._point))) - set(self.views[0].axes))

    def _reveal(self, axes: Any) -> None:
        """Pan along those axes where some view does not show the point."""
        for view in self.views:
            for axis, reach in zip(view.axes, view.reach, strict=False):
                if axis in axes and abs(self._point[axis] - self._centre[axis]) > reach:
                    self._centre[axis] = self._point[axis]
        self._place()

    def _place(self, except_for: LayerView | None = None) -> None:
        for view in self.views:
            if view is not except_for and view.axes:
                view.centre = self._centre[list(view.axes)]
