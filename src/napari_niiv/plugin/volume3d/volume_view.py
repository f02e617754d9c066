"""The 3-D view: a box of a layer, isotropic, appearing block by block."""

from __future__ import annotations

import contextlib
import logging
import time
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import napari.layers
import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import QSignalThrottler

from napari_niiv.errors import NiivError
from napari_niiv.geometry import Box
from napari_niiv.interrupt import Interrupt
from napari_niiv.models.niiv import Niiv
from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.gui_thread import on_gui_thread, prepare
from napari_niiv.plugin.common.layers import (
    BLENDED,
    SHARED,
    finest_data,
    insert_above,
    layer_volume,
    unit_name,
    volume_events,
)
from napari_niiv.plugin.common.removal import Removal, remove, remove_layers
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.live.view import VisibleRegion
from napari_niiv.plugin.napari_compat import link_layers, unlink_layers
from napari_niiv.plugin.volume3d.cut import Displayed
from napari_niiv.plugin.volume3d.look import DENSE, follow_look, keep_look, look_of
from napari_niiv.plugin.volume3d.progress import Progress
from napari_niiv.plugin.volume3d.volume_layer import Image, overlay, placement
from napari_niiv.reconstruction.denoise import Denoise
from napari_niiv.reconstruction.region import BUDGET, RegionEvent, RegionPlan, reconstruct_region
from napari_niiv.reconstruction.threads.region_worker import RegionWorker, Step
from napari_niiv.sections.repairs import Repairs

_LOG = logging.getLogger(__name__)
REFRESH_MS = 200  # at most five times a second: each one uploads all of the volume
# the sources that are hidden, by which view
_hidden: weakref.WeakKeyDictionary[napari.layers.Image, VolumeView] = weakref.WeakKeyDictionary()


