"""The live layer: what the viewer shows of a layer, reconstructed at the resolution of the screen."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import napari.layers
import numpy as np
from napari.components import ViewerModel
from napari.experimental import link_layers, unlink_layers
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_niiv.errors import NiivError
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.layers import LIVE, layer_volume
from napari_niiv.plugin.view import View, spread, visible
from napari_niiv.reconstruction.reconstructor import Reconstructor
from napari_niiv.reconstruction.requests import SliceResponse
from napari_niiv.reconstruction.scheduler import Answer, Scheduler

_REMEMBERED = 16  # views whose answers may still come
COALESCE_MS = 6  # a throttle, not a debounce: the view keeps up with a drag


class Image(napari.layers.Image):  # the name is napari's type of the layer: icon and writers derive from it
    """An image that reports its source's extent, so that a fine tile changes neither range nor step of the sliders."""

    source_layer: napari.layers.Image | None = None
    _changing = False
    _picture: NDArray[Any] | None = None
    _axes: tuple[int, ...] = ()

    @property
    def extent(self) -> Any:
        """Extent of the source."""
        if self.source_layer is None:
            return napari.layers.Image.extent.func(self)
        return self.source_layer.extent

    def refresh(self, event: Any = None, **parts: Any) -> None:
        """Redraw; put off while a picture and its place are exchanged together."""
        if not self._changing:
            super().refresh(event, **parts)

    def show(self, view: View, picture: NDArray[Any], shape: tuple[int, ...], thumbnail: bool) -> None:
        """Exchange picture and place with one redraw; the extent, which is the source's, stays as it is.

        Assigning `data` makes the viewer look at all layers anew, so a picture of the size of the last one is written
        over it.
        """
        fresh = spread(view, picture, shape)
        fits = self._axes == view.axes and (fresh.shape, fresh.dtype) == (self.data.shape, self.data.dtype)
        self._axes = view.axes
        self._changing = True
        try:
            with self.events.extent.blocker():
                if not np.array_equal(self.affine.affine_matrix, view.affine):
                    self.affine: Any = view.affine
                if fits and self._picture is not None:
                    np.copyto(self._picture, picture)
                else:
                    self._picture = picture.copy()
                    self.data: Any = spread(view, self._picture, shape)
        finally:
            self._changing = False
        self.refresh(extent=False, highlight=False, thumbnail=thumbnail)


@dataclass(frozen=True)
class Shown:
    """A picture that has just appeared: the answer and its pixel size in the layer's unit."""

    response: SliceResponse
    pixel_size: float
    unit: str
    final: bool


