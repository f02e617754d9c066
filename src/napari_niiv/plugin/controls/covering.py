"""What lies over a live picture and hides it, such as the result of an export: neither comparison nor split is seen."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image

from napari_niiv.plugin.common.layers import COVER, FROZEN, LIVE

_MOST = 0.9  # of the source's extent, along each axis of the picture
_OURS = {COVER, FROZEN, LIVE}
_OPAQUE = ("opaque", "translucent", "translucent_no_depth")


def images_above(viewer: ViewerModel, live: Image) -> list[Image]:
    """The images of the user's that lie over a live picture, seen or not, the highest first."""
    layers = list(viewer.layers)
    above = layers[layers.index(live) + 1 :] if live in layers else []
    return [each for each in reversed(above) if isinstance(each, Image) and _OURS.isdisjoint(each.metadata)]


def covering(viewer: ViewerModel, live: Image, source: Image) -> Image | None:
    """The image of the user's that hides a live picture; None if it can be seen.

    Parameters
    ----------
    viewer : ViewerModel
        In 2-D.
    live, source : Image
        The layer with the picture, and the one that was reconstructed.
    """
    above = (each for each in images_above(viewer, live) if _is_opaque(each))
    return next((each for each in above if _covers(viewer, each, source)), None)


def _is_opaque(layer: Image) -> bool:
    return bool(layer.visible and layer.opacity == 1 and str(layer.blending) in _OPAQUE)


def _covers(viewer: ViewerModel, layer: Image, source: Image) -> bool:
    """Whether a layer's slice of now lies over that of the source."""
    dims = min(layer.ndim, source.ndim)
    low, high = layer.extent.world[:, -dims:]
    begin, end = source.extent.world[:, -dims:]
    shown = [axis - viewer.dims.ndim + dims for axis in viewer.dims.displayed]
    if min(shown) < 0:
        return False
    step = np.abs(source.extent.step[-dims:])
    point = np.array(viewer.dims.point[-dims:])
    inside = (low - step <= point) & (point <= high + step)
    common = np.minimum(high, end) - np.maximum(low, begin)
    wide = common >= _MOST * (end - begin)
    return bool(all(wide[axis] if axis in shown else inside[axis] for axis in range(dims)))
