"""The picture of a live view: as much of it on its layer as is to be seen, and the maps of trust over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import napari.layers
import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_niiv.errors import ReconstructionError
from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.layers import (
    BLENDED,
    LIVE,
    SHARED,
    finest_data,
    insert_above,
    layer_units,
    layer_volume,
    looks,
)
from napari_niiv.plugin.common.removal import Removal, remove_layers
from napari_niiv.plugin.live.frozen_layer import frozen
from napari_niiv.plugin.live.picture_layer import Image
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.live.split import SplitHandle, right_of_line
from napari_niiv.plugin.live.trust_overlay import TrustOverlay
from napari_niiv.plugin.live.view import View
from napari_niiv.plugin.napari_compat import link_layers, unlink_layers
from napari_niiv.reconstruction.views.request import SliceResponse, Trust

if TYPE_CHECKING:
    from napari_niiv.plugin.live.channels import LiveChannels


class LivePicture:
    """Shows the newest picture of a source, with its maps of trust; hidden until there is one.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
        The layer that is reconstructed.
    drag : callable
        Gets the part of the window left of the split line when the mouse drags it.

    Attributes
    ----------
    source : Image
    layer : Image
        The layer with the picture.
    newest : tuple of View and SliceResponse, or None
        The picture of what is on display, whole also where a split cuts it.
    hidden_by_us : bool
        Whether the layer is hidden for want of a picture, not by the user.
    """

    def __init__(self, viewer: ViewerModel, source: napari.layers.Image, drag: Callable[[float], None]) -> None:
        self._viewer, self.source, self._drag = viewer, source, drag
        self._channels: LiveChannels | None = None
        self._connections = Connections()
        self.newest: tuple[View, SliceResponse] | None = None
        self._on_screen: tuple[Any, ...] = ()
        self._settings = LiveSettings()
        self._handle: SplitHandle | None = None
        self._overlays: dict[Trust, TrustOverlay] = {}
        self._thumbnail = False  # whether the newest picture is the best, and worth one
        self.hidden_by_us = True
        self.layer = self._add_layer()

    def apply(self, settings: LiveSettings) -> None:
        """Show split, comparison, maps of trust and steps between the slices as they are set now."""
        before, self._settings = self._settings, settings
        if settings.split is None and self._handle is not None:
            self._handle.close()
            self._handle = None
        elif settings.split is not None and self._handle is None:
            self._handle = SplitHandle(self._viewer, lambda: self._settings.split or 0.0, self._drag)
        for kind in set(self._overlays) - set(settings.maps):
            self._overlays.pop(kind).close()
        for kind in settings.maps:
            if kind not in self._overlays:
                self._overlays[kind] = TrustOverlay(self._viewer, self.source, self.layer, kind)
        if (settings.split, settings.comparing) != (before.split, before.comparing):
            self._arrange()
        if settings.steps != before.steps:
            self._step_between_slices(settings.steps)

    def show(self, view: View, response: SliceResponse, thumbnail: bool) -> bool:
        """Take a picture, unless a better one of this very slice is on the screen; whether it was taken."""
        request = response.request
        place = (request.plane, request.index, request.leading, view.axes)
        if response.quality == "placeholder" and place == self._on_screen:
            return False
        self.newest = view, response
        self._thumbnail = thumbnail
        self._arrange()
        if response.quality != "placeholder":
            self._on_screen = place
        return True

    def drop(self) -> None:
        """Hide layer and maps until there is another picture, as this one does not fit the axes on display."""
        self.forget()
        self._hide()
        if self._channels is not None:
            self._channels.arrange()

    def forget(self) -> None:
        """Forget the picture, of what is no longer on display."""
        self._on_screen, self.newest = (), None

    def join(self, channels: LiveChannels) -> None:
        """Stand in for a channel: blended as its source is, hidden with it, and shown with those of the others."""
        self._channels = channels
        for name in BLENDED:
            setattr(self.layer, name, getattr(self.source, name))
        link_layers([self.source, self.layer], BLENDED)
        self._connections.connect(self._follow_source, self.source.events.visible)
        self._connections.connect(channels.couple, self.layer.events.visible)
        self._connections.connect(channels.cover, self.layer.events.visible, self.source.events.blending)

    @property
    def wanted(self) -> bool:
        """Whether it is to be seen: the user has hidden neither it nor, of a channel, its source."""
        hidden = self._channels is not None and not self.source.visible
        return not hidden and not self.shut

    @property
    def shut(self) -> bool:
        """Whether the user has closed the eye of its layer."""
        return not (self.layer.visible or self.hidden_by_us)

    @property
    def left_out(self) -> bool:
        """Whether it is of a channel whose picture the user has hidden, but not those of all."""
        return self._channels is not None and self._channels.leaves_out(self)

    def keep_split(self, event: Any = None) -> None:
        """The line stays where it is on the screen: before the window is drawn, not when the next picture comes."""
        if self._settings.split is not None:
            self._arrange()

    @property
    def map_layers(self) -> dict[Trust, napari.layers.Image]:
        """The layers of the maps of trust."""
        return {kind: overlay.layer for kind, overlay in self._overlays.items()}

    def forget_overlay(self, layer: napari.layers.Layer) -> Trust | None:
        """Forget the map of trust on a layer that was deleted, and return its kind; None if there was none."""
        for kind, overlay in self._overlays.items():
            if layer is overlay.layer:
                del self._overlays[kind]
                return kind
        return None

    def freeze(self) -> napari.layers.Image:
        """Keep the picture of now as a layer of its own.

        Raises
        ------
        ReconstructionError
            If there is no picture yet.
        """
        if self.newest is None:
            raise ReconstructionError(
                f"There is no picture of {self.source.name!r} to freeze yet; wait until one is shown."
            )
        layer = frozen(self.source, self.layer, *self.newest)
        insert_above(self._viewer.layers, self.layer, layer)
        return layer

    def close(self, how: Removal = "now") -> None:
        """Disconnect from mouse and source, and remove the layers.

        Parameters
        ----------
        how : {"now", "later", "never"}
            When to remove them.
        """
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        self._connections.disconnect()
        unlink_layers([self.source, self.layer], (*SHARED, *BLENDED) if self._channels else SHARED)
        layers = [*(overlay.layer for overlay in self._overlays.values()), self.layer]
        self._overlays, self.newest = {}, None
        remove_layers(self._viewer, layers, how)
        if self._channels is not None:
            self._channels.leave(self, how)

    def _add_layer(self) -> Image:
        source, dtype = self.source, layer_volume(self.source).dtype
        layer = Image(
            np.zeros((1,) * source.ndim, np.float32 if dtype == np.float64 else dtype),
            name=f"{source.name} (isotropic)",
            units=source.units,
            axis_labels=source.axis_labels,
            **looks(source),
            blending="opaque",
            interpolation2d="linear",
            metadata={LIVE: True},
            visible=False,
        )
        layer.source_layer = source
        insert_above(self._viewer.layers, source, layer)
        link_layers([source, layer], SHARED)
        return layer

    def _step_between_slices(self, between: bool) -> None:
        """Let the z slider stop between the slices, or put it back onto one."""
        dims, source = self._viewer.dims, self.source
        axis, unit = dims.ndim - 3, layer_units(self._viewer, source)[-3]
        first, step = source.extent.world[0][-3] / unit, source.extent.step[-3] / unit
        slice_number = round((dims.point[axis] - first) / step)  # napari would take the number of its stop for one
        self.layer.steps_between = between
        self.layer.scale = self.layer.scale  # which makes the viewer ask for the extent
        if not between:
            dims.set_point(axis, first + slice_number * step)

    def _hide(self) -> None:
        for overlay in self._overlays.values():
            overlay.hide()
        if self.layer.visible:
            self.hidden_by_us, self.layer.visible = True, False

    def _arrange(self) -> None:
        if self._channels is None:
            self.place()
        else:
            self._channels.arrange(self)

    def _follow_source(self, event: Any = None) -> None:
        """The user has hidden a channel, or shows it again."""
        if self._channels is not None and self._channels.take_in(self):
            self.hidden_by_us = True  # until there is a picture
        self._arrange()

    def place(self) -> None:
        """Put the newest picture on the layer, as much of it as is to be seen."""
        if self.newest is None or self.source not in self._viewer.layers:
            return
        view, response = self.newest
        part = self._visible_part(view, response.image)
        held = self._channels is not None and not (self.source.visible and self._channels.complete)
        if part is None or self._settings.comparing or held:
            self._hide()
            return
        shape = tuple(finest_data(self.source).shape)
        self.layer.show(*part, shape, thumbnail=self._thumbnail)
        if self.hidden_by_us:
            self.hidden_by_us, self.layer.visible = False, True
        for kind, overlay in self._overlays.items():
            values = response.trust.get(kind)
            if values is None:  # a faster pass of the same slice leaves the map where it is
                overlay.keep(response.request.place)
            elif (piece := self._visible_part(view, values)) is not None:
                overlay.show(*piece, shape, response.doubt.level if response.doubt is not None else 1.0)

    def _visible_part(self, view: View, values: NDArray[Any]) -> tuple[View, NDArray[Any]] | None:
        """What of a picture or a map the split leaves, and its place."""
        if self._settings.split is None:
            return view, values
        return right_of_line(self._viewer, self.source, view, values, self._settings.split)
