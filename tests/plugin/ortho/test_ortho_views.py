"""The ortho views in a real (virtual) window."""

import copy
import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.plugin.conftest import ramp

pytest.importorskip("napari")

from napari.qt import QtViewer
from qtpy.QtCore import QPoint, Qt

from napari_niiv.errors import VolumeError
from napari_niiv.plugin.live.settings import LiveSettings
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from napari_niiv.plugin.ortho.ortho_views import NAME, OrthoViews

SHAPE, SCALE, ORIGIN = (12, 48, 64), (4.0, 1.0, 1.0), (3.0, 4.0, 5.0)
SLOPES = (5.0, 1.0, 2.0)
DATA = ramp(SHAPE, SLOPES)
LAYER = {"scale": SCALE, "translate": ORIGIN, "name": "ramp", "contrast_limits": (0, 300)}


@pytest.fixture
def viewer(lent_viewer):
    lent_viewer.window.resize(800, 700)
    return lent_viewer


@pytest.fixture
def source(viewer):
    layer = viewer.add_image(DATA, **LAYER)
    viewer.dims.point = (23.0, 30.0, 40.0)
    return layer


@pytest.fixture
def ortho(viewer, source, interpolating_model, qtbot):
    ortho = OrthoViews(viewer, [source], always(interpolating_model))
    wait_exact(qtbot, ortho)
    yield ortho
    ortho.close()


def always(model):
    """The same settings for every source."""
    return lambda source: LiveSettings(model)


def difference(panel, slopes=SLOPES):
    """How far a panel's live layer is from the ramp at the panel's point, or None if it does not show this slice."""
    layer, view = panel.lives[0].layer, panel.viewer
    shown = sorted(view.dims.displayed)
    if not layer.visible or panel.lives[0]._scheduler.generation not in panel.lives[0]._requested:
        return None
    data = np.asarray(layer.data)
    if data.shape[shown[0]] <= 1 or data.shape[shown[1]] <= 1:
        return None
    voxel = (np.array(view.dims.point) - ORIGIN) / SCALE
    across = ({0, 1, 2} - set(shown)).pop()
    pixel = np.round(layer.world_to_data(view.dims.point)).astype(int)
    at = voxel.copy()  # of the pixel's centre in its own slice
    at[shown] = ((np.array(layer.data_to_world(pixel)) - ORIGIN) / SCALE)[shown]
    at[across] = at[across] if across == 0 else round(at[across])
    pixel[across] = 0
    if np.any(pixel < 0) or np.any(pixel >= data.shape):
        return None
    return abs(float(data[tuple(pixel)]) - float(np.dot(at, slopes)))


def wait_exact(qtbot, ortho, slopes=SLOPES):
    def exact():
        found = [difference(panel, slopes) for panel in ortho.panels]
        return None not in found and max(found) < 0.02

    qtbot.waitUntil(exact, timeout=20_000)


def planes(ortho):
    return [panel.plane for panel in ortho.panels]


def test_every_panel_is_exact_and_shows_what_the_main_viewer_does_not(viewer, ortho, qtbot):
    assert planes(ortho) == ["xz", "yz"]
    ortho.panels[0].viewer.dims.point = (31.0, 20.0, 33.0)
    qtbot.waitUntil(lambda: viewer.dims.point == (31.0, 20.0, 33.0))
    wait_exact(qtbot, ortho)
    for order, expected in [
        ((1, 0, 2), ["xy", "yz"]),
        ((2, 1, 0), ["xy", "xz"]),
        ((0, 1, 2), ["xz", "yz"]),
    ]:
        viewer.dims.order = order
        assert planes(ortho) == expected
        names = [view.name.overlay.text for view in (ortho, *ortho.panels)]
        assert names[1:] == expected
        assert sorted(names) == ["xy", "xz", "yz"]
        zooms = {round(float(v.scene.camera.zoom), 6) for v in (viewer, *(p.viewer for p in ortho.panels))}
        assert len(zooms) == 1
        wait_exact(qtbot, ortho)
    viewer.dims.ndisplay = 3
    assert planes(ortho) == ["xz", "yz"]
    ortho.panels[1].viewer.dims.point = (19.0, 25.0, 30.0)
    qtbot.waitUntil(lambda: viewer.dims.point == (19.0, 25.0, 30.0))
    wait_exact(qtbot, ortho)


