"""The control that sets how fine the pictures of a layer are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSlider
from napari.layers import Image
from qtpy.QtWidgets import QDoubleSpinBox

from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.layers import voxel_size
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.live.live_layers import LiveLayers

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction
    from napari_niiv.plugin.volume3d.progress import Progress

AUTO = "auto"


class OutputScale:
    """As fine as the zoom demands, or no finer than so many samples per isotropic voxel.

    Parameters
    ----------
    layer : ComboBox
        Where the layer is chosen.
    live_layers : LiveLayers

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, layer: ComboBox, live_layers: LiveLayers) -> None:
        self._layer, self._live_layers = layer, live_layers
        self.match_zoom = CheckBox(text=AUTO, value=True, tooltip="match the zoom: one sample per screen pixel")
        self.samples = FloatSlider(
            min=0.25,
            max=16,
            step=0.05,
            value=1,
            tooltip="samples per isotropic voxel, never finer than the screen; moved, it takes the place of auto",
        )
        self._number = typed(self.samples, "output scale").native.findChild(QDoubleSpinBox)
        self._tell_which()
        self.rows = [Row("Output scale", self.match_zoom, self.samples)]
        self.match_zoom.changed.connect(self._apply)
        self.samples.changed.connect(self._take_over)

    def show(self, finest: float) -> None:
        """Show the finest pixel of the layer that is chosen now, in lateral voxels; 0 follows the zoom."""
        with self.match_zoom.changed.blocked(), self.samples.changed.blocked():
            self.match_zoom.value = finest == 0
            if finest:
                self.samples.value = 1 / finest
        self._tell_which()

    def show_used(self, live: LiveReconstruction | None) -> None:
        """Show what "auto" comes to in the picture that is live; None as long as there is none."""
        if live is None or live.last is None:
            self.match_zoom.text = AUTO
        else:
            self._show_pixel(live.source, live.last.pixel_size)

    def show_volume(self, source: Image, progress: Progress) -> None:
        """Show what "auto" comes to in 3-D, if that is of the chosen layer."""
        if source is self._layer.value:
            self._show_pixel(source, progress.pixel_size)

    def _show_pixel(self, source: Image, pixel_size: float) -> None:
        if not self.match_zoom.value:
            self.match_zoom.text = AUTO
            return
        _, y, x = voxel_size(source)
        samples = math.sqrt(y * x) / pixel_size
        number = f"{samples:.0f}" if samples >= 10 else f"{samples:.2g}"
        self.match_zoom.text = f"{AUTO} ({number}×)"
        with self.samples.changed.blocked():
            self.samples.value = min(max(samples, self.samples.min), self.samples.max)

    def _take_over(self, value: Any = None) -> None:
        """The slider was moved: it counts now."""
        with self.match_zoom.changed.blocked():
            self.match_zoom.value = False
        self._apply()

    def _apply(self, value: Any = None) -> None:
        self._tell_which()
        finest = 0.0 if self.match_zoom.value else 1 / self.samples.value
        self._live_layers.set_own(self._layer.value, finest=finest)
        if not finest:  # the picture that is there may be it
            self.show_used(self._live_layers.get(self._layer.value))

    def _tell_which(self) -> None:
        by_hand = not self.match_zoom.value
        self._number.setVisible(by_hand)
        if by_hand:
            self.match_zoom.text = AUTO
