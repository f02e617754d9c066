"""The live layer: what the viewer shows of a layer, reconstructed at the resolution of the screen."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import napari.layers
from napari.components import ViewerModel
from qtpy.QtCore import QObject, QTimer, Signal

from napari_niiv.errors import NiivError
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.common.layers import layer_volume, volume_events
from napari_niiv.plugin.live.picture import LivePicture
from napari_niiv.plugin.live.view import View, visible
from napari_niiv.plugin.live.watched_volume import Reads, WatchedVolume
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.threads.scheduler import Answer, Scheduler
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceResponse, Trust
from napari_niiv.volume import Volume

_REMEMBERED = 16  # views whose answers may still come
_MOVING = 4  # triggers that move the window over the world
PATIENCE_MS = 1000  # without any answer, before the user is told what is waited for
FRAME_SECONDS = 0.012  # for which the window may wait for an interpolation
COALESCE_MS = 6  # a throttle, not a debounce: the view keeps up with a drag


@dataclass(frozen=True)
class Shown:
    """A picture that has just appeared: the answer and its pixel size in the layer's unit."""

    response: SliceResponse
    pixel_size: float
    unit: str
    final: bool


class LiveReconstruction(QObject):
    """Keeps a layer of reconstructed pictures over a source layer; all of it on the GUI thread but the work.

    Signals: `shown` brings a `Shown` with each picture that appears, `failed` one sentence when none can, `waiting` one
    when the source takes its time, `split_moved` the new `split` when the mouse dragged its line, `trust_changed` the
    new `trust` when the user deleted a map; `closed` is the end.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
    model : Niiv
    finest : float
        No pixel smaller than this, in lateral voxels; 0 follows the zoom.
    memory : Memory, optional
        Where voxels and latent grids are kept; one may serve several.

    Attributes
    ----------
    layer : Image
        The layer with the pictures.
    last : Shown or None
        What was shown last.
    failure : str
        Why nothing is shown, or nothing.

    Raises
    ------
    VolumeError
        If the source cannot be reconstructed.
    """

    shown = Signal(object)
    failed = Signal(str)
    closed = Signal()
    split_moved = Signal(float)
    trust_changed = Signal(object)
    waiting = Signal(str)
    _answered = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        source: napari.layers.Image,
        model: Niiv,
        *,
        finest: float = 0.0,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        self._memory = memory or Memory()
        self.viewer, self.source, self.pixel_ratio = viewer, source, 1.0
        self._finest = finest
        self._model = model
        self._reads = Reads()
        self._reconstructor: Reconstructor | None = Reconstructor(self._volume(), model, memory=self._memory)
        self._views: dict[int, View] = {}
        self._project = False
        self._open = True
        self.failure = ""  # why nothing is shown
        self.last: Shown | None = None  # what was shown last
        self._picture = LivePicture(viewer, source, self._drag_split)
        self.layer = self._picture.layer
        self._answers: deque[Answer] = deque()
        self._arrived = threading.Event()
        self._prompt = True  # whether interpolations come within a frame
        self._answered.connect(self._receive_all)
        self._scheduler = Scheduler(self._deliver)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(COALESCE_MS)
        self._timer.timeout.connect(self._request)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(PATIENCE_MS)
        self._patience.timeout.connect(self._wait)
        camera, dims = viewer.scene.camera.events, viewer.dims.events
        self._triggers = (
            *(camera.zoom, camera.center, viewer.canvas.events.size, viewer.canvas.grid.events.enabled),
            self.layer.events.visible,
        )
        self._changes = volume_events(source)
        for event in self._triggers:
            event.connect(self._poke)
        for event in self._triggers[:_MOVING]:
            event.connect(self._picture.keep_split)
        for event in self._changes:
            event.connect(self._source_changed)
        self._looked = self._look()
        source.events.set_data.connect(self._sliced)
        dims.point.connect(self._scroll)
        # before other plugins, and after them; napari itself slices the tile along its new axes before either
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

    @property
    def split(self) -> float | None:
        """The part of the window, 0 … 1, that shows the source, left of a line; None shows it nowhere."""
        return self._picture.split

    @split.setter
    def split(self, value: float | None) -> None:
        if self._open:
            self._picture.split = value

    @property
    def project(self) -> bool:
        """Whether the pictures are corrected so that, degraded again, they are what was measured."""
        return self._project

    @project.setter
    def project(self, value: bool) -> None:
        self._project = value
        self._poke()

    @property
    def trust(self) -> tuple[Trust, ...]:
        """The maps that lie over the picture, each a layer: how far to trust it where."""
        return self._picture.trust

    @trust.setter
    def trust(self, kinds: tuple[Trust, ...]) -> None:
        if not self._open:
            return
        self._picture.trust = kinds
        self._poke()

    def compare(self, on: bool) -> None:
        """While on, the source shows in place of the reconstruction."""
        self._picture.compare(on)

    @property
    def steps(self) -> bool:
        """Whether the z slider of an xy view stops between the slices, in steps of about a pixel's size."""
        return self.layer.steps_between

    @steps.setter
    def steps(self, value: bool) -> None:
        if not self._open or value == self.steps:
            return
        self.layer.steps_between = value
        self.layer.scale = self.layer.scale  # which makes the viewer ask for the extent
        if not value:  # back onto a slice
            dims = self.viewer.dims
            dims.set_current_step(dims.ndim - 3, dims.current_step[dims.ndim - 3])

    def freeze(self) -> napari.layers.Image:
        """Keep the picture of now as a layer of its own, whole also where a split cuts it.

        Raises
        ------
        ReconstructionError
            If there is no picture yet.
        """
        return self._picture.freeze()

    def close(self, remove: bool = True) -> None:
        """End: stop the work, let go of the viewer, and remove the layer."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(RuntimeError):  # the viewer closed and took the Qt parts with it
            self._timer.stop()
            self._patience.stop()
        self._scheduler.close()
        for event in self._triggers:
            event.disconnect(self._poke)
        for event in self._triggers[:_MOVING]:
            event.disconnect(self._picture.keep_split)
        for event in self._changes:
            event.disconnect(self._source_changed)
        self.source.events.set_data.disconnect(self._sliced)
        dims = self.viewer.dims.events
        dims.point.disconnect(self._scroll)
        for event in (dims.order, dims.ndisplay):
            event.disconnect(self._mute)
            event.disconnect(self._poke)
        self.viewer.layers.events.removed.disconnect(self._removed)
        self._picture.close(remove)
        if self._reconstructor is not None:
            self._reconstructor.forget()
        with contextlib.suppress(RuntimeError):
            self.closed.emit()

    def _volume(self) -> Volume:
        return WatchedVolume.of(layer_volume(self.source), self._reads)

    def _poke(self, event: Any = None) -> None:
        if self._open and not self._timer.isActive():
            self._timer.start()

    def _scroll(self, event: Any = None) -> None:
        """Ask at once, and wait for the interpolation as long as that is not felt."""
        if self._open and not self._timer.isActive():
            self._arrived.clear()
            self._request()
            self._timer.start()
            if self._prompt and self._arrived.wait(FRAME_SECONDS):
                self._receive_all()  # drawn together with the source's slice: one frame, not two

    def _mute(self, event: Any = None) -> None:
        """Hide the picture while it does not fit the axes on display."""
        self._patience.stop()
        self._scheduler.cancel()
        self._picture.drop()

    def _drag_split(self, value: float) -> None:
        if self.split not in (None, value):
            self.split = value
            self.split_moved.emit(value)

    def _removed(self, event: Any) -> None:
        if event.value in (self.layer, self.source):
            self.close()
        elif self._picture.lose(event.value):
            self.trust_changed.emit(self.trust)

    def _source_changed(self, event: Any = None) -> None:
        if self.source.ndim != self.layer.ndim:
            self.close()
            return
        if self.layer.units != self.source.units:
            self.layer.units = self.source.units
        self._rebuild(self.model)

    def _look(self) -> tuple[Any, ...]:
        """What napari slices the source by."""
        dims, source = self.viewer.dims, self.source
        return (*dims.point, *dims.order, dims.ndisplay, source.data_level, *source.corner_pixels.flat)

    def _sliced(self, event: Any = None) -> None:
        """Napari sliced the source anew: if not for another place, its voxels were edited and it was refreshed."""
        before, self._looked = self._looked, self._look()
        if self._looked == before:
            self._rebuild(self.model)

    def _rebuild(self, model: Niiv) -> None:
        self._scheduler.cancel()
        if self._reconstructor is not None:
            self._reconstructor.forget()
        self.failure, self._model = "", model
        try:
            self._reconstructor = Reconstructor(self._volume(), model, memory=self._memory)
        except NiivError as error:
            self._reconstructor = None  # nothing is shown until the source changes again
            self._fail(str(error))
            return
        self._poke()

    def _request(self) -> None:
        if not self._open or self._reconstructor is None or not (self.layer.visible or self._picture.muted):
            return
        view = visible(self.viewer, self.source, pixel_ratio=self.pixel_ratio, finest=self._finest)
        if view is None:
            self._mute()
            return
        view = replace(view, request=replace(view.request, project=self._project, trust=self.trust))
        newest = self._views.get(self._scheduler.generation)
        if newest is not None and not self._picture.muted and newest.same(view):
            return  # what moved is not in this view, such as a cross-hair
        recent = sorted(self._views)[-_REMEMBERED:]
        self._views = {g: self._views[g] for g in recent}
        self._views[self._scheduler.submit(self._reconstructor, view.request)] = view
        if not self._patience.isActive():
            self._patience.start()

    def _wait(self) -> None:
        """No answer came: say so if it is the data that keep it waiting, not the model."""
        if self._reads.busy:
            self.waiting.emit(f"Waiting for the data of {self.source.name}…")
        else:
            self._patience.start()

    def _deliver(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._arrived.set()
        with contextlib.suppress(RuntimeError):  # the viewer closed and took this object's Qt part with it
            self._answered.emit()

    def _receive_all(self) -> None:
        while self._answers:
            self._receive(self._answers.popleft())

    def _receive(self, answer: Answer) -> None:
        if answer.generation == self._scheduler.generation:
            self._patience.stop()
        elif self._patience.isActive():
            self._patience.start()  # the worker goes on
        view = self._views.get(answer.generation)
        if not self._open or view is None or self.layer not in self.viewer.layers:
            return
        newest = self._views.get(self._scheduler.generation)
        if newest is None or not _serves(view, newest, answer):
            return
        if answer.error is not None:
            if answer.generation == self._scheduler.generation and str(answer.error) != self.failure:
                self._fail(str(answer.error))
            return
        assert answer.response is not None
        if answer.response.quality == "placeholder":
            self._prompt = answer.response.seconds < FRAME_SECONDS
        self._show(view, answer.response, answer.final)

    def _fail(self, sentence: str) -> None:
        self.failure = sentence
        self._mute()
        self.failed.emit(sentence)

    def _show(self, view: View, response: SliceResponse, final: bool) -> None:
        if not self._picture.show(view, response, thumbnail=final):
            return
        self.failure = ""
        unit = self.source.units[-1]
        unit = "voxel units" if str(unit) == "pixel" else f"{unit:~P}"
        self.last = Shown(response, view.pixel_size, unit, final)
        self.shown.emit(self.last)


def _serves(view: View, newest: View, answer: Answer) -> bool:
    """Whether a picture may be shown now: the newest, another window of its slice, or a scroll's placeholder."""
    if view is newest:
        return True
    if view.axes != newest.axes or view.request.plane != newest.request.plane:
        return False
    placeholder = answer.response is not None and answer.response.quality == "placeholder"
    return placeholder or view.request.place == newest.request.place
