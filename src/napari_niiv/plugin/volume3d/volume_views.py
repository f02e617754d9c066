"""The 3-D views of a viewer's live layers: there while it is in 3-D, gone when it is not."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_niiv.plugin.common.channels import channels_of
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.napari_compat import before_napari

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.volume3d.volume_view import VolumeView


class VolumeViews(QObject):
    """Opens a 3-D view of each live layer when the viewer goes to 3-D; it ends with the live layer, or in 2-D.

    `progress` brings the source and a `Progress`, `failed` the source and one sentence.

    Parameters
    ----------
    viewer : ViewerModel
    live_layers : LiveLayers
    """

    progress = Signal(object, object)
    failed = Signal(object, str)

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers) -> None:
        super().__init__()
        self._viewer, self._live_layers = viewer, live_layers
        self._views: weakref.WeakKeyDictionary[Image, VolumeView] = weakref.WeakKeyDictionary()
        self._entering = before_napari(self._enter)
        viewer.dims.events.ndisplay.connect(self._entering, position="first")
        live_layers.opened.connect(self._open)
        live_layers.changed.connect(self._apply)

    def get(self, source: Image | None) -> VolumeView | None:
        """The 3-D view of a source, if it has one."""
        return None if source is None else self._views.get(source)

    def close(self, remove: bool = True) -> None:
        """End them all and disconnect from the viewer, whose layers stay if it is gone."""
        self._viewer.dims.events.ndisplay.disconnect(self._entering)
        for view in list(self._views.values()):
            view.close(remove)

    def _apply(self) -> None:
        """Reconstruct anew with the settings of now, where they matter in 3-D."""
        for source, view in list(self._views.items()):
            view.apply(self._live_layers.settings_of(source))

    def _enter(self, event: Any = None) -> None:
        for live in self._live_layers:
            self._open(live)

    def _open(self, live: LiveReconstruction) -> None:
        if self._viewer.dims.ndisplay != 3 or live.source in self._views:
            return
        from napari_niiv.plugin.volume3d.chosen_box import chosen_box  # with torch, by now imported elsewhere
        from napari_niiv.plugin.volume3d.volume_view import VolumeView, default_budget

        source, settings = live.source, live.settings
        budget = default_budget(live.model) // len(channels_of(self._viewer, source))
        box = chosen_box(self._viewer, source, budget, settings.output_scale)
        view = VolumeView(self._viewer, source, settings, box=box, budget=budget)
        self._views[source] = view
        view.progress.connect(lambda progress: self.progress.emit(source, progress))
        view.failed.connect(lambda sentence: self.failed.emit(source, sentence))
        view.closed.connect(lambda: self._views.pop(source, None))
        live.closed.connect(view.close_soon)
