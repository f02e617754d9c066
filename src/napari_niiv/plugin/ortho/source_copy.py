"""A layer of the main viewer in another viewer: the same data, which follow the transforms and looks of the layer."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import BLENDED, SHARED
from napari_niiv.plugin.napari_compat import link_layers, unlink_layers

COPIED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name")


class SourceCopy:
    """Adds a copy of a layer to a viewer, on top, and keeps it as the layer is.

    Parameters
    ----------
    viewer : ViewerModel
        Not that of the layer.
    source : Image
    blended : bool
        Whether it also lies over others as the layer does, as a channel over channels.

    Attributes
    ----------
    source : Image
    layer : Image
        The copy.
    """

    def __init__(self, viewer: ViewerModel, source: Image, *, blended: bool) -> None:
        self.source = source
        self._linked = (*SHARED, "visible", *(BLENDED if blended else ()))
        data, state, kind = source.as_layer_data_tuple()
        self.layer = Layer.create(data, state if blended else {**state, "opacity": 1.0}, kind)
        viewer.add_layer(self.layer)
        link_layers([source, self.layer], self._linked)
        self._connections = Connections()
        self._connections.connect(self._copy_attribute, *(getattr(source.events, name) for name in COPIED))
        self._connections.connect(self._copy_data, source.events.data)

    def close(self) -> None:
        """Follow the source no longer."""
        self._connections.disconnect()
        unlink_layers([self.source, self.layer], self._linked)

    def _copy_attribute(self, event: Any) -> None:
        setattr(self.layer, event.type, getattr(self.source, event.type))

    def _copy_data(self, event: Any) -> None:
        if self.source.ndim == self.layer.ndim:  # otherwise all is closed
            self.layer.metadata = self.source.metadata
            self.layer.data = self.source.as_layer_data_tuple()[0]
