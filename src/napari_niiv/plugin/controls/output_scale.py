"""The control that sets how fine the pictures of a layer are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import CheckBox, FloatSlider

from napari_niiv.plugin.common.forms import row
from napari_niiv.plugin.common.typed_numbers import typed


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
        self.match_zoom = CheckBox(text="auto", value=True, tooltip="match the zoom: one sample per screen pixel")
        self.samples = FloatSlider(
            min=0.25,
            max=4,
            step=0.05,
            value=1,
            tooltip="samples per isotropic voxel, never finer than the screen",
        )
        typed(self.samples, "output scale")
        self.samples.enabled = False
        self.rows = [row("Output scale", self.match_zoom, self.samples)]
        self.match_zoom.changed.connect(self._apply)
        self.samples.changed.connect(self._apply)

    def show(self, finest: float) -> None:
        """Show the finest pixel of the layer that is chosen now, in lateral voxels; 0 follows the zoom."""
        with self.match_zoom.changed.blocked(), self.samples.changed.blocked():
            self.match_zoom.value = finest == 0
            if finest:
                self.samples.value = 1 / finest
        self.samples.enabled = finest > 0

    def _apply(self, value: Any = None) -> None:
        self.samples.enabled = not self.match_zoom.value
        self._changed(0.0 if self.match_zoom.value else 1 / self.samples.value)
