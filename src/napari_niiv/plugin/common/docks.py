"""The plugin's dock widgets in a viewer's window."""

from __future__ import annotations

import weakref
from typing import Any

from napari import Viewer
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_niiv.plugin.common.timers import single_shot
from napari_niiv.plugin.manifest_names import PLUGIN

# property of a dock of ours that has had its place: where the user puts it later is his choice
_PLACED = "napari-niiv placed"


def opened(viewer: Viewer, name: str) -> Any:
    """The dock widget of this plugin that has a name in the manifest, if it is in the viewer's window, else None."""
    return viewer.window.dock_widgets.get(f"{name} ({PLUGIN})")


def open_dock(viewer: Viewer, name: str, *, behind: bool = False) -> Any:
    """A dock widget of this plugin, shown: the one that is there, however it was opened, else a new one.

    napari knows docks by their titles. Those of its menus hold the display name that the manifest gives the plugin,
    those asked for by code the plugin's name: as the two are the same, there is one.

    Parameters
    ----------
    viewer : Viewer
    name : str
        Of the widget, as in the manifest.
    behind : bool
        Whether one of ours that is in front, in the same place, stays there.
    """
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    front = [d for d in _docks_beside(dock) if not d.visibleRegion().isEmpty()]
    dock.show()  # napari's menu and close button only hide it
    _place(dock)
    (front[0] if behind and front else dock).raise_()
    return widget


def is_behind(widget: QWidget) -> bool:
    """Whether a widget is in a dock that is open, behind another tab."""
    dock = _dock_of(widget)
    return dock is not None and dock.isVisible() and dock.visibleRegion().isEmpty()


def is_shown(window: weakref.ref[Any] | None) -> bool:
    """Whether a window is there and seen."""
    alive = None if window is None else window()
    try:
        return alive is not None and bool(alive.isVisible())
    except RuntimeError:  # its Qt part is gone
        return False


class Tabbed(QObject):
    """Puts the dock of a widget behind those of ours that are there, as tabs: below each other neither has room.

    That happens once, when it is first shown, however it was opened.

    Parameters
    ----------
    widget : QWidget
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        # napari is not through with a dock while it is shown
        self._later = single_shot(self, 0, self._show_in_place)
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take the place when the widget is shown."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._later.start()
        return False

    def _show_in_place(self) -> None:
        widget = self.parent()
        dock = _dock_of(widget) if isinstance(widget, QWidget) else None
        if dock is not None and _place(dock):
            dock.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent: QObject | None = widget
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent


def _docks_beside(dock: QDockWidget) -> list[QDockWidget]:
    """The other docks of this plugin in the same area of the window."""
    window = dock.parent()
    if not isinstance(window, QMainWindow) or dock.isFloating():
        return []
    area = window.dockWidgetArea(dock)
    # below the window alone: to look through all that docks hold takes 100 ms
    docks = window.findChildren(QDockWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
    ours = [d for d in docks if d is not dock and d.property(_PLACED)]
    return [d for d in ours if not d.isFloating() and d.isVisible() and window.dockWidgetArea(d) == area]


def _place(dock: QDockWidget) -> bool:
    """Make a dock that is new a tab beside another of ours; whether that was to be done."""
    if dock.property(_PLACED):
        return False
    dock.setProperty(_PLACED, True)
    window, others = dock.parent(), _docks_beside(dock)
    if not others or not isinstance(window, QMainWindow):
        return False
    window.tabifyDockWidget(others[0], dock)
    return True