class VolumeView(QObject):
    """Shows a box of a layer as an isotropic volume while the viewer is in 3-D; all on the GUI thread but the work.

    The source is hidden meanwhile. To keep napari from reading all of it first, create the view in a callback made by
    `before_napari` and connected first to the event of the viewer's `ndisplay`. The view ends by itself when the viewer
    goes back to 2-D, or when either layer is removed.

    Parameters
    ----------
    viewer : ViewerModel
    source : Image
    settings : LiveSettings
        With a model; the output scale is that, or coarser where the budget demands it.
    box : Box, optional
        In voxels of the source, such as `chosen_box` gives; the whole volume by default.
    budget : int, optional
        No more voxels than this are shown; by default 16 million when the model is on a CPU, 64 million else.
    visible : bool
        Whether the volume is shown; else its layer is hidden until the user shows it.

    Raises
    ------
    VolumeError
        If the source is no volume.

    Notes
    -----
    `waiting` tells that it begins, or begins anew; `appeared` brings a new layer, and whether its volume is dense;
    `progress` a `Progress`; `failed` one sentence.
    """

    waiting = Signal()
    progress = Signal(object)
    appeared = Signal(object, bool)
    failed = Signal(str)
    closed = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        source: napari.layers.Image,
        settings: LiveSettings,
        *,
        box: Box | None = None,
        budget: int | None = None,
        visible: bool = True,
    ) -> None:
        super().__init__()
        self._visible = visible
        self._shape = layer_volume(source).shape
        self.viewer, self.source, self.box = viewer, source, box
        self.layer: Image | None = None
        assert settings.model is not None
        self._settings = settings
        self.budget = budget or default_budget(settings.model)
        self._open = True
        self._failure = ""
        self._leading: tuple[int, ...] | None = None  # T/C index on display; None while there is none to show
        self.dense = False  # whether there is something almost everywhere, as in electron microscopy
        self._look: dict[str, Any] = {}  # how the layer was given to napari
        self._following = Connections()  # of its look
        self._from_start: bool | None = None  # at which end of its axis the volume is cut
        prepare()
        self._worker = RegionWorker(self._deliver)
        self._refreshes = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._refreshes.setTimeout(REFRESH_MS)
        self._refreshes.triggered.connect(self._redraw)
        self._connections = Connections()
        dims, connect = viewer.dims.events, self._connections.connect
        # when napari is done with it
        connect(self._follow_viewer, dims.point, dims.order, dims.ndisplay, position="last")
        connect(self._changed, *volume_events(source))
        connect(self._removed, viewer.layers.events.removed)
        self._follow_viewer()

    def apply(self, settings: LiveSettings) -> None:
        """Cut the volume elsewhere, or begin anew if what it depends on is another; no more matters in 3-D."""
        before, self._settings = self._settings, settings
        if (settings.cut, settings.cut_axis) != (before.cut, before.cut_axis):
            self._from_start = None
            self._cut()
        if _content(settings) != _content(before):
            self._restart()

    @property
    def visible(self) -> bool:
        """Whether the volume is to be seen, once there is one."""
        return self._visible if self.layer is None else self.layer.visible

    @visible.setter
    def visible(self, value: bool) -> None:
        self._visible = value
        if self.layer is not None:
            self.layer.visible = value

    @property
    def alive(self) -> bool:
        """Whether the thread that reconstructs still runs."""
        return self._worker.alive

    def close(self, remove: bool = True) -> None:
        """End: stop the work, disconnect from the viewer, remove the layer, and show the source again.

        Parameters
        ----------
        remove : bool
            Whether to remove the layer; of a viewer that is gone it is to stay.
        """
        self._close("now" if remove else "never")

    def close_soon(self) -> None:
        """End, as `close` does, but leave the layer until napari is through with layers that it may be deleting."""
        self._close("later")

    def _close(self, how: Removal) -> None:
        if not self._open:
            return
        self._open = False
        self._refreshes.cancel()
        self._worker.close()
        self._connections.disconnect()
        if (layer := self._release()) is not None:
            remove_layers(self.viewer, [layer], how)
        if how == "never":
            _hidden.pop(self.source, None)
        elif self.viewer.dims.ndisplay == 3 and self.source in _hidden:
            # later, as napari then reads all of it: a viewer that is being closed has no more layers then
            QTimer.singleShot(0, self._reveal)
        else:
            self._reveal()
        with contextlib.suppress(RuntimeError):  # the viewer closed and took the Qt parts with it
            self.closed.emit()

    def _follow_viewer(self, event: Any = None) -> None:
        """Follow the viewer: another T or C index is another volume, 2-D is the end."""
        if not self._open or self.source not in self.viewer.layers:  # its end, which will be told
            return
        dims = self.viewer.dims
        if dims.ndisplay != 3:
            self.close()
            return
        offset, n = dims.ndim - self.source.ndim, self.source.ndim
        if {d - offset for d in dims.displayed} != {n - 3, n - 2, n - 1}:
            self._worker.cancel()  # time or channels are on display: napari shows that itself
            self._leading = None
            self._drop()
            self._reveal()
            return
        leading = VisibleRegion.of(self.viewer, self.source).leading
        if leading != self._leading:
            self._leading = leading
            self._restart()
        elif event is not None and event.type == "order":
            self._cut()

    def _restart(self) -> None:
        """Begin anew; what is shown stays until the new interpolation is there."""
        leading = self._leading
        if leading is None:
            return
        self._hide()
        self._failure = ""
        try:
            volume = layer_volume(self.source, self._settings.repairs)
        except NiivError as error:
            self._fail(str(error))
            return
        (model, scale, denoise, _), budget = _content(self._settings), self.budget
        assert model is not None
        box = None if self.box is None else self.box.slices

        def start(interrupt: Interrupt) -> Iterator[RegionEvent]:
            return reconstruct_region(
                volume.at(*leading),
                model,
                box,
                budget=budget,
                output_scale=scale,
                denoise=denoise,
                interrupt=interrupt,
            )

        self._worker.submit(start)
        self.waiting.emit()

    def _changed(self, event: Any = None) -> None:
        data = finest_data(self.source)
        if len(data.shape) != len(self._shape):
            self.close()
            return
        if tuple(data.shape) != self._shape:
            self._shape, self.box = tuple(data.shape), None
        self._restart()

    def _removed(self, event: Any) -> None:
        if event.value is self.source or (self.layer is not None and event.value is self.layer):
            self.close_soon()

    def _deliver(self, step: Step) -> None:
        on_gui_thread(partial(self._receive, step))

    def _receive(self, step: Step) -> None:
        if not self._open or step.generation != self._worker.generation:
            return
        if step.error is not None:
            self._fail(str(step.error))
            return
        assert step.plan is not None
        assert step.array is not None
        if step.done == 0:
            self.dense = step.middle > DENSE
            self._show(step.plan, step.array)
        else:
            self._refreshes.throttle()
        self.progress.emit(self._progress(step.plan, step))

    def _progress(self, plan: RegionPlan, step: Step) -> Progress:
        remaining = step.seconds / step.done * (plan.blocks - step.done) if step.done else None
        return Progress(
            done=step.done,
            blocks=plan.blocks,
            remaining=remaining,
            shape=plan.shape,
            pixel_size=plan.voxel_size[-1],
            unit=unit_name(self.source),
            notice=step.notice,
        )

    def _show(self, plan: RegionPlan, array: NDArray[Any]) -> None:
        """Put a new volume in the place of the old one."""
        self._refreshes.cancel()
        # repeated without copies along T and C, so that the sliders stay as they are
        data = np.broadcast_to(array, (*self._shape[:-3], *array.shape))
        place = placement(self.source, plan.samplings)
        if self.layer is not None and self.layer.dtype != data.dtype:
            self._drop()
        if self.layer is None:
            self._add(data, place)
        else:
            self.layer.put(data, place)
            self._cut()

    def _redraw(self) -> None:
        if self.layer is None:
            return
        began = time.perf_counter()
        self.layer.refresh(extent=False, highlight=False)
        # where an upload takes long, it is made less often
        self._refreshes.setTimeout(max(REFRESH_MS, round(4e3 * (time.perf_counter() - began))))

    def _add(self, data: NDArray[Any], place: dict[str, Any]) -> None:
        look = look_of(self.source, self.dense)
        self.layer = layer = overlay(self.source, data, place, look)
        self._look = {name: getattr(layer, name) for name in look}
        layer.visible = self._visible
        self._cut()
        insert_above(self.viewer.layers, self.source, layer)
        self._shared = (*SHARED, *BLENDED) if len(channels_of(self.viewer, self.source)) > 1 else SHARED
        link_layers([self.source, layer], self._shared)
        self._following = follow_look(self.source, layer)
        self.appeared.emit(layer, self.dense)

    def _cut(self) -> None:
        """Cut the volume as it is set now, at the end that faced the camera when that was set."""
        if (layer := self.layer) is None:
            return
        axis, share = self._settings.cut_axis, self._settings.cut
        if not share:
            layer.cut_at(None)
            return
        place = Displayed.of(self.viewer, layer)
        if self._from_start is None:
            self._from_start = place.starts_towards(axis, self.viewer.scene.camera.view_direction)
        layer.cut_at(place.plane(axis, share, self._from_start))

    def _drop(self) -> None:
        """Remove the volume that is shown, if there is one."""
        if (layer := self._release()) is not None:
            remove(self.viewer, layer)

    def _release(self) -> Image | None:
        """Let go of the layer of the volume that is shown, if there is one."""
        layer, self.layer = self.layer, None
        if layer is not None:
            self._visible = layer.visible
            self._refreshes.cancel()
            unlink_layers([self.source, layer], self._shared)
            self._following.disconnect()
            keep_look(self.source, layer, self._look)
        return layer

    def _fail(self, sentence: str) -> None:
        self._drop()
        self._reveal()
        if sentence != self._failure:
            self._failure = sentence
            self.failed.emit(sentence)

    def _hide(self) -> None:
        """Hide the source: napari would read all of it, and it would shine through."""
        if self.source.visible or self.source in _hidden:
            _hidden[self.source] = self
            self.source.visible = False

    def _reveal(self) -> None:
        """Show the source again, if it is this view that hides it."""
        if _hidden.get(self.source) is not self:
            return
        if not self.source.visible and self.source in self.viewer.layers:
            try:
                self.source.visible = True
            except Exception:  # it cannot be read, which was said already
                _LOG.debug("The source cannot be shown", exc_info=True)
                if self._open:  # it may come back
                    self.source.visible = False
                    return
        del _hidden[self.source]


def is_seen(source: napari.layers.Image) -> bool:
    """Whether a source is to be seen: itself, or in 3-D the volume that is shown in its place."""
    view = _hidden.get(source)
    return source.visible if view is None else view.visible


def put_away(source: napari.layers.Image) -> None:
    """Hide a source, and in 3-D the volume that is shown in its place: it stays hidden in 2-D."""
    put_away_volume(source)
    _hidden.pop(source, None)
    source.visible = False


def put_away_volume(source: napari.layers.Image) -> None:
    """Hide the volume that is shown in the place of a source, if there is one."""
    if (view := _hidden.get(source)) is not None:
        view.visible = False


def _content(settings: LiveSettings) -> tuple[Niiv | None, float, Denoise, Repairs | None]:
    """What a volume depends on: model, output scale, noise level, and what is done to the sections."""
    return settings.model, settings.output_scale, settings.told, settings.repairs


def default_budget(model: Niiv) -> int:
    """Voxels that a view shows by default, by the device that makes them."""
    return BUDGET[model.device.type]
