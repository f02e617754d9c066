"""Layers that go: napari's list must not change while it is deleting from it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Literal

from napari.components import LayerList, ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer
from superqt.utils import QSignalDebouncer

Removal = Literal["now", "later", "never"]
"""When layers of ours go: later while napari deletes others, never from a viewer that is gone."""


_at_once: weakref.WeakSet[LayerList] = weakref.WeakSet()


@contextlib.contextmanager
def at_once(layers: LayerList) -> Iterator[None]:
    """A context in which napari redraws its scene once for all layers that go: it collects all garbage each time."""
    if layers in _at_once:
        yield
        return
    _at_once.add(layers)
    try:
        with layers.batched_update():
            yield
    finally:
        _at_once.discard(layers)


def remove_layers(viewer: ViewerModel, layers: list[Layer], how: Removal) -> None:
    """Remove those of the layers that are still in a viewer."""

    def remove_all() -> None:
        with at_once(viewer.layers):
            for layer in layers:
                remove(viewer, layer)

    if how == "now":
        remove_all()
    elif how == "later":
        after_removal(remove_all)


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


def once_after_removals(parent: QObject, action: Callable[[], None]) -> QSignalDebouncer:
    """Has something done after removals, once for all; it is asked for by `throttle`, and dropped with its parent."""
    debouncer = QSignalDebouncer(parent=parent)
    debouncer.setTimeout(0)
    debouncer.triggered.connect(action)
    return debouncer