def test_the_mouse_moves_the_point_and_pans(viewer, ortho, qtbot):
    xz = ortho.panels[0]
    camera, native = xz.viewer.scene.camera, xz.canvas.canvas.native
    height, width = xz.viewer.canvas.size

    def press(*places):
        at = [QPoint(width // 2 + column, height // 2 + row) for row, column in places]
        qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=at[0])
        for place in at[1:]:
            qtbot.mouseMove(native, place)
        qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=at[-1])

    centre, zoom = np.array(camera.center[1:]), camera.zoom
    press((-30, 42))
    qtbot.waitUntil(lambda: viewer.dims.point[2] != 40)
    z, y, x = viewer.dims.point
    row, column = centre + np.array([-30, 42]) / zoom
    assert abs(z - row) <= 2  # a slider may stop at the nearest slice
    assert abs(x - column) <= 0.5
    assert y == 30
    wait_exact(qtbot, ortho)
    press((60, -60), (40, -60), (30, -60))  # far from both lines
    qtbot.waitUntil(lambda: camera.center[1] > centre[0])
    assert ortho.panels[1].viewer.scene.camera.center[1] == camera.center[1]
    assert viewer.dims.point == (z, y, x)


def test_panels_look_like_their_source(viewer, source, ortho, qtbot, interpolating_model):
    assert list(viewer.layers) == [source]
    source.contrast_limits, source.colormap, source.name = (10, 200), "magma", "renamed"
    for panel in ortho.panels:
        assert panel.copies[0].data is source.data
        assert tuple(panel.lives[0].layer.contrast_limits) == (10, 200)
        assert panel.lives[0].layer.colormap.name == "magma"
        assert panel.copies[0].name == "renamed"
    ortho.panels[0].copies[0].gamma = 0.5
    assert source.gamma == ortho.panels[1].lives[0].layer.gamma == 0.5
    source.data = 2 * DATA
    wait_exact(qtbot, ortho, tuple(2 * s for s in SLOPES))
    other = copy.deepcopy(interpolating_model)
    finals = [lambda shown: shown.final] * 2
    with qtbot.waitSignals([p.lives[0].shown for p in ortho.panels], timeout=20_000, check_params_cbs=finals):
        ortho.apply(always(other))
    assert all(panel.lives[0].model is other for panel in ortho.panels)
    source.translate = (0, 0, 0)
    assert all(tuple(panel.copies[0].translate) == (0, 0, 0) for panel in ortho.panels)


def test_all_panels_compare(ortho, qtbot, interpolating_model):
    wait_exact(qtbot, ortho)
    comparing = LiveSettings(interpolating_model, comparing=True)
    ortho.apply(lambda source: comparing)
    assert not any(panel.lives[0].layer.visible for panel in ortho.panels)
    assert all(panel.copies[0].visible for panel in ortho.panels)
    ortho.apply(always(interpolating_model))
    assert all(panel.lives[0].layer.visible for panel in ortho.panels)


