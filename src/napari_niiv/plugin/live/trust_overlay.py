"""Maps of trust over a live picture: coloured where they have something to say, clear elsewhere."""

from __future__ import annotations

from typing import Any

import napari.layers
import numpy as np
from napari.components import ViewerModel
from napari.utils import Colormap
from numpy.typing import NDArray

from napari_niiv.plugin.common.layers import LIVE, insert_above
from napari_niiv.plugin.common.removal import remove
from napari_niiv.plugin.live.picture_layer import Image
from napari_niiv.plugin.live.trust_appearance import APPEARANCES, Appearance
from napari_niiv.plugin.live.view import View
from napari_niiv.reconstruction.views.request import Trust


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
        self._viewer, self._appearance = viewer, appearance
        self._level = 1.0
        self._place: object = None
        self.layer = Image(
            np.zeros((1,) * source.ndim, np.float32),
            name=f"{source.name}: {appearance.layer_name}",
            units=source.units,
            axis_labels=source.axis_labels,
            contrast_limits=appearance.limits,
            colormap=_colormap(appearance),
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

    def show(self, view: View, values: NDArray[Any], shape: tuple[int, ...], level: float) -> None:
        """Put a map of trust where its picture is.

        Parameters
        ----------
        view : View
            Place of the picture.
        values : array
            The map, a number for each pixel.
        shape : tuple of int
            Shape of the source's data.
        level : float
            What is doubtful, in the map's intensities; where it is another one, the scale of the layer becomes another.
        """
        if self._appearance.corner and level != self._level:
            lowest, highest = (limit * level for limit in self._appearance.limits)
            self.layer.contrast_limits_range = self.layer.contrast_limits = (lowest, highest)
            self._level = level
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


def _colormap(appearance: Appearance) -> Colormap:
    places, colours = zip(*appearance.colours, strict=True)
    return Colormap(colours, name=appearance.name, controls=places)
