"""The button "Ortho views" of the dock widget, which opens the views and closes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox, PushButton
from napari.layers import Image

from napari_niiv.errors import NiivError
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.common.removal import once_after_removals
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.ortho.ortho_views import OrthoViews


class OrthoButton:
    """Opens and closes the ortho views; the button is down while they are wanted.

    They close when a channel of the volume comes or goes, and open again with those that there are.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
        What they show, and whose settings they follow.
    layer : ComboBox
        The layer that is chosen.

    Attributes
    ----------
    button : PushButton
    views : OrthoViews or None
        While they are open.
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._host, self._live_layers, self._layer = host, live_layers, layer
        self.views: OrthoViews | None = None
        self.button = PushButton(text="Ortho views", tooltip="xy, xz and yz beside each other, linked by a cross-hair")
        self.button.native.setCheckable(True)
        live_layers.changed.connect(self._apply)
        self._following = once_after_removals(self.button.native, self._follow)
        live_layers.opened.connect(self._came)
        live_layers.ended.connect(self._went)

    @property
    def sources(self) -> tuple[Image, ...]:
        """The layers that the views show, the channels of one volume; none while they are closed."""
        return () if self.views is None else self.views.sources

    def open(self, live: LiveReconstruction | None) -> None:
        """Open the ortho views of what is live, with the other channels of its volume, if they are wanted.

        Those that are open stay, unless they lack channels.
        """
        if live is None or not self.button.value:
            return
        sources = self._live_layers.together(live.source)
        if self.views is not None and set(self.views.sources) == set(sources):
            return
        self.close()
        from napari_niiv.plugin.ortho.ortho_views import OrthoViews  # with torch, by now imported elsewhere

        layers = self._live_layers
        try:
            self.views = OrthoViews(self._host.viewer, sources, layers.settings_of, memory=layers.memory)
        except NiivError as error:
            self.button.value = False
            self._host.fail(str(error))
            return
        self.views.failed.connect(self._host.fail)
        self.views.closed.connect(self._closed)

    def close(self) -> None:
        """Close them; they open again for the next layer that is live, unless the button is up."""
        if self.views is not None:
            views, self.views = self.views, None
            views.close()

    def close_of(self, source: Image) -> None:
        """Close them if they show a layer, which goes or becomes another."""
        if source in self.sources:
            self.close()

    def _apply(self) -> None:
        """Reconstruct with the settings of now."""
        if self.views is not None:
            self.views.apply(self._live_layers.settings_of)

    def _came(self, live: LiveReconstruction) -> None:
        if self.views is not None:
            self._following.throttle()  # once all channels are live together

    def _went(self, live: LiveReconstruction) -> None:
        """Close before the views do it, which would raise the button, if a channel went that was not chosen."""
        if live.source in self.sources and live.source not in self._host.viewer.layers:
            self.close()
            self._following.throttle()

    def _follow(self) -> None:
        self.open(self._live_layers.get(self._layer.value))

    def _closed(self) -> None:
        """Raise the button: the dock of the views was closed, or a source has other axes."""
        if self.views is not None:
            self.views, self.button.value = None, False
