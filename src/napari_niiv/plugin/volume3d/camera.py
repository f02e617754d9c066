"""The camera of 3-D views of blocks: turned to show three faces, and apart from that of the 2-D view."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_niiv.plugin.volume3d.cut import Displayed, vector

# from the face that the 2-D view showed towards the top and towards the right
_DOWN, _LEFT = 0.55, 0.75
_MARGIN = 0.05  # of the canvas, as napari's own
_TOLERANCE = 1e-4  # of a pixel, a zoom, a direction


def oblique(view: NDArray[np.float64], up: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction that shows two more faces of a block than looking straight ahead does: its top and its right."""
    right = np.cross(view, up)
    turned = view - _DOWN * up - _LEFT * right
    return np.asarray(turned / np.linalg.norm(turned))


def fitted(
    corners: NDArray[np.float64],
    view: NDArray[np.float64],
    up: NDArray[np.float64],
    canvas: tuple[float, float],
) -> tuple[NDArray[np.float64], float]:
    """Centre and zoom of a camera that has a block in full view.

    Parameters
    ----------
    corners : array, shape (8, 3)
        Of the block, in the world.
    view, up : array, shape (3,)
        Unit vectors into the screen and up on it.
    canvas : tuple of float
        Height and width in pixels.

    Returns
    -------
    centre : array, shape (3,)
    zoom : float
        Pixels per unit of the world.
    """
    extent = [np.ptp(corners @ direction) for direction in (up, np.cross(view, up))]
    zoom = (1 - _MARGIN) * min(size / length for size, length in zip(canvas, extent, strict=True))
    return (corners.min(0) + corners.max(0)) / 2, float(zoom)


def corners_of(place: Displayed) -> NDArray[np.float64]:
    """The eight outer corners of a volume in the world, shape (8, 3)."""
    ends = np.array(list(product((0, 1), repeat=3)))
    return place.world(ends * place.shape - 0.5)


@dataclass(frozen=True)
class _State:
    """Where a camera looks, and of which axes."""

    center: tuple[float, ...]
    zoom: float
    directions: tuple[float, ...]
    order: tuple[int, ...]

    def same(self, other: _State | None) -> bool:
        """Whether another is the same but for rounding: napari may find other angles for the same directions."""
        if other is None or self.order != other.order or abs(self.zoom / other.zoom - 1) > _TOLERANCE:
            return False
        pixels = np.abs(np.subtract(self.center, other.center)) * self.zoom
        return bool(pixels.max() < _TOLERANCE) and np.allclose(self.directions, other.directions, atol=_TOLERANCE)


class BlockCamera:
    """Turns the camera once, when the first block appears in 3-D, and has 2-D and 3-D each keep their own view.

    Napari has 2-D and 3-D share centre and zoom, unless the user has them apart (then it keeps them itself). A block
    seen obliquely needs another zoom than the slice, which should be as it was when the viewer is back in 2-D. Only
    where a block was brought into view is any of this done.

    Parameters
    ----------
    viewer : ViewerModel
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._turned = False
        self._flat: _State | None = None  # that of the 2-D view which was left
        # as napari had it when the viewer went to 3-D, or as it was found there
        self._entered = self._state if viewer.dims.ndisplay == 3 else None
        self._fitted = False  # whether a block was brought into view since
        # that of the 3-D view which was left, and the corners of what it showed
        self._solid: tuple[_State, NDArray[np.float64]] | None = None
        self._corners: NDArray[np.float64] | None = None

    def before(self) -> None:
        """The viewer goes to 2-D or to 3-D, and napari has not looked at it yet."""
        if self._viewer.dims.ndisplay == 3:
            self._flat = self._state
            return
        flat, corners = self._flat, self._corners
        if not self._fitted or flat is None or corners is None or not self._viewer.scene.camera.synced:
            return
        self._solid = self._state, corners
        if flat.order == self._viewer.dims.order:
            camera, across = self._viewer.scene.camera, self._viewer.dims.order[-3]
            # napari sets the slider across the slice by the centre of the 3-D view
            camera.center = (float(self._viewer.dims.point[across]), *flat.center[-2:])
            camera.zoom = flat.zoom

    def after(self) -> None:
        """The same, and napari is through with it."""
        self._fitted = False
        self._entered = self._state if self._viewer.dims.ndisplay == 3 else None

    def show(self, layer: Image) -> None:
        """A block has appeared: bring it into view, unless the user has moved the camera since 3-D was entered."""
        camera = self._viewer.scene.camera
        if self._fitted or not self._state.same(self._entered):
            return
        first, self._turned = not self._turned, True
        if first and np.allclose(camera.angles, 0):
            view, up = np.array(camera.view_direction), np.array(camera.up_direction)
            camera.set_view_direction(vector(oblique(view, up)), vector(up))
        elif not camera.synced:
            return  # napari has put it where it was
        self._fitted = True
        self._corners = corners = corners_of(Displayed.of(self._viewer, layer))
        if self._solid is not None and np.abs(self._solid[1] - corners).max() < _TOLERANCE * np.ptp(corners):
            camera.center, camera.zoom = self._solid[0].center, self._solid[0].zoom
            return
        canvas = self._viewer.canvas.viewbox_size(self._viewer.layers)
        view, up = np.array(camera.view_direction), np.array(camera.up_direction)
        centre, camera.zoom = fitted(corners, view, up, canvas)
        camera.center = vector(centre)

    @property
    def _state(self) -> _State:
        camera = self._viewer.scene.camera
        return _State(
            tuple(camera.center),
            camera.zoom,
            (*camera.view_direction, *camera.up_direction),
            tuple(self._viewer.dims.order),
        )
