"""What the viewer shows of a layer, as a request and a place for its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_niiv.geometry import Sampling
from napari_niiv.plugin.common.layers import finest_data, layer_units, linear_part
from napari_niiv.reconstruction.planes import AXES, Plane
from napari_niiv.reconstruction.views.request import SliceRequest

MARGIN = 0.15  # part of the window, on both sides together: small pans stay covered
MAX_PIXELS = 4096  # along an axis of a picture


@dataclass(frozen=True, eq=False)
class View:
    """A picture to be made of what a viewer shows of a layer, and where it belongs.

    Attributes
    ----------
    request : SliceRequest
        Which slice, which part of it, and at which pitch.
    axes : tuple of int
        The layer's axes along the picture's rows and columns.
    affine : array, shape (n + 1, n + 1)
        From the picture's pixels, along `axes`, to the layer's world; n is the number of the layer's axes.
    pixel_size : float
        Size of a pixel along the columns, in the layer's own unit.
    """

    request: SliceRequest
    axes: tuple[int, int]
    affine: NDArray[np.float64]
    pixel_size: float

    def same(self, other: View) -> bool:
        """Whether another view has the same picture in the same place."""
        alike = (self.request, self.axes) == (other.request, other.axes)
        return alike and np.array_equal(self.affine, other.affine)


@dataclass(frozen=True, eq=False)
class VisibleRegion:
    """The part of a layer that a 2-D viewer shows, or showed before it went to 3-D; all in the layer's voxels.

    Attributes
    ----------
    axes : tuple of int
        The layer's axes along the rows and columns of the 2-D view.
    shape : array of int, shape (n,)
        Shape of the layer's data, all its axes.
    lo, hi : array, shape (n,)
        The edges of the rectangle on display along `axes`, clipped to the layer; the position along other axes.
    position : array, shape (n,)
        Where the sliders are.
    units : array, shape (n,)
        How many of the layer's units a unit of the viewer's world is, along each axis.
    """

    axes: tuple[int, int]
    shape: NDArray[np.int64]
    lo: NDArray[np.float64]
    hi: NDArray[np.float64]
    position: NDArray[np.float64]
    units: NDArray[np.float64]

    @classmethod
    def of(cls, viewer: ViewerModel, layer: Image) -> VisibleRegion:
        """What a viewer shows of a layer, which is aligned with the viewer's last dimensions, as napari does."""
        offset = viewer.dims.ndim - layer.ndim
        data = finest_data(layer)
        shape = np.array(data.shape)
        units = layer_units(viewer, layer)
        zoom = viewer.scene.camera.zoom
        half = np.array(viewer.canvas.viewbox_size(viewer.layers)) / zoom / 2 * (1 + MARGIN)
        displayed = [d - offset for d in viewer.dims.order[-2:]]
        point = np.array(viewer.dims.point[offset:], dtype=float)
        corners = np.tile(point, (4, 1))
        centre = np.array(viewer.scene.camera.center[-2:])
        corners[:, displayed] = centre + half * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)])
        voxels = np.array([layer.world_to_data(c * units) for c in corners])
        lo = np.maximum(voxels.min(0), -0.5)
        hi = np.minimum(voxels.max(0), shape - 0.5)
        position = np.asarray(layer.world_to_data(point * units))
        return cls((displayed[0], displayed[1]), shape, lo, hi, position, units)

    @property
    def leading(self) -> tuple[int, ...]:
        """Index along each axis before z, y, x, such as time and channel."""
        n = len(self.shape)
        return tuple(int(np.clip(round(self.position[d]), 0, self.shape[d] - 1)) for d in range(n - 3))


def visible(viewer: ViewerModel, layer: Image, *, pixel_ratio: float = 1.0, finest: float = 0.0) -> View | None:
    """What a 2-D viewer shows of a layer, or None where there is nothing to reconstruct.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
        Aligned with the viewer's last dimensions, as napari does.
    pixel_ratio : float
        Screen pixels per logical pixel.
    finest : float
        No pixel smaller than this, in lateral voxels.
    """
    offset, n = viewer.dims.ndim - layer.ndim, layer.ndim
    axes = sorted(d - offset for d in viewer.dims.displayed)
    if viewer.dims.ndisplay != 2 or len(axes) != 2 or axes[0] < n - 3:
        return None
    region = VisibleRegion.of(viewer, layer)
    shape, lo, hi, position, units = region.shape, region.lo, region.hi, region.position, region.units
    others = [d for d in range(n) if d not in axes]
    if np.any(hi[axes] <= lo[axes]) or any(not -0.5 <= position[d] <= shape[d] - 0.5 for d in others):
        return None
    linear = linear_part(layer)
    voxel = np.linalg.norm(linear, axis=0)
    samplings = []
    for axis in axes:
        pitch = max(units[axis] / (viewer.scene.camera.zoom * pixel_ratio), finest * voxel[-1]) / voxel[axis]
        samplings.append(_part(int(shape[axis]), pitch, lo[axis], hi[axis]))
    plane = _plane(axes, n)
    across = AXES[plane][0] + n - 3
    # an xy plane may lie between slices, but not by a rounding error off one
    index = float(round(position[across], 6)) if plane == "xy" else float(round(position[across]))
    index = float(np.clip(index, 0, shape[across] - 1))
    affine = np.eye(n + 1)
    affine[:n, :n], affine[:n, -1] = linear, np.asarray(layer.data_to_world(np.zeros(n)))
    pixels = np.eye(n + 1)
    for axis, sampling in zip(axes, samplings, strict=True):
        pixels[axis, axis], pixels[axis, -1] = sampling.step, sampling.start
    return View(
        SliceRequest(plane, index, samplings[0], samplings[1], region.leading),
        (axes[0], axes[1]),
        affine @ pixels,
        float(samplings[1].step * voxel[axes[1]]),
    )


def broadcast_picture(view: View, image: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """A picture as an array with the layer's axes, repeated without copies along the sliders."""
    size = list(shape)
    for axis, count in zip(view.axes, image.shape, strict=True):
        size[axis] = count
    others = tuple(d for d in range(len(shape)) if d not in view.axes)
    return np.broadcast_to(np.expand_dims(image, others), size)


def _part(size: int, pitch: float, lo: float, hi: float) -> Sampling:
    """The samples between two edges of a grid that divides the whole axis: a pan moves over the same, none shimmers."""
    whole = Sampling.covering(size, max(1, math.ceil(size / pitch - 1e-6)))
    first = max(0, math.floor((lo + 0.5) / whole.step + 1e-6))
    last = min(whole.count, math.ceil((hi + 0.5) / whole.step - 1e-6))
    return whole.part(first, min(max(last - first, 1), MAX_PIXELS))


def _plane(axes: list[int], n: int) -> Plane:
    shown = {a - (n - 3) for a in axes}
    return "xy" if shown == {1, 2} else "xz" if shown == {0, 2} else "yz"
