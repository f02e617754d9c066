"""One window for all tests of a module: making and closing napari's takes longer than most of what is tested in it."""

import gc

import napari
import pytest
from app_model import Application
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_main_window import _QtMainWindow
from napari._qt.qt_viewer import QtViewer
from napari._qt.threads.status_checker import StatusChecker
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication, QWidget

APPLICATION = "lent"
MODELS = ("canvas", "cursor", "tooltip")  # of the viewer, beside its dims and its scene's camera


class LentWindow:
    """A window as napari's `make_napari_viewer` makes it, as new for each test; another where one was closed."""

    def __init__(self):
        self.viewer = self._patch = None

    def lend(self, qtbot):
        """The viewer, without layers and docks."""
        get_settings().reset()
        if self.viewer is None:
            self._make(qtbot)
        return self.viewer

    def _make(self, qtbot):
        assert not QtViewer._instances, "another window is still there"
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()
        application = NapariApplication(APPLICATION)
        application.injection_store.namespace = _napari_names
        self._patch = patch = pytest.MonkeyPatch()
        patch.setattr(NapariApplication, "get_app_model", lambda *_: application)
        patch.setattr(StatusChecker, "start", lambda *_: None)
        patch.setattr(QtViewer, "_get_console", _without_console)
        patch.setattr(_QtMainWindow, "_save_current_window_settings", lambda *_: None)
        self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
        qtbot.wait_exposed(self.viewer.window._qt_window, timeout=5000)
        self._size = self.viewer.window._qt_window.size()
        self._theme, self._title = self.viewer.theme, self.viewer.title
        self._camera = self.viewer.scene.camera.model_dump()

    def take_back(self):
        """Make it as it was."""
        viewer = self.viewer
        if viewer is None or not hasattr(viewer.window, "_qt_window"):
            self.close()
            return
        viewer.window.remove_dock_widget("all")
        viewer.layers.clear()
        process_events()
        viewer.dims.ndisplay = 2
        viewer.dims.reset()
        viewer.scene.camera.update(self._camera)
        for name in MODELS:
            getattr(viewer, name).reset()
        viewer.theme, viewer.title = self._theme, self._title
        viewer.window._qt_window.showNormal()
        viewer.window._qt_window.resize(self._size)
        process_events()
        gc.collect(1)

    def close(self):
        """Close it for good."""
        if self.viewer is None:
            return
        self.viewer.close()
        self.viewer = None
        self._patch.undo()
        Application.destroy(APPLICATION)
        _initialize_plugins.cache_clear()
        init_qactions.cache_clear()
        process_events()
        gc.collect()


def process_events():
    """Also those that delete."""
    QApplication.processEvents()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    QApplication.processEvents()


def _without_console(*_):
    widget = QWidget()
    widget._update_theme = lambda *_: None
    return widget
