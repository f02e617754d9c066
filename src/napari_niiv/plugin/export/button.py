"""The button of the widget that opens the export."""

from __future__ import annotations

from typing import Any

from magicgui.widgets import ComboBox, PushButton
from napari.components import ViewerModel

from napari_niiv.plugin.export.panel import ExportPanel
from napari_niiv.plugin.live.live_layers import LiveLayers

EXPORT = "Export isotropic volume…"


class ExportControls:
    """A button that opens the export's window, and tells how far an export is.

    Parameters
    ----------
    viewer : ViewerModel
    live_layers : LiveLayers
    layer : ComboBox
        Where the layer to export is chosen.

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, viewer: ViewerModel, live_layers: LiveLayers, layer: ComboBox) -> None:
        self._viewer, self._live_layers, self._layer = viewer, live_layers, layer
        self.panel: ExportPanel | None = None
        self.button = PushButton(
            text=EXPORT, tooltip="write the whole isotropic volume, or a part, to a file"
        )
        self.rows = [self.button]
        self.button.changed.connect(self.open)

    def open(self, value: Any = None) -> ExportPanel:
        """Show the window."""
        if self.panel is None:
            self.panel = ExportPanel(
                self.button.native, self._viewer, self._live_layers, lambda: self._layer.value
            )
            self.panel.told.connect(lambda words: setattr(self.button, "text", words or EXPORT))
        self.panel.show()
        self.panel.raise_()
        self.panel.activateWindow()
        return self.panel
