"""A picture of the live layer as a layer of its own, which stays."""

from __future__ import annotations

from typing import Any

import napari.layers
import numpy as np
from numpy.typing import NDArray

from napari_niiv.plugin.common.layers import FROZEN, looks
from napari_niiv.plugin.live.view import View
from napari_niiv.plugin.napari_compat import own_extent
from napari_niiv.reconstruction.planes import AXES
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
    others = [d for d in range(source.ndim) if d not in view.axes]
    place = pixels_to_world(view, response)
    linear, offset = place[:-1, :-1], place[:-1, -1]
    upright = np.array_equal(linear, np.diag(np.diag(linear)))
    layer = Image(
        np.expand_dims(response.image, tuple(others)).copy(),
        name=f"{source.name} {request.plane} {request.index:g} (frozen)",
        # scale and translate where they suffice: files and other plugins know them better than an affine matrix
        **({"scale": np.diag(linear), "translate": offset} if upright else {"affine": place}),
        units=source.units,
        axis_labels=source.axis_labels,
        **looks(live),
        opacity=live.opacity,
        blending=live.blending,
        interpolation2d=live.interpolation2d,
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


def pixels_to_world(view: View, response: SliceResponse) -> NDArray[np.float64]:
    """Affine matrix from the indices of a picture, as an array with the axes of its source, to the source's world."""
    request, n = response.request, len(view.affine) - 1
    place = np.eye(n + 1)
    place[: n - 3, -1] = request.leading
    place[n - 3 + AXES[request.plane][0], -1] = request.index
    return view.affine @ place
