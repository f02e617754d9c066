"""Napari where its public interface does not reach: every such place is here, and a test tells when napari changes it.

Seen to hold in napari 0.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import napari.layers
from napari.components import ViewerModel
from napari.experimental import link_layers, unlink_layers
from napari.utils.events import EventEmitter
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QPushButton

if TYPE_CHECKING:
    from napari.qt import QtViewer

__all__ = [
    "bare_canvas",
    "before_napari",
    "close_canvas",
    "closed_by_script",
    "keep_docked",
    "link_layers",
    "own_extent",
    "unlink_layers",
]

# of napari's own title bar of a dock
_FLOAT, _HIDE = "QTitleBarFloatButton", "QTitleBarHideButton"


def own_extent(layer: napari.layers.Image) -> Any:
    """The extent of the data of an image layer whose class reports another one.

    Napari's `extent` is a property with a cache, which `super()` does not reach.
    """
    return napari.layers.Image.extent.func(layer)


def before_napari(callback: Callable[[Any], None]) -> EventEmitter:
    """A callback to connect first to one of napari's events, so that it comes before napari's own.

    Napari calls those of plugins after all of its own, wherever they are connected, but an emitter is its own.
    """
    emitter = EventEmitter(type_name="before_napari")
    emitter.connect(callback)
    return emitter


def bare_canvas(viewer: ViewerModel) -> QtViewer:
    """A canvas of its own for a viewer, without sliders; it takes neither keys nor dropped files."""
    from napari.qt import QtViewer  # with vispy, which a viewer without a window does not need

    canvas = QtViewer(viewer)
    canvas.dims.hide()
    canvas.setAcceptDrops(False)
    canvas.canvas.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return canvas


def close_canvas(canvas: QtViewer) -> None:
    """Close a canvas made by `bare_canvas`, and delete what it has in OpenGL: 15 MB.

    Napari's canvases share one context, and vispy deletes nothing without drawing, which a closed canvas does not.
    """
    scene = canvas.canvas._scene_canvas
    canvas.hide()
    scene.set_current()
    if scene.native.isValid():  # else it was never shown and has nothing
        for name in list(scene.context.shared.parser._objects):
            scene.context.glir.command("DELETE", name)
        scene.context.flush_commands()
    canvas.close()
    canvas.deleteLater()


def closed_by_script(window: QMainWindow) -> bool:
    """Whether a viewer's window, which is being closed, is closed by `Viewer.close`, or was never shown.

    `Viewer.close` has taken layers and canvas away by then: it cannot be held back.
    """
    from napari.qt import QtViewer

    centre = window.centralWidget()
    canvas = None if centre is None else centre.findChild(QtViewer)
    return not window.isVisible() or canvas is None or canvas.isHidden()


def keep_docked(dock: Any) -> None:
    """Let a dock be closed, but neither moved to another window nor hidden by its title bar."""
    feature = QDockWidget.DockWidgetFeature
    # napari's title bar is at the side
    dock.setFeatures(feature.DockWidgetClosable | feature.DockWidgetVerticalTitleBar)
    for name in (_FLOAT, _HIDE):
        if (button := dock.findChild(QPushButton, name)) is not None:
            button.hide()
