"""Maps of trust over a live picture: coloured where they have something to say, clear elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import napari.layers
import numpy as np
from napari.components import ViewerModel
from napari.utils import Colormap
from numpy.typing import NDArray

from napari_niiv.plugin.common.layers import LIVE, insert_above
from napari_niiv.plugin.common.removal import remove
from napari_niiv.plugin.live.picture_layer import Image
from napari_niiv.plugin.live.view import View
from napari_niiv.reconstruction.views.request import Trust


class Appearance(NamedTuple):
    """How a map looks: its name, what the legend says, colours from least to most, limits in parts of the contrast.

    What is in a place or not has no colour bar, and no corner for it.
    """

    name: str
    meaning: str
    colours: tuple[tuple[float, float, float, float], ...]
    limits: tuple[float, float]
    corner: str


APPEARANCES: dict[Trust, Appearance] = {
    "disagreement": Appearance(
        "xz and yz disagree",
        "yellow to red: how far the reconstructions along xz and along yz differ, in the source's intensities",
        ((1, 0.9, 0.2, 0), (1, 0.8, 0.1, 0.6), (1, 0.1, 0, 0.9)),
        (0.0, 0.2),
        "top_right",
    ),
    "misfit": Appearance(
        "unlike the measurement",
        "red: the reconstruction, made coarse again, is brighter than what was measured; blue: darker",
        ((0.1, 0.4, 1, 0.9), (0.1, 0.4, 1, 0), (1, 0.2, 0.1, 0), (1, 0.2, 0.1, 0.9)),
        (-0.1, 0.1),
        "bottom_right",
    ),
    "bridged": Appearance(
        "bridged sections",
        "violet: a section that is bridged, not measured",
        ((0.6, 0.2, 1, 0), (0.6, 0.2, 1, 0.4)),
        (0.0, 1.0),
        "",
    ),
}


class TrustOverlay:
    """One map, as a layer with a colour bar over the live layer.

    Parameters
    ----------
    viewer : ViewerModel
    source, live : Image
        The layer that is reconstructed, and that which shows it.
    kind : {"disagreement", "misfit", "bridged"}

    Attributes
    ----------
    layer : Image
    """

    def __init__(self, viewer: ViewerModel, source: napari.layers.Image, live: Image, kind: Trust) -> None:
        appearance = APPEARANCES[kind]
        contrast = float(np.diff(source.contrast_limits)[0]) or 1.0 if appearance.corner else 1.0
        self._viewer = viewer
        self._place: object = None
        self.layer = Image(
            np.zeros((1,) * source.ndim, np.float32),
            name=f"{source.name}: {appearance.name}",
            units=source.units,
            axis_labels=source.axis_labels,
            contrast_limits=(appearance.limits[0] * contrast, appearance.limits[1] * contrast),
            colormap=Colormap(appearance.colours, name=appearance.name),
            blending="translucent_no_depth",
            metadata={LIVE: True},
            visible=False,
        )
        self.layer.source_layer = source
        if appearance.corner:
            self.layer.colorbar.position = appearance.corner
            self.layer.colorbar.visible = True
        self._hidden_by_us = True  # not by the user
        insert_above(viewer.layers, live, self.layer)

    def show(self, view: View, values: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Put a map of trust where its picture is.

        Parameters
        ----------
        view : View
            Place of the picture.
        values : array
            The map, a number for each pixel.
        shape : tuple of int
            Shape of the source's data.
        """
        self._place = view.request.place
        self.layer.show(view, values, shape, thumbnail=False)
        if self._hidden_by_us:
            self._hidden_by_us, self.layer.visible = False, True

    def keep(self, place: object) -> None:
        """Stay, if the map is of the slice at `place`; else hide."""
        if place != self._place:
            self.hide()

    def hide(self) -> None:
        """Hide the layer until there is a map again."""
        self._place = None
        if self.layer.visible:
            self._hidden_by_us, self.layer.visible = True, False

    def close(self) -> None:
        """Remove the layer from the viewer."""
        remove(self._viewer, self.layer)
