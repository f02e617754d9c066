"""What lies over a live picture and hides it, such as the result of an export: neither comparison nor split is seen.

The result of an export whose light adds up, as that of a channel does, would make a wrong picture of it.
"""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_niiv.plugin.common.layers import EXPORTED, FROZEN, is_source, layer_units
from napari_niiv.plugin.napari_compat import own_extent

_MOST = 0.9  # of what is in view, along each axis of the picture
_OPAQUE = ("opaque", "translucent", "translucent_no_depth")


def images_above(viewer: ViewerModel, live: Image) -> list[Image]:
    """The images of the user's, and frozen pictures, that lie over a live picture, seen or not, the highest first."""
    layers = list(viewer.layers)
    above = layers[layers.index(live) + 1 :] if live in layers else []
    return [each for each in reversed(above) if is_source(each) or FROZEN in each.metadata]


def covering(viewer: ViewerModel, live: Image, source: Image) -> Image | None:
    """The image of the user's that hides a live picture, or is a result that adds to it; None if it is seen as it is.

    Parameters
    ----------
    viewer : ViewerModel
        In 2-D.
    live, source : Image
        The layer with the picture, and the one that was reconstructed.
    """
    above = (each for each in images_above(viewer, live) if _is_opaque(each) or adds_light(each))
    return next((each for each in above if _covers(viewer, each, source)), None)


def seen_beside(viewer: ViewerModel, live: Image, source: Image) -> Image | None:
    """In 3-D, the result of an export that is seen where a live volume is; parameters as of `covering`."""
    begin, end = _extent(viewer, source)
    for each in images_above(viewer, live):
        low, high = _extent(viewer, each)
        if each.visible and EXPORTED in each.metadata and np.all(np.minimum(high, end) > np.maximum(low, begin)):
            return each
    return None


def _is_opaque(layer: Image) -> bool:
    return bool(layer.visible and layer.opacity == 1 and str(layer.blending) in _OPAQUE)


def adds_light(layer: Image) -> bool:
    """Whether a layer is the result of an export that is added to what lies below."""
    return bool(layer.visible and EXPORTED in layer.metadata and not _is_opaque(layer))


def _covers(viewer: ViewerModel, layer: Image, source: Image) -> bool:
    """Whether a layer's slice of now lies over all of the source's that is in view."""
    shown = viewer.dims.displayed
    low, high = _extent(viewer, layer)
    begin, end = _extent(viewer, source)
    camera = viewer.scene.camera
    half = np.array(viewer.canvas.viewbox_size(viewer.layers)) / camera.zoom / 2
    for axis, centre, reach in zip(shown, camera.center[-2:], half, strict=True):
        begin[axis], end[axis] = max(begin[axis], centre - reach), min(end[axis], centre + reach)
    common = np.minimum(high, end) - np.maximum(low, begin)
    point = np.array(viewer.dims.point)
    inside = (low <= point) & (point <= high)
    return all(common[n] >= _MOST * (end[n] - begin[n]) if n in shown else inside[n] for n in range(viewer.dims.ndim))


def _extent(viewer: ViewerModel, layer: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a layer begins and ends along each axis of the viewer, in its units; without bounds along those it lacks.

    Half a step is added at each end, as a slice is seen that far.
    """
    extent = own_extent(layer) if FROZEN in layer.metadata else layer.extent  # which says the source's, for the sliders
    units, step = layer_units(viewer, layer), np.abs(extent.step) / 2
    low, high = extent.world
    before = viewer.dims.ndim - layer.ndim
    return (
        np.concatenate([np.full(before, -np.inf), (low - step) / units]),
        np.concatenate([np.full(before, np.inf), (high + step) / units]),
    )
