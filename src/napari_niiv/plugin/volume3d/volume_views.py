"""The 3-D views of a viewer's live layers: there while it is in 3-D, gone when it is not."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.common.connections import Connections
from napari_niiv.plugin.common.freed_memory import give_back_soon
from napari_niiv.plugin.common.removal import at_once
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.napari_compat import before_napari, delete_in_own_context
from napari_niiv.plugin.volume3d.camera import BlockCamera
from napari_niiv.plugin.volume3d.cut_control import CutControl

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.volume3d.progress import Progress
    from napari_niiv.plugin.volume3d.volume_view import VolumeView

WAITING = "3-D · reading and interpolating…"


class VolumeViews(QObject):
    """Opens a 3-D view of each live layer when the viewer goes to 3-D; it ends with the live layer, or in 2-D.

    A volume whose source and picture the user has hidden has none until one of their eyes is opened.

    `waiting` brings the source and one sentence when a view begins, `progress` the source and a `Progress`, `failed`
    the source and one sentence.

    Parameters
    ----------
    viewer : ViewerModel
    live_layers : LiveLayers

    Attributes
    ----------
    cut : CutControl
    rows : list of Widget
        To be put into a form.
    """

    waiting = Signal(object, str)
    progress = Signal(object, object)
    failed = Signal(object, str)

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers) -> None:
        super().__init__()
        self._viewer, self._live_layers = viewer, live_layers
        self._views: weakref.WeakKeyDictionary[Image, VolumeView] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakSet[Image] = weakref.WeakSet()  # what was in 3-D last
        self._hidden: weakref.WeakSet[Image] = weakref.WeakSet()  # sources of volumes that are to stay away
        self._eyes = Connections()  # which bring them back
        self._camera = BlockCamera(viewer)
        self.cut = CutControl(live_layers)
        self.rows = self.cut.rows
        self._entering, ndisplay = before_napari(self._enter), viewer.dims.events.ndisplay
        ndisplay.connect(self._entering, position="first")
        ndisplay.connect(self._entered, position="last")
        delete_in_own_context(viewer)
        viewer.layers.events.removed.connect(give_back_soon)
        live_layers.opened.connect(self._open_new)
        live_layers.changed.connect(self._apply)

    def get(self, source: Image | None) -> VolumeView | None:
        """The 3-D view of a source, if it has one."""
        return None if source is None else self._views.get(source)

    def close(self, remove: bool = True) -> None:
        """End them all and disconnect from the viewer, whose layers stay if it is gone."""
        ndisplay = self._viewer.dims.events.ndisplay
        ndisplay.disconnect(self._entering)
        ndisplay.disconnect(self._entered)
        self._close_views(remove)
        self._viewer.layers.events.removed.disconnect(give_back_soon)
        give_back_soon()  # other layers of ours go now

    def _apply(self) -> None:
        """Reconstruct anew with the settings of now, where they matter in 3-D."""
        for source, view in list(self._views.items()):
            view.apply(self._live_layers.settings_of(source))

    def _entered(self, event: Any = None) -> None:
        self._camera.after()
        if self._viewer.dims.ndisplay != 3:
            self._close_views()

    def _close_views(self, remove: bool = True) -> None:
        self._eyes.disconnect()
        self._hidden.clear()
        with at_once(self._viewer.layers):
            for view in list(self._views.values()):
                view.close(remove)

    def _enter(self, event: Any = None) -> None:
        if self._viewer.dims.ndisplay == 3:
            before, self._seen = self._seen, weakref.WeakSet(live.source for live in self._live_layers)
            if not before.issuperset(self._seen):
                self._live_layers.change(cut=0.0)  # what was cut was another volume
        self._camera.before()
        for live in self._live_layers:
            self._open(live)

    def _open_new(self, live: LiveReconstruction) -> None:
        """A layer has become live in 3-D, where it may be another volume than was looked at in 2-D."""
        if self._viewer.dims.ndisplay == 3 and live.source not in self._seen:
            self._seen.add(live.source)
            self._live_layers.change(cut=0.0)
            self._open(live, seen_in_2d=False)
        else:
            self._open(live)

    def _open(self, live: LiveReconstruction, seen_in_2d: bool = True) -> None:
        if self._viewer.dims.ndisplay != 3 or live.source in self._views:
            return
        if self._is_hidden(live):
            self._hidden.add(live.source)
            self._eyes.connect(self._open_what_is_seen, live.source.events.visible, live.layer.events.visible)
            return
        from napari_niiv.plugin.volume3d.chosen_box import chosen_box, is_drawn  # with torch, by now imported elsewhere
        from napari_niiv.plugin.volume3d.volume_view import VolumeView, default_budget

        source, settings = live.source, live.settings
        budget = default_budget(live.model) // len(channels_of(self._viewer, source))
        chosen = seen_in_2d or is_drawn(self._viewer, source)
        box = chosen_box(self._viewer, source, budget, settings.output_scale) if chosen else None
        view = VolumeView(self._viewer, source, settings, box=box, budget=budget, visible=not live.left_out)
        self._views[source] = view
        view.waiting.connect(lambda: self.waiting.emit(source, WAITING))
        view.progress.connect(lambda progress: self._tell_progress(source, progress))
        view.failed.connect(lambda sentence: self.failed.emit(source, sentence))
        view.appeared.connect(
            lambda layer, dense: self._camera.show(layer) if dense and self._is_meant(source) else None
        )
        view.closed.connect(lambda: self._forget(source))
        live.closed.connect(view.close_soon)
        self.cut.show(True)
        self.waiting.emit(source, WAITING)

    def _tell_progress(self, source: Image, progress: Progress) -> None:
        self.progress.emit(source, progress)
        self._live_layers.seen.emit(source, progress.done == progress.blocks)

    def _is_hidden(self, live: LiveReconstruction) -> bool:
        """Whether the user has hidden a volume: all that there is to see of its channels."""
        lives = [self._live_layers.get(source) for source in self._live_layers.together(live.source)]
        return not any(each.wanted or each.source.visible for each in lives if each is not None)

    def _open_what_is_seen(self, event: Any = None) -> None:
        """The user has opened an eye."""
        for live in self._live_layers:
            if live.source in self._hidden and not self._is_hidden(live):
                self._hidden.discard(live.source)
                self._open(live)

    def _is_meant(self, source: Image) -> bool:
        """Whether a volume is the one to look at: the selected one, if that is live."""
        active = self._viewer.layers.selection.active
        return active is source or self._live_layers.get(active if isinstance(active, Image) else None) is None

    def _forget(self, source: Image) -> None:
        self._views.pop(source, None)
        self.cut.show(bool(self._views))
