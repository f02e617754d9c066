"""The picture of a live view: as much of it on its layer as is to be seen, and the maps of trust over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari.layers
import numpy as np
from napari.components import ViewerModel
from napari.experimental import link_layers, unlink_layers
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.plugin.common.layers import LIVE, SHARED, finest_data, insert_above, layer_volume
from napari_niiv.plugin.live.frozen_layer import frozen
from napari_niiv.plugin.live.picture_layer import Image
from napari_niiv.plugin.live.split import right_of_line
from napari_niiv.plugin.live.split_handle import SplitHandle
from napari_niiv.plugin.live.trust_overlay import TrustOverlay
from napari_niiv.plugin.live.view import View
from napari_niiv.reconstruction.views.request import SliceResponse, Trust


class LivePicture:
    """Shows the newest picture of a source, with its maps of trust; hidden until there is one.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
    drag : callable
        Gets the part of the window left of the split line when the mouse drags it.

    Attributes
    ----------
    layer : Image
        The layer with the picture.
    newest : tuple of View and SliceResponse, or None
        The picture of what is on display, whole also where a split cuts it.
    muted : bool
        Whether the layer is hidden by us, not by the user.
    """

    def __init__(
        self, viewer: ViewerModel, source: napari.layers.Image, drag: Callable[[float], None]
    ) -> None:
        self._viewer, self._source, self._drag = viewer, source, drag
        self.newest: tuple[View, SliceResponse] | None = None
        self._on_screen: tuple[Any, ...] = ()
        self._comparing = False
        self._split: float | None = None
        self._handle: SplitHandle | None = None
        self._overlays: dict[Trust, TrustOverlay] = {}
        self.muted = True
        self.layer = self._add_layer()

    @property
    def split(self) -> float | None:
        """The part of the window, 0 … 1, that shows the source, left of a line; None shows it nowhere."""
        return self._split

    @split.setter
    def split(self, value: float | None) -> None:
        value = None if value is None else float(min(max(value, 0.0), 1.0))
        if value == self._split:
            return
        self._split = value
        if value is None and self._handle is not None:
            self._handle.close()
            self._handle = None
        elif value is not None and self._handle is None:
            self._handle = SplitHandle(self._viewer, lambda: self._split or 0.0, self._drag)
        self._place()

    @property
    def trust(self) -> tuple[Trust, ...]:
        """The maps that lie over the picture."""
        return tuple(self._overlays)

    @trust.setter
    def trust(self, kinds: tuple[Trust, ...]) -> None:
        for kind in set(self._overlays) - set(kinds):
            self._overlays.pop(kind).close()
        for kind in kinds:
            if kind not in self._overlays:
                self._overlays[kind] = TrustOverlay(self._viewer, self._source, self.layer, kind)

    def compare(self, on: bool) -> None:
        """While on, the source shows in place of the picture."""
        self._comparing = on
        self._place()

    def show(self, view: View, response: SliceResponse, thumbnail: bool) -> bool:
        """Take a picture, unless a better one of this very slice is on the screen; whether it was taken."""
        request = response.request
        place = (request.plane, request.index, request.leading, view.axes)
        if response.quality == "placeholder" and place == self._on_screen:
            return False
        self.newest = view, response
        self._place(thumbnail)
        if response.quality != "placeholder":
            self._on_screen = place
        return True

    def drop(self) -> None:
        """Show nothing until there is another picture."""
        self._on_screen, self.newest = (), None
        self._hide()

    def keep_split(self, event: Any = None) -> None:
        """The line stays where it is on the screen: before the window is drawn, not when the next picture comes."""
        if self._split is not None:
            self._place()

    def lose(self, layer: napari.layers.Layer) -> bool:
        """Forget the map on a layer that was deleted; whether there was one."""
        lost = [kind for kind, overlay in self._overlays.items() if layer is overlay.layer]
        for kind in lost:
            del self._overlays[kind]
        return bool(lost)

    def freeze(self) -> napari.layers.Image:
        """Keep the picture of now as a layer of its own.

        Raises
        ------
        ReconstructionError
            If there is no picture yet.
        """
        if self.newest is None:
            raise ReconstructionError(
                f"There is no picture of {self._source.name!r} to freeze yet; wait until one is shown."
            )
        layer = frozen(self._source, self.layer, *self.newest)
        insert_above(self._viewer.layers, self.layer, layer)
        return layer

    def close(self, remove: bool = True) -> None:
        """Let go of mouse and source, and remove the layers."""
        if self._handle is not None:
            self._handle.close()
        overlays, self._overlays = self._overlays, {}
        for overlay in overlays.values():
            overlay.close(remove)
        unlink_layers([self._source, self.layer], SHARED)
        if remove and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)

    def _add_layer(self) -> Image:
        source, dtype = self._source, layer_volume(self._source).dtype
        layer = Image(
            np.zeros((1,) * source.ndim, np.float32 if dtype == np.float64 else dtype),
            name=f"{source.name} (isotropic)",
            units=source.units,
            axis_labels=source.axis_labels,
            contrast_limits=source.contrast_limits,
            gamma=source.gamma,
            colormap=source.colormap.name,
            blending="opaque",
            interpolation2d="linear",
            metadata={LIVE: True},
            visible=False,
        )
        layer.source_layer = source
        insert_above(self._viewer.layers, source, layer)
        link_layers([source, layer], SHARED)
        return layer

    def _hide(self) -> None:
        for overlay in self._overlays.values():
            overlay.hide()
        if self.layer.visible:
            self.muted, self.layer.visible = True, False

    def _place(self, thumbnail: bool = False) -> None:
        """Put the newest picture on the layer, as much of it as is to be seen."""
        if self.newest is None:
            return
        view, response = self.newest
        part = self._visible_part(view, response.image)
        if part is None or self._comparing:
            self._hide()
            return
        shape = tuple(finest_data(self._source).shape)
        self.layer.show(*part, shape, thumbnail=thumbnail)
        if self.muted:
            self.muted, self.layer.visible = False, True
        for kind, overlay in self._overlays.items():
            values = response.trust.get(kind)
            if values is None:  # a faster pass of the same slice leaves the map where it is
                overlay.keep(response.request.place)
            elif (piece := self._visible_part(view, values)) is not None:
                overlay.show(*piece, shape)

    def _visible_part(self, view: View, values: NDArray[Any]) -> tuple[View, NDArray[Any]] | None:
        """What of a picture or a map the split leaves, and its place."""
        if self._split is None:
            return view, values
        return right_of_line(self._viewer, self._source, view, values, self._split)
