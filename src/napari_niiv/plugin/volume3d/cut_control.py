"""The slider that cuts volumes open in 3-D."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any

from magicgui.widgets import ComboBox, Slider

from napari_niiv.plugin.common.forms import LateRows, Row
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.live.live_layers import LiveLayers


class CutControl:
    """A slider for how much of the volumes is cut away, and across which of their axes; there in 3-D only.

    Parameters
    ----------
    live_layers : LiveLayers

    Attributes
    ----------
    rows : list of LateRows
        To be put into a form.
    """

    def __init__(self, live_layers: LiveLayers) -> None:
        self._live_layers = live_layers
        self._row = LateRows(lambda: (Row("Cut (%)", self.share, self.axis),))
        self.rows = [self._row]
        live_layers.changed.connect(self._follow)

    @cached_property
    def share(self) -> Slider:
        """How much is cut away, in per cent."""
        slider = Slider(
            min=0,
            max=100,
            value=round(100 * self._live_layers.settings.cut),
            tooltip="per cent of the volume that are cut away, across its own axis, from the side that faces you",
        )
        typed(slider, "cut")
        slider.changed.connect(self._apply)
        return slider

    @cached_property
    def axis(self) -> ComboBox:
        """Across which axis."""
        now = self._live_layers.settings.cut_axis
        box = ComboBox(choices=("z", "y", "x"), value=now, tooltip="the axis that the cut goes across")
        box.changed.connect(self._apply)
        return box

    def show(self, on: bool) -> None:
        """Whether there is something to cut."""
        with contextlib.suppress(RuntimeError):  # the viewer closed and took the Qt parts with it
            self._row.show(on)
            self._follow()

    def _apply(self, value: Any = None) -> None:
        self._live_layers.change(cut=self.share.value / 100, cut_axis=self.axis.value)

    def _follow(self) -> None:
        """Show what is set now, also by a program."""
        if not self._row.shown:
            return
        settings = self._live_layers.settings
        with self.share.changed.blocked(), self.axis.changed.blocked():
            self.share.value, self.axis.value = round(100 * settings.cut), settings.cut_axis
