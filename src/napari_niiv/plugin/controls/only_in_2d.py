"""Controls that are about pictures of slices, of which there are none in 3-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QGraphicsOpacityEffect, QWidget

from napari_niiv.plugin.common.connections import Connections, when_destroyed

WHY = "Only in 2-D: "
_PALE = 0.4  # opacity


class OnlyIn2D:
    """Disables controls while a viewer is in 3-D; their tooltips say why.

    Parameters
    ----------
    parent : QObject
        With it this ends.
    viewer : ViewerModel
    controls : sequence of Widget
    """

    def __init__(self, parent: QObject, viewer: ViewerModel, controls: Sequence[Any]) -> None:
        self._viewer, self._controls = viewer, controls
        connections = Connections()
        connections.connect(self._apply, viewer.dims.events.ndisplay)
        when_destroyed(parent, connections.disconnect)
        self._apply()

    def _apply(self, event: Any = None) -> None:
        flat = self._viewer.dims.ndisplay == 2
        for control in self._controls:
            control.enabled = flat
            words = (control.tooltip or "").removeprefix(WHY)
            control.tooltip = words if flat else WHY + words
            # napari draws boxes and sliders that are disabled as it draws others
            control.native.setGraphicsEffect(None if flat else _pale(control.native))


def _pale(widget: QWidget) -> QGraphicsOpacityEffect:
    effect = QGraphicsOpacityEffect(widget)
    effect.setOpacity(_PALE)
    return effect
