"""How a volume is drawn in 3-D, by what is in it."""

from __future__ import annotations

import weakref
from typing import Any

from napari.layers import Image

from napari_niiv.plugin.common.connections import Connections

DENSE = 0.25  # the median as a share of the range: electron microscopy has 0.4 … 0.6, light microscopy 0.12 at most
_NAPARI_DEFAULT = "mip"
_OWN = ("rendering", "attenuation", "iso_threshold", "interpolation3d", "depiction", "blending", "opacity")
# what the user made of the volumes of a source
_kept: weakref.WeakKeyDictionary[Image, dict[str, Any]] = weakref.WeakKeyDictionary()


def look_of(source: Image, dense: bool) -> dict[str, Any]:
    """How the volume of a source is drawn, as attributes of its layer.

    Of a dense volume a maximum intensity projection shows but the brightest speck of each ray, a pale box. Colours as
    opaque as those of napari's colormaps, blended along the ray ("translucent"), show the faces of the block instead,
    with the voxels as they are, and so does each cut through it. What the user chose, for the source or for an
    earlier volume of it, stays.

    Parameters
    ----------
    source : Image
    dense : bool
        Whether there is something almost everywhere, as in electron microscopy.
    """
    look = {name: getattr(source, name) for name in _OWN}
    if dense and look["rendering"] == _NAPARI_DEFAULT:
        look["rendering"] = "translucent"
    return {**look, **_kept.get(source, {})}


def follow_look(source: Image, layer: Image) -> Connections:
    """Draw a volume otherwise when its source is set otherwise: that, though hidden, is the selected layer.

    Parameters
    ----------
    source : Image
    layer : Image
        The volume's.

    Returns
    -------
    Connections
        To be disconnected when the layer goes.
    """
    connections = Connections()
    connections.connect(
        lambda event: setattr(layer, event.type, getattr(source, event.type)), *(source.events[name] for name in _OWN)
    )
    return connections


def keep_look(source: Image, layer: Image, given: dict[str, Any]) -> None:
    """Keep for later volumes of a source what the user changed of the layer of one, which was given another look."""
    changed = {name: getattr(layer, name) for name, value in given.items() if getattr(layer, name) != value}
    if changed:
        _kept[source] = {**_kept.get(source, {}), **changed}
