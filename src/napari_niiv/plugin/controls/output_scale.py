"""The control that sets how fine the pictures of a layer are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, FloatSlider
from qtpy.QtWidgets import QDoubleSpinBox

from napari_niiv.plugin.common.forms import Row
from napari_niiv.plugin.common.layers import voxel_size
from napari_niiv.plugin.common.typed_numbers import typed

if TYPE_CHECKING:
    from napari_niiv.plugin.live.live_reconstruction import LiveReconstruction

AUTO = "auto"


class OutputScale:
    """As fine as the zoom demands, or no finer than so many samples per isotropic voxel.

    Parameters
    ----------
    changed : callable
        Gets the finest pixel, in lateral voxels; 0 follows the zoom.

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, changed: Callable[[float], None]) -> None:
        self._changed = changed
        self.match_zoom = CheckBox(text=AUTO, value=True, tooltip="match the zoom: one sample per screen pixel")
        self.samples = FloatSlider(
            min=0.25,
            max=4,
            step=0.05,
            value=1,
            tooltip="samples per isotropic voxel, never finer than the screen",
        )
        self._number = typed(self.samples, "output scale").native.findChild(QDoubleSpinBox)
        self._enable()
        self.rows = [Row("Output scale", self.match_zoom, self.samples)]
        self.match_zoom.changed.connect(self._apply)
        self.samples.changed.connect(self._apply)

    def show(self, finest: float) -> None:
        """Show the finest pixel of the layer that is chosen now, in lateral voxels; 0 follows the zoom."""
        with self.match_zoom.changed.blocked(), self.samples.changed.blocked():
            self.match_zoom.value = finest == 0
            if finest:
                self.samples.value = 1 / finest
        self._enable()

    def show_used(self, live: LiveReconstruction | None) -> None:
        """Show what "auto" comes to in the picture that is live; None as long as there is none."""
        if live is None or live.last is None or not self.match_zoom.value:
            self.match_zoom.text = AUTO
            return
        _, y, x = voxel_size(live.source)
        samples = math.sqrt(y * x) / live.last.pixel_size
        self.match_zoom.text = f"{AUTO} ({samples:.2g}×)"
        with self.samples.changed.blocked():
            self.samples.value = min(max(samples, self.samples.min), self.samples.max)

    def _apply(self, value: Any = None) -> None:
        self._enable()
        self._changed(0.0 if self.match_zoom.value else 1 / self.samples.value)

    def _enable(self) -> None:
        by_hand = not self.match_zoom.value
        self.samples.enabled = by_hand
        self._number.setVisible(by_hand)
        if by_hand:
            self.match_zoom.text = AUTO