def test_closing_leaves_nothing(viewer, source, interpolating_model, qtbot):
    ways = {
        "close": lambda ortho: ortho.close(),
        "dock x": lambda ortho: ortho.dock.destroyOnClose(),
        "axes changed": lambda ortho: setattr(source, "data", np.stack([DATA, DATA])),
        "source deleted": lambda ortho: viewer.layers.remove(source),
    }
    for way, end in ways.items():
        source.data = DATA
        events = (viewer.dims.events.point, viewer.dims.events.order, viewer.scene.camera.events.zoom)
        events += (viewer.layers.events.removed, viewer.canvas.events.size)
        events += (source.events.data, source.events.scale, source.events.gamma)
        before = [len(e.callbacks) for e in events]
        callbacks, threads = len(viewer.mouse_drag_callbacks), threading.active_count()
        ortho = OrthoViews(viewer, [source], always(interpolating_model))
        schedulers = [panel.lives[0]._scheduler for panel in ortho.panels]
        with qtbot.waitSignal(ortho.panels[0].lives[0].shown, timeout=20_000):
            pass
        with qtbot.waitSignal(ortho.closed, timeout=5000):
            end(ortho)
        qtbot.waitUntil(lambda schedulers=schedulers: not any(s.alive for s in schedulers), timeout=5000)
        assert NAME not in viewer.window.dock_widgets
        if way in ("close", "dock x"):  # otherwise napari's own change too
            assert [len(e.callbacks) for e in events] == before
        assert len(viewer.mouse_drag_callbacks) == callbacks
        assert threading.active_count() <= threads
        ortho.close()  # twice does no harm
        viewer.dims.set_point(0, 11)  # nothing listens any more
        viewer.scene.camera.zoom *= 1.1

    def only_the_main_one():
        gc.collect()
        return len(QtViewer._instances) == 1

    qtbot.waitUntil(only_the_main_one, timeout=5000)


def test_pyramids_are_shown_and_what_is_no_volume_is_refused(viewer, interpolating_model, qtbot):
    for data in (np.zeros((40, 50)), np.zeros((40, 50, 3), np.uint8)):
        with pytest.raises(VolumeError):
            OrthoViews(viewer, [viewer.add_image(data)], always(interpolating_model))
    assert not viewer.window.dock_widgets
    viewer.layers.clear()
    layer = viewer.add_image([DATA, DATA[:, ::2, ::2]], multiscale=True, **LAYER)
    viewer.dims.point = (23.0, 30.0, 40.0)
    ortho = OrthoViews(viewer, [layer], always(interpolating_model))
    wait_exact(qtbot, ortho)
    ortho.close()


def test_the_button_opens_and_closes_them(viewer, source, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    widget.ortho_button.native.click()  # before the model is there
    qtbot.waitUntil(lambda: widget.ortho is not None, timeout=30_000)
    assert (widget.live.source, widget.ortho.sources) == (source, (source,))
    widget.ortho.dock.destroyOnClose()
    assert (widget.ortho, widget.ortho_button.value) == (None, False)
    widget.on.value = False
    widget.ortho_button.native.click()
    assert widget.on.value is True
    assert widget.ortho is not None
    widget.layer.value = other = viewer.add_image(DATA, **{**LAYER, "name": "other"})
    assert widget.ortho.sources == (other,)
    viewer.layers.remove(other)  # the widget goes on to another layer, and so do they
    qtbot.waitUntil(lambda: widget.ortho is not None)
    assert (widget.live.source, widget.ortho.sources) == (source, (source,))
    widget.ortho_button.native.click()
    assert (widget.ortho, widget.ortho_button.value) == (None, False)
    viewer.layers.clear()
    widget.ortho_button.native.click()
    assert (widget.ortho, widget.ortho_button.value) == (None, False)
    qtbot.waitUntil(lambda: widget.status.value.startswith("Choose a layer"))
    assert widget.status.value.startswith("Choose a layer")


SCRIPT = """
import napari
import numpy as np
from napari_niiv.plugin.manifest_names import PLUGIN, WIDGET
from qtpy.QtCore import QTimer
from vispy.gloo.glir import GlirProgram

GlirProgram.delete = lambda self: None
viewer = napari.Viewer()
viewer.add_image(np.random.rand(2, 8, 32, 32), channel_axis=0, scale=(4, 1, 1))
_, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
window = widget.native.window()
widget.show_ortho()

def wait():
    if widget.ortho is None:
        return
    timer.stop()
    kept.append(widget.ortho.panels)
    widget.ortho.closed.connect(lambda: print("closed"))
    widget.ortho.panels[0].lives[0].shown.connect(lambda shown: QTimer.singleShot(0, window.close))

kept, timer = [], QTimer()
timer.timeout.connect(wait)
timer.start(10)
napari.run()
print([live._scheduler._closed for panel in kept[0] for live in panel.lives])
"""


def test_the_window_can_be_closed_meanwhile():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("\n")
    assert said[said.index("closed") + 1] == str([True] * 4)
    assert "Traceback" not in done.stderr
