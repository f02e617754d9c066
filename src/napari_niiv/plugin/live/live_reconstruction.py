"""The live layer: what the viewer shows of a layer, reconstructed at the resolution of the screen."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import replace
from typing import Any

import napari.layers
from napari.components import ViewerModel
from qtpy.QtCore import QObject, Signal

from napari_niiv.errors import NiivError
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.gui_thread import on_gui_thread, prepare
from napari_niiv.plugin.common.layers import layer_volume, unit_name, volume_events
from napari_niiv.plugin.common.removal import Removal, after_removal
from napari_niiv.plugin.common.timers import single_shot
from napari_niiv.plugin.live.channels import LiveChannels
from napari_niiv.plugin.live.picture import LivePicture
from napari_niiv.plugin.live.requested_views import RequestedViews
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.live.shown import Shown
from napari_niiv.plugin.live.view import View, visible
from napari_niiv.plugin.live.watched_volume import Reads, WatchedVolume
from napari_niiv.reconstruction.allocator import stay_compact
from napari_niiv.reconstruction.cache import Memory
from napari_niiv.reconstruction.denoise import AUTO, Denoise, check_denoise
from napari_niiv.reconstruction.threads.scheduler import Answer, Scheduler
from napari_niiv.reconstruction.views.reconstructor import Reconstructor
from napari_niiv.reconstruction.views.request import SliceResponse, Trust
from napari_niiv.volume import Volume

SLOW_SOURCE_MS = 1000  # without any answer, before the user is told what is waited for
FRAME_SECONDS = 0.012  # for which the window may wait for an interpolation
COALESCE_MS = 6  # a throttle, not a debounce: the view keeps up with a drag


def _setting(name: str, meaning: str) -> Any:
    """A property that is one of the settings."""

    def change(live: LiveReconstruction, value: Any) -> None:
        live.change(**{name: value})

    return property(lambda live: getattr(live.settings, name), change, doc=meaning)


class LiveReconstruction(QObject):
    """Keeps a layer of reconstructed pictures over a source layer; all of it on the GUI thread but the work.

    Signals: `shown` brings a `Shown` with each picture that appears, `failed` one sentence when none can, `waiting` one
    when the source takes its time; `settings_changed` tells that `settings` are others, set by a program or by the
    user's mouse in the picture; `closed` is the end.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
        A layer of three dimensions or more, the last three being z, y, x.
    settings : LiveSettings
        With a model.
    memory : Memory, optional
        Where voxels and latent grids are kept; one may serve several.

    Attributes
    ----------
    layer : Image
        The layer with the pictures.
    channels : LiveChannels or None
        With which others its pictures are shown; None of a volume that is no channel.
    settings : LiveSettings
        Those in use; `apply` and `change` replace them.
    last : Shown or None
        What was shown last.
    failure : str
        Why nothing is shown, in one sentence; empty if something is.

    Raises
    ------
    VolumeError
        If the source cannot be reconstructed.
    """

    shown = Signal(object)
    failed = Signal(str)
    closed = Signal()
    settings_changed = Signal()
    waiting = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        source: napari.layers.Image,
        settings: LiveSettings,
        *,
        memory: Memory | None = None,
    ) -> None:
        super().__init__()
        stay_compact()
        self._memory = memory or Memory()
        self.viewer, self.source, self.settings, self.pixel_ratio = viewer, source, settings, 1.0
        self._reads = Reads()
        self._reconstructor: Reconstructor | None = self._new_reconstructor()
        self._requested = RequestedViews()
        self._open = True
        self.failure = self.absence = ""  # sentences, why there is no picture
        self.last: Shown | None = None
        self._picture = LivePicture(viewer, source, self._drag_split)
        self.layer = self._picture.layer
        self.channels: LiveChannels | None = None
        self._answers: deque[Answer] = deque()
        self._arrived = threading.Event()
        # of the last interpolations; one that the window's own work kept waiting must not decide for the next
        self._interpolations = deque([0.0], maxlen=3)
        prepare()
        self._scheduler = Scheduler(self._deliver)
        # no throttle of superqt: a burst of events waits for its end here, yet a scroll is asked for at once
        self._timer = single_shot(self, COALESCE_MS, self._request)
        self._slow_timer = single_shot(self, SLOW_SOURCE_MS, self._tell_slow_source)
        self._slicing = self._current_slicing()
        self._connections = Connections()
        self._connect()
        self._picture.apply(settings)
        self._schedule_request()

    def _connect(self) -> None:
        connect, viewer, source = self._connections.connect, self.viewer, self.source
        camera, dims, canvas = viewer.scene.camera.events, viewer.dims.events, viewer.canvas
        moving = (camera.zoom, camera.center, canvas.events.size, canvas.grid.events.enabled)
        connect(self._schedule_request, *moving, self.layer.events.visible, source.events.visible)
        connect(self._picture.keep_split, *moving)
        connect(self._source_changed, *volume_events(source))
        connect(self._sliced, source.events.set_data)
        connect(self._scroll, dims.point)
        # before other plugins, and after them; napari itself slices the tile along its new axes before either
        connect(self._drop_picture, dims.order, dims.ndisplay, position="first")
        connect(self._schedule_request, dims.order, dims.ndisplay, position="last")
        connect(self._removed, viewer.layers.events.removed)

    @property
    def model(self) -> Niiv:
        """The model in use; setting it redraws."""
        if self.settings.model is None:
            raise RuntimeError("a model comes first")
        return self.settings.model

    @model.setter
    def model(self, model: Niiv) -> None:
        if model is self.model:
            self._rebuild()  # its weights may be others
        self.change(model=model)

    @property
    def wanted(self) -> bool:
        """Whether the picture is to be seen: the user has not hidden it."""
        return self._picture.wanted

    @property
    def left_out(self) -> bool:
        """Whether it is of a channel that the user does not want to see, but others of its volume."""
        return self._picture.left_out

    finest = _setting("finest", "No pixel is smaller than this, in lateral voxels; 0 follows the zoom.")
    steps = _setting(
        "steps", "Whether the z slider of an xy view stops between the slices, in steps of about a pixel's size."
    )
    trust = _setting("trust", 'The maps over the picture, any of "disagreement" and "misfit"; each is a layer.')
    project = _setting("project", "Whether pictures are corrected so that, degraded again, they are what was measured.")

    @property
    def denoise(self) -> Denoise:
        """The noise level that the model is told; "auto" estimates it from the volume, 0 is off."""
        return self.settings.told

    @denoise.setter
    def denoise(self, value: Denoise) -> None:
        check_denoise(self.model, value)
        self.change(denoise=value)

    @property
    def estimate(self) -> float | None:
        """The noise level that "auto" comes to; None as long as it is not known, or a number is set."""
        response = None if self.last is None else self.last.response
        return None if response is None or response.request.denoise != AUTO else response.denoise

    @property
    def split(self) -> float | None:
        """The part of the window, 0 … 1, that shows the source, left of a line; None shows it nowhere."""
        return self.settings.split

    @split.setter
    def split(self, value: float | None) -> None:
        self.change(split=None if value is None else float(min(max(value, 0.0), 1.0)))

    def compare(self, on: bool) -> None:
        """While on, the source shows in place of the reconstruction."""
        self.change(comparing=on)

    def change(self, **changes: Any) -> None:
        """Replace some of the settings, fields of `LiveSettings`."""
        self.apply(replace(self.settings, **changes))

    def apply(self, settings: LiveSettings) -> None:
        """Show what other settings demand; what they have in common with those before stays as it is."""
        before = self.settings
        if not self._open or settings == before:
            return
        self.settings = settings
        self._picture.apply(settings)
        if settings.model is not before.model or settings.repairs != before.repairs:
            self._rebuild()
        elif settings.content != before.content:
            self._schedule_request()
        self.settings_changed.emit()

    @property
    def map_layers(self) -> dict[Trust, napari.layers.Image]:
        """The layers of the maps of trust that are on."""
        return self._picture.map_layers

    def join(self, channels: LiveChannels) -> None:
        """Be one of the channels of a volume, whose pictures are shown together."""
        self.channels = channels
        channels.join([self._picture])

    def freeze(self) -> napari.layers.Image:
        """Keep the picture of now as a hidden layer on top, whole also where a split cuts it; of a channel all.

        Raises
        ------
        ReconstructionError
            If there is no picture yet.
        """
        return self._picture.freeze() if self.channels is None else self.channels.freeze(self._picture)

    def close(self, remove: bool = True) -> None:
        """End: stop the work, disconnect from the viewer, and remove the layer, unless its viewer is gone."""
        self._close("now" if remove else "never")

    def _close(self, how: Removal) -> None:
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(RuntimeError):  # the viewer closed and took the Qt parts with it
            self._timer.stop()
            self._slow_timer.stop()
        self._scheduler.close()
        self._connections.disconnect()
        self._picture.close(how)
        self._answers.clear()
        if self._reconstructor is not None:
            self._reconstructor.end()
        with contextlib.suppress(RuntimeError):
            self.closed.emit()

    def _volume(self) -> Volume:
        return WatchedVolume.of(layer_volume(self.source, self.settings.repairs), self._reads)

    def _new_reconstructor(self) -> Reconstructor:
        return Reconstructor(self._volume(), self.model, memory=self._memory)

    def _schedule_request(self, event: Any = None) -> None:
        if self._open and not self._timer.isActive():
            self._timer.start()

    def _scroll(self, event: Any = None) -> None:
        """Ask at once, and wait for the interpolation as long as that is not felt."""
        if self._open and not self._timer.isActive():
            self._arrived.clear()
            self._request()
            self._timer.start()
            left = FRAME_SECONDS if self.channels is None else self.channels.time_left(FRAME_SECONDS)
            if min(self._interpolations) < FRAME_SECONDS and self._arrived.wait(left):
                self._receive_all()  # drawn together with the source's slice: one frame, not two

    def _drop_picture(self, event: Any = None) -> None:
        """Hide the picture while it does not fit the axes on display."""
        self._slow_timer.stop()
        self._scheduler.cancel()
        self._picture.drop()

    def _drag_split(self, value: float) -> None:
        if self.split is not None:
            self.split = value

    def _removed(self, event: Any) -> None:
        if event.value in (self.layer, self.source):
            self._close("later")
        elif (lost := self._picture.forget_overlay(event.value)) is not None:
            after_removal(lambda: self.change(trust=tuple(kind for kind in self.settings.trust if kind != lost)))

    def _source_changed(self, event: Any = None) -> None:
        if self.source.ndim != self.layer.ndim:
            self.close()
            return
        if self.layer.units != self.source.units:
            self.layer.units = self.source.units
        self._rebuild()

    def _current_slicing(self) -> tuple[Any, ...]:
        """What napari slices the source by."""
        dims, source = self.viewer.dims, self.source
        return (*dims.point, *dims.order, dims.ndisplay, source.data_level, *source.corner_pixels.flat)

    def _sliced(self, event: Any = None) -> None:
        """Napari sliced the source anew: if not for another place, its voxels were edited and it was refreshed."""
        before, self._slicing = self._slicing, self._current_slicing()
        if self._slicing == before:
            self._rebuild()

    def _rebuild(self) -> None:
        """Begin anew, as the source or the model is another."""
        self._scheduler.cancel()
        if self._reconstructor is not None:
            self._reconstructor.end()
        self.failure = ""
        try:
            self._reconstructor = self._new_reconstructor()
        except NiivError as error:
            self._reconstructor = None  # nothing is shown until the source changes again
            self._fail(str(error))
            return
        self._schedule_request()

    def _request(self) -> None:
        if not self._open or self._reconstructor is None:
            return
        if self.channels is None and not self._picture.wanted:
            return
        if self.source not in self.viewer.layers:  # napari goes to fewer dimensions before it tells us
            return
        settings = self.settings
        view = visible(self.viewer, self.source, pixel_ratio=self.pixel_ratio, finest=settings.finest)
        if view is None:
            self._drop_picture()
            if self.viewer.dims.ndisplay == 2 and min(self.viewer.canvas.size) > 0:
                self.absence = f"Nothing of {self.source.name} is in this view; press xy, xz or yz to go to it."
                self.waiting.emit(self.absence)
            return
        request = replace(view.request, project=settings.project, trust=settings.maps, denoise=settings.told)
        view = replace(view, request=request)
        newest = self._requested.get(self._scheduler.generation)
        if not self._picture.wanted:
            if newest is None or not newest.same(view):
                self._picture.forget()  # the channel is not shown again as it was elsewhere
            return
        if newest is not None and not self._picture.hidden_by_us and newest.same(view):
            return  # what moved is not in this view, such as a cross-hair
        self._requested.add(self._scheduler.submit(self._reconstructor, view.request), view)
        if not self._slow_timer.isActive():
            self._slow_timer.start()

    def _tell_slow_source(self) -> None:
        """No answer came: say so if it is the data that keep it waiting, not the model."""
        if self._reads.busy:
            self.waiting.emit(f"Waiting for the data of {self.source.name}…")
        else:
            self._slow_timer.start()

    def _deliver(self, answer: Answer) -> None:
        self._answers.append(answer)
        self._arrived.set()
        on_gui_thread(self._receive_all)

    def _receive_all(self) -> None:
        while self._answers:
            self._receive(self._answers.popleft())

    def _receive(self, answer: Answer) -> None:
        if answer.generation == self._scheduler.generation:
            self._slow_timer.stop()
        elif self._slow_timer.isActive():
            self._slow_timer.start()  # the worker goes on
        view = self._requested.view_to_show(answer, self._scheduler.generation)
        if not self._open or view is None or self.layer not in self.viewer.layers:
            return
        if answer.error is not None:
            if answer.generation == self._scheduler.generation and str(answer.error) != self.failure:
                self._fail(str(answer.error))
            return
        assert answer.response is not None
        if answer.response.quality == "placeholder":
            self._interpolations.append(answer.response.seconds)
        self._show(view, answer.response, answer.final)

    def _fail(self, sentence: str) -> None:
        self.failure = sentence
        self._drop_picture()
        self.failed.emit(sentence)

    def _show(self, view: View, response: SliceResponse, final: bool) -> None:
        if not self._picture.show(view, response, thumbnail=final):
            return
        self.failure = self.absence = ""
        self.last = Shown(response, view.pixel_size, unit_name(self.source), final)
        self.shown.emit(self.last)
