"""A picture of the live layer as a layer of its own, which stays."""

from __future__ import annotations

from typing import Any

import napari.layers

from napari_niiv.plugin.common.layers import FROZEN, looks
from napari_niiv.plugin.live.one_slice import one_slice
from napari_niiv.plugin.live.view import View
from napari_niiv.plugin.napari_compat import own_extent
from napari_niiv.reconstruction.views.request import SliceResponse


class Image(napari.layers.Image):  # the name is napari's type of the layer: icon and writers derive from it
    """An image that reports the extent of the volume it shows a slice of: the sliders keep range and step."""

    reported: Any = None  # the extent of that volume; None reports the slice's own

    @property
    def extent(self) -> Any:
        """Extent of the volume that the picture is a slice of."""
        return own_extent(self) if self.reported is None else self.reported


def frozen(source: napari.layers.Image, live: napari.layers.Image, view: View, response: SliceResponse) -> Image:
    """A layer with a picture, one voxel thick, where it belongs; it looks as the live layer does.

    It is hidden: it lies over the live picture, whose changes could not be seen.

    Parameters
    ----------
    source, live : Image
        The layer that was reconstructed, and that which shows it.
    view : View
        Place of the picture.
    response : SliceResponse
        The picture.
    """
    request = response.request
    data, transforms = one_slice(view, response.image)
    layer = Image(
        data.copy(),
        name=f"{source.name} {request.plane} {request.index:g} (frozen)",
        **transforms,
        units=source.units,
        axis_labels=source.axis_labels,
        **looks(live),
        opacity=live.opacity,
        blending=live.blending,
        interpolation2d=live.interpolation2d,
        visible=False,
        metadata={
            FROZEN: {
                "source": source.name,
                "plane": request.plane,
                "index": request.index,
                "quality": response.quality,
                "inferred": response.inferred,
            }
        },
    )
    layer.contrast_limits_range = live.contrast_limits_range
    layer.reported = source.extent
    return layer
