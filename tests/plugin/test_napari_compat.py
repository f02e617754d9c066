"""What the plugin relies on in napari beside its public interface: each test fails when napari changes it."""

import copy

import numpy as np
import pytest

pytest.importorskip("napari")

import napari.layers
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils.action_manager import action_manager
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QDockWidget, QPushButton, QWidget
from vispy.gloo import gl, glir

from napari_niiv.plugin import napari_compat


class Recorded:
    """An array that notes when it is read."""

    shape, dtype, ndim = (4, 8, 8), np.dtype(np.float32), 3

    def __init__(self):
        self.reads = []

    def __getitem__(self, key):
        self.reads.append(key)
        return np.zeros(self.shape, self.dtype)[key]


def test_the_own_extent_of_a_layer_that_reports_another():
    class Image(napari.layers.Image):
        @property
        def extent(self):
            return "another"

    layer, plain = Image(np.zeros((2, 3, 4))), napari.layers.Image(np.zeros((2, 3, 4)))
    assert layer.extent == "another"
    for ours, its in zip(napari_compat.own_extent(layer), plain.extent, strict=True):
        np.testing.assert_array_equal(ours, its)


@pytest.mark.parametrize(("first", "reads"), [(True, False), (False, True)])
def test_only_an_emitter_comes_before_napari(first, reads):
    """A layer hidden in time is not read for 3-D; a plain callback of a plugin comes too late for that."""
    viewer, array = ViewerModel(), Recorded()
    layer = viewer.add_image(array, contrast_limits=(0, 1))

    def hide(event):
        layer.visible = False

    viewer.dims.events.ndisplay.connect(napari_compat.before_napari(hide) if first else hide, position="first")
    array.reads.clear()
    viewer.dims.ndisplay = 3
    assert not layer.visible
    assert bool(array.reads) is reads


def test_layers_are_linked_and_unlinked():
    one, other = (napari.layers.Image(np.zeros((2, 2)), contrast_limits=(0, 1)) for _ in range(2))
    napari_compat.link_layers([one, other], ("contrast_limits",))
    one.contrast_limits = (0.2, 0.8)
    assert tuple(other.contrast_limits) == (0.2, 0.8)
    napari_compat.unlink_layers([one, other], ("contrast_limits",))
    one.contrast_limits = (0, 1)
    assert tuple(other.contrast_limits) == (0.2, 0.8)


def test_a_canvas_without_sliders_keys_and_drops(make_napari_viewer):
    make_napari_viewer()  # which ends what a canvas leaves
    canvas = napari_compat.bare_canvas(ViewerModel())
    assert canvas.dims.isHidden()
    assert not canvas.acceptDrops()
    assert canvas.canvas.native.focusPolicy() == Qt.FocusPolicy.NoFocus
    napari_compat.close_canvas(canvas)


def test_shortcuts_are_as_before_a_canvas_and_nobody_is_told(make_napari_viewer):
    make_napari_viewer()
    before, told = copy.deepcopy(action_manager._shortcuts), []
    assert before
    action_manager.events.shortcut_changed.connect(told.append)
    napari_compat.close_canvas(napari_compat.bare_canvas(ViewerModel()))
    assert action_manager._shortcuts == before
    assert not told
    QtViewer(ViewerModel()).close()
    assert told  # else it need not be kept from it


def test_a_closed_canvas_leaves_nothing_in_opengl(make_napari_viewer, qtbot, monkeypatch):
    deleted = []
    monkeypatch.setattr(glir.GlirProgram, "delete", lambda self: deleted.append(self.handle))  # Mesa 22 could crash
    viewer, model = make_napari_viewer(show=True), ViewerModel()
    model.add_image(np.ones((8, 8)))
    canvas = napari_compat.bare_canvas(model)
    viewer.window.add_dock_widget(canvas)
    parser = canvas.canvas._scene_canvas.context.shared.parser

    def handles(kind):
        return [thing.handle for thing in parser._objects.values() if isinstance(thing, kind)]

    kinds = {glir.GlirTexture: gl.glIsTexture, glir.GlirBuffer: gl.glIsBuffer}
    qtbot.waitUntil(lambda: all(handles(kind) for kind in (*kinds, glir.GlirProgram)))
    programs, others = handles(glir.GlirProgram), {exists: handles(kind) for kind, exists in kinds.items()}
    assert all(exists(handle) for exists, of in others.items() for handle in of)
    napari_compat.close_canvas(canvas)
    assert not handles(glir.GlirObject)
    assert not any(exists(handle) for exists, of in others.items() for handle in of)
    assert set(programs) <= set(deleted)


def test_a_canvas_that_was_never_shown_is_closed(make_napari_viewer):
    make_napari_viewer()
    napari_compat.close_canvas(napari_compat.bare_canvas(ViewerModel()))


@pytest.mark.parametrize("ours", [True, False])
def test_what_a_layer_has_in_opengl_goes_with_it_whatever_context_is_current(make_napari_viewer, qtbot, ours):
    """Napari alone leaves it, and says nothing."""
    viewer = make_napari_viewer(show=True)
    first, second = (viewer.add_image(np.random.default_rng(0).random((6, 16, 16), np.float32)) for _ in range(2))
    if ours:
        for _ in range(2):
            napari_compat.delete_in_own_context(viewer)
    (canvas,) = QtViewer._instances
    parser = canvas.canvas._scene_canvas.context.shared.parser

    def volumes():
        return {thing.handle for thing in parser._objects.values() if isinstance(thing, glir.GlirTexture3D)}

    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: len(volumes()) == 2)
    both, (context, surface) = volumes(), another_context()
    with viewer.layers.batched_update():
        viewer.layers.remove(first)
        second.contrast_limits = (0.2, 0.5)  # variables of its program that wait to be set
        context.makeCurrent(surface)
    canvas.canvas._scene_canvas.set_current()
    assert sum(bool(gl.glIsTexture(handle)) for handle in both) == (1 if ours else 2)


def another_context():
    """Of OpenGL, such as another canvas has; and where it draws."""
    context, surface = QOpenGLContext(), QOffscreenSurface()
    context.setShareContext(QOpenGLContext.globalShareContext())
    surface.create()
    assert context.create()
    return context, surface


def test_a_dock_that_stays(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = viewer.window.add_dock_widget(QWidget(), name="kept")
    names = ("QTitleBarFloatButton", "QTitleBarHideButton", "QTitleBarCloseButton")
    buttons = [dock.findChild(QPushButton, name) for name in names]
    napari_compat.keep_docked(dock)
    assert [button.isHidden() for button in buttons] == [True, True, False]
    feature = QDockWidget.DockWidgetFeature
    assert dock.features() == feature.DockWidgetClosable | feature.DockWidgetVerticalTitleBar


@pytest.mark.parametrize("by_script", [False, True])
def test_a_script_that_closes_a_viewer_is_told_from_the_user(make_napari_viewer, by_script):
    viewer, told = make_napari_viewer(show=True), []
    place = QWidget()
    viewer.window.add_dock_widget(place)
    window = place.window()

    class Closings(QObject):
        def eventFilter(self, watched, event):
            if event.type() == QEvent.Type.Close:
                told.append(napari_compat.closed_by_script(watched))
                event.ignore()
            return event.type() == QEvent.Type.Close and not by_script

    closings = Closings()
    window.installEventFilter(closings)
    (viewer if by_script else window).close()
    window.removeEventFilter(closings)
    assert told == [by_script]
