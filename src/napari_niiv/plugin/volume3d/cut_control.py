"""The slider that cuts volumes open in 3-D."""

from __future__ import annotations

import contextlib
from typing import Any

from magicgui.widgets import ComboBox, Slider

from napari_niiv.plugin.common.forms import row
from napari_niiv.plugin.common.typed_numbers import typed
from napari_niiv.plugin.live.live_layers import LiveLayers


class CutControl:
    """A slider for how much of the volumes is cut away, and across which of their axes; there in 3-D only.

    Parameters
    ----------
    live_layers : LiveLayers

    Attributes
    ----------
    rows : list of Widget
        To be put into a form.
    """

    def __init__(self, live_layers: LiveLayers) -> None:
        self._live_layers = live_layers
        self.share = Slider(
            min=0,
            max=100,
            value=0,
            tooltip="per cent of the volume that are cut away, across its own axis, from the side that faces you",
        )
        typed(self.share, "cut")
        self.axis = ComboBox(choices=("z", "y", "x"), value="z", tooltip="the axis that the cut goes across")
        self._row = row("Cut (%)", self.share, self.axis)
        self.rows: list[Any] = [self._row]
        self.show(False)
        self.share.changed.connect(self._apply)
        self.axis.changed.connect(self._apply)
        live_layers.changed.connect(self._follow)

    def show(self, on: bool) -> None:
        """Whether there is something to cut."""
        with contextlib.suppress(RuntimeError):  # the viewer closed and took the Qt parts with it
            self._row.visible = on

    def _apply(self, value: Any = None) -> None:
        self._live_layers.change(cut=self.share.value / 100, cut_axis=self.axis.value)

    def _follow(self) -> None:
        """Show what is set now, also by a program."""
        settings = self._live_layers.settings
        with self.share.changed.blocked(), self.axis.changed.blocked():
            self.share.value, self.axis.value = round(100 * settings.cut), settings.cut_axis
