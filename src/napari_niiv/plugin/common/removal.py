"""Layers that go: napari's list must not change while it is deleting from it."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QTimer


def remove(viewer: ViewerModel, layer: Layer) -> None:
    """Remove a layer from a viewer, if it is still there."""
    if layer in viewer.layers:
        viewer.layers.remove(layer)


def after_removal(action: Callable[[], None]) -> None:
    """Do something once napari is through with what it is deleting.

    Where several layers go at once, napari counts on the list that it began with: whoever learns that one of them is
    gone must neither remove nor add another before all of them are.
    """
    QTimer.singleShot(0, action)