class LiveReconstruction(QObject):
    """Keeps a layer of reconstructed pictures over a source layer; all of it on the GUI thread but the work.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
    model : Niiv
    finest : float
        No pixel smaller than this, in lateral voxels; 0 follows the zoom.

    Raises
    ------
    VolumeError
        If the source cannot be reconstructed.
    """

    shown = Signal(object)
    failed = Signal(str)
    closed = Signal()
    _answered = Signal(object)

    def __init__(
        self, viewer: ViewerModel, source: napari.layers.Image, model: Niiv, *, finest: float = 0.0
    ) -> None:
        super().__init__()
        self.viewer, self.source, self.pixel_ratio = viewer, source, 1.0
        self._finest = finest
        self._model = model
        self._reconstructor: Reconstructor | None = Reconstructor(layer_volume(source), model)
        self._views: dict[int, View] = {}
        self._on_screen: tuple[Any, ...] = ()
        self._muted = False  # hidden by us, not by the user
        self._open = True
        self._failure = ""
        self.layer = self._add_layer()
        self._answered.connect(self._receive)
        self._scheduler = Scheduler(self._deliver)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(COALESCE_MS)
        self._timer.timeout.connect(self._request)
        camera, dims, of = viewer.scene.camera.events, viewer.dims.events, source.events
        self._triggers = (
            *(camera.zoom, camera.center, dims.point, viewer.canvas.events.size),
            *(viewer.canvas.grid.events.enabled, self.layer.events.visible),
        )
        self._changes = (of.data, of.scale, of.translate, of.rotate, of.shear, of.affine, of.units)
        for event in self._triggers:
            event.connect(self._poke)
        for event in self._changes:
            event.connect(self._source_changed)
        # before napari slices the tile along other axes, and after it is back
        dims.order.connect(self._mute, position="first")
        dims.ndisplay.connect(self._mute, position="first")
        dims.order.connect(self._poke, position="last")
        dims.ndisplay.connect(self._poke, position="last")
        viewer.layers.events.removed.connect(self._removed)
        self._poke()

    @property
    def finest(self) -> float:
        """No pixel is smaller than this, in lateral voxels; 0 follows the zoom."""
        return self._finest

    @finest.setter
    def finest(self, value: float) -> None:
        self._finest = value
        self._poke()

    @property
    def model(self) -> Niiv:
        """The model in use; setting it redraws."""
        return self._model

    @model.setter
    def model(self, model: Niiv) -> None:
        self._rebuild(model)

    def close(self, remove: bool = True) -> None:
        """End: stop the work, let go of the viewer, and remove the layer."""
        if not self._open:
            return
        self._open = False
        self._timer.stop()
        self._scheduler.close()
        for event in self._triggers:
            event.disconnect(self._poke)
        for event in self._changes:
            event.disconnect(self._source_changed)
        dims = self.viewer.dims.events
        for event in (dims.order, dims.ndisplay):
            event.disconnect(self._mute)
            event.disconnect(self._poke)
        self.viewer.layers.events.removed.disconnect(self._removed)
        unlink_layers([self.source, self.layer], ("contrast_limits", "gamma", "colormap"))
        if remove and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        if self._reconstructor is not None:
            self._reconstructor.cache.clear()
        self.closed.emit()

    def _add_layer(self) -> Image:
        source, layers = self.source, self.viewer.layers
        data = layer_volume(source).dtype
        layer = Image(
            np.zeros((1,) * source.ndim, np.float32 if data == np.float64 else data),
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
        self._muted = True
        selection = set(layers.selection)
        layers.insert(layers.index(source) + 1, layer)
        layers.selection = selection
        link_layers([source, layer], ("contrast_limits", "gamma", "colormap"))
        return layer

    def _poke(self, event: Any = None) -> None:
        if self._open and not self._timer.isActive():
            self._timer.start()

    def _mute(self, event: Any = None) -> None:
        """Hide the picture while it does not fit the axes on display."""
        self._scheduler.cancel()
        self._on_screen = ()
        if self.layer.visible:
            self._muted, self.layer.visible = True, False

    def _removed(self, event: Any) -> None:
        if event.value in (self.layer, self.source):
            self.close()

    def _source_changed(self, event: Any = None) -> None:
        if self.source.ndim != self.layer.ndim:
            self.close()
            return
        if self.layer.units != self.source.units:
            self.layer.units = self.source.units
        self._rebuild(self.model)

    def _rebuild(self, model: Niiv) -> None:
        self._scheduler.cancel()
        self._failure, self._model = "", model
        try:
            self._reconstructor = Reconstructor(layer_volume(self.source), model)
        except NiivError as error:
            self._reconstructor = None  # nothing is shown until the source changes again
            self._mute()
            self.failed.emit(str(error))
            return
        self._poke()

    def _request(self) -> None:
        if not self._open or self._reconstructor is None or not (self.layer.visible or self._muted):
            return
        view = visible(self.viewer, self.source, pixel_ratio=self.pixel_ratio, finest=self._finest)
        if view is None:
            self._mute()
            return
        newest = self._views.get(self._scheduler.generation)
        if newest is not None and not self._muted and newest.same(view):
            return  # what moved is not in this view, such as a cross-hair
        recent = sorted(self._views)[-_REMEMBERED:]
        self._views = {g: self._views[g] for g in recent}
        self._views[self._scheduler.submit(self._reconstructor, view.request)] = view

    def _deliver(self, answer: Answer) -> None:
        with contextlib.suppress(RuntimeError):  # the viewer closed and took this object's Qt part with it
            self._answered.emit(answer)

    def _receive(self, answer: Answer) -> None:
        view = self._views.get(answer.generation)
        if not self._open or view is None or self.layer not in self.viewer.layers:
            return
        newest = self._views.get(self._scheduler.generation)
        if newest is None or not _serves(view, newest, answer):
            return
        if answer.error is not None:
            if answer.generation == self._scheduler.generation and str(answer.error) != self._failure:
                self._failure = str(answer.error)
                self._mute()
                self.failed.emit(self._failure)
            return
        assert answer.response is not None
        self._show(view, answer.response, answer.final)

    def _show(self, view: View, response: SliceResponse, final: bool) -> None:
        request = response.request
        place = (request.plane, request.index, request.leading, view.axes)
        if response.quality == "placeholder" and place == self._on_screen:
            return  # a better picture of this very slice is on the screen
        data = self.source.data[0] if self.source.multiscale else self.source.data
        self.layer.show(view, response.image, tuple(data.shape), thumbnail=final)
        if response.quality != "placeholder":
            self._on_screen = place
        if self._muted:
            self._muted, self.layer.visible = False, True
        self._failure = ""
        unit = self.source.units[-1]
        unit = "voxel units" if str(unit) == "pixel" else f"{unit:~P}"
        self.shown.emit(Shown(response, view.pixel_size, unit, final))


def _serves(view: View, newest: View, answer: Answer) -> bool:
    """Whether a picture may be shown now: the newest, another window of its slice, or a scroll's placeholder."""
    if view is newest:
        return True
    if view.axes != newest.axes or view.request.plane != newest.request.plane:
        return False
    placeholder = answer.response is not None and answer.response.quality == "placeholder"
    return placeholder or view.request.place == newest.request.place
