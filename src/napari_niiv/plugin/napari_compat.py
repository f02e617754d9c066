"""Napari where its public interface does not reach: every such place is here, and a test tells when napari changes it.

Seen to hold in napari 0.9.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import napari.layers
from napari.components import LayerList, ViewerModel
from napari.experimental import link_layers, unlink_layers
from napari.utils.events import EventEmitter
from qtpy.QtCore import Qt
from qtpy.QtGui import QOpenGLContext
from qtpy.QtWidgets import QDockWidget, QMainWindow, QPushButton

if TYPE_CHECKING:
    from napari.qt import QtViewer

__all__ = [
    "bare_canvas",
    "before_napari",
    "close_canvas",
    "closed_by_script",
    "delete_in_own_context",
    "keep_docked",
    "link_layers",
    "own_extent",
    "unlink_layers",
]

# of viewers in whose own context OpenGL deletes
_own_context: weakref.WeakSet[LayerList] = weakref.WeakSet()
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
    from napari.utils.action_manager import action_manager

    # it binds all shortcuts anew, as they are; told of each, all canvases would write their welcome anew
    with action_manager.events.shortcut_changed.blocker():
        canvas = QtViewer(viewer)
    canvas.dims.hide()
    canvas.setAcceptDrops(False)
    canvas.canvas.native.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return canvas


def close_canvas(canvas: QtViewer) -> None:
    """Close a canvas made by `bare_canvas`, and delete what it has in OpenGL: 15 MB.

    Napari's canvases share one context, and vispy deletes nothing without drawing, which a closed canvas does not.
    """
    scene, before = canvas.canvas._scene_canvas, QOpenGLContext.currentContext()
    surface = None if before is None else before.surface()
    canvas.hide()
    scene.set_current()
    if scene.native.isValid():  # else it was never shown and has nothing
        for name in list(scene.context.shared.parser._objects):
            scene.context.glir.command("DELETE", name)
        scene.context.flush_commands()
    if before is not None:
        before.makeCurrent(surface)
    canvas.close()
    canvas.deleteLater()


def delete_in_own_context(viewer: ViewerModel) -> None:
    """See to it that what a viewer's layers have in OpenGL goes with them, from now on.

    When a layer goes, napari has vispy delete that, and swallows its errors. Where the context of another canvas is
    current, or none, vispy sets variables of a program that is not in use, fails, and forgets the rest of its commands:
    textures stay for good, 64 MB for a volume in 3-D. Another context is current after our canvases are gone too.
    """
    model = getattr(viewer, "__wrapped__", viewer)  # plugins are given a proxy, of whose parts each is one, made anew
    if model.layers in _own_context:
        return
    _own_context.add(model.layers)

    def make_current(event: Any) -> None:
        from napari.qt import QtViewer

        for canvas in QtViewer._instances:
            if canvas.viewer is model:
                with contextlib.suppress(RuntimeError):  # its Qt part is gone, and with it what it had
                    canvas.canvas._scene_canvas.set_current()

    emitter = before_napari(make_current)
    for removal in (model.layers.events.removed, model.layers.events.end_batch):
        removal.connect(emitter, position="first")


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
