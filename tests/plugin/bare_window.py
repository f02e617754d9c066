"""As much of napari's window as docks need: without canvas, menus and the controls of layers, which take a second."""

from typing import Any

from napari.components import ViewerModel
from pydantic import PrivateAttr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_niiv.plugin.manifest_names import PLUGIN, TRAINING, WIDGET
from napari_niiv.plugin.training.widget import TrainOnVolume
from napari_niiv.plugin.widget import IsotropicReconstruct

CLASSES = {WIDGET: IsotropicReconstruct, TRAINING: TrainOnVolume}
AREAS = {"right": Qt.DockWidgetArea.RightDockWidgetArea, "bottom": Qt.DockWidgetArea.BottomDockWidgetArea}


class BareWindow:
    """A window on the screen with the dock widgets of this plugin, by the methods of napari's."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer, self._docks = viewer, {}
        self._qt_window = QMainWindow()
        self._qt_window.setCentralWidget(QWidget())
        self._qt_window.show()

    @property
    def dock_widgets(self) -> dict[str, Any]:
        """Those inside docks, by their docks' titles."""
        return {name: widget for name, (_, widget) in self._docks.items()}

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self._qt_window.resize(width, height)

    def add_plugin_dock_widget(self, plugin: str, name: str) -> tuple[QDockWidget, Any]:
        """The dock of a widget of this plugin, and the widget: those that are there, else new ones."""
        assert plugin == PLUGIN
        title = f"{name} ({plugin})"
        if title not in self._docks:
            self.add_dock_widget(CLASSES[name](self._viewer), name=title)
        return self._docks[title]

    def add_dock_widget(self, widget: Any, *, name: str, area: str = "right") -> QDockWidget:
        """Put a widget into a dock."""
        dock = QDockWidget(name)
        dock.setWidget(getattr(widget, "native", widget))
        self._qt_window.addDockWidget(AREAS[area], dock)
        if hasattr(widget, "reset_choices"):
            events = self._viewer.layers.events
            for emitter in (events.inserted, events.removed, events.reordered, events.renamed):
                emitter.connect(widget.reset_choices)
        self._docks[name] = dock, widget
        return dock

    def remove_dock_widget(self, dock: QWidget) -> None:
        """Take a dock away, given it or what is in it."""
        name, dock = next((name, d) for name, (d, _) in self._docks.items() if dock in (d, d.widget()))
        if dock.widget() is not None:
            dock.widget().setParent(None)
        self._qt_window.removeDockWidget(dock)
        del self._docks[name]
        dock.deleteLater()

    def close(self) -> None:
        """Take all docks away, and the window."""
        for dock, _ in list(self._docks.values()):
            self.remove_dock_widget(dock)
        self._viewer.layers.clear()
        self._qt_window.close()
        self._qt_window.deleteLater()


class BareViewer(ViewerModel):
    """A viewer in such a window."""

    _window: Any = PrivateAttr(None)

    @property
    def window(self) -> BareWindow:
        """Its window."""
        if self._window is None:
            self._window = BareWindow(self)
        return self._window
