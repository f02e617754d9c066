"""The button "Ortho views" of the dock widget, which opens the views and closes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import PushButton

from napari_niiv.errors import NiivError
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.ortho.ortho_views import OrthoViews


class OrthoButton:
    """Opens and closes the ortho views; the button is down while they are wanted.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
        Whose settings the views follow.

    Attributes
    ----------
    button : PushButton
    views : OrthoViews or None
        While they are open.
    """

    def __init__(self, host: Host, live_layers: LiveLayers) -> None:
        self._host, self._live_layers = host, live_layers
        self.views: OrthoViews | None = None
        self.button = PushButton(text="Ortho views", tooltip="xy, xz and yz beside each other, linked by a cross-hair")
        self.button.native.setCheckable(True)
        live_layers.changed.connect(self._apply)

    def open(self, live: LiveReconstruction | None) -> None:
        """Open the ortho views of what is live, if they are wanted."""
        if self.views is not None or live is None or not self.button.value:
            return
        from napari_niiv.plugin.ortho.ortho_views import OrthoViews  # with torch, by now imported elsewhere

        try:
            self.views = OrthoViews(self._host.viewer, live.source, live.settings, memory=self._live_layers.memory)
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

    def _apply(self) -> None:
        """Reconstruct with the settings of now."""
        if self.views is not None:
            self.views.apply(self._live_layers.settings_of(self.views.source))

    def _closed(self) -> None:
        """Raise the button: the dock of the views was closed, or their source went."""
        if self.views is not None:
            self.views, self.button.value = None, False
