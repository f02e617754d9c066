"""Which part of a layer a 3-D view reconstructs."""

from __future__ import annotations

import math

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray

from napari_niiv.geometry import Box, Span, output_size
from napari_niiv.plugin.common.layers import layer_volume, unit_factors, voxel_size
from napari_niiv.plugin.live.view import VisibleRegion


def chosen_box(viewer: ViewerModel, layer: Image, budget: int, output_scale: float = 1.0) -> Box | None:
    """The box to reconstruct in 3-D, in voxels along z, y, x; None for the whole volume.

    A rectangle of a selected Shapes layer bounds two axes; else the whole volume is taken if it fits the budget; else
    what the 2-D view shows, or showed before the viewer went to 3-D. Across that plane the box is as deep as its longer
    side, around the slice on display.

    Parameters
    ----------
    viewer : ViewerModel
    layer : Image
    budget : int
        Voxels of the output.
    output_scale : float
        Samples per isotropic voxel.
    """
    n = layer.ndim
    plane = _plane(viewer, layer)
    if min(plane) < n - 3:
        return None  # the view is across time or channels
    region = VisibleRegion.of(viewer, layer)
    drawn = _drawn(viewer, layer, plane, region)
    if drawn is None and _fits(layer, budget, output_scale):
        return None
    lo, hi = drawn or (region.lo, region.hi)
    if any(hi[d] <= lo[d] for d in plane):
        return None  # the layer is out of sight
    size = np.ones(n)
    size[-3:] = voxel_size(layer)
    (across,) = {n - 3, n - 2, n - 1} - set(plane)
    half = max((hi[d] - lo[d]) * size[d] for d in plane) / size[across] / 2
    lo, hi = lo.copy(), hi.copy()
    end = region.shape[across] - 0.5
    centre = min(max(region.position[across], -0.5), end)
    lo[across], hi[across] = max(centre - half, -0.5), min(centre + half, end)
    return Box.of(_voxels(lo[d], hi[d], int(region.shape[d])) for d in range(n - 3, n))


def is_drawn(viewer: ViewerModel, layer: Image) -> bool:
    """Whether it is a rectangle that bounds the box of `chosen_box`."""
    plane = _plane(viewer, layer)
    return min(plane) >= layer.ndim - 3 and _drawn(viewer, layer, plane, VisibleRegion.of(viewer, layer)) is not None


def _plane(viewer: ViewerModel, layer: Image) -> list[int]:
    """The layer's axes that the 2-D view shows."""
    return [d - (viewer.dims.ndim - layer.ndim) for d in viewer.dims.order[-2:]]


def _fits(layer: Image, budget: int, output_scale: float) -> bool:
    volume = layer_volume(layer)
    factors = (volume.anisotropy * output_scale, output_scale, output_scale)
    return math.prod(output_size(s, f) for s, f in zip(volume.shape[-3:], factors, strict=True)) <= budget


def _voxels(lo: float, hi: float, size: int) -> Span:
    """The voxels that a span between two edges touches, one at least."""
    first = min(max(math.floor(lo + 0.5 + 1e-6), 0), size - 1)
    return Span(first, min(max(math.ceil(hi + 0.5 - 1e-6), first + 1), size))


def _drawn(
    viewer: ViewerModel, layer: Image, plane: list[int], region: VisibleRegion
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Bounds, in the layer's voxels, of a rectangle drawn in the plane and selected; None if there is none."""
    for shapes in viewer.layers.selection:
        missing = layer.ndim - shapes.ndim
        if not isinstance(shapes, Shapes) or min(plane) < missing:
            continue
        kinds = [str(kind) for kind in shapes.shape_type]
        chosen = sorted(shapes.selected_data) or range(len(kinds))
        rectangles = [number for number in chosen if kinds[number] == "rectangle"]
        if not rectangles:
            continue
        corners = np.array([shapes.data_to_world(c) for c in shapes.data[rectangles[-1]]])[:, -layer.ndim :]
        own = [
            unit_factors([u], to)[0]
            for u, to in zip(shapes.units[-layer.ndim :], layer.units[max(missing, 0) :], strict=True)
        ]
        world = np.tile(np.asarray(layer.data_to_world(region.position)), (len(corners), 1))
        world[:, max(missing, 0) :] = corners * own
        voxels = np.array([layer.world_to_data(w) for w in world])
        lo = np.maximum(voxels.min(0), -0.5)
        hi = np.minimum(voxels.max(0), region.shape - 0.5)
        if all(lo[d] < hi[d] for d in plane):
            return lo, hi
    return None
