"""The button "Train on this volume…" of the dock widget, which opens the one that trains."""

from __future__ import annotations

from magicgui.widgets import ComboBox, PushButton
from napari.layers import Image

from napari_niiv.plugin.common.docks import open_dock
from napari_niiv.plugin.common.host import Host
from napari_niiv.plugin.controls.model_choice import ModelChoice
from napari_niiv.plugin.live.live_layers import LiveLayers
from napari_niiv.plugin.manifest_names import TRAINING


class TrainingButton:
    """Opens the dock widget that trains, on the layer that is chosen, from the checkpoint in use.

    What that needs is imported off the GUI thread once a layer is live.

    Parameters
    ----------
    host : Host
    live_layers : LiveLayers
    layer : ComboBox
        The layer that is chosen.
    models : ModelChoice
        Where the checkpoint is chosen.

    Attributes
    ----------
    button : PushButton
    """

    def __init__(self, host: Host, live_layers: LiveLayers, layer: ComboBox, models: ModelChoice) -> None:
        self._host, self._layer, self._models, self._ready = host, layer, models, False
        self.button = PushButton(text="Train on this volume…", tooltip="fit the checkpoint to your own volume")
        self.button.changed.connect(lambda _=None: self.open())
        live_layers.seen.connect(self._get_ready)

    def open(self) -> None:
        """Open it."""
        open_dock(self._host.viewer, TRAINING).start_from(self._layer.value, self._models.checkpoint.value)

    def _get_ready(self, layer: Image, final: bool) -> None:
        if not self._ready:
            self._ready = True
            self._host.run(_imported, lambda _: None)


def _imported() -> None:
    from napari_niiv.plugin.training import widget  # noqa: F401
