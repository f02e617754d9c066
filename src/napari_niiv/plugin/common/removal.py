"""Layers that go: napari's list must not change while it is deleting from it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from napari.components import LayerList, ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QObject, QTimer
from superqt.utils import QSignalDebouncer

Removal = Literal["now", "later", "never"]
"""When layers of ours go: later while napari deletes others, never from a viewer that is gone."""


# where layers go at once, and what begins napari's batch with the first; None since it did
_at_once: weakref.WeakKeyDictionary[LayerList, contextlib.ExitStack | None] = weakref.WeakKeyDictionary()
_leaving: list[tuple[ViewerModel, Layer]] = []


@contextlib.contextmanager
def at_once(layers: LayerList) -> Iterator[None]:
    """A context in which napari redraws its scene once for all layers that go, if any: it collects all garbage then."""
    if layers in _at_once:
        yield
        return
    _at_once[layers] = batch = contextlib.ExitStack()
    try:
        with batch:
            yield
    finally:
        del _at_once[layers]


def remove_layers(viewer: ViewerModel, layers: Iterable[Layer], how: Removal) -> None:
    """Remove those of the layers that are still in a viewer; all that go later go at once."""
    if how == "now":
        with at_once(viewer.layers):
            for layer in layers:
                remove(viewer, layer)
    elif how == "later":
        if not _leaving:
            after_removal(_remove_leaving)
        _leaving.extend((viewer, layer) for layer in layers)


def _remove_leaving() -> None:
    leaving = tuple(_leaving)
    _leaving.clear()
    with contextlib.ExitStack() as batches:
        for viewer, layer in leaving:
            batches.enter_context(at_once(viewer.layers))
            remove(viewer, layer)


def remove(viewer: ViewerModel, layer: Layer) -> None:
    """Remove a layer from a viewer, if it is still there."""
    layers = viewer.layers
    if layer not in layers:
        return
    if (batch := _at_once.get(layers)) is not None:
        _at_once[layers] = None
        batch.enter_context(layers.batched_update())
    layers.remove(layer)


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
